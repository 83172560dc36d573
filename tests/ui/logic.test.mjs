// The pure part of plugin/ui/perclip.js, without a browser.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import test from 'node:test';
import { isDeepStrictEqual } from 'node:util';

const perclip = createRequire(import.meta.url)('../../plugin/ui/perclip.js');

const FRAMES = Array.from({ length: 40 }, (_, i) => 100 + i); // absolute numbers of a job that does not start at 0
const LABELS = [
    { id: 1, name: 'car', type: 'any', attributes: [{ id: 11, mutable: false }, { id: 12, mutable: true }] },
    { id: 2, name: 'cat', type: 'mask', attributes: [] },
];
const JOB = { width: 64, height: 48, frames: FRAMES, last: 139, labels: LABELS };
const OPTIONS = { range: 'to the end', target: 100, direction: 'forward', output: 'as drawn', tolerance: 2, clipLength: 5 };

let nextID = 0;
/** A mask shape that is a filled rectangle. */
function mask(frame, box = [4, 4, 13, 13], more = {}) {
    const [left, top, right, bottom] = box;
    return { type: 'mask', frame, label_id: 1, group: 0, source: 'manual', attributes: [], occluded: false, outside: false, z_order: 0,
        rotation: 0, elements: [], points: [0, (right - left + 1) * (bottom - top + 1), ...box], clientID: ++nextID, ...more };
}
const polygon = (frame, points, more = {}) => mask(frame, undefined, { type: 'polygon', points, ...more });
const tracked = (frame, more = {}) => ({ type: 'polygon', frame, points: [4, 4, 14, 4, 14, 14], outside: false, occluded: false, z_order: 0,
    rotation: 0, attributes: [], ...more });
const track = (shapes, more = {}) => ({ frame: shapes[0].frame, label_id: 1, group: 0, source: 'manual', attributes: [], elements: [],
    shapes, clientID: ++nextID, ...more });
const collection = (shapes, tracks = []) => ({ shapes, tracks, tags: [] });
const auto = (frame, group, box, more = {}) => mask(frame, box, { source: 'auto', group, ...more });
const objectsOf = (shapes, tracks) => perclip.findObjects(collection(shapes, tracks), FRAMES);
const drawnFrames = (object) => [...object.drawn.keys()].sort((a, b) => a - b);
const answers = (frames, make) => new Map(frames.map((frame) => [frame, { frame, absent: [], ...make(frame) }]));
const seen = (object, shape, confidence = 0.9) => ({ object, type: shape.type, points: shape.points, confidence });

// ------------------------------------------------------------------------------------------------ masks and polygons

test('masks that CVAT would accept and break on are recognised', () => {
    const { maskProblem } = perclip;
    assert.equal(maskProblem([0, 4, 1, 1, 2, 2], 4, 4), null);
    assert.equal(maskProblem([3, 1, 2, 2, 3, 3], 4, 4), null);
    for (const bad of [[], [1, 0, 0, 0, 0], [4, 0, 1, 1, 2, 2], [4, 1, 1, 2, 2]]) assert.match(maskProblem(bad, 4, 4), /empty/);
    assert.match(maskProblem([0, 3, 1, 1, 2, 2], 4, 4), /fill/);
    assert.match(maskProblem([0, 4, 3, 1, 4, 2], 4, 4), /outside/);
    assert.match(maskProblem([0, 1, 2, 2, 1, 2], 4, 4), /outside/);
    for (const odd of [0.5, -1, NaN, '4', Infinity]) assert.match(maskProblem([0, odd, 1, 1, 2, 2], 4, 4), /whole/);
});

test('polygons must have three points inside the image', () => {
    const { polygonProblem } = perclip;
    assert.equal(polygonProblem([0, 0, 64, 0, 64, 48], 64, 48), null);
    assert.match(polygonProblem([0, 0, 64, 0], 64, 48), /three/);
    assert.match(polygonProblem([0, 0, 64, 0, 64, 48, 1], 64, 48), /three/);
    assert.match(polygonProblem([0, 0, 65, 0, 64, 48], 64, 48), /out of/);
    assert.match(polygonProblem([0, 0, 64, 0, 64, NaN], 64, 48), /numbers/);
});

