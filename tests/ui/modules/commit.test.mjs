import assert from 'node:assert/strict';
import test from 'node:test';
import { isDeepStrictEqual } from 'node:util';

import { outcomeOf, shapeProblem } from '../../../plugin/ui/perclip/commit.js';
import { targetObjects } from '../../../plugin/ui/perclip/objects.js';
import { rangeOf } from '../../../plugin/ui/perclip/ranges.js';
import { keyframesOf } from '../../../plugin/ui/perclip/track_keyframes.js';
import { answers, auto, collection, FRAMES, JOB, mask, objectsOf, OPTIONS, outcome, polygon, seen, track, tracked } from './job.mjs';

test('masks come as shapes of one new group, and human frames get nothing', () => {
    const [object] = objectsOf([mask(100, undefined, { z_order: 3, attributes: [{ spec_id: 11, value: 'x' }, { spec_id: 99, value: 'gone' }] }), mask(105)]);
    const { created, deleted, filled } = outcome(object, FRAMES.slice(0, 10), (frame) => ({ shapes: [seen(0, mask(frame))] }));
    assert.deepEqual(created.shapes.map(({ frame }) => frame), [101, 102, 103, 104, 106, 107, 108, 109]);
    assert.ok(created.shapes.every(({ group, source, outside }) => group === 8 && source === 'auto' && !outside));
    assert.deepEqual(created.shapes[0].attributes, [{ spec_id: 11, value: 'x' }]);
    assert.equal(created.shapes[0].z_order, 3);
    assert.ok(created.shapes.every((shape) => !('id' in shape) && !('clientID' in shape)));
    assert.equal(new Set(created.shapes.map(({ points }) => points)).size, 8);
    assert.deepEqual(deleted, { shapes: [], tracks: [], tags: [] });
    assert.equal(filled.size, 8);
});

test('what Perclip wrote before is replaced where there is an answer, and nowhere else', () => {
    const old = FRAMES.slice(1).map((frame) => auto(frame, 4));
    const drawn = [mask(100, undefined, { group: 4 }), mask(103, undefined, { group: 4 })];
    const [object] = objectsOf([...drawn, ...old, auto(102, 0), mask(104, undefined, { group: 9 })]);
    const { created, deleted } = outcome(object, FRAMES.slice(0, 6),
        (frame) => (frame === 104 ? { shapes: [], absent: [{ object: 0, confidence: 0.9 }] } : { shapes: [seen(0, mask(frame))] }));
    assert.deepEqual(deleted.shapes.map(({ frame }) => frame), [101, 102, 103, 104, 105]);
    assert.ok(deleted.shapes.every((shape) => old.includes(shape)));
    assert.deepEqual(created.shapes.map(({ frame, group }) => [frame, group]), [[101, 4], [102, 4], [105, 4]]);
});

test('a bad answer is left out, named, and does not cost what was there', () => {
    const old = auto(102, 4);
    const [object] = objectsOf([mask(100, undefined, { group: 4 }), old]);
    const bad = { 101: [0, 5, 60, 4, 69, 13], 102: [100, 4, 4, 13, 13] };
    const { created, deleted, refused } = outcome(object, FRAMES.slice(0, 4),
        (frame) => ({ shapes: [{ object: 0, type: 'mask', points: bad[frame] ?? mask(frame).points, confidence: 1 }] }));
    assert.deepEqual(created.shapes.map(({ frame }) => frame), [103]);
    assert.deepEqual(deleted.shapes, []);
    assert.match(refused[0], /frame 101: a mask has a box outside/);
    assert.match(refused[1], /frame 102: a mask is empty/);
});

