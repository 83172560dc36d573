import assert from 'node:assert/strict';
import test from 'node:test';

import { ClipChain } from '../../../plugin/ui/perclip/clip_chain.js';
import { countsText, rateText } from '../../../plugin/ui/perclip/counts.js';
import { Cancelled, NOT_DEPLOYED, TOO_OLD, UNREACHABLE } from '../../../plugin/ui/perclip/errors.js';
import { answers, FRAMES } from './job.mjs';

/** A function that segments `speed` frames a call, forward, and needs its keyframe and the last two frames. */
function fakeFunction(frames, { speed = 1000, faults = [] } = {}) {
    const calls = [];
    const call = async (clip) => {
        const fault = faults[calls.length];
        const images = clip.frames.filter(({ image }) => image).map(({ frame }) => frame);
        calls.push({ images, clip });
        if (fault?.code !== undefined) throw fault;
        if (fault) return fault;
        const done = clip.continue === null ? 0 : Number(clip.continue);
        const next = frames.slice(1 + done);
        const given = next.filter((frame, i) => images.includes(frame) && next.slice(0, i).every((other) => images.includes(other))).slice(0, speed);
        const reached = done + given.length;
        const rest = frames.slice(1 + reached);
        return { frames: given.map((frame) => ({ frame, shapes: [], absent: [] })), warnings: [],
            continue: rest.length ? { state: String(reached), needed: [frames[0], ...frames.slice(Math.max(1, reached - 1), reached + 1)], next: rest } : null };
    };
    return { calls, call };
}

function chainOf(frames, { call }, more = {}) {
    const log = { progress: [], made: [], waits: [] };
    let now = 0;
    const world = { call, image: async (frame) => { log.made.push(frame); return 'x'.repeat(10); }, prefetch: () => {}, cancelled: () => false,
        onProgress: (text, percent) => log.progress.push([text, percent]), now: () => { now += 0.01; return now; },
        pause: async (milliseconds) => { log.waits.push(milliseconds); now += milliseconds / 1000; }, ...more };
    const clip = { frames: frames.map((frame) => ({ frame })), keyframes: [{ frame: frames[0], shapes: [] }], direction: 'forward' };
    return { chain: new ClipChain({ clip, work: frames.length - 1 }, world), log };
}

test('a chain brings all frames, with images of what is needed and next and no others', async () => {
    const served = fakeFunction(FRAMES);
    const { chain, log } = chainOf(FRAMES, served);
    await chain.run();
    assert.deepEqual([...chain.answered.keys()], FRAMES.slice(1));
    assert.equal(served.calls[0].images.length, 13); // the keyframe and a first batch
    const sent = served.calls.flatMap(({ images }) => images).length;
    assert.ok(sent <= FRAMES.length + 3 * served.calls.length, `${sent} images`);
    assert.match(log.progress.at(-1)[0], /39 of 39 frames, [\d.]+ frames\/s/);
    const percents = log.progress.map(([, percent]) => percent);
    assert.deepEqual(percents, [...percents].sort((a, b) => a - b));
});

test('numbers agree with each other, over several runs too', async () => {
    assert.deepEqual([12.34, 0.1, 0.0999, 0.05, 0.004, 0].map(rateText), ['12.3 frames/s', '0.1 frames/s', '10 s per frame', '20 s per frame', '250 s per frame', '0 frames/s']);
    const counts = { what: 'car', frames: 119, done: 119, total: 119, before: 0, runs: 1, seconds: 59.5 };
    assert.equal(countsText(counts), 'car: 119 frames filled in 59.5 s (2.0 frames/s).');
    assert.equal(countsText({ ...counts, frames: 1, done: 1, total: 1, seconds: 40 }), 'car: 1 frame filled in 40.0 s (40 s per frame).');
    assert.equal(countsText({ ...counts, frames: 70, done: 70, before: 2, runs: 2, seconds: 34 }),
        'car: 70 of 119 frames done in two runs: 2 before, 68 now in 34.0 s (2.0 frames/s); all filled.');
    assert.equal(countsText({ ...counts, frames: 100, before: 70, runs: 3 }),
        'car: 119 of 119 frames done in 3 runs: 70 before, 49 now in 59.5 s (0.8 frames/s); 100 filled, 19 without anything.');
    // Passes both ways segment every frame twice: what is told is frames of the job.
    let now = 0;
    const { chain, log } = chainOf(FRAMES, fakeFunction(FRAMES), { now: () => now });
    chain.work = 78;
    await chain.run();
    chain.consumed = 78;
    now = 10;
    chain.report();
    assert.match(log.progress.at(-1)[0], /39 of 39 frames, 3\.9 frames\/s/);
});