test('polygons and masks of the same pixels overlap wholly, shifted ones partly', () => {
    const { overlap } = perclip;
    const box = mask(0, [4, 4, 13, 13]);
    assert.equal(overlap(box, polygon(0, [4, 4, 14, 4, 14, 14, 4, 14])), 1);
    assert.equal(overlap(box, mask(0, [9, 4, 18, 13])), 50 / 150);
    assert.equal(overlap(box, mask(0, [30, 30, 40, 40])), 0);
    const ring = { type: 'mask', points: [0, 4, 2, 2, 2, 6, 4, 4, 7, 7] }; // four pixels are missing
    assert.equal(overlap(ring, { type: 'mask', points: [0, 16, 4, 4, 7, 7] }), 12 / 16);
});

// ----------------------------------------------------------------------------------------------------------- objects

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
    assert.throws(() => perclip.plannedTargets(objects, JOB, 100, OPTIONS), /"car".*cannot be told/s);
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
    return perclip.targetObjects(collection(shapes, tracks), chosen, 100, FRAMES, groupsOf);
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
    assert.throws(() => perclip.plannedTargets(objectsOf(between), JOB, 120, OPTIONS), /delete that mask/);
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

test('objects come in the same order whatever Perclip has written', () => {
    const drawn = [mask(110, [30, 4, 39, 13], { label_id: 2 }), mask(100)];
    const order = (more) => perclip.plannedTargets(objectsOf([...drawn, ...more]), JOB, 100, OPTIONS).map(({ object }) => object.label);
    assert.deepEqual(order([]), [1, 2]);
    assert.deepEqual(order([auto(111, 5, [30, 4, 39, 13], { label_id: 2 })]), [1, 2]);
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
    const target = (chosen, frame) => perclip.targetObjects(collection(shapes), collection(chosen), frame, FRAMES);
    assert.deepEqual(target([shapes[1]], 101).map(({ group }) => group), [1]);
    assert.deepEqual(target([shapes[0], shapes[2]], 100).length, 2);
    const [detected] = target([shapes[3]], 110);
    assert.deepEqual([drawnFrames(detected), detected.written], [[110], []]);
    assert.deepEqual(target([shapes[3]], 111), []); // it is not on that frame
});

// ------------------------------------------------------------------------------------------------------------ ranges

function objectWith(drawn, absent = []) {
    const [object] = objectsOf([], [track([...drawn.map((frame) => tracked(frame)), ...absent.map((frame) => tracked(frame, { outside: true }))])]);
    return object;
}
const rangeOf = (object, current, more) => perclip.rangeOf(object, FRAMES, current, { ...OPTIONS, ...more });

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
        assert.deepEqual(rangeOf(object, current, more), { low, high, from, to }, JSON.stringify([current, more]));
    }
    assert.equal(rangeOf(objectWith([139]), 139, {}), null);
    assert.equal(rangeOf(objectWith([100], [110]), 110, { direction: 'both', range: 'to the next keyframe' })?.to, 139);
    assert.equal(rangeOf(objectWith([100], [110]), 115, { range: 'to the next keyframe' }), null); // it has left
});

test('both ways are computed only where that is of use', () => {
    const plan = (object, current, more) => {
        const range = rangeOf(object, current, more);
        return perclip.planClips([object], [range], JOB, { ...OPTIONS, ...more })[0];
    };
    assert.deepEqual([plan(objectWith([110]), 110, {}).clip.direction, plan(objectWith([110]), 110, {}).work], ['forward', 30]);
    assert.equal(plan(objectWith([110]), 110, { direction: 'backward' }).clip.direction, 'backward');
    assert.equal(plan(objectWith([110]), 110, { direction: 'both' }).clip.direction, 'both');
    const between = plan(objectWith([110, 120]), 110, { range: 'to the next keyframe' });
    assert.deepEqual([between.clip.direction, between.work, between.clip.frames.length], ['both', 22, 11]);
});

