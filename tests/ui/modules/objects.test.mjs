import assert from 'node:assert/strict';
import test from 'node:test';

import { outcomeOf } from '../../../plugin/ui/perclip/commit.js';
import { targetObjects } from '../../../plugin/ui/perclip/objects.js';
import { plannedTargets } from '../../../plugin/ui/perclip/ranges.js';
import { auto, collection, drawnFrames, FRAMES, JOB, lookOf, mask, objectsOf, OPTIONS, outcome, polygon, seen, square, track, tracked } from './job.mjs';

test('shapes of one label and group are one object, whatever their source but auto', () => {
    const shapes = [mask(100, undefined, { group: 5 }), mask(120, undefined, { group: 5, source: 'semi-auto' }),
        mask(100, undefined, { group: 6 }), mask(110, undefined, { group: 5, label_id: 2 }), auto(105, 5)];
    const objects = objectsOf(shapes);
    assert.equal(objects.length, 3);
    assert.deepEqual(drawnFrames(objects[0]), [100, 120]);
    assert.deepEqual(objects[0].written.map(({ frame }) => frame), [105]);
});

test('the only shapes of a label on their frames are one object', () => {
    const objects = objectsOf([mask(130, [40, 30, 50, 40]), mask(100), polygon(110, [1, 1, 9, 1, 9, 9])]);
    assert.equal(objects.length, 1);
    assert.deepEqual(drawnFrames(objects[0]), [100, 110, 130]);
    assert.equal(objects[0].uncertain, false);
});

test('two shapes of a label on one frame are two objects, followed by their overlap', () => {
    const [a, b] = [[4, 4, 13, 13], [30, 4, 39, 13]];
    const objects = objectsOf([mask(100, a), mask(100, b), mask(105, [32, 4, 41, 13]), mask(105, [5, 4, 14, 13])]);
    assert.deepEqual(objects.map(drawnFrames), [[100, 105], [100, 105]]);
    assert.ok(objects.every((object) => !object.uncertain));
    assert.equal(objects[0].drawn.get(105)[0].points.at(-4), 5);
});

test('where overlap does not tell which is which, it is said and not guessed', () => {
    const objects = objectsOf([mask(100, [4, 4, 13, 13]), mask(100, [30, 4, 39, 13]), mask(120, [17, 20, 26, 29])]);
    assert.ok(objects.every((object) => object.uncertain));
    assert.throws(() => plannedTargets(objects, JOB, 100, OPTIONS), /"car".*cannot be told/s);
});

test('an ungrouped shape belongs to the group whose written masks it lies on or continues', () => {
    const shapes = [mask(100, [4, 4, 13, 13]), mask(100, [30, 4, 39, 13]), mask(120, [6, 4, 15, 13])];
    for (const frame of FRAMES.slice(1)) shapes.push(auto(frame, 1, [5, 4, 14, 13]), auto(frame, 2, [31, 4, 40, 13]));
    const objects = objectsOf(shapes);
    assert.equal(objects.length, 2);
    assert.deepEqual(drawnFrames(objects.find(({ group }) => group === 1)), [100, 120]);
    assert.deepEqual(drawnFrames(objects.find(({ group }) => group === 2)), [100]);
});

/** What a first run made of an object, and what a second run takes for the same object. */
function again(shapes, tracks, chosen, groupsOf) {
    return targetObjects(collection(shapes, tracks), chosen, 100, FRAMES, groupsOf);
}

test('a second run knows what the first one wrote: tracks, fast objects, runs from behind the keyframe, detector masks', () => {
    const drawnTrack = track([tracked(100), tracked(110)]);
    const ownTrack = track(FRAMES.slice(1).map((frame) => tracked(frame)), { source: 'auto', group: 1 });
    assert.deepEqual(again([], [drawnTrack, ownTrack], collection([], [drawnTrack])).map(({ group, tracks }) => [group, tracks.length]), [[1, 1]]);

    const fast = [mask(100, [0, 4, 5, 13]), ...FRAMES.slice(1, 9).map((frame) => auto(frame, 1, [(frame - 100) * 7, 4, (frame - 100) * 7 + 5, 13]))];
    assert.deepEqual(again(fast, [], collection([fast[0]])).map(({ group }) => group), [1]);

    const behind = [mask(100), ...FRAMES.slice(10).map((frame) => auto(frame, 1))];
    assert.deepEqual(again(behind, [], collection([behind[0]])).map(({ group }) => group), [1]);

    const detected = [auto(100, 0), auto(101, 4)];
    const [object] = again(detected, [], collection([detected[0]]));
    assert.deepEqual([object.group, object.written.length], [4, 1]);
    assert.equal(detected[0].source, 'auto');

    const apart = [mask(100, [40, 30, 50, 40]), auto(120, 6, [20, 4, 29, 13]), auto(120, 7, [4, 4, 13, 13])];
    assert.deepEqual(again(apart, [], collection([apart[0]]), new Map([[apart[0].clientID, 6]])).map(({ group }) => group), [6]);
});

