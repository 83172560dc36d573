// @ts-check
/** The plan of clip calls: the frames and keyframes that go to the function together. */

import { OUTPUTS } from './settings.js';

/**
 * @import { AnnotatedObject } from './annotated_object.js'
 * @import { JobFacts } from './collection.js'
 * @import { Range } from './ranges.js'
 * @import { Options } from './settings.js'
 */

const CLIP_VERSION = 1;
const MOST_KEYFRAMES = 24; // of a chain, where it can be parted: each of its calls carries all their images

/**
 * What chains of clip calls have to do: `clip`, all that the calls of a chain have in common, and how many frames its
 * passes segment.
 *
 * Frames between two on which all objects are drawn are left out, and long plans are parted where all objects are drawn:
 * a stretch between two such frames depends on nothing outside it.
 *
 * @param {AnnotatedObject[]} objects their places are their names
 * @param {Range[]} ranges of the objects
 * @param {JobFacts} job
 * @param {Options} options
 */
export function planClips(objects, ranges, job, options) {
    const from = Math.min(...ranges.map((range) => range.from));
    const to = Math.max(...ranges.map((range) => range.to));
    const isOpen = job.frames.map((frame) => frame >= from && frame <= to && objects.some((object, i) => (
        !object.drawn.has(frame) && frame >= ranges[i].from && frame <= ranges[i].to)));
    const numbers = job.frames.filter((frame, i) => (
        frame >= from && frame <= to && (isOpen[i] || isOpen[i - 1] || isOpen[i + 1])));
    /** @type {number[][]} */
    const parts = [[]];
    let keyframes = 0;
    for (const frame of numbers) {
        parts[parts.length - 1].push(frame);
        if (objects.some((object) => object.drawn.has(frame) || object.absent.has(frame))) keyframes++;
        if (keyframes >= MOST_KEYFRAMES && objects.every((object) => object.drawn.has(frame))) {
            parts.push([frame]);
            keyframes = 1;
        }
    }
    return parts.filter((part) => part.length > 1).map((part) => planClip(part, objects, ranges, job, options));
}

/**
 * @param {number[]} numbers of the chain's frames, ascending
 * @param {AnnotatedObject[]} objects
 * @param {Range[]} ranges
 * @param {JobFacts} job
 * @param {Options} options
 */
function planClip(numbers, objects, ranges, job, options) {
    /** @type {{ frame: number, shapes: { object: number, label: number, type: string, points: number[] }[] }[]} */
    const keyframes = [];
    for (const frame of numbers) {
        const shapes = objects.flatMap((object, name) => {
            const drawn = object.drawn.get(frame) ?? [];
            const of = { object: name, label: object.label }; // things of one label look alike
            if (drawn.length) return drawn.map(({ type, points, z_order: z }) => ({ z, shape: { ...of, type, points } }));
            return object.absent.has(frame) ? [{ z: 0, shape: { ...of, type: 'polygon', points: [] } }] : [];
        });
        // From bottom to top, each whole.
        const ordered = shapes.sort((a, b) => a.z - b.z).map(({ shape }) => shape);
        if (ordered.length) keyframes.push({ frame, shapes: ordered });
    }
    // Both ways costs twice the time: only where it is of use.
    const serving = objects.map((object) => keyframes.map(({ frame }) => frame)
        .filter((frame) => object.drawn.has(frame) || object.absent.has(frame)));
    const isForward = serving.every((served, i) => served.length === 1 && served[0] <= ranges[i].low);
    const isBackward = serving.every((served, i) => served.length === 1 && served[0] >= ranges[i].high);
    const direction = isForward ? 'forward' : isBackward ? 'backward' : 'both';
    const [first, last] = [keyframes[0].frame, keyframes[keyframes.length - 1].frame];
    const forward = numbers.filter((frame) => frame >= first).length;
    const backward = numbers.filter((frame) => frame <= last).length;
    const work = (direction === 'backward' ? 0 : forward) + (direction === 'forward' ? 0 : backward);
    return {
        work,
        clip: {
            version: CLIP_VERSION,
            width: job.width,
            height: job.height,
            frames: numbers.map((frame) => ({ frame })),
            keyframes,
            ...(options.output === OUTPUTS[0] ? {} : { output: options.output }),
            polygon_tolerance: options.tolerance,
            clip_length: options.clipLength,
            direction,
            ...(options.learn ? { learn: options.learn } : {}),
        },
    };
}
