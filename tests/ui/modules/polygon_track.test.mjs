import assert from 'node:assert/strict';
import test from 'node:test';

import { outcomeOf } from '../../../plugin/ui/perclip/commit.js';
import { isMarked } from '../../../plugin/ui/perclip/keyframe_mark.js';
import { keyframesOf } from '../../../plugin/ui/perclip/track_keyframes.js';
import { answers, drawnFrames, FRAMES, JOB, lookOf, mask, newID, objectsOf, outcome, polygon, rangeFrom, seen, square, track, tracked } from './job.mjs';

/** The track that comes of an answer on some frames, absent on others. */
function fill(tracks, frames, { absent = [], range, shapes = [], make = square } = {}) {
    const [object] = objectsOf(shapes, tracks);
    const { created, deleted } = outcome(object, frames, (frame) => (
        absent.includes(frame) ? { shapes: [], absent: [{ object: 0, confidence: 0.8 }] } : { shapes: [seen(0, make(frame))] }), range);
    assert.equal(created.tracks.length, 1);
    const made = { ...created.tracks[0], clientID: newID() };
    assert.equal(new Set(made.shapes.map(({ points }) => points)).size, made.shapes.length);
    assert.ok(made.shapes.every((shape) => !('id' in shape)) && !('id' in created.tracks[0]) && !('clientID' in created.tracks[0]));
    return { made, created, deleted };
}

test('a polygon track gets keyframes between those of the person, which stay as they were: one track, one change', () => {
    const more = { rotation: 0, occluded: true, z_order: 3, points: [4.123456789, 4, 14.1, 4, 14, 14.000001] };
    const drawn = track([tracked(90, more), tracked(100, { ...more, attributes: [{ spec_id: 12, value: 'a' }], id: 5 }), tracked(105, { z_order: 1, id: 6 }),
        tracked(112, { outside: true })], { attributes: [{ spec_id: 11, value: 'x' }], group: 9, id: 3 });
    const { made, created, deleted } = fill([drawn], FRAMES.slice(0, 20), { absent: [108, 109] });
    assert.deepEqual([deleted.tracks, deleted.shapes, created.shapes], [[drawn], [], []]);
    assert.equal(lookOf(made), 'PCCCCPCC,.CC;CCCCCCC,...................');
    const own = new Map(drawn.shapes.map(({ id, ...shape }) => [shape.frame, shape]));
    for (const shape of made.shapes.filter(({ frame }) => own.has(frame))) assert.deepEqual(shape, own.get(shape.frame));
    assert.equal(made.shapes.filter(({ frame }) => own.has(frame)).length, 4);
    assert.deepEqual([made.frame, made.label_id, made.group, made.source, made.attributes], [90, 1, 9, 'manual', drawn.attributes]);
    const at = (frame) => made.shapes.find((shape) => shape.frame === frame);
    assert.deepEqual([at(103).occluded, at(103).z_order, at(107).occluded, at(107).z_order], [true, 3, false, 1]); // as of the keyframe before
    assert.ok(made.shapes.every(({ frame, attributes }) => own.has(frame) || !attributes.length)); // what holds there holds on
});

test('pressing again after a correction changes no keyframe of the person, and all others', () => {
    const drawn = track([tracked(100)]);
    const { made: first } = fill([drawn], FRAMES);
    const corrected = { ...first, shapes: first.shapes.map((shape) => (shape.frame === 110 ? { ...shape, points: [5, 5, 15, 5, 15, 15] } : shape)) };
    const other = (frame) => ({ type: 'polygon', points: [20, 4, 30, 4, 30, frame - 92] });
    const [object] = objectsOf([], [corrected]);
    assert.deepEqual(drawnFrames(object), [100, 110]);
    const { made: second, deleted } = fill([corrected], FRAMES, { make: other });
    assert.deepEqual(deleted.tracks, [corrected]);
    for (const shape of second.shapes) {
        if ([100, 110].includes(shape.frame)) assert.deepEqual(shape, corrected.shapes.find(({ frame }) => frame === shape.frame));
        else assert.ok(shape.points[0] > 20 && shape.points[0] < 20.02);
    }
    assert.equal(lookOf(second), `P${'C'.repeat(9)}P${'C'.repeat(29)}`);
    // Only the neighbourhood: the rest stays as it was, digit for digit.
    const { made: third } = fill([second], FRAMES.slice(5, 21), { make: square });
    assert.deepEqual(third.shapes.slice(21), second.shapes.slice(21));
    assert.deepEqual(third.shapes.slice(0, 5), second.shapes.slice(0, 5));
    // The same again is no change at all.
    const [same] = objectsOf([], [third]);
    assert.deepEqual(outcome(same, FRAMES.slice(5, 21), (frame) => ({ shapes: [seen(0, square(frame))] })).created.tracks, []);
});

