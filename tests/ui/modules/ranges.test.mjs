import assert from 'node:assert/strict';
import test from 'node:test';

import { plannedTargets } from '../../../plugin/ui/perclip/ranges.js';
import { auto, JOB, mask, objectsOf, objectWith, OPTIONS, rangeFrom, track, tracked } from './job.mjs';

test('objects come in the same order whatever Perclip has written', () => {
    const drawn = [mask(110, [30, 4, 39, 13], { label_id: 2 }), mask(100)];
    const order = (more) => plannedTargets(objectsOf([...drawn, ...more]), JOB, 100, OPTIONS).map(({ object }) => object.label);
    assert.deepEqual(order([]), [1, 2]);
    assert.deepEqual(order([auto(111, 5, [30, 4, 39, 13], { label_id: 2 })]), [1, 2]);
});

test('ranges: where masks are written, and from which keyframes they are carried there', () => {
    const object = objectWith([110, 120]);
    const cases = [
        [110, {}, [110, 139, 110, 139]],
        [115, {}, [115, 139, 110, 139]],
        [100, {}, [110, 139, 110, 139]], // never before the object's first keyframe
        [110, { range: 'to the next keyframe' }, [110, 120, 110, 120]],
        [120, { range: 'to the next keyframe' }, [120, 139, 120, 139]],
        [110, { range: 'to the target frame', target: 115 }, [110, 115, 110, 115]],
        [110, { range: 'to the target frame', target: 105 }, [105, 110, 105, 110]],
        [118, { range: 'to the target frame', target: 112, direction: 'forward' }, [112, 118, 112, 120]],
        [120, { direction: 'backward' }, [100, 120, 100, 120]],
        [115, { direction: 'backward', range: 'to the next keyframe' }, [110, 115, 110, 120]],
        [139, { direction: 'backward' }, [100, 120, 100, 120]],
        [115, { direction: 'both' }, [100, 139, 100, 139]],
        [115, { direction: 'both', range: 'to the next keyframe' }, [110, 120, 110, 120]],
    ];
    for (const [current, more, [low, high, from, to]] of cases) {
        assert.deepEqual(rangeFrom(object, current, more), { low, high, from, to }, JSON.stringify([current, more]));
    }
    assert.equal(rangeFrom(objectWith([139]), 139, {}), null);
    assert.equal(rangeFrom(objectWith([100], [110]), 110, { direction: 'both', range: 'to the next keyframe' })?.to, 139);
    assert.equal(rangeFrom(objectWith([100], [110]), 115, { range: 'to the next keyframe' }), null); // it has left
});

test('a label that takes one type only is told of before anything is sent', () => {
    const [object] = objectsOf([mask(100, undefined, { label_id: 2 })]);
    assert.throws(() => plannedTargets([object], JOB, 100, { ...OPTIONS, output: 'polygon' }), /"cat" takes masks only/);
    assert.equal(plannedTargets([object], JOB, 100, OPTIONS).length, 1);
    assert.throws(() => plannedTargets([], JOB, 100, OPTIONS), /draw a mask/);
    assert.throws(() => plannedTargets([object], JOB, 100, { ...OPTIONS, direction: 'backward' }), /no frames to fill before this one/);
});

test('a whole track of Perclip is replaced up to a keyframe of its own', () => {
    const own = track([tracked(101), tracked(112), tracked(125)], { source: 'auto', group: 4 });
    const [object] = objectsOf([], [track([tracked(100), tracked(110)], { group: 4 }), own]);
    const { low, high } = rangeFrom(object, 110, { range: 'to the target frame', target: 115 });
    assert.deepEqual([low, high], [102, 124]);
});
