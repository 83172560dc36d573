// @ts-check
/** An object of a job: what people drew of it, and what Perclip wrote of it. */

import { keyframesOf } from './track_keyframes.js';

/**
 * @import { Attribute, Shape, Track } from './collection.js'
 */

/**
 * @typedef {{ type: string, points: number[], attributes: Attribute[], z_order: number }} Drawn
 * @typedef {{ label: number, group: number, tracks: Track[], uncertain: boolean, ids: Set<number>,
 *     drawn: Map<number, Drawn[]>, absent: Set<number>, written: Shape[], writtenTracks: Track[] }} AnnotatedObject
 *     `tracks`: that people drew, with Perclip's keyframes between theirs; `drawn`: what people drew, by frame; `absent`:
 *     frames where their tracks end; `written`: what Perclip wrote before, `writtenTracks`: whole tracks (by older versions);
 *     `ids`: client IDs of all of it; `uncertain`: which shapes belong to it cannot be told.
 */

/**
 * @param {number} label
 * @param {number} group
 * @returns {AnnotatedObject}
 */
export function newObject(label, group) {
    return { label, group, tracks: [], uncertain: false, ids: new Set(), drawn: new Map(), absent: new Set(),
        written: [], writtenTracks: [] };
}

/**
 * @param {AnnotatedObject} object
 * @param {number} frame
 * @param {Drawn} drawn
 * @param {number | undefined} clientID
 */
export function addDrawn(object, frame, drawn, clientID) {
    object.drawn.set(frame, [...(object.drawn.get(frame) ?? []), drawn]);
    if (clientID !== undefined) object.ids.add(clientID);
}

/**
 * A polygon track that a person drew, with their keyframes.
 * @param {AnnotatedObject} object
 * @param {Track} track
 * @param {Set<number>} usable
 */
export function addDrawnTrack(object, track, usable) {
    object.tracks.push(track);
    object.ids.add(/** @type {number} */ (track.clientID));
    for (const { frame, isPerclips, shape } of keyframesOf(track)) {
        if (isPerclips || !usable.has(frame)) continue;
        if (shape.outside) object.absent.add(frame);
        else addDrawn(object, frame, shape, track.clientID);
    }
}