test('whatever a person changes on a keyframe of Perclip makes it theirs', () => {
    const { made } = fill([track([tracked(100, { attributes: [{ spec_id: 12, value: 'a' }] })])], FRAMES, { absent: [120, 121] });
    const changed = (frame, change) => ({ ...made, shapes: made.shapes.map((shape) => (shape.frame === frame ? { ...shape, ...change(shape) } : shape)) });
    const cases = [
        [110, ({ points }) => ({ points: [...points.slice(0, 4), points[4] + 1, ...points.slice(5)] })],
        [110, ({ points }) => ({ points: points.slice(2) })],
        [110, ({ points }) => ({ points: points.map((value) => Math.round(value * 100) / 100) })],
        [110, () => ({ outside: true })],
        [120, () => ({ outside: false })],
        [110, () => ({ occluded: true })],
        [110, () => ({ z_order: 5 })],
        [110, () => ({ attributes: [{ spec_id: 12, value: 'b' }] })],
    ];
    for (const [frame, change] of cases) {
        const given = changed(frame, change);
        const [object] = objectsOf([], [given]);
        assert.ok(object.drawn.has(frame) || object.absent.has(frame), String(change));
        const { made: again } = fill([given], FRAMES, { make: (at) => ({ type: 'polygon', points: [20, 4, 30, 4, 30, at - 92] }) });
        const at = (all) => all.shapes.find((shape) => shape.frame === frame);
        assert.deepEqual(at(again), at(given), String(change));
    }
    // Attributes that CVAT's server repeats on every keyframe are no change.
    const repeated = { ...made, shapes: made.shapes.map((shape) => ({ ...shape, attributes: [{ spec_id: 12, value: 'a' }] })) };
    assert.deepEqual(drawnFrames(objectsOf([], [repeated])[0]), [100]);
    // A person who ends the track where Perclip left off has said so.
    const ended = { ...made, shapes: [...made.shapes.slice(0, 11), { ...made.shapes[10], frame: 115, outside: true }] };
    assert.deepEqual([...objectsOf([], [ended])[0].absent], [115]);
});

test('back from a keyframe the track begins earlier, with the attributes of the first one', () => {
    const drawn = track([tracked(110, { z_order: 2, attributes: [{ spec_id: 12, value: 'a' }] })], { attributes: [{ spec_id: 11, value: 'x' }] });
    const { made } = fill([drawn], FRAMES.slice(3, 11));
    assert.equal(lookOf(made), '...CCCCCCCPppppppppppppppppppppppppppppp');
    assert.deepEqual([made.frame, made.shapes[0].z_order, made.shapes[0].attributes], [103, 2, [{ spec_id: 12, value: 'a' }]]);
    assert.ok(made.shapes.slice(1, -1).every(({ attributes }) => !attributes.length));
    // Of frames that nothing was found out about, nothing is shown that was not shown before.
    assert.equal(lookOf(fill([drawn], FRAMES.slice(3, 6)).made), '...CCC,...Pppppppppppppppppppppppppppppp');
});

test('outside of what was asked for, a track goes on as it was: hidden, or interpolated up to the next keyframe', () => {
    const drawn = track([tracked(100), tracked(110, { outside: true }), tracked(120), tracked(130)]);
    assert.equal(lookOf(fill([drawn], FRAMES.slice(2, 5)).made), 'PpCCCccccc;.........PpppppppppPppppppppp');
    assert.equal(lookOf(fill([drawn], FRAMES.slice(12, 15)).made), 'Ppppppppp' + 'p;.CCC,....PpppppppppPppppppppp');
    const { made } = fill([drawn], FRAMES.slice(32, 36));
    assert.equal(lookOf(made), 'Ppppppppp' + 'p;.........PpppppppppPpCCCC,...'); // behind the last keyframe it ends
    assert.equal(lookOf(fill([made], FRAMES.slice(34)).made), 'Ppppppppp' + 'p;.........PpppppppppPpCCCCCCCC');
    const bad = fill([drawn], FRAMES.slice(32), { make: (frame) => (frame === 135 ? { type: 'polygon', points: [1, 1, 900, 1, 9, 9] } : square(frame)) });
    assert.equal(lookOf(bad.made), 'Ppppppppp' + 'p;.........PpppppppppPpCCC,CCCC');
});