test('whatever is drawn, written and answered: people\'s work stays, no frame has an object twice, all is valid', () => {
    let seed = 1;
    const random = (n) => { seed = (seed * 48271) % 2147483647; return seed % n; };
    for (let round = 0; round < 400; round++) {
        const shapes = [];
        const tracks = [];
        for (let i = 0; i < 1 + random(4); i++) {
            const box = [random(30), random(20), 32 + random(31), 24 + random(23)];
            const more = { group: random(3), label_id: 1 };
            if (random(4)) shapes.push(random(2) ? mask(FRAMES[random(40)], box, more) : polygon(FRAMES[random(40)], [1, 1, 20 + random(40), 1, 9, 40], more));
            else tracks.push(track([tracked(100 + random(20)), tracked(121 + random(18), { outside: random(2) === 1 })], more));
        }
        for (let i = 0; i < random(60); i++) shapes.push(auto(FRAMES[random(40)], random(3), undefined, { label_id: 1 }));
        if (!random(3)) tracks.push(track(FRAMES.slice(random(10), 12 + random(20)).map((frame) => tracked(frame)), { source: 'auto', group: 1 + random(2) }));
        const whole = collection(shapes, tracks);
        const current = FRAMES[random(40)];
        const options = { ...OPTIONS, range: ['to the end', 'to the next keyframe', 'to the target frame'][random(3)], target: FRAMES[random(40)],
            direction: ['forward', 'backward', 'both'][random(3)], output: ['as drawn', 'mask', 'polygon'][random(3)] };
        const objects = targetObjects(whole, whole, current, FRAMES);
        const targets = objects.flatMap((object, name) => {
            const range = rangeOf(object, FRAMES, current, options);
            return range ? [{ object, range, name }] : [];
        });
        const answered = answers(FRAMES.filter(() => random(8)), (frame) => ({
            shapes: targets.filter(() => random(5)).map(({ name, object }) => {
                const kind = options.output === 'as drawn' ? object.drawn.values().next().value[0].type : options.output;
                return seen(name, kind === 'mask' ? mask(frame) : polygon(frame, [1, 1, 9, 1, 9, 9]), random(100) / 100);
            }) }));
        const before = JSON.stringify(whole);
        const { created, deleted } = outcomeOf(targets, answered, JOB, 2);
        assert.equal(JSON.stringify(whole), before);
        const isOld = (annotation) => whole[annotation.shapes ? 'tracks' : 'shapes'].includes(annotation);
        assert.ok(deleted.shapes.every((annotation) => annotation.source === 'auto' && isOld(annotation)) && deleted.tracks.every(isOld));
        // Every keyframe of a person comes back as it was, in as many tracks as there were.
        const drawnTracks = deleted.tracks.filter(({ source }) => source !== 'auto');
        assert.equal(created.tracks.filter(({ source }) => source !== 'auto').length, drawnTracks.length);
        for (const old of drawnTracks) {
            assert.ok(created.tracks.some((made) => old.shapes.every((shape) => made.shapes.some((other) => isDeepStrictEqual(other, shape)))
                && made.group === old.group && made.label_id === old.label_id));
        }
        assert.ok(created.shapes.every((shape) => shapeProblem(shape, JOB) === null));
        const gone = new Set(deleted.shapes);
        for (const { object, range } of targets) {
            const group = created.shapes.concat(created.tracks).map((annotation) => annotation.group);
            if (!object.group || !group.includes(object.group)) continue;
            const count = new Map();
            const see = (frame) => count.set(frame, (count.get(frame) ?? 0) + 1);
            for (const shape of object.written) if (!gone.has(shape)) see(shape.frame);
            const inRange = new Set();
            for (const shape of created.shapes) {
                if (shape.group !== object.group) continue;
                assert.ok(!object.drawn.has(shape.frame) && shape.frame >= range.low && shape.frame <= range.high);
                assert.ok(!object.written.some((old) => old.frame === shape.frame && !gone.has(old)), 'written twice');
                assert.ok(!inRange.has(shape.frame));
                inRange.add(shape.frame);
            }
        }
        for (const made of created.tracks) {
            assert.ok(made.shapes.length && !made.shapes[0].outside && made.frame === made.shapes[0].frame);
            assert.ok(made.shapes.every((shape, i) => shape.frame >= 100 && shape.frame <= 139 && (!i || shape.frame > made.shapes[i - 1].frame)));
            if (made.source === 'auto') continue;
            const people = keyframesOf(made).filter(({ isPerclips }) => !isPerclips).map(({ frame }) => frame);
            assert.ok(drawnTracks.some(({ shapes: old }) => isDeepStrictEqual(people, old.map(({ frame }) => frame))), 'whose is whose');
        }
    }
});

test('no shape passes that CVAT would save badly', () => {
    const good = mask(100, undefined, { attributes: [{ spec_id: 11, value: 'x' }] });
    assert.equal(shapeProblem(good, JOB), null);
    for (const [bad, words] of [[{ label_id: 9 }, /label/], [{ frame: '100' }, /frame/], [{ frame: 100.5 }, /frame/], [{ frame: 140 }, /frame/],
        [{ attributes: [{ spec_id: 99, value: 'x' }] }, /attribute/], [{ type: 'rectangle' }, /neither/], [{ points: [] }, /empty/]]) {
        assert.match(shapeProblem({ ...good, ...bad }, JOB), words);
    }
});

test('created shapes have lists and texts of their own, the confidence, and a group that nobody has', () => {
    const [object] = objectsOf([mask(100, undefined, { attributes: [{ spec_id: 11, value: 5 }] })]);
    const given = seen(0, mask(101), 0.75);
    const { created, groups } = outcome(object, [101, 102], () => ({ shapes: [given] }));
    assert.deepEqual(created.shapes.map(({ attributes, score, group }) => [attributes, score, group]), Array(2).fill([[{ spec_id: 11, value: '5' }], 0.75, 8]));
    assert.ok(created.shapes.every(({ points }) => points !== given.points));
    assert.notEqual(created.shapes[0].points, created.shapes[1].points);
    assert.equal(groups.get(0), 8);
});
