import assert from 'node:assert/strict';
import test, { beforeEach } from 'node:test';

import { actionClass } from '../../../plugin/ui/perclip/action.js';
import { planClips } from '../../../plugin/ui/perclip/clip_plan.js';
import { LearningAbility } from '../../../plugin/ui/perclip/learning_ability.js';
import { LEARN, LEARN_NOT } from '../../../plugin/ui/perclip/settings.js';

const JOB = { id: 7, taskId: 3, startFrame: 10 };
const CAN = { learning: { usual_seconds: 4.5, most_seconds: 20, refused: null } };

beforeEach(() => {
    const kept = new Map();
    globalThis.window = { localStorage: { getItem: (name) => kept.get(name) ?? null, setItem: (name, value) => kept.set(name, value) } };
});

/** The page's core with a function that answers so; the ability to learn that it is asked for. */
function page(answer, functionId = 'pth-perclip') {
    const asked = [];
    const core = { classes: { BaseCollectionAction: class {} }, lambda: { call: async (...given) => {
        asked.push(given);
        if (answer instanceof Error) throw answer;
        return answer;
    } } };
    return { core, asked, ability: new LearningAbility(core, () => functionId) };
}

test('the function is asked once for all pages of a while, and another one anew', async () => {
    const first = page(CAN);
    assert.equal(first.ability.seconds, 0); // nobody knows yet
    await Promise.all([first.ability.ask(JOB), first.ability.ask(JOB)]);
    assert.equal(first.ability.seconds, 4.5);
    assert.deepEqual(first.asked, [[3, { id: 'pth-perclip' }, { type: 'init_tracking', job: 7, frame: 10, shapes: [{ type: 'mask', points: [], clip: { ask: 'status' } }] }]]);
    const second = page(CAN);
    await second.ability.ask(JOB);
    assert.deepEqual([second.ability.seconds, second.asked.length], [4.5, 0]);
    const other = page(CAN, 'mine');
    assert.equal(other.ability.seconds, 0);
    await other.ability.ask(JOB);
    assert.deepEqual([other.ability.seconds, other.asked.length], [4.5, 1]);
});

test('what it said long ago is offered until it says something else', async () => {
    const said = (seconds) => window.localStorage.setItem('perclip.learning', JSON.stringify({ functionId: 'pth-perclip', seconds, at: 0 }));
    said(7);
    const silent = page(new Error('503'));
    await silent.ability.ask(JOB);
    assert.deepEqual([silent.ability.seconds, silent.asked.length], [7, 1]);
    const cannot = page({ learning: { usual_seconds: 0, most_seconds: 0, refused: 'no GPU' } });
    await cannot.ability.ask(JOB);
    assert.equal(cannot.ability.seconds, 0);
    for (const odd of [null, '7', undefined]) {
        said(odd);
        assert.equal(cannot.ability.seconds, 0);
    }
});

for (const [what, answer, asks] of [
    ['refuses', { learning: { usual_seconds: 0, most_seconds: 0, refused: 'no GPU' } }, 1],
    ['is too old', { error: { code: 'bad_request' }, states: [], shapes: [] }, 1],
    ['is odd', { learning: { usual_seconds: 'x' } }, 1],
    ['does not answer', new Error('503'), 2],
]) {
    test(`a function that ${what} is offered nothing, and an error troubles nobody`, async () => {
        const { ability, asked, core } = page(answer);
        await ability.ask(JOB);
        await ability.ask(JOB);
        assert.deepEqual([ability.seconds, asked.length], [0, asks]);
        assert.ok(!(LEARN in new (actionClass(core, {}, () => ({}), ability, () => {}))().parameters));
    });
}

test('the menu offers it with its time, off, for one run; the button never learns', async () => {
    const { ability, core } = page(CAN);
    await ability.ask(JOB);
    const action = new (actionClass(core, {}, () => ({}), ability, () => {}))();
    const offered = action.parameters[LEARN];
    assert.deepEqual(offered, { type: 'select', values: ['no', 'yes, about 5 s'], defaultValue: LEARN_NOT });
    await action.init(JOB, { [LEARN]: offered.values[1], Direction: 'both' });
    assert.equal(action.learn, 4.5);
    assert.deepEqual([action.parameters[LEARN].defaultValue, action.parameters.Direction.defaultValue], [LEARN_NOT, 'both']); // not kept
    await action.init(JOB, {});
    assert.equal(action.learn, 0);
    action.isOneClick = true;
    await action.init(JOB, { [LEARN]: offered.values[1] });
    assert.equal(action.learn, 0);
    ability.refused();
    assert.ok(!(LEARN in action.parameters));
    // A menu that is still open offers it: what is asked for is not left out in silence.
    await assert.rejects(action.init(JOB, { [LEARN]: offered.values[1] }), /cannot learn any more/);
    await action.init(JOB, {});
    assert.equal(action.learn, 0);
});

test('a plan asks for it only where it is chosen', () => {
    const object = { label: 1, drawn: new Map([[0, [{ type: 'mask', points: [0, 1, 0, 0, 0, 0], z_order: 0 }]]]), absent: new Set() };
    const plan = (learn) => planClips([object], [{ from: 0, to: 2, low: 0, high: 2 }], { frames: [0, 1, 2], width: 9, height: 9 },
        { output: 'as drawn', tolerance: 2, clipLength: 5, learn })[0].clip;
    assert.equal(plan(4.5).learn, 4.5);
    assert.ok(!('learn' in plan(0)) && !('learn' in plan(undefined)));
});