test('a clip call names frames, keyframes of all objects, and where they are absent', () => {
    const [one, two] = [objectWith([110], [115]), objectsOf([mask(112), polygon(112, [1, 1, 9, 1, 9, 9], { group: 3 })])[1]];
    const ranges = [one, two].map((object) => rangeOf(object, 110, {}));
    const [{ clip }] = perclip.planClips([one, two], ranges, JOB, { ...OPTIONS, output: 'mask', clipLength: 25 });
    assert.deepEqual(clip.keyframes.map(({ frame, shapes }) => [frame, shapes.map(({ object, points }) => [object, points.length])]),
        [[110, [[0, 6]]], [112, [[1, 6]]], [115, [[0, 0]]]]);
    assert.deepEqual([clip.output, clip.clip_length, clip.width, clip.height, clip.version], ['mask', 25, 64, 48, 1]);
    assert.equal(clip.frames.length, 30);
    assert.ok(!('output' in perclip.planClips([one], [ranges[0]], JOB, OPTIONS)[0].clip));
});

// ----------------------------------------------------------------------------------------------------- chain of calls

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
    return { chain: new perclip.ClipChain({ clip, work: frames.length - 1 }, world), log };
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

test('many keyframes are parted into chains, and stretches that are all drawn are left out', () => {
    const frames = Array.from({ length: 300 }, (_, i) => i);
    const job = { ...JOB, frames, last: 299 };
    const [object] = perclip.findObjects(collection(frames.filter((f) => f % 4 === 0 && f < 200).map((f) => mask(f))), frames);
    const range = perclip.rangeOf(object, frames, 0, OPTIONS);
    const plans = perclip.planClips([object], [range], job, OPTIONS);
    assert.equal(plans.length, 3);
    assert.ok(plans.every(({ clip }) => clip.keyframes.length <= 25));
    const numbers = plans.flatMap(({ clip }) => clip.frames.map(({ frame }) => frame));
    assert.deepEqual([...new Set(numbers)], frames);
    assert.equal(numbers.length, 300 + 2); // they meet at keyframes
    const [dense] = perclip.findObjects(collection(frames.filter((f) => f < 250 || f > 260).map((f) => mask(f))), frames);
    const [only, ...others] = perclip.planClips([dense], [perclip.rangeOf(dense, frames, 0, OPTIONS)], job, OPTIONS);
    assert.deepEqual([only.clip.frames.map(({ frame }) => frame), others], [frames.slice(249, 262), []]);
});

