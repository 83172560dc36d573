import assert from 'node:assert/strict';
import test from 'node:test';

import { planClips } from '../../../plugin/ui/perclip/clip_plan.js';
import { findObjects } from '../../../plugin/ui/perclip/objects.js';
import { rangeOf } from '../../../plugin/ui/perclip/ranges.js';
import { collection, JOB, mask, objectsOf, objectWith, OPTIONS, polygon, rangeFrom } from './job.mjs';

test('both ways are computed only where that is of use', () => {
    const plan = (object, current, more) => {
        const range = rangeFrom(object, current, more);
        return planClips([object], [range], JOB, { ...OPTIONS, ...more })[0];
    };
    assert.deepEqual([plan(objectWith([110]), 110, {}).clip.direction, plan(objectWith([110]), 110, {}).work], ['forward', 30]);
    assert.equal(plan(objectWith([110]), 110, { direction: 'backward' }).clip.direction, 'backward');
    assert.equal(plan(objectWith([110]), 110, { direction: 'both' }).clip.direction, 'both');
    const between = plan(objectWith([110, 120]), 110, { range: 'to the next keyframe' });
    assert.deepEqual([between.clip.direction, between.work, between.clip.frames.length], ['both', 22, 11]);
});

test('a clip call names frames, keyframes of all objects, and where they are absent', () => {
    const [one, two] = [objectWith([110], [115]), objectsOf([mask(112), polygon(112, [1, 1, 9, 1, 9, 9], { group: 3 })])[1]];
    const ranges = [one, two].map((object) => rangeFrom(object, 110, {}));
    const [{ clip }] = planClips([one, two], ranges, JOB, { ...OPTIONS, output: 'mask', clipLength: 25 });
    assert.deepEqual(clip.keyframes.map(({ frame, shapes }) => [frame, shapes.map(({ object, points }) => [object, points.length])]),
        [[110, [[0, 6]]], [112, [[1, 6]]], [115, [[0, 0]]]]);
    assert.deepEqual([clip.output, clip.clip_length, clip.width, clip.height, clip.version], ['mask', 25, 64, 48, 1]);
    assert.equal(clip.frames.length, 30);
    assert.ok(!('output' in planClips([one], [ranges[0]], JOB, OPTIONS)[0].clip));
});

test('overlapping shapes are sent whole, from bottom to top, with their labels', () => {
    const [top, below] = [mask(110, [4, 4, 9, 9], { z_order: 3 }), mask(110, [2, 2, 20, 20], { label_id: 2, z_order: -1 })];
    const objects = objectsOf([top, below]);
    const [{ clip }] = planClips(objects, objects.map((object) => rangeFrom(object, 110, {})), JOB, OPTIONS);
    assert.deepEqual(clip.keyframes[0].shapes, [{ object: 1, label: 2, type: 'mask', points: below.points },
        { object: 0, label: 1, type: 'mask', points: top.points }]);
});

test('many keyframes are parted into chains, and stretches that are all drawn are left out', () => {
    const frames = Array.from({ length: 300 }, (_, i) => i);
    const job = { ...JOB, frames, last: 299 };
    const [object] = findObjects(collection(frames.filter((f) => f % 4 === 0 && f < 200).map((f) => mask(f))), frames);
    const range = rangeOf(object, frames, 0, OPTIONS);
    const plans = planClips([object], [range], job, OPTIONS);
    assert.equal(plans.length, 3);
    assert.ok(plans.every(({ clip }) => clip.keyframes.length <= 25));
    const numbers = plans.flatMap(({ clip }) => clip.frames.map(({ frame }) => frame));
    assert.deepEqual([...new Set(numbers)], frames);
    assert.equal(numbers.length, 300 + 2); // they meet at keyframes
    const [dense] = findObjects(collection(frames.filter((f) => f < 250 || f > 260).map((f) => mask(f))), frames);
    const [only, ...others] = planClips([dense], [rangeOf(dense, frames, 0, OPTIONS)], job, OPTIONS);
    assert.deepEqual([only.clip.frames.map(({ frame }) => frame), others], [frames.slice(249, 262), []]);
});
