// @ts-check
/** The objects of a job, and those of them that are to be propagated. */

import { addDrawn, addDrawnTrack, newObject } from './annotated_object.js';
import { isPropagated, isWritten } from './collection.js';
import { Linking } from './linking.js';
import { keyframesOf, seenFrames } from './track_keyframes.js';

/**
 * @import { AnnotatedObject } from './annotated_object.js'
 * @import { Collection, Shape, Track } from './collection.js'
 */

/**
 * The objects of a job with all that people drew of them and all that Perclip wrote of them.
 *
 * One object are: a track, and tracks of its group that follow it; shapes of one label and group; ungrouped shapes and
 * tracks with the written masks of a group that they lie on or continue (`Linking`); shapes that are alone of their label
 * on each frame; shapes that overlap from keyframe to keyframe and overlap no others. Where all this does not tell, the
 * objects are uncertain.
 *
 * @param {Collection} collection
 * @param {number[]} frames ascending; all others are left out of account
 * @param {Map<number, number>} [groupsOf] groups that were written for annotations, by their client IDs
 * @returns {AnnotatedObject[]}
 */
export function findObjects(collection, frames, groupsOf = new Map()) {
    const usable = new Set(frames);
    /** @type {Map<string, AnnotatedObject>} */
    const groups = new Map();
    const ofGroup = (/** @type {{ label_id: number, group: number }} */ { label_id: label, group }) => {
        const key = `${label} ${group}`;
        const object = groups.get(key) ?? newObject(label, group);
        groups.set(key, object);
        return object;
    };
    /** @type {AnnotatedObject[]} */
    const lone = [];
    const ownerOf = (/** @type {{ label_id: number, group: number }} */ annotation) => {
        if (annotation.group) return ofGroup(annotation);
        lone.push(newObject(annotation.label_id, 0));
        return lone[lone.length - 1];
    };
    /** @type {Map<AnnotatedObject, Set<number>>} */
    const seen = new Map(); // frames of the tracks of a group
    /** @param {Track} track */
    const ownerOfTrack = (track) => {
        const own = seenFrames(track, frames);
        const before = (track.group && seen.get(ofGroup(track))) || new Set();
        // Two that are to be seen at once are two objects, whatever their group.
        const owner = ownerOf(own.some((frame) => before.has(frame)) ? { ...track, group: 0 } : track);
        seen.set(owner, new Set([...(seen.get(owner) ?? []), ...own]));
        return owner;
    };
    for (const track of collection.tracks) {
        if (track.shapes[0]?.type !== 'polygon') continue;
        if (isWritten(track)) {
            if (track.group) ofGroup(track).writtenTracks.push(track);
        } else if (keyframesOf(track).some(({ frame, isPerclips, shape }) => !isPerclips && !shape.outside && usable.has(frame))) {
            addDrawnTrack(ownerOfTrack(track), track, usable);
        }
    }
    for (const shape of collection.shapes) {
        if (!isPropagated(shape.type) || !usable.has(shape.frame)) continue;
        if (!isWritten(shape)) addDrawn(ownerOf(shape), shape.frame, shape, shape.clientID);
        else if (shape.group) ofGroup(shape).written.push(shape);
    }
    const linking = new Linking(lone, [...groups.values()], frames, groupsOf);
    const objects = linking.objects();
    for (const object of objects) {
        for (const annotation of [...object.written, ...object.writtenTracks]) {
            object.ids.add(/** @type {number} */ (annotation.clientID));
        }
    }
    return objects;
}

/**
 * The objects that some annotations belong to. Where nobody drew anything of an object, the annotation itself serves as
 * its keyframe: a detector's mask, say.
 *
 * @param {Collection} collection the whole job
 * @param {Collection} chosen what is to be propagated
 * @param {number} frame that the annotator is on
 * @param {number[]} frames ascending
 * @param {Map<number, number>} [groupsOf] as in `findObjects`
 * @returns {AnnotatedObject[]}
 */
export function targetObjects(collection, chosen, frame, frames, groupsOf) {
    const ids = new Set([...chosen.shapes, ...chosen.tracks].map((annotation) => annotation.clientID));
    const find = (/** @type {Collection} */ all) => findObjects(all, frames, groupsOf)
        .filter((object) => [...object.ids].some((id) => ids.has(id)));
    const objects = find(collection).filter((object) => object.drawn.size);
    const known = new Set(objects.flatMap((object) => [...object.ids]));
    const serves = (/** @type {Shape} */ shape) => ids.has(shape.clientID) && shape.frame === frame && isWritten(shape)
        && !known.has(/** @type {number} */ (shape.clientID));
    if (!collection.shapes.some(serves)) return objects;
    // For this once as if a person had drawn them.
    const shapes = collection.shapes.map((shape) => (serves(shape) ? { ...shape, source: 'semi-auto' } : shape));
    return find({ ...collection, shapes }).filter((object) => object.drawn.size);
}
