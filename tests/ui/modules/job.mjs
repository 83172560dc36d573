// A job with annotations, as the tests of the modules have it.
import { outcomeOf } from '../../../plugin/ui/perclip/commit.js';
import { findObjects } from '../../../plugin/ui/perclip/objects.js';
import { rangeOf } from '../../../plugin/ui/perclip/ranges.js';
import { keyframesOf } from '../../../plugin/ui/perclip/track_keyframes.js';

export const FRAMES = Array.from({ length: 40 }, (_, i) => 100 + i); // absolute numbers of a job that does not start at 0

export const LABELS = [
    { id: 1, name: 'car', type: 'any', attributes: [{ id: 11, mutable: false }, { id: 12, mutable: true }] },
    { id: 2, name: 'cat', type: 'mask', attributes: [] },
];

export const JOB = { width: 64, height: 48, frames: FRAMES, last: 139, labels: LABELS };
export const OPTIONS = { range: 'to the end', target: 100, direction: 'forward', output: 'as drawn', tolerance: 2, clipLength: 5 };
let lastID = 0;
export const newID = () => ++lastID;

/** A mask shape that is a filled rectangle. */
export function mask(frame, box = [4, 4, 13, 13], more = {}) {
    const [left, top, right, bottom] = box;
    return { type: 'mask', frame, label_id: 1, group: 0, source: 'manual', attributes: [], occluded: false, outside: false, z_order: 0,
        rotation: 0, elements: [], points: [0, (right - left + 1) * (bottom - top + 1), ...box], clientID: newID(), ...more };
}

export const polygon = (frame, points, more = {}) => mask(frame, undefined, { type: 'polygon', points, ...more });

export const tracked = (frame, more = {}) => ({ type: 'polygon', frame, points: [4, 4, 14, 4, 14, 14], outside: false, occluded: false, z_order: 0,
    rotation: 0, attributes: [], ...more });

export const track = (shapes, more = {}) => ({ frame: shapes[0].frame, label_id: 1, group: 0, source: 'manual', attributes: [], elements: [],
    shapes, clientID: newID(), ...more });

export const collection = (shapes, tracks = []) => ({ shapes, tracks, tags: [] });
export const auto = (frame, group, box, more = {}) => mask(frame, box, { source: 'auto', group, ...more });
export const objectsOf = (shapes, tracks) => findObjects(collection(shapes, tracks), FRAMES);
export const drawnFrames = (object) => [...object.drawn.keys()].sort((a, b) => a - b);
export const answers = (frames, make) => new Map(frames.map((frame) => [frame, { frame, absent: [], ...make(frame) }]));
export const seen = (object, shape, confidence = 0.9) => ({ object, type: shape.type, points: shape.points, confidence });

export function objectWith(drawn, absent = []) {
    const [object] = objectsOf([], [track([...drawn.map((frame) => tracked(frame)), ...absent.map((frame) => tracked(frame, { outside: true }))])]);
    return object;
}

export const rangeFrom = (object, current, more) => rangeOf(object, FRAMES, current, { ...OPTIONS, ...more });

export const outcome = (object, frames, make, range = { low: frames[0], high: frames.at(-1) }) => outcomeOf(
    [{ object, name: 0, range }], answers(frames, make), JOB, 7);

/** What is to be seen of a track on each frame: a letter for a keyframe of Perclip's, one for a person's; small: interpolated. */
export const lookOf = (given, frames = FRAMES) => {
    const keyframes = keyframesOf(given);
    return frames.map((frame) => {
        const last = keyframes.filter((keyframe) => keyframe.frame <= frame).pop();
        if (!last || last.shape.outside) return last?.frame === frame ? (last.isPerclips ? ',' : ';') : '.';
        const letter = last.isPerclips ? 'C' : 'P';
        return last.frame === frame ? letter : letter.toLowerCase();
    }).join('');
};

export const square = (frame) => ({ type: 'polygon', points: [4.3, 4, 14, 4, 14, frame - 92] });
