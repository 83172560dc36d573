import assert from 'node:assert/strict';
import test from 'node:test';

import { isPart, maskProblem, overlap, polygonProblem } from '../../../plugin/ui/perclip/shapes.js';
import { mask, polygon } from './job.mjs';

test('masks that CVAT would accept and break on are recognised', () => {
    assert.equal(maskProblem([0, 4, 1, 1, 2, 2], 4, 4), null);
    assert.equal(maskProblem([3, 1, 2, 2, 3, 3], 4, 4), null);
    for (const bad of [[], [1, 0, 0, 0, 0], [4, 0, 1, 1, 2, 2], [4, 1, 1, 2, 2]]) assert.match(maskProblem(bad, 4, 4), /empty/);
    assert.match(maskProblem([0, 3, 1, 1, 2, 2], 4, 4), /fill/);
    assert.match(maskProblem([0, 4, 3, 1, 4, 2], 4, 4), /outside/);
    assert.match(maskProblem([0, 1, 2, 2, 1, 2], 4, 4), /outside/);
    for (const odd of [0.5, -1, NaN, '4', Infinity]) assert.match(maskProblem([0, odd, 1, 1, 2, 2], 4, 4), /whole/);
});

test('polygons must have three points inside the image', () => {
    assert.equal(polygonProblem([0, 0, 64, 0, 64, 48], 64, 48), null);
    assert.match(polygonProblem([0, 0, 64, 0], 64, 48), /three/);
    assert.match(polygonProblem([0, 0, 64, 0, 64, 48, 1], 64, 48), /three/);
    assert.match(polygonProblem([0, 0, 65, 0, 64, 48], 64, 48), /out of/);
    assert.match(polygonProblem([0, 0, 64, 0, 64, NaN], 64, 48), /numbers/);
});

test('polygons and masks of the same pixels overlap wholly, shifted ones partly', () => {
    const box = mask(0, [4, 4, 13, 13]);
    assert.equal(overlap(box, polygon(0, [4, 4, 14, 4, 14, 14, 4, 14])), 1);
    assert.equal(overlap(box, mask(0, [9, 4, 18, 13])), 50 / 150);
    assert.equal(overlap(box, mask(0, [30, 30, 40, 40])), 0);
    const ring = { type: 'mask', points: [0, 4, 2, 2, 2, 6, 4, 4, 7, 7] }; // four pixels are missing
    assert.equal(overlap(ring, { type: 'mask', points: [0, 16, 4, 4, 7, 7] }), 12 / 16);
});

test('what lies inside and is much smaller is a part', () => {
    const whole = mask(0, [0, 0, 19, 19]);
    for (const [box, expected] of [[[2, 2, 15, 15], true], [[1, 1, 17, 17], false], [[10, 10, 29, 23], false], [[30, 30, 31, 31], false]]) {
        assert.equal(isPart(mask(0, box), whole), expected, `${box}`);
        assert.equal(isPart(whole, polygon(0, [box[0], box[1], box[2] + 1, box[1], box[2] + 1, box[3] + 1, box[0], box[3] + 1])), expected);
    }
});
