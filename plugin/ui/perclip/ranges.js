// @ts-check
/** Ranges: which frames of an object are to be filled, and which must be computed for that. */

import { PerclipError } from './errors.js';
import { OUTPUTS, RANGES } from './settings.js';

/**
 * @import { AnnotatedObject, Drawn } from './annotated_object.js'
 * @import { JobFacts, Label } from './collection.js'
 * @import { Options } from './settings.js'
 */

/**
 * @typedef {{ low: number, high: number, from: number, to: number }} Range
 *     Frames low..high are written; from..to are computed, as masks are carried from keyframes.
 */

/**
 * Which frames of an object are written and which must be computed for that; null: none.
 *
 * Forward goes from the current frame, and never before the object's first keyframe; backward the reverse. With a target
 * frame, the side on which it lies decides.
 *
 * @param {AnnotatedObject} object
 * @param {number[]} frames of the job, ascending
 * @param {number} current
 * @param {Options} options
 * @returns {Range | null}
 */
export function rangeOf(object, frames, current, options) {
    const drawn = [...object.drawn.keys()].sort((a, b) => a - b);
    const keyframes = [...new Set([...drawn, ...object.absent])].sort((a, b) => a - b);
    let direction = options.direction;
    let [low, high] = [frames[0], frames[frames.length - 1]];
    if (options.range === RANGES[2]) {
        direction = options.target >= current ? 'forward' : 'backward';
        [low, high] = [Math.max(low, options.target), Math.min(high, options.target)];
    } else if (options.range === RANGES[1]) {
        low = keyframes.filter((frame) => frame < current).pop() ?? low;
        high = keyframes.find((frame) => frame > current) ?? high;
    }
    if (direction === 'forward') low = Math.max(current, drawn[0]);
    if (direction === 'backward') high = Math.min(current, drawn[drawn.length - 1]);
    // A track that Perclip wrote whole is replaced up to a keyframe of its own, as nobody can say where it was between two.
    const own = object.writtenTracks.flatMap((track) => track.shapes.map((shape) => shape.frame));
    if (own.length && low <= high) {
        const before = Math.max(...own.filter((frame) => frame < low));
        const behind = Math.min(...own.filter((frame) => frame > high));
        if (Number.isFinite(before)) low = before + 1;
        if (Number.isFinite(behind)) high = behind - 1;
    }
    const inside = frames.filter((frame) => frame >= low && frame <= high);
    if (!inside.some((frame) => !object.drawn.has(frame))) return null;
    // Masks are carried forward from a keyframe before the range, and back only from behind it.
    const earlier = keyframes.filter((frame) => frame <= low).pop() ?? low;
    const later = keyframes.find((frame) => frame >= high) ?? high;
    const [from, to] = [direction === 'backward' ? low : earlier, direction === 'forward' ? high : later];
    return drawn.some((frame) => frame >= from && frame <= to) ? { low, high, from, to } : null;
}

/**
 * Why an object cannot get the output that is asked for, as labels may take one type only; null: it can.
 * @param {AnnotatedObject} object
 * @param {Label | undefined} label
 * @param {Options} options
 */
function outputProblem(object, label, options) {
    const first = /** @type {Drawn[]} */ (object.drawn.values().next().value)[0];
    const output = options.output === OUTPUTS[0] ? first.type : options.output;
    const takes = label?.type ?? 'any';
    if (takes === 'any' || takes === output) return null;
    return `The label "${label?.name}" takes ${takes}s only: choose another output, or let the label take any type.`;
}

/**
 * The objects that have frames to be filled, with their ranges.
 * @param {AnnotatedObject[]} objects
 * @param {JobFacts} facts
 * @param {number} current
 * @param {Options} options
 * @throws {PerclipError} says what to do where there is nothing to propagate
 */
export function plannedTargets(objects, facts, current, options) {
    const nameOf = (/** @type {AnnotatedObject} */ object) => facts.labels.find(({ id }) => id === object.label)?.name;
    if (!objects.length) {
        throw new PerclipError('There is nothing to propagate: draw a mask or a polygon on a frame that is not deleted.');
    }
    const uncertain = objects.find((object) => object.uncertain);
    if (uncertain) {
        throw new PerclipError(`Which shapes of "${nameOf(uncertain)}" are one object cannot be told. Where one corrects a mask of `
            + 'Perclip, delete that mask. Else draw these objects as tracks; or keep one frame of them and propagate that.');
    }
    for (const object of objects) {
        const problem = outputProblem(object, facts.labels.find(({ id }) => id === object.label), options);
        if (problem) throw new PerclipError(problem);
    }
    const targets = objects.flatMap((object) => {
        const range = rangeOf(object, facts.frames, current, options);
        return range ? [{ object, range }] : [];
    });
    if (!targets.length && objects.some((object) => object.tracks.length && object.drawn.size > facts.frames.length / 2)) {
        throw new PerclipError('Nearly every frame of this track is a keyframe. If Perclip wrote it and you have edited it, CVAT counts '
            + 'all of it as drawn: delete it, and add keyframes to the track that you drew.');
    }
    // In an order that does not change with what Perclip writes: a run that was cut off goes on with the same call.
    const keyOf = (/** @type {AnnotatedObject} */ { drawn, label }) => {
        const first = Math.min(...drawn.keys());
        return `${String(first).padStart(9, '0')} ${label} ${drawn.get(first)?.[0].points}`;
    };
    targets.sort(({ object: a }, { object: b }) => (keyOf(a) < keyOf(b) ? -1 : 1));
    if (!targets.length) {
        const way = { forward: ' behind this one', backward: ' before this one' }[options.direction] ?? '';
        throw new PerclipError(`There are no frames to fill${way}. Choose another direction or other frames `
            + '(menu, Run actions, Perclip).');
    }
    return targets;
}
