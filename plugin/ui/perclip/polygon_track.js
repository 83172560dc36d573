// @ts-check
/** Polygon tracks: Perclip's keyframes between a person's. */

import { markKeyframe } from './keyframe_mark.js';
import { keyframesOf, seenFrames } from './track_keyframes.js';

/**
 * @import { JobFacts, Track, TrackedShape } from './collection.js'
 */

/**
 * @typedef {Map<number, number[] | null>} Changes by frame: the polygon that is to be seen of a track, or null for nothing
 */

/**
 * Which of an object's tracks, that follow each other, a frame belongs to.
 * @param {Track[]} tracks
 * @param {number} frame
 */
export function trackAt(tracks, frame) {
    if (tracks.length === 1) return tracks[0];
    const begun = tracks.filter(({ shapes }) => shapes.some((shape) => shape.frame <= frame));
    const startOf = (/** @type {Track} */ track) => Math.min(...track.shapes.map((shape) => shape.frame));
    const latest = (/** @type {Track} */ a, /** @type {Track} */ b) => (startOf(b) > startOf(a) ? b : a);
    const first = (/** @type {Track} */ a, /** @type {Track} */ b) => (startOf(b) < startOf(a) ? b : a);
    return begun.length ? begun.reduce(latest) : tracks.reduce(first);
}

/**
 * A keyframe as it was, in lists of its own and without the server's number.
 * @param {TrackedShape} shape
 * @returns {TrackedShape}
 */
export function copiedKeyframe({ type, frame, points, outside, occluded, z_order, rotation, attributes }) {
    return { type, frame, points: points.slice(), outside, occluded, z_order, rotation: rotation || 0,
        attributes: attributes.map((attribute) => ({ ...attribute })) };
}

/**
 * A person's track with Perclip's keyframes between theirs: one track of the object.
 *
 * The person's keyframes are there as they were, be they inside the job or not. Perclip's have the mark, and repeat what
 * the keyframe before them says of occlusion, layer and attributes, as CVAT's interpolation does. Behind the last
 * of all the track ends; else it goes on to be hidden where it was hidden, and to be interpolated where Perclip says nothing.
 *
 * @param {Track} track
 * @param {Changes} changes on frames where the person has no keyframe of the track
 * @param {Track[]} written tracks of the same object that an older Perclip wrote beside it: they are taken in
 * @param {JobFacts} job
 * @returns {Track}
 */
export function filledTrack(track, changes, written, job) {
    const keyframes = keyframesOf(track);
    const drawn = keyframes.filter(({ isPerclips }) => !isPerclips).map(({ shape }) => shape);
    /** @type {Map<number, TrackedShape>} */
    const kept = new Map(track.shapes.map((shape) => [shape.frame, shape]));
    for (const { frame, isPerclips } of keyframes) if (isPerclips && changes.has(frame)) kept.delete(frame);
    /** @type {Changes} */
    const all = new Map(changes);
    for (const { shapes } of written) {
        for (const { frame, points, outside } of shapes) {
            if (!kept.has(frame) && !all.has(frame)) all.set(frame, outside ? null : points);
        }
    }
    const wasSeen = new Set(seenFrames(track, job.frames));
    const lastDrawn = drawn[drawn.length - 1].frame;
    for (const [place, frame] of job.frames.entries()) {
        const following = job.frames[place + 1] ?? frame + 1;
        if (!changes.has(frame) || kept.has(following) || all.has(following) || following > job.last) continue;
        if (!wasSeen.has(following) || following > lastDrawn) all.set(following, null);
    }
    const fixed = new Set(track.attributes.map(({ spec_id: id }) => id));
    const perclips = new Set(keyframes.filter(({ isPerclips }) => isPerclips).map(({ frame }) => frame));
    /** @type {TrackedShape[]} */
    const shapes = [];
    let values = new Map(track.attributes.map((attribute) => [attribute.spec_id, String(attribute.value)])); // that hold so far
    for (const frame of [...new Set([...kept.keys(), ...all.keys()])].sort((a, b) => a - b)) {
        const own = kept.get(frame);
        const points = all.get(frame);
        const last = shapes[shapes.length - 1];
        if (!own && !points && (!last || last.outside)) continue;
        if (own && (!last || !perclips.has(frame))) {
            shapes.push(copiedKeyframe(own));
        } else {
            const { occluded, z_order, rotation, attributes } = last ?? drawn[0];
            const seen = own ?? { outside: !points, points: markKeyframe(points ?? last.points, !points, job.width) };
            // Before the first of the person's no attributes hold; later on, those of the keyframe before do.
            const mutable = last ? [] : attributes.filter(({ spec_id: id }) => !fixed.has(id));
            const isSame = own?.attributes.every(({ spec_id: id, value }) => values.get(id) === String(value));
            shapes.push(copiedKeyframe({ type: 'polygon', frame, occluded, z_order, rotation, attributes: own && isSame ? own.attributes : mutable,
                outside: seen.outside, points: seen.points }));
        }
        values = new Map([...values, ...shapes[shapes.length - 1].attributes.map((attribute) => (
            /** @type {[number, string]} */ ([attribute.spec_id, String(attribute.value)])))]);
    }
    return { ...bareTrack(track), frame: shapes[0].frame, shapes };
}

/**
 * What a track of Perclip's (of an older version) still shows where something else has come; null: nothing.
 * @param {Track} track
 * @param {Set<number>} settled frames that have something else
 * @param {JobFacts} job
 * @returns {Track | null}
 */
export function restOfTrack(track, settled, job) {
    const fixed = new Set(track.attributes.map(({ spec_id: id }) => id));
    const keyframes = keyframesOf(track).map(({ shape }) => (
        { ...shape, attributes: shape.attributes.filter(({ spec_id: id }) => !fixed.has(id)) }));
    /** @type {TrackedShape[]} */
    const shapes = [];
    for (const frame of new Set([...job.frames, ...keyframes.map((shape) => shape.frame)].sort((a, b) => a - b))) {
        const now = keyframes.filter((shape) => shape.frame <= frame).pop();
        const before = shapes[shapes.length - 1];
        const isSeen = now && !now.outside && !settled.has(frame);
        if (isSeen && (now.frame === frame || before?.outside !== false)) shapes.push({ ...copiedKeyframe(now), frame });
        if (!isSeen && before && !before.outside) shapes.push({ ...copiedKeyframe(before), frame, outside: true, attributes: [] });
    }
    return shapes.length ? { ...bareTrack(track), frame: shapes[0].frame, shapes } : null;
}

/**
 * A track as it is given to CVAT: without numbers of the server or the page.
 * @param {Track} track
 * @returns {Track}
 */
function bareTrack({ frame, label_id, group, source, attributes, shapes }) {
    return { frame, label_id, group: group || 0, source, attributes: attributes.map((attribute) => ({ ...attribute })),
        elements: [], shapes };
}