test('a chain that was cut off goes on where it was', async () => {
    const timeout = { code: 504 };
    const served = fakeFunction(FRAMES, { faults: [undefined, ...Array(4).fill(timeout)] });
    const first = chainOf(FRAMES, served).chain;
    await assert.rejects(first.run(), /timed out/);
    const second = chainOf(FRAMES, served, { before: first }).chain;
    assert.deepEqual([second.before, second.runs], [12, 2]);
    await second.run();
    assert.equal(second.answered.size, 39);
    assert.equal(served.calls[5].clip.continue, '12');
    const third = chainOf(FRAMES, served, { before: second }).chain;
    const before = served.calls.length;
    await third.run();
    assert.equal(served.calls.length, before);
    const other = chainOf(FRAMES.slice(0, 20), fakeFunction(FRAMES.slice(0, 20)), { before: first }).chain;
    await other.run();
    assert.deepEqual([...other.answered.keys()], FRAMES.slice(1, 20)); // another plan begins anew
});

test('a function that was deployed anew in between begins again, once', async () => {
    const served = fakeFunction(FRAMES, { faults: [undefined, { error: { code: 'bad_continue', message: 'another network' } }] });
    const { chain } = chainOf(FRAMES, served);
    await chain.run();
    assert.equal(chain.answered.size, 39);
    assert.deepEqual(served.calls.slice(0, 3).map(({ clip }) => clip.continue), [null, '12', null]);
    const always = fakeFunction(FRAMES, { speed: 5, faults: [undefined, ...Array(9).fill([{ error: { code: 'bad_continue', message: 'x' } }, undefined]).flat()] });
    await assert.rejects(chainOf(FRAMES, always).chain.run(), /keeps changing/);
});

test('frames on which only some objects are drawn count in the progress', () => {
    const { chain } = chainOf(FRAMES, fakeFunction(FRAMES));
    const keyframes = [{ frame: 100, shapes: [{ object: 0 }, { object: 1 }] }, { frame: 101, shapes: [{ object: 1 }] }];
    const other = new ClipChain({ clip: { ...chain.clip, keyframes }, work: 1 }, {});
    assert.deepEqual(other.progress, { done: 0, total: 39 });
});

test('a time-out now and then does not end a long chain', async () => {
    const frames = Array.from({ length: 2000 }, (_, i) => i);
    const served = fakeFunction(frames, { speed: 15, faults: Array.from({ length: 400 }, (_, i) => (i % 10 === 9 ? { code: 504 } : undefined)) });
    const { chain } = chainOf(frames, served);
    await chain.run();
    assert.equal(chain.answered.size, 1999);
});

test('with many large keyframes, images of frames to be filled still go along', async () => {
    const frames = FRAMES;
    const served = fakeFunction(frames);
    const { chain } = chainOf(frames, served, { image: async () => 'x'.repeat(30 * 2 ** 20) });
    await chain.run();
    assert.equal(chain.answered.size, 39);
    assert.ok(served.calls.every(({ images }) => images.length <= 5));
});

test('a slow function is sent less, a fast one more', async () => {
    const slow = fakeFunction(FRAMES, { speed: 3 });
    let now = 0;
    const { chain } = chainOf(FRAMES, { call: async (clip) => { now += 10; return slow.call(clip); } }, { now: () => now });
    await chain.run();
    assert.ok(slow.calls.slice(2).every(({ images }) => images.length <= 3 + 6), slow.calls.map(({ images }) => images.length).join());
    const fast = fakeFunction(Array.from({ length: 1000 }, (_, i) => i));
    await chainOf(Array.from({ length: 1000 }, (_, i) => i), fast).chain.run();
    assert.ok(fast.calls.length < 8);
});