test('two fast objects and their masks find each other by distance; a changed label takes its masks along', () => {
    const shapes = [mask(100, [0, 4, 5, 9]), mask(100, [40, 4, 45, 9]), auto(101, 1, [47, 4, 52, 9]), auto(101, 2, [7, 4, 12, 9])];
    const objects = objectsOf(shapes);
    assert.equal(objects.length, 2);
    assert.deepEqual(objects.map(({ group, drawn }) => [group, drawn.get(100)[0].points.at(-4)]).sort(), [[1, 40], [2, 0]]);
    const renamed = objectsOf([mask(100, undefined, { label_id: 2 }), auto(101, 1), auto(102, 1)]);
    assert.deepEqual(renamed.map(({ label, group, written }) => [label, group, written.length]), [[2, 1, 2]]);
});

test('a correction drawn over a mask is a keyframe of its object; one that touches none is another object', () => {
    const shapes = [mask(100), ...FRAMES.slice(1).map((frame) => auto(frame, 1)), mask(120, [5, 5, 14, 14])];
    assert.deepEqual(objectsOf(shapes).map(drawnFrames), [[100, 120]]);
    const between = [...shapes.slice(0, -1), mask(120, [8, 8, 17, 17])]; // a correction, or a neighbour
    assert.throws(() => plannedTargets(objectsOf(between), JOB, 120, OPTIONS), /delete that mask/);
    const other = [mask(100), ...FRAMES.slice(1).map((frame) => auto(frame, 1)), mask(120, [40, 30, 50, 40])];
    assert.deepEqual(objectsOf(other).map(({ group }) => group), [1, 0]);
    const redrawn = other.filter((shape) => shape.frame !== 120 || shape.source !== 'auto'); // the wrong mask was deleted first
    assert.deepEqual(objectsOf(redrawn).map(drawnFrames), [[100, 120]]);
});

test('a new object is not taken for one that has just left, or is hidden, or drawn elsewhere', () => {
    const first = [mask(100), mask(100, [4, 30, 13, 39])];
    const second = FRAMES.slice(1).map((frame) => auto(frame, 2, [4, 30, 13, 39]));
    const gone = (frame) => frame >= 120 && frame <= 122;
    const written = FRAMES.slice(1).filter((frame) => !gone(frame)).map((frame) => auto(frame, 1));
    for (const frame of [120, 121, 122]) {
        for (const box of [[44, 4, 53, 13], [5, 5, 14, 14]]) {
            const objects = objectsOf([...first, ...second, ...written, mask(frame, box)]);
            assert.deepEqual(objects.map(({ group, drawn }) => [group, drawn.size]).sort(), [[0, 1], [1, 1], [2, 1]], `${frame} ${box}`);
        }
    }
    // A hole of one frame, far away from it: another object.
    const far = objectsOf([...first, ...second, ...FRAMES.slice(1).filter((frame) => frame !== 110).map((frame) => auto(frame, 1)), mask(110, [50, 4, 53, 7])]);
    assert.deepEqual(far.map(({ group }) => group).sort(), [0, 1, 2]);
});

test('a track is an object of its own beside the masks of another, and one without keyframes here is none', () => {
    const shapes = [mask(100), ...FRAMES.slice(1, 19).map((frame) => auto(frame, 1))];
    const other = track([tracked(130, { points: [40, 30, 50, 30, 50, 40] })]);
    const late = track([tracked(90), tracked(105, { outside: true })]);
    const objects = objectsOf(shapes, [other, late]);
    assert.deepEqual(objects.map(({ group, tracks, absent }) => [group, tracks.length, absent.size]), [[1, 0, 0], [0, 1, 0]]);
});

