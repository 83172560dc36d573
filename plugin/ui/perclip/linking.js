// @ts-check
/** Linking: which ungrouped drawings belong to which groups of Perclip's masks, and to each other. */

import { addDrawn } from './annotated_object.js';
import { distance, isPart, overlap } from './shapes.js';

/**
 * @import { AnnotatedObject, Drawn } from './annotated_object.js'
 */

const ON_WRITTEN = 0.4; // overlap with what Perclip wrote on the same frame ...
const BESIDE_WRITTEN = 0.3; // ... or on a neighbouring one, that makes a shape the same object
const TOUCHES_WRITTEN = 0.1; // less, or as a part of it: a correction, or another object; nobody can say
const ANOTHER_LABEL = 0.7; // the same where the label is another one: it was changed since
const FARTHEST = 2; // diagonals of the larger box between an object and itself on the next frame
const SAME_OBJECT = 0.5; // overlap of an object with itself from keyframe to keyframe ...
const ANOTHER_OBJECT = 0.2; // ... when it has no more than this with any other
const UNCLEAR = -1;

/** Finds out which ungrouped drawings belong to which groups of written masks, and to each other. */
export class Linking {
    /**
     * @param {AnnotatedObject[]} lone a track or one shape each
     * @param {AnnotatedObject[]} groups
     * @param {number[]} frames
     * @param {Map<number, number>} groupsOf
     */
    constructor(lone, groups, frames, groupsOf) {
        this.lone = lone;
        this.groups = groups;
        this.frames = frames;
        this.groupsOf = groupsOf;
        this.places = new Map(frames.map((frame, place) => [frame, place]));
        /** @type {Map<AnnotatedObject, Map<number, { type: string, points: number[] }>>} */
        this.written = new Map();
        for (const object of groups) {
            const seen = new Map(object.written.map((shape) => [shape.frame, /** @type {any} */ (shape)]));
            for (const track of object.writtenTracks) {
                for (const shape of track.shapes) if (!shape.outside) seen.set(shape.frame, shape);
            }
            if (seen.size) this.written.set(object, seen);
        }
    }

    /** All objects. */
    objects() {
        this.linkKnown();
        this.linkOverlapping();
        this.linkHoles();
        const shapes = this.lone.filter((object) => !object.tracks.length);
        const labels = new Set(shapes.map(({ label }) => label));
        const chains = [...labels].flatMap((label) => chainsOf(shapes.filter((object) => object.label === label)));
        this.lone = [...this.lone.filter((object) => object.tracks.length), ...chains];
        this.linkOnly();
        return [...this.groups, ...this.lone];
    }

    /** Those that a run of this session has written for. */
    linkKnown() {
        for (const object of [...this.lone]) {
            const known = [...object.ids].map((id) => this.groupsOf.get(id));
            const group = [...this.written.keys()].find((other) => known.includes(other.group) && this.fits(object, other));
            if (group) this.join(object, group);
        }
    }

    /** Those that lie on written masks, or beside them in time: the best pairs first, those of one label before others. */
    linkOverlapping() {
        /** @type {{ score: number, isLabel: number, place: number, object: AnnotatedObject, group: AnnotatedObject }[]} */
        const pairs = [];
        for (const object of this.lone) {
            for (const group of this.written.keys()) {
                if (!this.fits(object, group)) continue;
                const isLabel = Number(object.label === group.label);
                const scores = this.scores(object, group);
                const score = Math.max(...scores);
                const place = this.placeOf([...object.drawn.keys()][scores.indexOf(score)], group);
                if (score >= (isLabel ? 0 : ANOTHER_LABEL)) pairs.push({ score, isLabel, place, object, group });
                else if (isLabel && scores.includes(UNCLEAR)) object.uncertain = true;
            }
        }
        for (const { object, group } of pairs.sort((a, b) => b.isLabel - a.isLabel || b.place - a.place || b.score - a.score)) {
            if (!this.lone.includes(object) || !this.fits(object, group)) continue;
            // Once a group has its keyframe, masks on one side tell no more.
            if (Math.max(...this.scores(object, group)) >= 0) this.join(object, group);
        }
    }

    /** Those on frames where as many groups have a hole among their masks, the nearest to each other first. */
    linkHoles() {
        const frames = new Set(this.lone.flatMap((object) => [...object.drawn.keys()]).sort((a, b) => a - b));
        for (const frame of frames) {
            for (const label of new Set(this.lone.map((object) => object.label))) {
                const here = this.lone.filter((object) => object.label === label && object.drawn.has(frame));
                const holes = [...this.written.keys()].filter((group) => group.label === label && !group.drawn.has(frame)
                    && this.isHole(frame, group));
                if (!here.length || here.length !== holes.length) continue;
                /** @type {[number, AnnotatedObject, AnnotatedObject][]} */
                const pairs = here.flatMap((object) => holes.map((group) => {
                    const [shape] = /** @type {Drawn[]} */ (object.drawn.get(frame));
                    const away = Math.min(...this.near(frame, group).map((other) => distance(shape, other)));
                    return /** @type {[number, AnnotatedObject, AnnotatedObject]} */ ([away, object, group]);
                }));
                for (const [away, object, group] of pairs.sort(([a], [b]) => a - b)) {
                    const isFree = away <= FARTHEST && this.lone.includes(object) && this.fits(object, group);
                    if (isFree) this.join(object, group);
                }
            }
        }
    }

    /** The only remaining object of a label with the only group of that label, if Perclip wrote of it. */
    linkOnly() {
        for (const label of new Set(this.lone.map((object) => object.label))) {
            const here = this.lone.filter((object) => object.label === label);
            const groups = this.groups.filter((group) => group.label === label);
            const seen = this.written.get(groups[0]);
            if (here.length !== 1 || groups.length !== 1 || !seen) continue;
            // On a frame with a mask that it does not touch, it was drawn as another object.
            const isApart = [...here[0].drawn.keys()].some((frame) => seen.has(frame));
            if (!isApart && this.fits(here[0], groups[0])) this.join(here[0], groups[0]);
        }
    }