test('a busy or lost function is called again, for a minute', async () => {
    const served = fakeFunction(FRAMES, { faults: [{ code: 503 }, { code: 0 }, { code: 502 }, { error: { code: 'busy', message: 'busy' } }] });
    const { chain, log } = chainOf(FRAMES, served);
    await chain.run();
    assert.equal(chain.answered.size, 39);
    assert.deepEqual(log.waits, [1000, 2000, 4000, 8000]);
    assert.ok(log.progress.some(([text]) => /busy.*Trying again/.test(text)));
});

/** A clock, and a function that takes some seconds for each of its answers or faults; the last one goes on for ever. */
function timedFunction(answers) {
    const clock = { now: 0, calls: 0 };
    const served = fakeFunction(FRAMES);
    const call = async (clip) => {
        const [seconds, fault] = answers[Math.min(clock.calls++, answers.length - 1)];
        clock.now += seconds;
        if (fault?.code) throw fault;
        return fault ?? served.call(clip);
    };
    const world = { now: () => clock.now, pause: async (milliseconds) => { clock.now += milliseconds / 1000; } };
    return { clock, served, ...chainOf(FRAMES, { call }, world) };
}

test('a function that cannot be reached is told so within 15 s; one that answers anything in between is busy', async () => {
    const refused = [0.05, { code: 503 }];
    const gone = timedFunction([refused]);
    await assert.rejects(gone.chain.run(), { message: UNREACHABLE });
    assert.ok(gone.clock.now > 8 && gone.clock.now < 15, `${gone.clock.now} s`);
    assert.ok(!gone.log.progress.some(([text]) => /is busy\./.test(text)));
    // All workers are busy: the 503 comes when their waiting time is over, or the function says so itself.
    for (const busy of [[10, { code: 503 }], [0.05, { error: { code: 'busy', message: 'The function is busy.' } }]]) {
        const waited = timedFunction([refused, refused, busy, refused, busy, refused, [1, undefined]]);
        await waited.chain.run();
        assert.equal(waited.chain.answered.size, 39);
    }
    // One that was there: it may come back, and it is told that it does not answer.
    const lost = timedFunction([[1, undefined], refused]);
    await assert.rejects(lost.chain.run(), { message: `${UNREACHABLE} It got through 12 of 39 frames.` });
    assert.ok(lost.clock.now > 45 && lost.clock.now < 75, `${lost.clock.now} s`);
    const back = timedFunction([[1, undefined], ...Array(7).fill(refused), [1, undefined]]);
    await back.chain.run();
    assert.ok(back.log.progress.some(([text]) => text.includes(UNREACHABLE)));
    assert.equal(back.chain.answered.size, 39);
});

test('a call that times out is made again with less; what is done is kept and told', async () => {
    const timeout = { code: 504 };
    const served = fakeFunction(FRAMES, { speed: 5, faults: [undefined, timeout, timeout] });
    const { chain } = chainOf(FRAMES, served);
    await chain.run();
    assert.equal(chain.answered.size, 39);
    assert.deepEqual(served.calls.map(({ clip }) => clip.max_seconds).slice(0, 6), [20, 20, 10, 5, 10, 20]);
    const [, first, second, third] = served.calls;
    assert.ok(second.images.length < first.images.length && third.images.length < second.images.length);
    assert.ok(third.clip.max_seconds < first.clip.max_seconds);
    const dead = fakeFunction(FRAMES, { faults: [undefined, ...Array(9).fill(timeout)] });
    const lost = chainOf(FRAMES, dead).chain;
    await assert.rejects(lost.run(), { message: 'The function took too long and timed out. It got through 12 of 39 frames.' });
    assert.equal(lost.answered.size, 12);
});