test('masks go to an object of their own label before one of another', () => {
    const shapes = [mask(100, [0, 4, 9, 13]), ...FRAMES.slice(1, 30).map((frame) => auto(frame, 1, [4, 4, 13, 13])), mask(115, [4, 4, 13, 13], { label_id: 2 })];
    assert.deepEqual(objectsOf(shapes).map(({ label, group, written }) => [label, group, written.length]), [[1, 1, 29], [2, 0, 0]]);
});

test('thousands of moving masks of one label are looked through in no time', () => {
    const shapes = [];
    for (const frame of FRAMES) for (let i = 0; i < 60; i++) shapes.push(mask(frame, [(i * 7 + frame * 13) % 50, i % 30, (i * 7 + frame * 13) % 50 + 9, i % 30 + 9]));
    const began = performance.now();
    objectsOf(shapes);
    assert.ok(performance.now() - began < 5000);
});

test('tracks give their keyframes, with the attributes that hold there, and where they end', () => {
    const value = (id, text) => ({ spec_id: id, value: text });
    const [object] = objectsOf([], [track([tracked(100, { attributes: [value(12, 'a')] }), tracked(110), tracked(115, { outside: true })],
        { attributes: [value(11, 'x')] })]);
    assert.equal(object.tracks.length, 1);
    assert.deepEqual(drawnFrames(object), [100, 110]);
    assert.deepEqual([...object.absent], [115]);
    assert.deepEqual(object.drawn.get(110)[0].attributes, [value(11, 'x'), value(12, 'a')]);
});

test('frames that are deleted and shapes that cannot be propagated are left out', () => {
    const shapes = [mask(100), mask(101, undefined, { type: 'rectangle' }), mask(500)];
    assert.deepEqual(objectsOf(shapes).map(drawnFrames), [[100]]);
});

test('targets are the objects of what was chosen; a mask of a detector serves where nobody drew', () => {
    const shapes = [mask(100, undefined, { group: 1 }), auto(101, 1), mask(100, undefined, { group: 2 }), auto(110, 0), auto(111, 0)];
    const target = (chosen, frame) => targetObjects(collection(shapes), collection(chosen), frame, FRAMES);
    assert.deepEqual(target([shapes[1]], 101).map(({ group }) => group), [1]);
    assert.deepEqual(target([shapes[0], shapes[2]], 100).length, 2);
    const [detected] = target([shapes[3]], 110);
    assert.deepEqual([drawnFrames(detected), detected.written], [[110], []]);
    assert.deepEqual(target([shapes[3]], 111), []); // it is not on that frame
});

test('tracks of one group that follow each other are one object; two that are to be seen at once are two', () => {
    const [one, two] = [track([tracked(100), tracked(110, { outside: true })], { group: 4 }), track([tracked(120)], { group: 4 })];
    const [object, ...others] = objectsOf([], [two, one]);
    assert.deepEqual([drawnFrames(object), others], [[100, 120], []]);
    const { created, deleted } = outcome(object, FRAMES, (frame) => ({ shapes: [seen(0, square(frame))] }));
    assert.deepEqual([deleted.tracks.length, created.tracks.map(({ group }) => group)], [2, [4, 4]]);
    const [second, first] = created.tracks;
    assert.equal(lookOf(first), `P${'C'.repeat(9)};${'C'.repeat(9)},${'.'.repeat(19)}`);
    assert.equal(lookOf(second), `${'.'.repeat(20)}P${'C'.repeat(19)}`);
    const together = objectsOf([], [one, track([tracked(105)], { group: 4 })]);
    assert.deepEqual(together.map((other) => drawnFrames(other)), [[100], [105]]);
});