test('numbers agree with each other, over several runs too', async () => {
    const { countsText, rateText } = perclip;
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
    const other = new perclip.ClipChain({ clip: { ...chain.clip, keyframes }, work: 1 }, {});
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
    await assert.rejects(gone.chain.run(), { message: perclip.UNREACHABLE });
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
    await assert.rejects(lost.chain.run(), { message: `${perclip.UNREACHABLE} It got through 12 of 39 frames.` });
    assert.ok(lost.clock.now > 45 && lost.clock.now < 75, `${lost.clock.now} s`);
    const back = timedFunction([[1, undefined], ...Array(7).fill(refused), [1, undefined]]);
    await back.chain.run();
    assert.ok(back.log.progress.some(([text]) => text.includes(perclip.UNREACHABLE)));
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
    await assert.rejects(failing({ code: 404 }), { message: perclip.NOT_DEPLOYED });
    await assert.rejects(failing({ code: 500 }), { message: perclip.TOO_OLD });
    await assert.rejects(failing({ states: ['x'], shapes: [null] }), { message: perclip.TOO_OLD }); // a stock tracker
    await assert.rejects(failing({ error: { code: 'bad_version', message: 'clip version 1' } }), { message: perclip.TOO_OLD });
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
        const running = assert.rejects(chain.run(), perclip.Cancelled);
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

// -------------------------------------------------------------------------------------------- what is created, deleted

const outcome = (object, frames, make, range = { low: frames[0], high: frames.at(-1) }) => perclip.outcomeOf(
    [{ object, name: 0, range }], answers(frames, make), JOB, 7);

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

/** What is to be seen of a track on each frame: a letter for a keyframe of Perclip's, one for a person's; small: interpolated. */
const lookOf = (given, frames = FRAMES) => {
    const keyframes = perclip.keyframesOf(given);
    return frames.map((frame) => {
        const last = keyframes.filter((keyframe) => keyframe.frame <= frame).pop();
        if (!last || last.shape.outside) return last?.frame === frame ? (last.isPerclips ? ',' : ';') : '.';
        const letter = last.isPerclips ? 'C' : 'P';
        return last.frame === frame ? letter : letter.toLowerCase();
    }).join('');
};
const square = (frame) => ({ type: 'polygon', points: [4.3, 4, 14, 4, 14, frame - 92] });
/** The track that comes of an answer on some frames, absent on others. */
function fill(tracks, frames, { absent = [], range, shapes = [], make = square } = {}) {
    const [object] = objectsOf(shapes, tracks);
    const { created, deleted } = outcome(object, frames, (frame) => (
        absent.includes(frame) ? { shapes: [], absent: [{ object: 0, confidence: 0.8 }] } : { shapes: [seen(0, make(frame))] }), range);
    assert.equal(created.tracks.length, 1);
    const made = { ...created.tracks[0], clientID: ++nextID };
    assert.equal(new Set(made.shapes.map(({ points }) => points)).size, made.shapes.length);
    assert.ok(made.shapes.every((shape) => !('id' in shape)) && !('id' in created.tracks[0]) && !('clientID' in created.tracks[0]));
    return { made, created, deleted };
}

test('the mark of keyframes is the one that the SDK program writes', () => {
    const { marked, persons } = JSON.parse(readFileSync(new URL('../keyframe_mark_vectors.json', import.meta.url), 'utf8'));
    assert.ok(marked.length > 5 && persons.length > 5);
    for (const { name, points, outside, width, marked: expected } of marked) {
        assert.deepEqual(perclip.markKeyframe(points, outside, width), expected, name);
        assert.ok(perclip.isMarked(JSON.parse(JSON.stringify(expected)), outside) && !perclip.isMarked(expected, !outside), name);
    }
    for (const { name, points, outside } of persons) assert.ok(!perclip.isMarked(points, outside), name);
});

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
            const range = rangeOf(object, FRAMES[random(40)], options);
            if (range) {
                const answered = answers(FRAMES.filter(() => random(9)), () => (random(4) ? { shapes: [seen(0, { type: 'polygon', points: some() })] } : { shapes: [], absent: [{ object: 0, confidence: 1 }] }));
                const { created } = perclip.outcomeOf([{ object, name: 0, range }], answered, JOB, 7);
                assert.ok(created.tracks.length <= 1);
                if (created.tracks.length) now = { ...created.tracks[0], clientID: ++nextID };
            }
            for (const [frame, shape] of people) assert.deepEqual(now.shapes.find((other) => other.frame === frame), shape, `round ${round}, press ${press}, frame ${frame}`);
            const left = perclip.keyframesOf(now).filter(({ frame, isPerclips }) => !isPerclips && !people.has(frame));
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
            for (const { frame: at, isPerclips, shape } of perclip.keyframesOf(now)) {
                if (people.has(at) && isPerclips) assert.ok(perclip.isMarked(shape.points, shape.outside) && people.delete(at));
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
        const objects = perclip.targetObjects(whole, whole, current, FRAMES);
        const targets = objects.flatMap((object, name) => {
            const range = perclip.rangeOf(object, FRAMES, current, options);
            return range ? [{ object, range, name }] : [];
        });
        const answered = answers(FRAMES.filter(() => random(8)), (frame) => ({
            shapes: targets.filter(() => random(5)).map(({ name, object }) => {
                const kind = options.output === 'as drawn' ? object.drawn.values().next().value[0].type : options.output;
                return seen(name, kind === 'mask' ? mask(frame) : polygon(frame, [1, 1, 9, 1, 9, 9]), random(100) / 100);
            }) }));
        const before = JSON.stringify(whole);
        const { created, deleted } = perclip.outcomeOf(targets, answered, JOB, 2);
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
        assert.ok(created.shapes.every((shape) => perclip.shapeProblem(shape, JOB) === null));
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
            const people = perclip.keyframesOf(made).filter(({ isPerclips }) => !isPerclips).map(({ frame }) => frame);
            assert.ok(drawnTracks.some(({ shapes: old }) => isDeepStrictEqual(people, old.map(({ frame }) => frame))), 'whose is whose');
        }
    }
});

