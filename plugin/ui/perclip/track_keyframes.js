// @ts-check
/** The keyframes of a polygon track: whose they are, and where the track is to be seen. */

import { isMarked } from './keyframe_mark.js';

/**
 * @import { Track, TrackedShape } from './collection.js'
 */

/**
 * Whose the keyframes of a track are, each with all attributes that hold there, ascending.
 *
 * Perclip's have the mark, and repeat occlusion, layer and attributes of the keyframe before (the first one of that behind
 * it). Where one of these differs a person has changed it, and the keyframe is theirs.
 *
 * @param {Track} track
 * @returns {{ frame: number, isPerclips: boolean, shape: TrackedShape }[]}
 */
export function keyframesOf(track) {
    const values = new Map(track.attributes.map((attribute) => [attribute.spec_id, attribute]));
    const shapes = [...track.shapes].sort((a, b) => a.frame - b.frame).map((shape) => {
        for (const attribute of shape.attributes) values.set(attribute.spec_id, attribute);
        return { ...shape, attributes: [...values.values()] };
    });
    const flags = shapes.map(({ occluded, z_order: layer, rotation, attributes }) => JSON.stringify([occluded, layer, rotation || 0,
        attributes.map(({ spec_id: id, value }) => [id, String(value)]).sort(([a], [b]) => Number(a) - Number(b))]));
    return shapes.map((shape, i) => {
        const beside = flags[i - 1] ?? flags[i + 1];
        const isPerclips = isMarked(shape.points, shape.outside) && (beside === undefined || beside === flags[i]);
        return { frame: shape.frame, isPerclips, shape };
    });
}

/**
 * The frames on which a track is to be seen, by interpolation too.
 * @param {Track} track
 * @param {number[]} frames ascending
 */
export function seenFrames(track, frames) {
    const shapes = [...track.shapes].sort((a, b) => a.frame - b.frame);
    let next = 0;
    return frames.filter((frame) => {
        while (next < shapes.length && shapes[next].frame <= frame) next++;
        return next > 0 && !shapes[next - 1].outside;
    });
}