test('errors come in plain words', async () => {
    const failing = (fault) => chainOf(FRAMES, fakeFunction(FRAMES, { faults: [fault] })).chain.run();
    await assert.rejects(failing({ code: 404 }), { message: NOT_DEPLOYED });
    await assert.rejects(failing({ code: 500 }), { message: TOO_OLD });
    await assert.rejects(failing({ states: ['x'], shapes: [null] }), { message: TOO_OLD }); // a stock tracker
    await assert.rejects(failing({ error: { code: 'bad_version', message: 'clip version 1' } }), { message: TOO_OLD });
    await assert.rejects(failing({ error: { code: 'bad_shape', message: 'frame 3: empty' } }), /refuses: frame 3: empty/);
    await assert.rejects(failing({ code: 403 }), /does not let you/);
    await assert.rejects(failing({ code: 400, message: 'frame 500 is not in the job' }), /refuses the call: frame 500/);
    await assert.rejects(failing(Object.assign(new TypeError('x is undefined'), { code: 'odd' })), /x is undefined/);
    const stuck = { frames: [], warnings: [], continue: { state: 's', needed: [100], next: [101] } };
    await assert.rejects(chainOf(FRAMES, fakeFunction(FRAMES, { faults: Array(20).fill(stuck) })).chain.run(), /no progress/);
});

test('cancelling ends a chain at once, also while a call or an image is awaited', async () => {
    let cancelled = false;
    const never = new Promise(() => {});
    for (const more of [{ call: () => never }, { image: () => never }]) {
        cancelled = false;
        const { chain } = chainOf(FRAMES, fakeFunction(FRAMES), { cancelled: () => cancelled, ...more });
        const running = assert.rejects(chain.run(), Cancelled);
        cancelled = true;
        await running;
    }
});

test('the function says where to begin with several keyframes; with one, the first frames go along', () => {
    const { chain } = chainOf(FRAMES, fakeFunction(FRAMES));
    assert.deepEqual(chain.firstFrames([100]), FRAMES.slice(1));
    assert.deepEqual(chain.firstFrames([100, 120]), []);
    chain.clip.direction = 'both';
    assert.deepEqual(chain.firstFrames([103]), [102, 101, 100]);
    assert.deepEqual(chain.firstFrames([100]), FRAMES.slice(1));
});

test('the next images are made while a call is answered, and warnings are passed on', async () => {
    const wanted = [];
    const served = fakeFunction(FRAMES);
    const { chain } = chainOf(FRAMES, { call: async (clip) => ({ ...await served.call(clip), warnings: ['object 0 is tiny'] }) },
        { prefetch: (frames) => wanted.push(...frames) });
    await chain.run();
    assert.equal(wanted[0], 113);
    assert.deepEqual(chain.warnings, ['object 0 is tiny']);
});

test('what is too large is sent in parts, and too many calls are waited out', async () => {
    const served = fakeFunction(FRAMES, { faults: [{ code: 413 }, { error: { code: 'too_large', message: 'memory' } }, { code: 429 }] });
    const { chain, log } = chainOf(FRAMES, served);
    await chain.run();
    assert.equal(chain.answered.size, 39);
    assert.ok(served.calls[2].images.length < served.calls[0].images.length / 2);
    assert.deepEqual(log.waits, [1000]);
    const always = fakeFunction(FRAMES, { faults: Array(50).fill({ error: { code: 'too_large', message: 'send a shorter range' } }) });
    await assert.rejects(chainOf(FRAMES, always).chain.run(), { message: 'send a shorter range' });
    assert.ok(always.calls.length <= 5);
});

test('cancelling while a busy function is waited for ends the waiting', async () => {
    let cancelled = false;
    const served = fakeFunction(FRAMES, { faults: Array(50).fill({ code: 503 }) });
    const { chain } = chainOf(FRAMES, served, { cancelled: () => cancelled, pause: async () => { cancelled = true; } });
    await assert.rejects(chain.run(), Cancelled);
    await new Promise((resolve) => { setTimeout(resolve, 20); });
    assert.equal(served.calls.length, 2); // the one that was under way
});