// ------------------------------------------------------------------------------------------- settings and the notice

test('a label that takes one type only is told of before anything is sent', () => {
    const [object] = objectsOf([mask(100, undefined, { label_id: 2 })]);
    assert.throws(() => perclip.plannedTargets([object], JOB, 100, { ...OPTIONS, output: 'polygon' }), /"cat" takes masks only/);
    assert.equal(perclip.plannedTargets([object], JOB, 100, OPTIONS).length, 1);
    assert.throws(() => perclip.plannedTargets([], JOB, 100, OPTIONS), /draw a mask/);
    assert.throws(() => perclip.plannedTargets([object], JOB, 100, { ...OPTIONS, direction: 'backward' }), /no frames to fill before this one/);
});

test('doubtful frames: the worst of each run of them, and the way round', () => {
    const low = [[103, 0.3], [104, 0.1], [105, 0.4], [120, 0.2], [120, 0.45], [130, 0.9]].map(([frame, confidence]) => ({ frame, confidence }));
    const { count, places } = perclip.doubtsOf(low, 0.5, FRAMES);
    assert.equal(count, 4);
    assert.deepEqual(places.map(({ frame }) => frame), [104, 120]);
    assert.equal(perclip.nextPlace([104, 120], 104, 1), 120);
    assert.equal(perclip.nextPlace([104, 120], 120, 1), 104);
    assert.equal(perclip.nextPlace([104, 120], 110, -1), 104);
    assert.equal(perclip.nextPlace([104, 120], 100, -1), 120);
});

test('settings come from the script tag and the browser; nonsense is left out', () => {
    const { mergedSettings, knownParameters, DEFAULT_SETTINGS } = perclip;
    assert.deepEqual(mergedSettings({}, {}), DEFAULT_SETTINGS);
    const merged = mergedSettings({ shortSide: '384', functionId: 'mine', doubt: 'x' }, { nextKey: 'Alt+N', functionId: 5 });
    assert.deepEqual([merged.shortSide, merged.functionId, merged.doubt, merged.nextKey], [384, 'mine', 0.5, 'Alt+N']);
    assert.equal(knownParameters({ Frames: 'x', Speed: 'toString', Direction: 'both', 'Polygon tolerance': 'y' }).Speed, 'accurate');
    assert.equal(knownParameters({ Direction: 'both' }).Direction, 'both');
    assert.deepEqual(perclip.optionsOf({ Speed: 'fast', 'Target frame': 12, 'Polygon tolerance': 1000 }),
        { range: 'to the end', target: 12, direction: 'forward', output: 'as drawn', tolerance: 100, clipLength: 25 });
});

test('what is under way is not disturbed: drawing, editing, and what CVAT\'s other tools have begun', () => {
    const { underWay } = perclip;
    const store = (activeControl, isFree = true) => ({ getState: () => ({ annotation: { canvas: { activeControl, instance: { isAbleToChangeFrame: () => isFree } } } }) });
    for (const control of ['draw_mask', 'draw_polygon', 'draw_rectangle', 'draw_skeleton', 'edit']) {
        assert.equal(underWay(store(control)), 'Finish what you are drawing first.', control);
    }
    for (const control of ['ai_tools', 'opencv_tools', 'merge', 'group', 'join', 'slice', 'split']) assert.match(underWay(store(control)), /Finish what you have begun/);
    for (const control of ['cursor', 'drag_canvas', 'zoom_canvas', 'open_issue', undefined, null]) assert.equal(underWay(store(control)), null, control);
    assert.equal(underWay(store('cursor', false)), 'Finish what you are drawing first.');
    assert.equal(underWay({ getState: () => ({ annotation: { canvas: {} } }) }), null);
});