    /**
     * Whether an object may belong to a group at all. A track is an object of its own, so of a group nothing but its masks.
     * @param {AnnotatedObject} object
     * @param {AnnotatedObject} group
     */
    fits(object, group) {
        const isFree = ![...object.drawn.keys()].some((frame) => group.drawn.has(frame));
        const isOpen = !group.drawn.size || (object.label === group.label && !object.tracks.length && !group.tracks.length);
        return isFree && isOpen;
    }

    /**
     * A group's masks on the neighbouring frames.
     * @param {number} frame
     * @param {AnnotatedObject} group
     */
    near(frame, group) {
        const place = /** @type {number} */ (this.places.get(frame));
        const beside = [this.frames[place - 1], this.frames[place + 1]].filter((other) => other !== undefined);
        const seen = /** @type {Map<number, any>} */ (this.written.get(group));
        return beside.flatMap((other) => seen.get(other) ?? []);
    }

    /**
     * Whether a group's masks leave a frame out. For its first keyframe, masks on one side tell; later, an object that has
     * just left must not be taken for one whose mask a person has deleted.
     * @param {number} frame
     * @param {AnnotatedObject} group
     */
    isHole(frame, group) {
        const sides = this.near(frame, group).length;
        const seen = /** @type {Map<number, any>} */ (this.written.get(group));
        return !seen.has(frame) && sides >= (group.drawn.size ? 2 : 1);
    }

    /**
     * How much a frame's place speaks for a keyframe of a group: among its masks or before them 2, behind them 1, else 0.
     * @param {number} frame
     * @param {AnnotatedObject} group
     */
    placeOf(frame, group) {
        const seen = [.../** @type {Map<number, any>} */ (this.written.get(group)).keys()];
        if (seen.includes(frame) || this.near(frame, group).length === 2 || frame < Math.min(...seen)) return 2;
        return frame > Math.max(...seen) ? 1 : 0;
    }

    /**
     * @param {AnnotatedObject} object
     * @param {AnnotatedObject} group
     */
    scores(object, group) {
        return [...object.drawn].map(([frame, [shape]]) => this.likeness(frame, shape, group));
    }

    /**
     * How well a shape fits to a group's masks, 0..1; UNCLEAR or less where it does not.
     * @param {number} frame
     * @param {Drawn} shape
     * @param {AnnotatedObject} group
     */
    likeness(frame, shape, group) {
        const seen = /** @type {Map<number, any>} */ (this.written.get(group));
        if (seen.has(frame)) {
            const on = overlap(shape, seen.get(frame));
            const isSame = on >= ON_WRITTEN && !isPart(shape, seen.get(frame));
            return isSame ? on : on >= TOUCHES_WRITTEN ? UNCLEAR : -2;
        }
        const near = Math.max(0, ...this.near(frame, group).map((other) => sameness(shape, other)));
        return this.isHole(frame, group) && near >= BESIDE_WRITTEN ? near : -2;
    }

    /**
     * @param {AnnotatedObject} object
     * @param {AnnotatedObject} group
     */
    join(object, group) {
        this.lone.splice(this.lone.indexOf(object), 1);
        group.label = object.label;
        group.tracks.push(...object.tracks);
        object.uncertain = false;
        for (const id of object.ids) group.ids.add(id);
        for (const [frame, drawn] of object.drawn) group.drawn.set(frame, drawn);
        for (const frame of object.absent) group.absent.add(frame);
    }
}

/**
 * How far two shapes of different frames overlap, 0..1; a part and its whole do not count, as they are two objects.
 * @param {Drawn} one
 * @param {{ type: string, points: number[] }} other
 */
function sameness(one, other) {
    return isPart(one, other) ? 0 : overlap(one, other);
}

/**
 * Which of the ungrouped shapes of one label are one object.
 * @param {AnnotatedObject[]} lone a shape each
 * @returns {AnnotatedObject[]}
 */
function chainsOf(lone) {
    /** @type {Map<number, AnnotatedObject[]>} */
    const byFrame = new Map();
    for (const object of lone) {
        const [frame] = object.drawn.keys();
        byFrame.set(frame, [...(byFrame.get(frame) ?? []), object]);
    }
    const isAlone = [...byFrame.values()].every((onFrame) => onFrame.length === 1);
    /** @type {{ object: AnnotatedObject, last: Drawn, frame: number }[]} */
    const chains = [];
    for (const [frame, onFrame] of [...byFrame].sort(([a], [b]) => a - b)) {
        const open = [...chains];
        for (const object of onFrame) {
            const [shape] = /** @type {Drawn[]} */ (object.drawn.get(frame));
            const scores = isAlone ? [1] : open.map(({ last, frame: at }) => (at === frame ? 0 : sameness(last, shape)));
            const best = scores.indexOf(Math.max(...scores));
            const isClear = scores.every((score, i) => i === best || score <= ANOTHER_OBJECT);
            const chain = open.length && scores[best] >= SAME_OBJECT && isClear ? open[best] : null;
            if (chain) {
                chain.object.uncertain ||= object.uncertain;
                Object.assign(chain, { last: shape, frame });
                for (const id of object.ids) addDrawn(chain.object, frame, shape, id);
            } else {
                // It may be any object that was drawn before and not found again.
                object.uncertain ||= open.length > 0;
                for (const other of open) other.object.uncertain = true;
                chains.push({ object, last: shape, frame });
            }
        }
    }
    return chains.map(({ object }) => object);
}