/** A function that first wants the frames of its check, then learns, and then segments all that it has images of. */
function learningFunction(frames, learning, { checked = 8, slow = false } = {}) {
    const calls = [];
    const call = async (clip) => {
        const images = new Set(clip.frames.filter(({ image }) => image).map(({ frame }) => frame));
        calls.push({ images, clip });
        const [learned, at] = clip.continue === null ? [false, 0] : JSON.parse(clip.continue);
        const wanted = frames.slice(0, 1 + checked);
        const going = (state, needed, reached) => ({ state: JSON.stringify(state), needed, next: frames.slice(1 + reached) });
        if (!learned && !wanted.every((frame) => images.has(frame))) {
            return { frames: [{ frame: frames[0], shapes: [], absent: [] }], learning: null, timing: { learning: 0 }, continue: going([false, 0], wanted, 0) };
        }
        let reached = at;
        while (!(slow && !learned) && reached + 1 < frames.length && images.has(frames[reached + 1])) reached++;
        const given = frames.slice(1 + at, 1 + reached).map((frame) => ({ frame, shapes: [], absent: [] }));
        const told = Array.isArray(learning) ? learning[Math.min(calls.length - 2, learning.length - 1)] : learning;
        return { frames: given, learning: told, timing: { learning: learned ? 0 : 5 },
            continue: 1 + reached < frames.length ? going([true, reached], frames.slice(0, 1), reached) : null };
    };
    return { calls, call };
}

function learningChain(served, more = {}) {
    const made = chainOf(FRAMES, served, more);
    made.chain.clip.learn = 5;
    return made;
}

const USED = { used: true, same_weights: true, words: 'learned from the keyframes in 40 steps: J&F 0.400 -> 0.700 (+0.300) by there and back again' };

for (const slow of [false, true]) {
    test(`a chain that learns sends what the check wants first, and counts no frame twice${slow ? '; all time went into learning' : ''}`, async () => {
        const served = learningFunction(FRAMES, USED, { slow });
        const { chain, log } = learningChain(served);
        await chain.run();
        assert.deepEqual([...served.calls[0].images], [FRAMES[0]]);
        assert.ok(FRAMES.slice(0, 9).every((frame) => served.calls[1].images.has(frame)));
        assert.ok(served.calls.every(({ clip }) => clip.learn === 5));
        assert.deepEqual([chain.answeredFrames(), chain.consumed], [39, 39]);
        assert.match(log.progress[0][0], /Learning from the keyframes/);
        assert.deepEqual(log.progress.map(([, percent]) => percent), log.progress.map(([, percent]) => percent).sort((a, b) => a - b));
        assert.deepEqual(chain.learned, [`Learning is used: ${USED.words}.`]);
    });
}

test('what came of learning is told: not used, other weights, no word, and nothing where nobody asked', async () => {
    const words = 'learned and not used: J&F 0.963 -> 0.781 (-0.182) by there and back again, which is not clearly better';
    const outcome = async (learning) => {
        const { chain } = learningChain(learningFunction(FRAMES, learning, { checked: 3 }));
        await chain.run();
        return chain.learned;
    };
    assert.deepEqual(await outcome({ used: false, same_weights: true, words }), [`Learning is not used: ${words}.`]);
    assert.match((await outcome([USED, { ...USED, same_weights: false }, USED]))[1], /slightly different weights/);
    const old = learningChain(fakeFunction(FRAMES)).chain;
    await old.run();
    assert.match(old.learned.join(), /too old to learn/);
    const plain = chainOf(FRAMES, fakeFunction(FRAMES)).chain;
    await plain.run();
    assert.deepEqual(plain.learned, []);
});

test('a chain that learns and was cut off goes on with what was learned', async () => {
    const served = learningFunction(FRAMES, USED, { checked: 3 });
    let count = 0;
    const first = learningChain({ call: async (clip) => { if (++count > 2) throw { code: 404 }; return served.call(clip); } }).chain;
    await assert.rejects(first.run(), /not deployed/);
    const second = chainOf(FRAMES, served, { before: first }).chain;
    assert.equal(second.learning, null); // it did not learn: another plan
    const made = learningChain(served, {}).chain;
    const again = new ClipChain({ clip: made.clip, work: 39 }, { ...made.world, now: made.now, before: first });
    await again.run();
    assert.deepEqual([again.answeredFrames(), again.learned], [39, first.learned]);
});