test('the notice finds a place beside the panels', () => {
    const canvas = { left: 44, top: 56, right: 1000, bottom: 700 };
    const size = { width: 340, height: 120 };
    const panel = (left, top, right, bottom) => ({ left, top, right, bottom });
    assert.deepEqual(perclip.freePlace(size, canvas, []), { left: 60, top: 564 });
    assert.deepEqual(perclip.freePlace(size, canvas, [panel(44, 500, 300, 700)]), { left: 352, top: 564 });
    const [brushes, appearance, bottom] = [panel(60, 70, 500, 120), panel(700, 400, 1000, 700), panel(44, 600, 700, 700)];
    assert.deepEqual(perclip.freePlace(size, canvas, [brushes, appearance, bottom]), { left: 60, top: 318 });
    assert.deepEqual(perclip.freePlace(size, panel(0, 0, 200, 100), []), { left: 16, top: 0 }); // a tiny window
});

test('shortcuts go by the key\'s place and all modifiers', () => {
    const press = (code, more = {}) => ({ code, altKey: true, ctrlKey: false, shiftKey: false, metaKey: false, ...more });
    assert.ok(perclip.isShortcut(press('KeyP'), 'Alt+P'));
    assert.ok(perclip.isShortcut(press('Period'), 'Alt+.'));
    assert.ok(perclip.isShortcut(press('F8', { altKey: false, ctrlKey: true }), 'Ctrl+F8'));
    assert.ok(!perclip.isShortcut(press('KeyP', { shiftKey: true }), 'Alt+P'));
    assert.ok(!perclip.isShortcut(press('KeyP', { altKey: false }), 'Alt+P'));
    assert.ok(!perclip.isShortcut(press('KeyO'), 'Alt+P'));
});

test('a long run of doubtful frames is more than one place', () => {
    const { count, places } = perclip.doubtsOf(FRAMES.slice(0, 25).map((frame) => ({ frame, confidence: frame / 1000 })), 0.5, FRAMES);
    assert.deepEqual([count, places.map(({ frame }) => frame)], [25, [100, 110, 120]]);
});

// ------------------------------------------------------------------------------------------------- what is easily lost

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

test('a whole track of Perclip is replaced up to a keyframe of its own', () => {
    const own = track([tracked(101), tracked(112), tracked(125)], { source: 'auto', group: 4 });
    const [object] = objectsOf([], [track([tracked(100), tracked(110)], { group: 4 }), own]);
    const { low, high } = rangeOf(object, 110, { range: 'to the target frame', target: 115 });
    assert.deepEqual([low, high], [102, 124]);
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
    await assert.rejects(chain.run(), perclip.Cancelled);
    await new Promise((resolve) => { setTimeout(resolve, 20); });
    assert.equal(served.calls.length, 2); // the one that was under way
});

test('no shape passes that CVAT would save badly', () => {
    const good = mask(100, undefined, { attributes: [{ spec_id: 11, value: 'x' }] });
    assert.equal(perclip.shapeProblem(good, JOB), null);
    for (const [bad, words] of [[{ label_id: 9 }, /label/], [{ frame: '100' }, /frame/], [{ frame: 100.5 }, /frame/], [{ frame: 140 }, /frame/],
        [{ attributes: [{ spec_id: 99, value: 'x' }] }, /attribute/], [{ type: 'rectangle' }, /neither/], [{ points: [] }, /empty/]]) {
        assert.match(perclip.shapeProblem({ ...good, ...bad }, JOB), words);
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

test('images of another size and deleted frames are no part of the sequence', async () => {
    const sizes = { 0: [64, 48], 1: [64, 48], 2: [32, 48], 3: [64, 48] };
    const job = { stopFrame: 3, labels: LABELS, frames: { frameNumbers: async () => [0, 1, 2, 3],
        get: async (frame) => ({ width: sizes[frame][0], height: sizes[frame][1], deleted: frame === 1 }) } };
    assert.deepEqual(await perclip.factsOf(job, 0), { width: 64, height: 48, frames: [0, 3], last: 3, labels: LABELS });
});
