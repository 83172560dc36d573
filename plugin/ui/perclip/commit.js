// @ts-check
/** The commit of a run: what it creates and deletes in the job. */

import { isPropagated } from './collection.js';
import { copiedKeyframe, filledTrack, restOfTrack, trackAt } from './polygon_track.js';
import { maskProblem, polygonProblem } from './shapes.js';
import { keyframesOf } from './track_keyframes.js';

/**
 * @import { AnnotatedObject, Drawn } from './annotated_object.js'
 * @import { AnsweredFrame } from './clip_chain.js'
 * @import { Attribute, Collection, JobFacts, Label, Shape } from './collection.js'
 * @import { Range } from './ranges.js'
 */

/**
 * Why a shape must not be committed: CVAT's page takes almost anything and fails later. Null: all is well.
 * @param {Shape} shape
 * @param {JobFacts} job
 */
export function shapeProblem(shape, job) {
    const label = job.labels.find((other) => other.id === shape.label_id);
    if (!label) return 'has a label that is no more';
    const isInside = shape.frame >= job.frames[0] && shape.frame <= job.last;
    if (!Number.isInteger(shape.frame) || !isInside) return 'is on a frame that is not in the job';
    if (shape.attributes.some(({ spec_id: id }) => !label.attributes.some((known) => known.id === id))) {
        return 'has an attribute that its label does not have';
    }
    const check = shape.type === 'mask' ? maskProblem : polygonProblem;
    return isPropagated(shape.type) ? check(shape.points, job.width, job.height) : 'is neither mask nor polygon';
}

/**
 * The attributes that a label knows, of those that something drawn has.
 * @param {Attribute[]} attributes
 * @param {Label | undefined} label
 * @returns {Attribute[]}
 */
function knownAttributes(attributes, label) {
    return attributes.filter(({ spec_id: id }) => label?.attributes.some((known) => known.id === id))
        .map(({ spec_id, value }) => ({ spec_id, value: String(value) }));
}

/**
 * What was drawn nearest to a frame.
 * @param {AnnotatedObject} object
 * @param {number} frame
 * @returns {Drawn}
 */
function nearestDrawn(object, frame) {
    const nearest = [...object.drawn.keys()].reduce((a, b) => (Math.abs(b - frame) < Math.abs(a - frame) ? b : a));
    return /** @type {Drawn[]} */ (object.drawn.get(nearest))[0];
}

/**
 * What one commit creates and deletes, how sure the function was, what could not be taken, and the groups by name.
 *
 * A frame that has something drawn of an object gets nothing of it; what Perclip wrote before goes from all frames that
 * were answered. Polygons of a track go into the track that was drawn: it goes, and the same with more keyframes comes.
 *
 * @param {{ object: AnnotatedObject, name: number, range: Range }[]} targets `name`: of the object in the answers
 * @param {Map<number, AnsweredFrame>} answered
 * @param {JobFacts} job
 * @param {number} highestGroup in use
 */
export function outcomeOf(targets, answered, job, highestGroup) {
    /** @type {Collection} */
    const created = { shapes: [], tracks: [], tags: [] };
    /** @type {Collection} */
    const deleted = { shapes: [], tracks: [], tags: [] };
    /** @type {{ frame: number, confidence: number }[]} */
    const confidences = [];
    /** @type {string[]} */
    const refused = [];
    /** @type {Set<number>} */
    const filled = new Set();
    /** @type {Map<number, number>} */
    const groups = new Map();
    let highest = highestGroup;
    for (const { object, name, range } of targets) {
        const group = object.group || highest + 1;
        const label = job.labels.find((other) => other.id === object.label);
        const inRange = job.frames.filter((frame) => frame >= range.low && frame <= range.high && answered.has(frame));
        /** @type {Map<number, number[] | null>} */
        const settled = new Map(); // what is to be seen of the object's tracks
        for (const frame of inRange) {
            const answer = /** @type {AnsweredFrame} */ (answered.get(frame));
            const seen = answer.shapes.find((other) => other.object === name);
            const absent = answer.absent.find((other) => other.object === name);
            if (object.drawn.has(frame)) {
                settled.set(frame, null);
                continue;
            }
            if (!seen) {
                if (!absent && !object.absent.has(frame)) continue;
                settled.set(frame, null);
                if (absent) confidences.push({ frame, confidence: absent.confidence });
                continue;
            }
            const like = nearestDrawn(object, frame);
            /** @type {Shape} */
            const shape = {
                type: seen.type ?? '', frame, label_id: object.label, points: (seen.points ?? []).slice(), group,
                source: 'auto', attributes: knownAttributes(like.attributes, label), occluded: false, outside: false,
                z_order: like.z_order, rotation: 0, elements: [], score: seen.confidence,
            };
            const problem = shapeProblem(shape, job);
            if (problem) {
                refused.push(`frame ${frame}: a ${shape.type || 'shape'} ${problem}`);
                continue;
            }
            filled.add(frame);
            confidences.push({ frame, confidence: seen.confidence });
            const isTracked = object.tracks.length > 0 && shape.type === 'polygon';
            settled.set(frame, isTracked ? shape.points : null);
            if (isTracked) continue;
            created.shapes.push(shape);
            groups.set(name, group);
        }
        highest = Math.max(highest, groups.get(name) ?? 0);
        deleted.shapes.push(...object.written.filter((shape) => settled.has(shape.frame)));
        const written = object.writtenTracks.filter((track) => (
            object.tracks.length ? settled.size : track.shapes.some(({ frame }) => settled.has(frame))));
        deleted.tracks.push(...written);
        for (const track of object.tracks) {
            const own = new Set(keyframesOf(track).flatMap(({ frame, isPerclips }) => (isPerclips ? [] : [frame])));
            const changes = new Map([...settled].filter(([frame]) => !own.has(frame)).map(([frame, points]) => (
                [frame, trackAt(object.tracks, frame) === track ? points : null])));
            const made = filledTrack(track, changes, track === object.tracks[0] ? written : [], job);
            if (JSON.stringify(made.shapes) === JSON.stringify(track.shapes.map(copiedKeyframe))) continue;
            deleted.tracks.push(track);
            created.tracks.push(made);
        }
        if (object.tracks.length) continue;
        created.tracks.push(...written.flatMap((track) => restOfTrack(track, new Set(settled.keys()), job) ?? []));
    }
    return { created, deleted, confidences, refused, filled, groups };
}