test('linking keeps to labels, to grouped tracks and to the frames that there are', () => {
    const [object] = objectsOf([mask(100, undefined, { label_id: 2 }), auto(101, 1, [9, 9, 18, 18])]).filter(({ drawn }) => drawn.size);
    assert.deepEqual([object.label, object.written], [2, []]); // touches a mask of another label
    const stray = track([tracked(101)], { source: 'auto', group: 0 });
    assert.deepEqual(objectsOf([mask(100)], [stray]).flatMap(({ writtenTracks }) => writtenTracks), []);
    assert.deepEqual(drawnFrames(objectsOf([], [track([tracked(90), tracked(100)])])[0]), [100]);
    // Hardly touching is not enough, on the frame or beside it, and less so with another label.
    const near = (frame, left, label = 1) => objectsOf([mask(100, [4, 4, 13, 13], { label_id: label }), auto(frame, 1, [left, 4, left + 9, 13]),
        auto(frame, 2, [50, 30, 59, 39])]).filter(({ drawn }) => drawn.size).map(({ group }) => group);
    assert.deepEqual([near(100, 13), near(100, 6), near(102, 4)], [[0], [1], [0]]);
    assert.deepEqual([near(101, 4, 2), near(101, 8, 2)], [[1], [0]]);
    const masks = track([tracked(100, { type: 'rectangle' })]);
    assert.deepEqual(objectsOf([], [masks]), []);
    // Of two groups that a shape touches, the one that it lies on best.
    const both = [mask(120, [8, 4, 17, 13]), ...FRAMES.flatMap((frame) => [auto(frame, 1, [4, 4, 13, 13]), auto(frame, 2, [9, 4, 18, 13])])];
    assert.deepEqual(objectsOf(both).filter(({ drawn }) => drawn.size).map(({ group }) => group), [2]);
    // A shape that touches two of the frame before by nearly the same is not given to either.
    const unclear = [mask(100, [4, 4, 23, 13]), mask(100, [14, 4, 33, 13]), mask(105, [7, 4, 26, 13])];
    assert.ok(objectsOf(unclear).some(({ uncertain }) => uncertain));
});

const [WHOLE, PART] = [[4, 4, 33, 43], [8, 6, 27, 36]]; // the part has half of the pixels

test('a part of the same label is not its whole, from keyframe to keyframe and on written masks', () => {
    const drawn = objectsOf([mask(100, WHOLE), mask(100, PART), mask(110, PART), mask(110, WHOLE)]);
    assert.deepEqual(drawn.map(drawnFrames), [[100, 110], [100, 110]]);
    for (const object of drawn) {
        assert.equal(object.uncertain, false);
        assert.equal(new Set([...object.drawn.values()].map(([{ points }]) => points.join())).size, 1);
    }

    const written = [mask(100, WHOLE), ...FRAMES.slice(1).map((frame) => auto(frame, 1, WHOLE))];
    const [whole, part] = objectsOf([...written, mask(110, PART)]).sort((a, b) => b.group - a.group);
    assert.deepEqual([whole.group, drawnFrames(whole), drawnFrames(part)], [1, [100], [110]]);
    assert.ok(part.uncertain); // or a correction of the whole: nobody can say
    assert.deepEqual(objectsOf([...written, mask(110, [4, 4, 33, 40])]).map(drawnFrames), [[100, 110]]); // a correction

    const parts = FRAMES.slice(1).map((frame) => auto(frame, 2, PART));
    const both = objectsOf([...written, mask(100, PART), ...parts, mask(110, PART), mask(110, WHOLE)]);
    assert.deepEqual(both.map(({ group, drawn: of, uncertain }) => (
        [group, uncertain, [...of.values()].map(([{ points }]) => points.at(-4))])).sort(), [[1, false, [4, 4]], [2, false, [8, 8]]]);
});

test('a much smaller shape in place of a deleted mask corrects it; of two each goes to its own', () => {
    const wholes = FRAMES.slice(1).filter((frame) => frame !== 110).map((frame) => auto(frame, 1, WHOLE));
    assert.deepEqual(objectsOf([...wholes, mask(110, PART)]).map(({ group, drawn }) => [group, drawn.size]), [[1, 1]]);
    const parts = wholes.map(({ frame }) => auto(frame, 2, PART));
    const objects = objectsOf([...wholes, ...parts, mask(110, PART), mask(110, WHOLE)]);
    assert.deepEqual(objects.map(({ group, drawn }) => [group, drawn.get(110)[0].points.at(-4)]).sort(), [[1, 4], [2, 8]]);
});

test('overlapping objects are committed whole, each on the level of its keyframe', () => {
    const [whole, part] = objectsOf([mask(100, WHOLE, { z_order: 2 }), mask(100, PART, { label_id: 2, z_order: 7 })]);
    const range = { low: 100, high: 102, from: 100, to: 102 };
    const answered = new Map([[101, { frame: 101, absent: [], shapes: [WHOLE, PART].map((box, object) => (
        { object, type: 'mask', points: mask(101, box).points, confidence: 0.9 })) }]]);
    const { created } = outcomeOf([{ object: whole, name: 0, range }, { object: part, name: 1, range }], answered, JOB, 0);
    assert.deepEqual(created.shapes.map(({ points, z_order: z, label_id: label }) => [points, z, label]),
        [[mask(101, WHOLE).points, 2, 1], [mask(101, PART).points, 7, 2]]);
});