test('however often it is pressed and corrected: what a person has set on a frame of a track stays', () => {
    let seed = 7;
    const random = (n) => { seed = (seed * 48271) % 2147483647; return seed % n; };
    const some = () => { const [x, y] = [random(400) / 10, random(300) / 10]; return [x, y, x + 9.7, y, x + 5, y + 8.1]; };
    for (let round = 0; round < 150; round++) {
        let now = track([tracked(100 + random(30), { points: some(), z_order: random(3), attributes: random(2) ? [{ spec_id: 12, value: 'a' }] : [] })]);
        const people = new Map([[now.shapes[0].frame, now.shapes[0]]]); // what they set, by frame
        for (let press = 0; press < 4; press++) {
            const [object] = objectsOf([], [now]);
            if (!object) break; // nothing of it is to be seen any more
            const options = { range: ['to the end', 'to the next keyframe', 'to the target frame'][random(3)], target: FRAMES[random(40)], direction: ['forward', 'backward', 'both'][random(3)] };
            const range = rangeFrom(object, FRAMES[random(40)], options);
            if (range) {
                const answered = answers(FRAMES.filter(() => random(9)), () => (random(4) ? { shapes: [seen(0, { type: 'polygon', points: some() })] } : { shapes: [], absent: [{ object: 0, confidence: 1 }] }));
                const { created } = outcomeOf([{ object, name: 0, range }], answered, JOB, 7);
                assert.ok(created.tracks.length <= 1);
                if (created.tracks.length) now = { ...created.tracks[0], clientID: newID() };
            }
            for (const [frame, shape] of people) assert.deepEqual(now.shapes.find((other) => other.frame === frame), shape, `round ${round}, press ${press}, frame ${frame}`);
            const left = keyframesOf(now).filter(({ frame, isPerclips }) => !isPerclips && !people.has(frame));
            assert.ok(left.length <= 2 * press, 'the two beside a frame whose flags were changed may count as theirs, too');
            // A correction, on a keyframe or between two.
            const frame = FRAMES[random(40)];
            const last = now.shapes.filter((shape) => shape.frame <= frame).pop();
            if (!last) continue;
            const change = [{ points: some() }, { outside: !last.outside }, { occluded: !last.occluded }, { z_order: last.z_order + 1 }][random(4)];
            const set = { ...last, attributes: last.frame === frame ? last.attributes : [], ...change, frame };
            people.set(frame, set);
            now = { ...now, shapes: [...now.shapes.filter((shape) => shape.frame !== frame), set].sort((a, b) => a.frame - b.frame) };
            // Who sets a flag as the keyframe before has it has said nothing that is not kept anyway; moved points always count.
            for (const { frame: at, isPerclips, shape } of keyframesOf(now)) {
                if (people.has(at) && isPerclips) assert.ok(isMarked(shape.points, shape.outside) && people.delete(at));
            }
        }
    }
});

test('masks of a track, and frames where something else is drawn, are not shown twice', () => {
    const drawn = track([tracked(100), tracked(110)], { group: 4 });
    const { made, created } = fill([drawn], FRAMES.slice(0, 5), { make: mask });
    assert.equal(lookOf(made), 'P,........PPpppppppppppppppppppppppppppp'.replace('PP', 'Pp'));
    assert.deepEqual(created.shapes.map(({ frame, group }) => [frame, group]), [[101, 4], [102, 4], [103, 4], [104, 4]]);
    const beside = fill([drawn], FRAMES.slice(0, 8), { shapes: [polygon(103, [4, 4, 14, 4, 14, 14], { group: 4 })] });
    assert.equal(lookOf(beside.made), 'PCC,CCCCccPppppppppppppppppppppppppppppp');
    assert.deepEqual([beside.created.shapes, beside.deleted.shapes], [[], []]);
});

test('a track that an older Perclip wrote beside the drawn one is taken into it', () => {
    const beside = track([...FRAMES.slice(1, 10).map((frame) => tracked(frame)), tracked(110, { outside: true }), tracked(115), tracked(120, { outside: true })],
        { source: 'auto', group: 4 });
    const drawn = track([tracked(100), tracked(110)], { group: 4 });
    const { made, deleted } = fill([drawn, beside], FRAMES.slice(12, 15));
    assert.deepEqual(deleted.tracks.map(({ source }) => source), ['auto', 'manual']);
    assert.equal(lookOf(made), 'PCCCCCCCCCPpCCCCcccc,...................');
    assert.deepEqual([made.source, made.group], ['manual', 4]);
    const [again] = objectsOf([], [made]);
    assert.deepEqual([drawnFrames(again), again.writtenTracks], [[100, 110], []]);
});

test('of a track of Perclip\'s whose drawn track is gone, what masks replace goes and the rest stays', () => {
    const own = track([tracked(101, { attributes: [{ spec_id: 12, value: 'old' }] }), ...FRAMES.slice(2).map((frame) => tracked(frame))], { source: 'auto', group: 4 });
    const [object] = objectsOf([mask(100, undefined, { group: 4 })], [own]);
    const { created, deleted } = outcome(object, FRAMES.slice(0, 5), (frame) => ({ shapes: [seen(0, mask(frame))] }));
    assert.deepEqual([deleted.tracks, created.shapes.length, created.tracks[0].source], [[own], 4, 'auto']);
    assert.deepEqual(created.tracks[0].shapes.map(({ frame }) => frame), FRAMES.slice(5));
    assert.deepEqual(created.tracks[0].shapes[0].attributes, [{ spec_id: 12, value: 'old' }]);
    const middle = outcome(object, FRAMES.slice(10, 12), (frame) => ({ shapes: [seen(0, mask(frame))] })).created.tracks[0];
    assert.deepEqual(middle.shapes.filter(({ outside }) => outside).map(({ frame }) => frame), [110]);
    assert.deepEqual(middle.shapes.map(({ frame }) => frame), [...FRAMES.slice(1, 11), ...FRAMES.slice(12)]);
});
