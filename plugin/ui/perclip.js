// @ts-check
/**
 * Perclip in CVAT's page: carries what an annotator has drawn through the frames of a job, in one click.
 *
 * One script tag loads this file into the stock page. It registers an annotation action, puts a button into the header
 * and listens to a few keys. Frames come from the page's own decoder and go, scaled down, through CVAT's lambda endpoint
 * to the Nuclio function (clip calls: serverless/README.md); what comes back is one undoable change of the page.
 *
 * From top to bottom: settings, masks and polygons, the mark of keyframes, objects, ranges, the chain of calls, tracks, what
 * is created and deleted, frames, the action, and what the annotator sees. All above "frames" is pure and tested without a
 * browser.
 */
(() => {
'use strict';

/**
 * Shapes and tracks are those of CVAT's collection (cvat-core's `SerializedShape` and `SerializedTrack`).
 *
 * @typedef {{ spec_id: number, value: string }} Attribute
 * @typedef {{ type: string, frame: number, label_id: number, points: number[], group: number, source: string,
 *     attributes: Attribute[], occluded: boolean, outside: boolean, z_order: number, rotation: number, elements: any[],
 *     clientID?: number, score?: number }} Shape
 * @typedef {{ type: string, frame: number, points: number[], outside: boolean, occluded: boolean, z_order: number,
 *     rotation: number, attributes: Attribute[] }} TrackedShape
 * @typedef {{ frame: number, label_id: number, group: number, source: string, attributes: Attribute[], elements: any[],
 *     shapes: TrackedShape[], clientID?: number }} Track
 * @typedef {{ shapes: Shape[], tracks: Track[], tags: any[] }} Collection
 *
 * @typedef {{ id: number, name: string, type?: string, attributes: { id: number, mutable: boolean }[] }} Label
 * @typedef {{ width: number, height: number, frames: number[], last: number, labels: Label[] }} JobFacts
 *     `frames`: numbers, ascending, of those that can be propagated; `last`: the job's last frame.
 *
 * @typedef {{ type: string, points: number[], attributes: Attribute[], z_order: number }} Drawn
 * @typedef {{ label: number, group: number, tracks: Track[], uncertain: boolean, ids: Set<number>,
 *     drawn: Map<number, Drawn[]>, absent: Set<number>, written: Shape[], writtenTracks: Track[] }} AnnotatedObject
 *     `tracks`: that people drew, with Perclip's keyframes between theirs; `drawn`: what people drew, by frame; `absent`:
 *     frames where their tracks end; `written`: what Perclip wrote before, `writtenTracks`: whole tracks (by older versions);
 *     `ids`: client IDs of all of it; `uncertain`: which shapes belong to it cannot be told.
 *
 * @typedef {{ low: number, high: number, from: number, to: number }} Range
 *     Frames low..high are written; from..to are computed, as masks are carried from keyframes.
 * @typedef {{ range: string, target: number, direction: string, output: string, tolerance: number, clipLength: number
 *     }} Options
 * @typedef {{ object: number, type?: string, points?: number[], confidence: number }} AnsweredObject
 * @typedef {{ frame: number, shapes: AnsweredObject[], absent: AnsweredObject[] }} AnsweredFrame
 */

// ------------------------------------------------------------------------------------------------------- settings

const CLIP_VERSION = 1;
const ACTION_NAME = 'Perclip: propagate';
const RANGES = ['to the end', 'to the next keyframe', 'to the target frame'];
const DIRECTIONS = ['forward', 'backward', 'both'];
const OUTPUTS = ['as drawn', 'mask', 'polygon'];
const CLIP_LENGTHS = { accurate: 5, balanced: 10, fast: 25 };

const DEFAULT_SETTINGS = {
    functionId: 'pth-perclip', // in Nuclio
    shortSide: 480, // pixels of the images that are sent, as the function's PERCLIP_SHORT_SIDE
    doubt: 0.5, // frames with less confidence are doubtful
    propagateKey: 'Alt+P',
    nextKey: 'Alt+.',
    previousKey: 'Alt+,',
};

const DEFAULT_PARAMETERS = {
    Frames: RANGES[0],
    'Target frame': '0',
    Direction: DIRECTIONS[0],
    Output: OUTPUTS[0],
    'Polygon tolerance': '2',
    Speed: 'accurate',
};

/**
 * A JSON object from the browser's storage; {} where there is none.
 * @param {string} name
 * @returns {Record<string, any>}
 */
function stored(name) {
    try {
        const value = JSON.parse(window.localStorage.getItem(name) ?? '{}');
        return value && typeof value === 'object' ? value : {};
    } catch {
        return {};
    }
}

/**
 * Puts a JSON object into the browser's storage, where there is one.
 * @param {string} name
 * @param {object} value
 */
function keep(name, value) {
    try {
        window.localStorage.setItem(name, JSON.stringify(value));
    } catch {
        // Some browsers forbid it: the next run begins with the defaults.
    }
}

/**
 * Settings: defaults, then the script tag's `data-...` attributes, then the browser's `perclip.settings`.
 * @param {Record<string, string | undefined>} attributes
 * @param {Record<string, any>} own
 * @returns {typeof DEFAULT_SETTINGS}
 */
function mergedSettings(attributes, own) {
    /** @type {Record<string, any>} */
    const merged = { ...DEFAULT_SETTINGS };
    for (const source of [attributes, own]) {
        for (const [name, standard] of Object.entries(DEFAULT_SETTINGS)) {
            const value = source[name];
            if (typeof standard === 'string' && typeof value === 'string' && value) merged[name] = value;
            if (typeof standard === 'number' && Number(value) > 0) merged[name] = Number(value);
        }
    }
    return /** @type {typeof DEFAULT_SETTINGS} */ (merged);
}

/**
 * The last parameters of the action, all as texts; unknown values become the defaults.
 * @param {Record<string, any>} last
 * @returns {typeof DEFAULT_PARAMETERS}
 */
function knownParameters(last) {
    const parameters = { ...DEFAULT_PARAMETERS };
    if (RANGES.includes(last.Frames)) parameters.Frames = last.Frames;
    if (DIRECTIONS.includes(last.Direction)) parameters.Direction = last.Direction;
    if (OUTPUTS.includes(last.Output)) parameters.Output = last.Output;
    if (Object.hasOwn(CLIP_LENGTHS, last.Speed)) parameters.Speed = last.Speed;
    for (const name of /** @type {const} */ (['Target frame', 'Polygon tolerance'])) {
        if (Number.isFinite(Number.parseFloat(last[name]))) parameters[name] = String(last[name]);
    }
    return parameters;
}

/**
 * @param {Record<string, any>} parameters
 * @returns {Options}
 */
function optionsOf(parameters) {
    const known = knownParameters(parameters);
    return {
        range: known.Frames,
        target: Math.round(Number(known['Target frame'])),
        direction: known.Direction,
        output: known.Output,
        tolerance: Math.min(100, Math.max(0, Number(known['Polygon tolerance']))),
        clipLength: CLIP_LENGTHS[/** @type {keyof typeof CLIP_LENGTHS} */ (known.Speed)],
    };
}

/**
 * Whether a key press is a shortcut such as "Alt+P"; by the key's place, as Alt changes letters on some systems.
 * @param {{ code: string, altKey: boolean, ctrlKey: boolean, shiftKey: boolean, metaKey: boolean }} event
 * @param {string} shortcut
 */
function isShortcut(event, shortcut) {
    const parts = shortcut.split('+').map((part) => part.trim());
    const key = parts.pop() || '';
    const has = (/** @type {string} */ name) => parts.some((part) => part.toLowerCase() === name);
    /** @type {Record<string, string>} */
    const signs = { '.': 'Period', ',': 'Comma', '/': 'Slash', ';': 'Semicolon', '[': 'BracketLeft', ']': 'BracketRight' };
    const code = signs[key] ?? (/^[a-z]$/i.test(key) ? `Key${key.toUpperCase()}` : /^\d$/.test(key) ? `Digit${key}` : key);
    return event.code === code && event.altKey === has('alt') && event.ctrlKey === has('ctrl')
        && event.shiftKey === has('shift') && event.metaKey === has('meta');
}

// ---------------------------------------------------------------------------------------------- masks and polygons

/**
 * Pixels of a mask or polygon inside their box.
 * @typedef {{ left: number, top: number, width: number, height: number, bits: Uint8Array, area: number }} Pixels
 */

/**
 * Why the points of a mask cannot be taken: run lengths, background first, then an inclusive box. Null: all is well.
 * @param {number[]} points
 * @param {number} width
 * @param {number} height
 */
function maskProblem(points, width, height) {
    if (!points.every((value) => Number.isInteger(value) && value >= 0)) return 'has points that are no whole numbers';
    if (points.length < 6) return 'is empty';
    const [left, top, right, bottom] = points.slice(-4);
    if (left > right || top > bottom || right >= width || bottom >= height) return 'has a box outside the image';
    let total = 0;
    let seen = 0;
    for (let i = 0; i < points.length - 4; i++) {
        total += points[i];
        if (i % 2) seen += points[i];
    }
    if (total !== (right - left + 1) * (bottom - top + 1)) return 'does not fill its box';
    return seen ? null : 'is empty';
}

/**
 * Why the points of a polygon cannot be taken. Null: all is well.
 * @param {number[]} points
 * @param {number} width
 * @param {number} height
 */
function polygonProblem(points, width, height) {
    if (!points.every(Number.isFinite)) return 'has points that are no numbers';
    if (points.length < 6 || points.length % 2) return 'has fewer than three points';
    const inside = points.every((value, i) => value >= 0 && value <= (i % 2 ? height : width));
    return inside ? null : 'reaches out of the image';
}

/**
 * @param {number[]} points
 * @returns {Pixels}
 */
function maskPixels(points) {
    const [left, top, right, bottom] = points.slice(-4);
    const [width, height] = [right - left + 1, bottom - top + 1];
    const bits = new Uint8Array(width * height);
    let position = 0;
    for (let i = 0; i < points.length - 4; i++) {
        if (i % 2) bits.fill(1, position, position + points[i]);
        position += points[i];
    }
    return { left, top, width, height, bits, area: bits.reduce((total, bit) => total + bit, 0) };
}

/**
 * Pixels whose centre lies inside (even-odd rule).
 * @param {number[]} points
 * @returns {Pixels}
 */
function polygonPixels(points) {
    const xs = points.filter((_, i) => i % 2 === 0);
    const ys = points.filter((_, i) => i % 2 === 1);
    const [left, top] = [Math.floor(Math.min(...xs)), Math.floor(Math.min(...ys))];
    const width = Math.max(1, Math.ceil(Math.max(...xs)) - left);
    const height = Math.max(1, Math.ceil(Math.max(...ys)) - top);
    const bits = new Uint8Array(width * height);
    for (let row = 0; row < height; row++) {
        const y = top + row + 0.5;
        const crossings = [];
        for (let i = 0, j = xs.length - 1; i < xs.length; j = i++) {
            if (ys[i] > y !== ys[j] > y) crossings.push(xs[j] + ((y - ys[j]) * (xs[i] - xs[j])) / (ys[i] - ys[j]));
        }
        crossings.sort((a, b) => a - b);
        for (let i = 0; i + 1 < crossings.length; i += 2) {
            const first = Math.ceil(crossings[i] - left - 0.5);
            const behind = Math.ceil(crossings[i + 1] - left - 0.5);
            bits.fill(1, row * width + Math.max(0, first), row * width + Math.min(width, behind));
        }
    }
    return { left, top, width, height, bits, area: bits.reduce((total, bit) => total + bit, 0) };
}

/** @type {WeakMap<number[], Pixels>} */
const knownPixels = new WeakMap(); // by points: shapes are compared with many others

/**
 * @param {{ type: string, points: number[] }} shape
 * @returns {Pixels}
 */
function pixelsOf({ type, points }) {
    const pixels = knownPixels.get(points) ?? (type === 'mask' ? maskPixels : polygonPixels)(points);
    knownPixels.set(points, pixels);
    return pixels;
}

/**
 * Left, top, and what lies behind right and bottom.
 * @param {{ type: string, points: number[] }} shape
 */
function boxOf({ type, points }) {
    if (type === 'mask') {
        const [left, top, right, bottom] = points.slice(-4);
        return [left, top, right + 1, bottom + 1];
    }
    const [xs, ys] = [0, 1].map((odd) => points.filter((_, i) => i % 2 === odd));
    return [Math.min(...xs), Math.min(...ys), Math.max(...xs), Math.max(...ys)];
}

/**
 * How far the middles of two shapes' boxes lie apart, in diagonals of the larger box.
 * @param {{ type: string, points: number[] }} one
 * @param {{ type: string, points: number[] }} other
 */
function distance(one, other) {
    const [a, b] = [one, other].map((shape) => {
        const [left, top, right, bottom] = boxOf(shape);
        return { x: (left + right) / 2, y: (top + bottom) / 2, size: Math.hypot(right - left, bottom - top) };
    });
    return Math.hypot(a.x - b.x, a.y - b.y) / Math.max(a.size, b.size);
}

/**
 * Intersection over union of two masks or polygons, 0..1.
 * @param {{ type: string, points: number[] }} one
 * @param {{ type: string, points: number[] }} other
 */
function overlap(one, other) {
    const [box, second] = [boxOf(one), boxOf(other)];
    if (box[0] >= second[2] || second[0] >= box[2] || box[1] >= second[3] || second[1] >= box[3]) return 0;
    const [a, b] = [pixelsOf(one), pixelsOf(other)];
    const left = Math.max(a.left, b.left);
    const right = Math.min(a.left + a.width, b.left + b.width);
    const bottom = Math.min(a.top + a.height, b.top + b.height);
    let both = 0;
    for (let y = Math.max(a.top, b.top); y < bottom; y++) {
        const inA = (y - a.top) * a.width - a.left;
        const inB = (y - b.top) * b.width - b.left;
        for (let x = left; x < right; x++) both += a.bits[inA + x] & b.bits[inB + x];
    }
    return both ? both / (a.area + b.area - both) : 0;
}

// ------------------------------------------------------------------------------------------- the mark of keyframes

const PER_PIXEL = 64;
const MARK_UNIT = 2 ** -27; // pixels; a checksum has 20 bits, so that the mark stays within 1/128

/**
 * FNV-1a of a keyframe's coordinates in 64ths of a pixel, folded to 20 bits.
 * @param {number[]} steps
 * @param {boolean} outside
 */
function checksumOf(steps, outside) {
    const text = steps.join(',') + (outside ? ',outside' : '');
    let value = 0x811C9DC5;
    for (let i = 0; i < text.length; i++) value = Math.imul(value ^ text.charCodeAt(i), 0x01000193) >>> 0;
    return (value ^ (value >>> 20)) & 0xFFFFF;
}

/**
 * The points of a keyframe that Perclip puts into a person's track, with the mark by which it is known again: CVAT keeps
 * neither source nor author of a keyframe, but it keeps coordinates whole. plugin/shapes/keyframe_mark.py does the same.
 *
 * @param {number[]} points of a polygon
 * @param {boolean} outside of the keyframe
 * @param {number} width of the image
 * @returns {number[]} none farther than 1/64 pixel from where it was
 */
function markKeyframe(points, outside, width) {
    const steps = points.map((value) => Math.floor(value * PER_PIXEL + 0.5) + 0); // no -0
    steps[0] = Math.min(steps[0], Math.floor(width * PER_PIXEL) - 1);
    const marked = steps.map((step) => step / PER_PIXEL);
    marked[0] += (checksumOf(steps, outside) + 1) * MARK_UNIT;
    return marked;
}

/**
 * Whether a keyframe's points are as `markKeyframe` gave them. Whoever moves, adds or removes a point, turns `outside` or
 * rounds coordinates has broken the mark.
 * @param {number[]} points
 * @param {boolean} outside
 */
function isMarked(points, outside) {
    if (points.length < 6 || !points.every(Number.isFinite)) return false;
    const steps = points.map((value) => Math.floor(value * PER_PIXEL));
    const isOnGrid = points.every((value, i) => !i || value * PER_PIXEL === steps[i]);
    return isOnGrid && points[0] === steps[0] / PER_PIXEL + (checksumOf(steps, outside) + 1) * MARK_UNIT;
}

/**
 * Whose the keyframes of a track are, each with all attributes that hold there, ascending.
 *
 * Perclip's have the mark, and repeat occlusion, layer and attributes of the keyframe before (the first one of that behind
 * it). Where one of these differs a person has changed it, and the keyframe is theirs.
 *
 * @param {Track} track
 * @returns {{ frame: number, isPerclips: boolean, shape: TrackedShape }[]}
 */
function keyframesOf(track) {
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

// --------------------------------------------------------------------------------------------------------- objects

const ON_WRITTEN = 0.4; // overlap with what Perclip wrote on the same frame ...
const BESIDE_WRITTEN = 0.3; // ... or on a neighbouring one, that makes a shape the same object
const TOUCHES_WRITTEN = 0.1; // less: a correction, or a neighbour; nobody can say
const ANOTHER_LABEL = 0.7; // the same where the label is another one: it was changed since
const FARTHEST = 2; // diagonals of the larger box between an object and itself on the next frame
const SAME_OBJECT = 0.5; // overlap of an object with itself from keyframe to keyframe ...
const ANOTHER_OBJECT = 0.2; // ... when it has no more than this with any other

/** What Perclip wrote and nobody has edited: CVAT's page makes the source of edited shapes "semi-auto". */
const isWritten = (/** @type {{ source: string }} */ annotation) => annotation.source === 'auto';
const isPropagated = (/** @type {string} */ type) => type === 'mask' || type === 'polygon';

/**
 * @param {number} label
 * @param {number} group
 * @returns {AnnotatedObject}
 */
function newObject(label, group) {
    return { label, group, tracks: [], uncertain: false, ids: new Set(), drawn: new Map(), absent: new Set(),
        written: [], writtenTracks: [] };
}

/**
 * @param {AnnotatedObject} object
 * @param {number} frame
 * @param {Drawn} drawn
 * @param {number | undefined} clientID
 */
function addDrawn(object, frame, drawn, clientID) {
    object.drawn.set(frame, [...(object.drawn.get(frame) ?? []), drawn]);
    if (clientID !== undefined) object.ids.add(clientID);
}

/**
 * A polygon track that a person drew, with their keyframes.
 * @param {AnnotatedObject} object
 * @param {Track} track
 * @param {Set<number>} usable
 */
function addDrawnTrack(object, track, usable) {
    object.tracks.push(track);
    object.ids.add(/** @type {number} */ (track.clientID));
    for (const { frame, isPerclips, shape } of keyframesOf(track)) {
        if (isPerclips || !usable.has(frame)) continue;
        if (shape.outside) object.absent.add(frame);
        else addDrawn(object, frame, shape, track.clientID);
    }
}

/**
 * The frames on which a track is to be seen, by interpolation too.
 * @param {Track} track
 * @param {number[]} frames ascending
 */
function seenFrames(track, frames) {
    const shapes = [...track.shapes].sort((a, b) => a.frame - b.frame);
    let next = 0;
    return frames.filter((frame) => {
        while (next < shapes.length && shapes[next].frame <= frame) next++;
        return next > 0 && !shapes[next - 1].outside;
    });
}

/**
 * The objects of a job with all that people drew of them and all that Perclip wrote of them.
 *
 * One object are: a track, and tracks of its group that follow it; shapes of one label and group; ungrouped shapes and tracks with the written masks of a group
 * that they lie on or continue (`Linking`); shapes that are alone of their label on each frame; shapes that overlap from
 * keyframe to keyframe and overlap no others. Where all this does not tell, the objects are uncertain.
 *
 * @param {Collection} collection
 * @param {number[]} frames ascending; all others are left out of account
 * @param {Map<number, number>} [groupsOf] groups that were written for annotations, by their client IDs
 * @returns {AnnotatedObject[]}
 */
function findObjects(collection, frames, groupsOf = new Map()) {
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

const UNCLEAR = -1;

/** Finds out which ungrouped drawings belong to which groups of written masks, and to each other. */
class Linking {
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
            return on >= ON_WRITTEN ? on : on >= TOUCHES_WRITTEN ? UNCLEAR : -2;
        }
        const near = Math.max(0, ...this.near(frame, group).map((other) => overlap(shape, other)));
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
            const scores = isAlone ? [1] : open.map(({ last, frame: at }) => (at === frame ? 0 : overlap(last, shape)));
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
function targetObjects(collection, chosen, frame, frames, groupsOf) {
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

// ---------------------------------------------------------------------------------------------------------- ranges

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
function rangeOf(object, frames, current, options) {
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
function planClips(objects, ranges, job, options) {
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
    /** @type {{ frame: number, shapes: { object: number, type: string, points: number[] }[] }[]} */
    const keyframes = [];
    for (const frame of numbers) {
        const shapes = objects.flatMap((object, name) => {
            const drawn = object.drawn.get(frame) ?? [];
            if (drawn.length) return drawn.map(({ type, points }) => ({ object: name, type, points }));
            return object.absent.has(frame) ? [{ object: name, type: 'polygon', points: [] }] : [];
        });
        if (shapes.length) keyframes.push({ frame, shapes });
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
        },
    };
}

// --------------------------------------------------------------------------------------------------- chain of calls

const FIRST_BATCH = 12; // images of the first call: something is seen soon
const LARGEST_BATCH = 600;
const CALL_SECONDS = [2, 5, 10, 16]; // aimed at by the first calls and all later ones; nginx gives up after 60
const MOST_SECONDS = 20; // of work in a call
const MOST_CHARACTERS = 24 * 2 ** 20; // of images in a call
const PATIENCE = 60; // seconds for which a busy or lost function is called again
const REFUSED_SECONDS = 3; // a busy function answers 503 after its workers' waiting time, one that does not run at once
const SILENCE = 13; // seconds of such answers alone, after which the function cannot be reached
const MOST_SLOW_CALLS = 3;

/**
 * @param {number} milliseconds
 * @returns {Promise<void>}
 */
const sleep = (milliseconds) => new Promise((resolve) => { setTimeout(resolve, milliseconds); });

/**
 * A speed in words.
 * @param {number} rate frames per second
 */
function rateText(rate) {
    return rate >= 0.1 ? `${rate.toFixed(1)} frames/s` : rate > 0 ? `${Math.round(1 / rate)} s per frame` : '0 frames/s';
}

/** The annotator does not want it any more. */
class Cancelled extends Error {}

/** Something went wrong; the message is for the annotator. */
class PerclipError extends Error {}

const NOT_DEPLOYED = 'Perclip\'s function is not deployed on this CVAT server. Whoever runs it can deploy it with '
    + 'serverless/deploy.sh.';
const UNREACHABLE = 'Perclip\'s function cannot be reached: it has stopped, or is just being started. Whoever runs this CVAT server '
    + 'sees why in Nuclio\'s dashboard or with docker logs.';
const TOO_OLD = 'The function on this CVAT server is too old for this page, or it is no Perclip. Whoever runs it can '
    + 'deploy it anew with serverless/deploy.sh.';

/**
 * What a failed call means: `words` for the annotator; `again`: "wait" and call again, "less" work at once, or "no".
 * @param {any} error as `core.lambda.call` threw it: `code` is the HTTP status, 0 for a lost connection
 * @returns {{ words: string, again: 'wait' | 'less' | 'no' }}
 */
function explained(error) {
    const status = error?.code;
    if (status === 404) return { words: NOT_DEPLOYED, again: 'no' };
    if (status === 413) return { words: 'The call was too large for the server.', again: 'less' };
    if (status === 504 || status === 408) return { words: 'The function took too long and timed out.', again: 'less' };
    if (status === 429 || status === 503) return { words: 'The function is busy.', again: 'wait' };
    if (status === 0 || status === 502) return { words: 'The connection to the function was lost.', again: 'wait' };
    if (status === 401 || status === 403) return { words: 'CVAT does not let you call the function.', again: 'no' };
    if (status === 500) return { words: TOO_OLD, again: 'no' };
    return { words: `CVAT refuses the call: ${messageOf(error)}`, again: 'no' };
}

/**
 * A range, propagated by clip calls that follow each other. While one is answered, the images of the next are made.
 */
class ClipChain {
    /**
     * @param {{ clip: Record<string, any>, work: number }} plan as `planClip` gives it
     * @param {{ call: (clip: object) => Promise<any>, image: (frame: number) => Promise<string>,
     *     prefetch: (frames: number[]) => void, cancelled: () => boolean, onProgress: (text: string, percent: number)
     *     => void, now?: () => number, pause?: (milliseconds: number) => Promise<void>, before?: ClipChain,
     *     others?: { done: number, total: number, work: number, allWork: number } }} world
     *     `image`: of a frame, JPEG in base64; `before`: a chain that was cut off: the same plan goes on from there.
     *     `others`: what other chains of the run have done, of how much, for the progress.
     */
    constructor({ clip, work }, world) {
        this.clip = clip;
        this.work = work;
        const { before, ...others } = world; // what was cut off is not kept alive
        this.world = others;
        this.now = world.now ?? (() => performance.now() / 1000);
        this.pause = world.pause ?? sleep;
        /** @type {Map<number, AnsweredFrame>} */
        this.answered = new Map();
        /** @type {string[]} */
        this.warnings = [];
        /** @type {{ state: string | null, needed: number[], next: number[] } | null} */
        this.going = null; // how to go on; null before the first answer
        /** @type {number} */
        this.consumed = 0; // frames that passes have segmented
        /** @type {number} */
        this.resumed = 0; // of these, by an earlier run
        this.isDone = false;
        this.isKnown = false; // the function has answered something in this run
        this.before = 0; // frames that an earlier run has answered
        this.runs = 1; // that this one goes on from, itself included
        this.smallest = clip.clip_length ?? 1; // images of a call: the function works on whole clips
        if (before && JSON.stringify(before.clip) === JSON.stringify(clip)) {
            this.answered = new Map(before.answered);
            this.going = before.going;
            this.isDone = before.isDone;
            this.consumed = before.consumed;
            this.resumed = this.consumed;
            this.runs = before.consumed > before.resumed ? before.runs + 1 : before.runs;
        }
        this.keyframes = clip.keyframes.map((/** @type {{ frame: number }} */ { frame }) => frame);
        const named = clip.keyframes.map((/** @type {any} */ { shapes }) => new Set(shapes.map((/** @type {any} */ { object }) => object)));
        const most = new Set(named.flatMap((/** @type {Set<number>} */ names) => [...names])).size;
        this.drawn = new Set(this.keyframes.filter((/** @type {number} */ _, /** @type {number} */ i) => named[i].size === most));
        this.before = this.answeredFrames();
        this.began = this.now();
    }

    /** How many frames were answered; those on which all objects are drawn do not count. */
    answeredFrames() {
        return [...this.answered.keys()].filter((frame) => !this.drawn.has(frame)).length;
    }

    /** How many frames were answered, of how many; those on which all objects are drawn do not count. */
    get progress() {
        const done = this.answeredFrames();
        const { others } = this.world;
        const total = this.clip.frames.length - this.drawn.size;
        return others ? { done: done + others.done, total: others.total } : { done, total };
    }

    /** Frames per second so far; where passes go both ways, a frame counts when both have been there. */
    get rate() {
        const share = (this.consumed - this.resumed) / this.work;
        return (share * (this.clip.frames.length - this.drawn.size)) / Math.max(0.001, this.now() - this.began);
    }

    /**
     * Fills `answered`; what is there when an error is thrown is final, too.
     *
     * @throws {Cancelled}
     * @throws {PerclipError}
     */
    async run() {
        if (this.isDone) return;
        const { keyframes } = this;
        let going = this.going ?? { state: null, needed: keyframes, next: this.firstFrames(keyframes) };
        let batch = Math.max(FIRST_BATCH, this.smallest);
        let seconds = MOST_SECONDS;
        let slow = 0;
        let idle = 0;
        let restarts = 0;
        for (let calls = 0; ;) {
            this.report();
            const { body, sent } = await this.body(going, batch, seconds);
            const began = this.now();
            const calling = this.patiently(body);
            this.world.prefetch(going.next.slice(sent.length, sent.length + batch));
            const { answer, less, isStale } = await this.unlessCancelled(calling);
            if (isStale) {
                if (++restarts > 1) throw this.failure('The function keeps changing: try again later.');
                this.answered.clear();
                [this.consumed, this.resumed, this.going, this.before, this.runs] = [0, 0, null, 0, 1];
                going = { state: null, needed: keyframes, next: this.firstFrames(keyframes) };
                continue;
            }
            if (less) {
                const isLeast = sent.length <= this.smallest && seconds <= 2;
                if (++slow > MOST_SLOW_CALLS || isLeast || (!sent.length && slow > 1)) throw this.failure(less);
                batch = Math.max(this.smallest, Math.floor(Math.min(batch, sent.length) / 2));
                seconds = Math.max(2, seconds / 2);
                continue;
            }
            slow = 0;
            seconds = Math.min(MOST_SECONDS, 2 * seconds);
            for (const frame of answer.frames) this.answered.set(frame.frame, frame);
            this.warnings = [...new Set([...this.warnings, ...(answer.warnings ?? [])])];
            const before = this.consumed;
            const place = answer.continue ? sent.indexOf(answer.continue.next[0]) : -1;
            this.consumed += place < 0 ? sent.length : place;
            if (!answer.continue) break;
            const isMoving = this.consumed > before || answer.frames.length || !sent.length;
            idle = isMoving ? 0 : idle + 1;
            if (idle > 2 || (going.state === answer.continue.state && !sent.length)) {
                throw this.failure('The function makes no progress; its log says why.');
            }
            if (this.consumed > before) {
                const aim = CALL_SECONDS[Math.min(calls++, CALL_SECONDS.length - 1)] * (seconds / MOST_SECONDS);
                const speed = (this.consumed - before) / Math.max(0.05, this.now() - began);
                batch = Math.min(LARGEST_BATCH, Math.max(this.smallest, Math.round(speed * aim)));
            }
            this.going = going = answer.continue;
        }
        this.isDone = true;
        this.report();
    }

    /**
     * What the first call should bring beside the keyframes; of several keyframes the function says it better.
     * @param {number[]} keyframes
     */
    firstFrames(keyframes) {
        if (keyframes.length > 1) return [];
        const numbers = this.clip.frames.map((/** @type {{ frame: number }} */ item) => item.frame);
        const place = numbers.indexOf(keyframes[0]);
        const isForward = this.clip.direction === 'forward' || place === 0;
        return isForward ? numbers.slice(place + 1) : numbers.slice(0, place).reverse();
    }

    /**
     * @param {{ state: string | null, needed: number[], next: number[] }} going
     * @param {number} batch
     * @param {number} seconds
     */
    async body(going, batch, seconds) {
        /** @type {Map<number, string>} */
        const images = new Map();
        /** @type {number[]} */
        const sent = [];
        let size = 0;
        const needed = new Set(going.needed);
        for (const frame of new Set([...needed, ...going.next.slice(0, batch)])) {
            const isNeeded = needed.has(frame);
            if (!isNeeded && size > MOST_CHARACTERS && sent.length >= this.smallest) break;
            const image = await this.unlessCancelled(this.world.image(frame));
            images.set(frame, image);
            size += image.length;
            if (!isNeeded) sent.push(frame);
        }
        const frames = this.clip.frames.map((/** @type {{ frame: number }} */ { frame }) => (
            images.has(frame) ? { frame, image: images.get(frame) } : { frame }));
        return { sent, body: { ...this.clip, frames, max_seconds: seconds, continue: going.state } };
    }

    /**
     * An answer, after waiting for a busy function if need be; or `less`, why less should be asked for; or `isStale`: another
     * function answers now, and cannot go on with what the one before began.
     * @param {object} body
     * @returns {Promise<{ answer?: any, less?: string, isStale?: boolean }>}
     */
    async patiently(body) {
        const deadline = this.now() + PATIENCE;
        let heard = this.now(); // the last sign of life
        for (let wait = 1; ; wait = Math.min(8, wait * 2)) {
            let failed;
            const began = this.now();
            let isRefused = false;
            try {
                const answer = await this.world.call(body);
                this.isKnown = true;
                const code = answer?.error?.code;
                if (code === undefined && Array.isArray(answer?.frames)) return { answer };
                if (code === 'too_large') failed = { words: answer.error.message, again: 'less' };
                else if (code === 'busy') failed = { words: answer.error.message, again: 'wait' };
                else if (code === 'bad_continue' && this.going) return { isStale: true };
                else if (code === undefined || code === 'bad_version') failed = { words: TOO_OLD, again: 'no' };
                else failed = { words: `The function refuses: ${answer.error.message}`, again: 'no' };
            } catch (error) {
                failed = explained(error);
                isRefused = /** @type {any} */ (error)?.code === 503 && this.now() - began < REFUSED_SECONDS;
            }
            if (this.world.cancelled()) throw new Cancelled();
            if (failed.again === 'less') return { less: failed.words };
            if (!isRefused) heard = this.now();
            else {
                wait = Math.min(4, wait);
                const isSilent = this.now() + wait > heard + SILENCE;
                // In the middle of a run it may come back: a worker that is restarted, say.
                if (isSilent && !this.isKnown) throw this.failure(UNREACHABLE);
                failed.words = isSilent ? UNREACHABLE : 'The function is busy, or does not run.';
            }
            if (failed.again === 'no' || this.now() + wait > deadline) throw this.failure(failed.words);
            this.report(`${failed.words} Trying again`);
            await this.pause(wait * 1000);
        }
    }

    /**
     * The error for the annotator: what happened and how far it got.
     * @param {string} words
     */
    failure(words) {
        const { done, total } = this.progress;
        return Object.assign(new PerclipError(done ? `${words} It got through ${done} of ${total} frames.` : words), { words });
    }

    /** @param {string} [instead] */
    report(instead) {
        const { done, total } = this.progress;
        const text = this.consumed ? `${done} of ${total} frames, ${rateText(this.rate)}` : 'Sending the first frames';
        const { work, allWork } = this.world.others ?? { work: 0, allWork: this.work };
        const percent = Math.min(99, Math.round((100 * (work + Math.min(this.work, this.consumed))) / allWork));
        this.world.onProgress(`Perclip: ${instead ?? text}`, percent);
    }

    /**
     * @template T
     * @param {Promise<T>} promise
     * @returns {Promise<T>}
     */
    async unlessCancelled(promise) {
        let timer;
        const cancelling = new Promise((_, reject) => {
            timer = setInterval(() => { if (this.world.cancelled()) reject(new Cancelled()); }, 50);
        });
        try {
            if (this.world.cancelled()) throw new Cancelled();
            return /** @type {T} */ (await Promise.race([promise, cancelling]));
        } finally {
            clearInterval(timer);
            promise.catch(() => {}); // nobody waits for it any more
        }
    }
}

// ---------------------------------------------------------------------------------------------------------- tracks

/**
 * @typedef {Map<number, number[] | null>} Changes by frame: the polygon that is to be seen of a track, or null for nothing
 */

/**
 * Which of an object's tracks, that follow each other, a frame belongs to.
 * @param {Track[]} tracks
 * @param {number} frame
 */
function trackAt(tracks, frame) {
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
function copiedKeyframe({ type, frame, points, outside, occluded, z_order, rotation, attributes }) {
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
function filledTrack(track, changes, written, job) {
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
function restOfTrack(track, settled, job) {
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

// ------------------------------------------------------------------------------------- what is created and deleted

/**
 * Why a shape must not be committed: CVAT's page takes almost anything and fails later. Null: all is well.
 * @param {Shape} shape
 * @param {JobFacts} job
 */
function shapeProblem(shape, job) {
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
function outcomeOf(targets, answered, job, highestGroup) {
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

const LONGEST_PLACE = 10; // frames

/**
 * Where to look: the most doubtful frame of each run of up to ten doubtful frames, ascending, and how many these runs have.
 * @param {{ frame: number, confidence: number }[]} confidences
 * @param {number} below
 * @param {number[]} frames of the job, ascending
 */
function doubtsOf(confidences, below, frames) {
    /** @type {Map<number, number>} */
    const worst = new Map();
    for (const { frame, confidence } of confidences) {
        if (confidence < below) worst.set(frame, Math.min(confidence, worst.get(frame) ?? 1));
    }
    /** @type {{ frame: number, confidence: number }[]} */
    const places = [];
    let [previous, began] = [-Infinity, -Infinity];
    for (const [place, frame] of frames.entries()) {
        const confidence = worst.get(frame);
        if (confidence === undefined) continue;
        const last = places[places.length - 1];
        if (place !== previous + 1 || place >= began + LONGEST_PLACE) {
            places.push({ frame, confidence });
            began = place;
        } else if (confidence < last.confidence) Object.assign(last, { frame, confidence });
        previous = place;
    }
    return { count: worst.size, places };
}

/**
 * The next place to look at from a frame, around the end if need be.
 * @param {number[]} places ascending
 * @param {number} current
 * @param {number} step 1 or -1
 */
function nextPlace(places, current, step) {
    const ordered = step > 0 ? places : [...places].reverse();
    return ordered.find((frame) => (frame - current) * step > 0) ?? ordered[0];
}

// ---------------------------------------------------------------------------------------------------------- frames

const JPEG_QUALITY = 0.92;
const FRAME_PATIENCE = 30; // seconds
const POLITENESS = 10; // seconds for which the annotator's own frames come first
const CACHED_CHARACTERS = 128 * 2 ** 20;

/** Frames of a job as small JPEGs, from the page's decoder: one at a time, and never before the annotator's own. */
class PageFrames {
    /**
     * @param {any} job
     * @param {() => boolean} isBusy whether the page waits for a frame itself
     * @param {{ width: number, height: number }} size of the job's frames
     * @param {number} shortSide
     */
    constructor(job, isBusy, size, shortSide) {
        this.job = job;
        this.isBusy = isBusy;
        const scale = Math.min(1, shortSide / Math.min(size.width, size.height));
        const side = (/** @type {number} */ length) => Math.max(1, Math.round(length * scale));
        this.canvas = new OffscreenCanvas(side(size.width), side(size.height));
        this.context = /** @type {OffscreenCanvasRenderingContext2D} */ (this.canvas.getContext('2d', { alpha: false }));
        this.context.imageSmoothingQuality = 'high';
        /** @type {Map<number, Promise<string>>} */
        this.made = new Map();
        this.characters = 0;
        this.last = Promise.resolve();
        this.isStopped = false;
    }

    /**
     * @param {number} frame
     * @returns {Promise<string>} JPEG in base64
     */
    image(frame) {
        let image = this.made.get(frame);
        if (!image) {
            image = this.last.then(() => this.encode(frame));
            this.last = image.then((text) => { this.characters += text.length; }, () => { this.made.delete(frame); });
            this.made.set(frame, image);
        }
        return image;
    }

    /** @param {number[]} frames soon wanted */
    prefetch(frames) {
        if (this.characters > CACHED_CHARACTERS) {
            this.made.clear();
            this.characters = 0;
        }
        for (const frame of frames) this.image(frame).catch(() => {});
    }

    /** @param {number} frame */
    async encode(frame) {
        const began = performance.now();
        const deadline = began + FRAME_PATIENCE * 1000;
        for (;;) {
            if (this.isStopped) throw new Cancelled();
            // CVAT drops a request for a frame when a newer one comes: neither may drop the other's for long.
            if (!this.isBusy() || performance.now() > began + POLITENESS * 1000) {
                try {
                    return await this.draw(frame);
                } catch (error) {
                    if (typeof error !== 'number' && !isRetired(error)) {
                        throw new PerclipError(`Frame ${frame} cannot be read: ${messageOf(error)}`);
                    }
                }
            }
            if (performance.now() > deadline) throw new PerclipError(`Frame ${frame} does not come: is CVAT reachable?`);
            await sleep(40);
        }
    }

    /** @param {number} frame */
    async draw(frame) {
        const { imageData } = await (await this.job.frames.get(frame)).data();
        const bitmap = imageData instanceof Blob ? await createImageBitmap(imageData) : imageData;
        this.context.drawImage(bitmap, 0, 0, this.canvas.width, this.canvas.height);
        if (bitmap !== imageData) bitmap.close();
        const blob = await this.canvas.convertToBlob({ type: 'image/jpeg', quality: JPEG_QUALITY });
        return base64Of(blob);
    }
}

/** The page has closed the bitmap of a chunk that it dropped meanwhile. */
const isRetired = (/** @type {any} */ error) => error?.name === 'InvalidStateError';

/**
 * What an error says, in words.
 * @param {any} error
 */
function messageOf(error) {
    return String(error?.message ?? error ?? 'unknown error');
}

/**
 * @param {Blob} blob
 * @returns {Promise<string>}
 */
function base64Of(blob) {
    return new Promise((resolve, reject) => {
        const reader = new FileReader();
        reader.onload = () => resolve(String(reader.result).split(',')[1]);
        reader.onerror = () => reject(reader.error);
        reader.readAsDataURL(blob);
    });
}

/**
 * What the planner needs to know of a job.
 * @param {any} job
 * @param {number} current
 * @returns {Promise<JobFacts>}
 */
async function factsOf(job, current) {
    const { width, height } = await job.frames.get(current);
    const frames = [];
    for (const frame of await job.frames.frameNumbers()) {
        const data = await job.frames.get(frame);
        // Images of another size are another sequence.
        if (!data.deleted && data.width === width && data.height === height) frames.push(frame);
    }
    return { width, height, frames, last: job.stopFrame, labels: job.labels };
}

// ---------------------------------------------------------------------------------------------------------- action

/**
 * The action that CVAT runs: from its menus, and from Perclip's button.
 *
 * @param {any} core cvat-core
 * @param {any} store of the page
 * @param {() => typeof DEFAULT_SETTINGS} settings
 * @param {(summary: Summary) => void} onDone told before what was found is committed
 *
 * @typedef {{ what: string, frames: number, done: number, total: number, before: number, runs: number, seconds: number }} Counts
 *     `frames`: that got something, of `done` of `total`, `before` of them by earlier runs that were cut off.
 * @typedef {Counts & { warnings: string[], failure: string | null,
 *     doubts: { count: number, places: { frame: number, confidence: number }[] }, job: any }} Summary
 */
function actionClass(core, store, settings, onDone) {
    return class PropagateAction extends core.classes.BaseCollectionAction {
        /** @type {any} */
        job = null;
        parameters_ = DEFAULT_PARAMETERS;
        isRunning = false;
        isOneClick = false; // the next run is the button's: its parameters are not kept
        /** @type {WeakMap<object, Map<number, number>>} */
        groups = new WeakMap(); // by job: what was written for which annotation, as `findObjects` takes it
        /** @type {{ job: any, functionId: string, chains: ClipChain[] }} */
        unfinished = { job: null, functionId: '', chains: [] }; // of a run that failed: the same run goes on from there

        get name() {
            return ACTION_NAME;
        }

        get parameters() {
            const last = knownParameters(stored('perclip.parameters'));
            const select = (/** @type {string[]} */ values, /** @type {string} */ value) => (
                { type: 'select', values, defaultValue: value });
            return {
                Frames: select(RANGES, last.Frames),
                'Target frame': {
                    type: 'number',
                    values: (/** @type {any} */ { instance }) => [`${instance.startFrame}`, `${instance.stopFrame}`, '1'],
                    defaultValue: (/** @type {any} */ { instance }) => `${instance.stopFrame}`,
                },
                Direction: select(DIRECTIONS, last.Direction),
                Output: select(OUTPUTS, last.Output),
                'Polygon tolerance': { type: 'number', values: ['0', '20', '0.5'], defaultValue: last['Polygon tolerance'] },
                Speed: select(Object.keys(CLIP_LENGTHS), last.Speed),
            };
        }

        /** @param {any} state */
        isApplicableForObject(state) {
            return isApplicable(state);
        }

        /**
         * @param {any} job
         * @param {Record<string, any>} parameters
         */
        async init(job, parameters) {
            if (this.isRunning) throw new PerclipError('Perclip is still at work: wait for it, or cancel it.');
            this.job = job;
            this.parameters_ = knownParameters(parameters);
            if (!this.isOneClick) keep('perclip.parameters', this.parameters_);
            this.isOneClick = false;
        }

        async destroy() {} // called even where `init` refused: a run in progress must not notice

        /** @param {{ collection: Collection }} input */
        applyFilter({ collection }) {
            return {
                shapes: collection.shapes.filter((shape) => isPropagated(shape.type)),
                tracks: collection.tracks.filter((track) => track.shapes[0]?.type === 'polygon'),
                tags: [],
            };
        }

        /**
         * @param {{ collection: Collection, frameData: { number: number }, onProgress: (text: string, percent: number)
         *     => void, cancelled: () => boolean }} input
         * @returns {Promise<{ created: Collection, deleted: Collection }>}
         */
        async run({ collection, frameData, onProgress, cancelled }) {
            if (this.isRunning) throw new PerclipError('Perclip is still at work: wait for it, or cancel it.');
            const doing = underWay(store);
            if (doing) throw new PerclipError(doing);
            this.isRunning = true;
            const nothing = { created: { shapes: [], tracks: [], tags: [] }, deleted: { shapes: [], tracks: [], tags: [] } };
            try {
                return await this.propagate(collection, frameData.number, onProgress, cancelled);
            } catch (error) {
                if (error instanceof Cancelled) return nothing;
                throw error instanceof Error ? error : new PerclipError(messageOf(error)); // CVAT shows Errors alone
            } finally {
                this.isRunning = false;
            }
        }

        /**
         * @param {Collection} chosen
         * @param {number} current
         * @param {(text: string, percent: number) => void} onProgress
         * @param {() => boolean} cancelled
         */
        async propagate(chosen, current, onProgress, cancelled) {
            const { job } = this;
            const options = optionsOf(this.parameters_);
            if (job.dimension === '3d') throw new PerclipError('Perclip works on images and videos, not on point clouds.');
            const facts = await factsOf(job, current);
            const whole = await job.annotations.export();
            const groups = this.groups.get(job) ?? new Map();
            this.groups.set(job, groups);
            const objects = targetObjects(whole, chosen, current, facts.frames, groups);
            const targets = plannedTargets(objects, facts, current, options);
            const plans = planClips(targets.map(({ object }) => object), targets.map(({ range }) => range), facts, options);
            const began = performance.now();
            const { chains, failure, done, total } = await this.answer(plans, facts, onProgress, cancelled);
            const answered = new Map(chains.flatMap((chain) => [...chain.answered]));
            await this.editingEnds(onProgress, cancelled);
            // What the annotator drew meanwhile counts.
            const now = await job.annotations.export();
            const fresh = targetObjects(now, chosen, current, facts.frames, groups);
            /** @type {{ object: AnnotatedObject, range: Range, name: number }[]} */
            const remaining = [];
            for (const [name, { object, range }] of targets.entries()) {
                const same = fresh.find((other) => [...other.ids].some((id) => object.ids.has(id)));
                if (same && !remaining.some((other) => other.object === same)) remaining.push({ object: same, range, name });
            }
            // Of groups that were taken back, too: what was written for one object must not pass for another's.
            const highest = [...now.shapes, ...now.tracks, ...now.tags, ...[...groups.values()].map((group) => ({ group }))]
                .reduce((most, { group }) => Math.max(most, group || 0), 0);
            const { created, deleted, confidences, refused, filled, groups: made } = outcomeOf(
                remaining, answered, facts, highest);
            if (cancelled()) throw new Cancelled();
            for (const { object, name } of remaining) {
                const group = made.get(name);
                for (const id of object.ids) if (group) groups.set(id, group);
            }
            const warnings = [...new Set(chains.flatMap((chain) => chain.warnings)), ...refused.slice(0, 3)];
            if (refused.length > 3) warnings.push(`${refused.length - 3} more`);
            const seconds = (performance.now() - began) / 1000;
            const labels = new Set(remaining.map(({ object }) => facts.labels.find(({ id }) => id === object.label)?.name));
            const what = remaining.length > 3 ? `${remaining.length} objects` : [...labels].join(', ');
            const before = chains.reduce((total, chain) => total + chain.before, 0);
            onDone({ what, frames: filled.size, done, total, before, runs: Math.max(...chains.map((chain) => chain.runs)), seconds,
                warnings, failure, doubts: doubtsOf(confidences, settings().doubt, facts.frames), job });
            return { created, deleted };
        }

        /**
         * Has all plans answered; `failure` says why not, where some frames were answered nevertheless.
         * @param {{ clip: Record<string, any>, work: number }[]} plans
         * @param {JobFacts} facts
         * @param {(text: string, percent: number) => void} onProgress
         * @param {() => boolean} cancelled
         */
        async answer(plans, facts, onProgress, cancelled) {
            const { job } = this;
            const { functionId, shortSide } = settings();
            const isSame = this.unfinished.job === job && this.unfinished.functionId === functionId;
            const unfinished = isSame ? this.unfinished.chains : [];
            this.unfinished = { job, functionId, chains: [] };
            const isBusy = () => {
                const { player, canvas } = store.getState().annotation;
                // The canvas asks for its frame after "fetching" is over.
                return Boolean(player?.frame?.fetching || player?.playing || canvas?.ready === false);
            };
            const frames = new PageFrames(job, isBusy, facts, shortSide);
            const others = { done: 0, total: 0, work: 0,
                allWork: plans.reduce((total, plan) => total + plan.work, 0) };
            /** @type {ClipChain[]} */
            const chains = [];
            /** @type {string | null} */
            let failure = null;
            try {
                const planned = plans.map((plan) => new ClipChain(plan, /** @type {any} */ ({})));
                others.total = planned.reduce((total, chain) => total + chain.progress.total, 0);
                for (const plan of plans) {
                    const chain = new ClipChain(plan, {
                        image: (frame) => frames.image(frame),
                        prefetch: (numbers) => frames.prefetch(numbers),
                        // CVAT hands on what lies in a shape; the frame's own image, which CVAT adds, is not looked at.
                        call: (clip) => core.lambda.call(job.taskId, { id: functionId }, { type: 'init_tracking', job: job.id,
                            frame: plan.clip.keyframes[0].frame, shapes: [{ type: 'mask', points: [], clip }] }),
                        cancelled,
                        onProgress,
                        before: unfinished[chains.length],
                        others: { ...others },
                    });
                    chains.push(chain);
                    await chain.run();
                    Object.assign(others, { done: chain.progress.done, work: others.work + plan.work });
                }
            } catch (error) {
                if (error instanceof PerclipError) this.unfinished.chains = chains;
                // What was finished before is kept: it would come out the same again.
                if (!(error instanceof PerclipError) || !chains[chains.length - 1].progress.done) throw error;
                failure = /** @type {any} */ (error).words ?? error.message;
            } finally {
                frames.isStopped = true;
                frames.made.clear();
            }
            return { chains, failure, ...chains[chains.length - 1].progress };
        }

        /**
         * Waits while the annotator draws or edits: CVAT could not show the result, or would drop what is drawn.
         * @param {(text: string, percent: number) => void} onProgress
         * @param {() => boolean} cancelled
         */
        async editingEnds(onProgress, cancelled) {
            for (let isTold = false; underWay(store); isTold = true) {
                if (cancelled()) throw new Cancelled();
                if (!isTold) onProgress('Perclip: ready; it is shown when you have finished what you are drawing', 99);
                await sleep(100);
            }
        }
    };
}

/**
 * The objects that have frames to be filled, with their ranges.
 * @param {AnnotatedObject[]} objects
 * @param {JobFacts} facts
 * @param {number} current
 * @param {Options} options
 * @throws {PerclipError} says what to do where there is nothing to propagate
 */
function plannedTargets(objects, facts, current, options) {
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

const UNDER_WAY = /^(draw_|edit$|ai_tools$|opencv_tools$|slice$|join$|merge$|group$|split$)/;

/**
 * What the annotator is doing that another frame or other masks would disturb, as an error says it; null: nothing.
 * @param {any} store
 */
function underWay(store) {
    const { canvas } = store.getState().annotation;
    const control = String(canvas?.activeControl ?? '').toLowerCase();
    // While a new shape is drawn the canvas itself would let the frame change.
    const isDrawing = !control || /^(draw_|edit$|cursor$)/.test(control);
    if (!UNDER_WAY.test(control) && (canvas?.instance?.isAbleToChangeFrame?.() ?? true)) return null;
    return isDrawing ? 'Finish what you are drawing first.' : `Finish what you have begun first (${control.replaceAll('_', ' ')}).`;
}

/**
 * The group of an object of the page; 0 for none.
 * @param {any} state cvat-core's ObjectState
 * @returns {number}
 */
function groupOf(state) {
    return state.group?.id ?? state.group ?? 0;
}

/**
 * Whether an object of the page can be propagated.
 * @param {any} state cvat-core's ObjectState
 */
function isApplicable(state) {
    return (state.objectType === 'shape' && isPropagated(state.shapeType))
        || (state.objectType === 'track' && state.shapeType === 'polygon');
}

// --------------------------------------------------------------------------------------------- what is on the screen

/**
 * What was done, in numbers that agree with each other.
 * @param {Counts} counts
 */
function countsText({ what, frames, done, total, before, runs, seconds }) {
    const speed = `${seconds.toFixed(1)} s (${rateText((done - before) / Math.max(0.001, seconds))})`;
    if (done === total && !before && frames >= done) return `${what}: ${many(frames, 'frame')} filled in ${speed}.`;
    const split = before ? ` in ${runs === 2 ? 'two' : runs} runs: ${before} before, ${done - before} now` : '';
    const filled = frames >= done ? 'all filled' : `${frames} filled, ${done - frames} without anything`;
    return `${what}: ${done} of ${total} frames done${split} in ${speed}; ${filled}.`;
}

/**
 * @param {number} count
 * @param {string} noun
 */
function many(count, noun) {
    return `${count} ${noun}${count === 1 ? '' : 's'}`;
}

/**
 * @typedef {{ left: number, top: number, right: number, bottom: number }} Box
 */

/**
 * Where a notice covers none of CVAT's panels, or least of them: the first of these places inside the canvas that is free.
 * @param {{ width: number, height: number }} size of the notice
 * @param {Box} canvas
 * @param {Box[]} panels
 * @returns {{ left: number, top: number }}
 */
function freePlace({ width, height }, canvas, panels) {
    const gap = 16;
    const xs = [canvas.left + gap, (canvas.left + canvas.right - width) / 2, canvas.right - width - gap];
    const ys = [canvas.bottom - height - gap, (canvas.top + canvas.bottom - height) / 2, canvas.top + gap];
    const places = ys.flatMap((top) => xs.map((left) => ({ left: Math.max(0, left), top: Math.max(0, top) })));
    const covered = places.map(({ left, top }) => panels.reduce((total, panel) => {
        const across = Math.min(left + width, panel.right) - Math.max(left, panel.left);
        const down = Math.min(top + height, panel.bottom) - Math.max(top, panel.top);
        return total + Math.max(0, across) * Math.max(0, down);
    }, 0));
    return places[covered.indexOf(Math.min(...covered))];
}

const CANVAS = '.cvat-canvas-container, .cvat-canvas-grid-root';
const PANELS = '.cvat-annotation-header, .cvat-canvas-controls-sidebar, .cvat-objects-sidebar, .cvat-objects-appearance-collapse, '
    + '.cvat-brush-tools-toolbox, .cvat-canvas-z-axis-wrapper, .cvat-canvas-hints-container';
const NOTICE_STYLE = 'position:fixed;z-index:3000;width:340px;box-sizing:border-box;background:#fff;color:#262626;'
    + 'border-radius:6px;box-shadow:0 4px 16px rgba(0,0,0,.25);font:14px/1.5 sans-serif';
const SIGN_STYLE = 'border:0;background:none;cursor:pointer;font-size:16px;line-height:1;padding:0 4px;color:inherit';
const UNFOLDED_SECONDS = 8; // of what needs no decision ...
const SHOWN_SECONDS = 30; // ... until it goes

/**
 * A small box beside CVAT's panels: progress with a way to cancel, what was done, or what is wrong. It can be moved and
 * folded, and folds itself where there is nothing to decide.
 */
class Notice {
    /** @param {() => void} [onHide] */
    constructor(onHide = () => {}) {
        /** @type {HTMLElement | null} */
        this.box = null;
        /** @type {number[]} */
        this.timers = [];
        this.onHide = onHide;
        /** @type {{ left: number, top: number } | null} */
        this.place = null; // where the annotator has moved it
    }

    /**
     * @param {string} text
     * @param {{ percent?: number, isError?: boolean, seconds?: number, folds?: boolean, buttons?: [string, () => void][] }} [extra]
     *     `seconds`: until it goes by itself; `folds`: it folds itself first
     */
    show(text, { percent, isError = false, seconds = 0, folds = false, buttons = [] } = {}) {
        for (const timer of this.timers.splice(0)) window.clearTimeout(timer);
        const box = this.box ?? this.open();
        box.setAttribute('role', isError ? 'alert' : 'status');
        box.style.borderLeft = isError ? '4px solid #ff4d4f' : '';
        const body = /** @type {HTMLElement} */ (box.lastElementChild);
        const line = element('div', 'perclip-notice-text', 'white-space:pre-line', text);
        body.replaceChildren(line);
        if (percent !== undefined) {
            const bar = element('div', 'perclip-notice-bar', 'height:6px;margin:8px 0;background:#f0f0f0;border-radius:3px');
            bar.append(element('div', '', `height:100%;width:${percent}%;background:#1890ff;border-radius:3px`));
            body.append(bar);
        }
        for (const [label, onClick] of buttons) {
            const button = element('button', 'perclip-notice-button',
                'margin:8px 8px 0 0;padding:0 8px;border:1px solid #d9d9d9;border-radius:3px;background:#fff;cursor:pointer', label);
            button.onclick = onClick;
            body.append(button);
        }
        /** @type {HTMLElement} */ (box.querySelector('.perclip-notice-close')).style.visibility = percent === undefined ? '' : 'hidden';
        const title = text.split('\n')[0];
        /** @type {HTMLElement} */ (box.querySelector('.perclip-notice-title')).dataset.line = title;
        this.fold(percent !== undefined && this.isFolded); // progress stays as it was put
        if (folds) this.timers.push(window.setTimeout(() => this.fold(true), UNFOLDED_SECONDS * 1000));
        if (seconds) this.timers.push(window.setTimeout(() => this.hide(), seconds * 1000));
    }

    /** The empty box in the page. */
    open() {
        const box = element('div', 'perclip-notice', NOTICE_STYLE);
        const bar = element('div', 'perclip-notice-handle', 'display:flex;align-items:center;gap:4px;padding:6px 8px 0 16px;cursor:move;'
            + 'user-select:none;touch-action:none');
        const title = element('div', 'perclip-notice-title', 'flex:1;font-weight:600;overflow:hidden;text-overflow:ellipsis;white-space:nowrap');
        const fold = element('button', 'perclip-notice-fold', SIGN_STYLE);
        fold.onclick = () => this.fold(!this.isFolded);
        const close = element('button', 'perclip-notice-close', SIGN_STYLE, '×');
        close.title = 'Close';
        close.onclick = () => this.hide();
        bar.append(title, fold, close);
        bar.onpointerdown = (event) => this.drag(event, bar);
        box.append(bar, element('div', '', 'padding:2px 16px 12px'));
        document.body.append(box);
        this.box = box;
        return box;
    }

    get isFolded() {
        return this.box?.dataset.folded === 'true';
    }

    /** @param {boolean} isFolded */
    fold(isFolded) {
        const { box } = this;
        if (!box) return;
        box.dataset.folded = String(isFolded);
        const body = /** @type {HTMLElement} */ (box.lastElementChild);
        body.style.display = isFolded ? 'none' : '';
        const title = /** @type {HTMLElement} */ (box.querySelector('.perclip-notice-title'));
        title.textContent = isFolded ? title.dataset.line ?? '' : 'Perclip';
        /** @type {HTMLElement} */ (title.parentElement).style.paddingBottom = isFolded ? '6px' : '0';
        const fold = /** @type {HTMLElement} */ (box.querySelector('.perclip-notice-fold'));
        fold.textContent = isFolded ? '▴' : '▾';
        fold.title = isFolded ? 'Unfold' : 'Fold';
        this.settle();
    }

    /** Puts the box where the annotator wants it, or else beside CVAT's panels. */
    settle() {
        const { box } = this;
        if (!box) return;
        const { width, height } = box.getBoundingClientRect();
        const screen = { left: 0, top: 0, right: window.innerWidth, bottom: window.innerHeight };
        const canvas = document.querySelector(CANVAS)?.getBoundingClientRect() ?? screen;
        const panels = [...document.querySelectorAll(PANELS)].map((panel) => panel.getBoundingClientRect());
        const { left, top } = this.place ?? freePlace({ width, height }, canvas, panels);
        box.style.left = `${Math.max(0, Math.min(left, screen.right - width))}px`;
        box.style.top = `${Math.max(0, Math.min(top, screen.bottom - height))}px`;
    }

    /**
     * @param {PointerEvent} event
     * @param {HTMLElement} bar
     */
    drag(event, bar) {
        if (event.button || /** @type {HTMLElement} */ (event.target).tagName === 'BUTTON' || !this.box) return;
        const { left, top } = this.box.getBoundingClientRect();
        bar.setPointerCapture(event.pointerId);
        bar.onpointermove = ({ clientX, clientY }) => {
            this.place = { left: left + clientX - event.clientX, top: top + clientY - event.clientY };
            this.settle();
        };
        bar.onpointerup = bar.onpointercancel = () => { bar.onpointermove = null; };
    }

    hide() {
        for (const timer of this.timers.splice(0)) window.clearTimeout(timer);
        if (!this.box) return;
        this.box.remove();
        this.box = null;
        this.onHide();
    }
}

const FAINT = 15; // per cent: of shapes that are shown with less, hardly anything is to be seen
const CLEAR = 30; // as CVAT shows the selected one

/** For a while, shows shapes clearly where CVAT shows them faintly (3 % as it is installed). */
class Highlight {
    /**
     * @param {any} store
     * @param {(action: any) => any} dispatch
     */
    constructor(store, dispatch) {
        this.store = store;
        this.dispatch = dispatch;
        /** @type {number | null} */
        this.before = null;
        this.left = Number(stored('perclip.highlight').before); // by a page that was closed meanwhile
    }

    /** Ends what an earlier page has left, once CVAT has read its settings. */
    tidy() {
        if (this.left >= 0 && this.opacity === CLEAR && this.before === null) this.set(this.left);
        this.left = NaN;
    }

    /** Per cent; undefined where this CVAT does not tell. */
    get opacity() {
        return this.store.getState().settings?.shapes?.opacity;
    }

    /** @param {number} opacity per cent */
    set(opacity) {
        this.dispatch({ type: 'CHANGE_SHAPES_OPACITY', payload: { opacity } });
    }

    /** Begins, if there is need; what the annotator should know of it, or null. */
    begin() {
        const { opacity } = this;
        if (this.before !== null && opacity === CLEAR) return this.words(this.before);
        if (typeof opacity !== 'number' || opacity >= FAINT) return null;
        keep('perclip.highlight', { before: opacity });
        this.set(CLEAR);
        const isSet = this.opacity === CLEAR;
        this.before = isSet ? opacity : null;
        return isSet ? this.words(opacity) : `CVAT shows shapes at ${opacity} % opacity: raise it in "Appearance" to see them.`;
    }

    /** @param {number} before */
    words(before) {
        return `Shapes are shown clearly until this closes, then at ${before} % opacity again: "Appearance" sets that.`;
    }

    /** Ends, unless the annotator has set another opacity meanwhile. */
    end() {
        if (this.before === null) return;
        if (this.opacity === CLEAR) this.set(this.before);
        this.before = null;
        keep('perclip.highlight', {});
    }
}

/**
 * @param {string} tag
 * @param {string} name of its class
 * @param {string} style
 * @param {string} [text]
 */
function element(tag, name, style, text) {
    const made = document.createElement(tag);
    made.className = name;
    made.style.cssText = style;
    if (text !== undefined) made.textContent = text;
    return made;
}

const OWN_NAME = /^cvat-annotation-header-.+-button$|^cvat-annotation-disabled|^ant-dropdown|^ant-tooltip|-(loading|disabled)$/;

/**
 * A button that looks like its neighbours. Names of antd's classes differ from build to build: they are copied.
 * @param {Element} header
 */
function headerButton(header) {
    const neighbours = [...header.querySelectorAll('.cvat-annotation-header-button')];
    const like = neighbours.reverse().find((other) => other.querySelector('svg')) ?? neighbours[0];
    const classes = [...(like?.classList ?? ['ant-btn', 'ant-btn-link'])].filter((name) => !OWN_NAME.test(name));
    const button = element('button', [...new Set([...classes, 'cvat-annotation-header-button', 'perclip-button'])].join(' '), '');
    button.setAttribute('type', 'button');
    const icon = element('span', like?.querySelector('[role=img]')?.className || 'anticon', '');
    icon.setAttribute('role', 'img');
    const drawing = like?.querySelector('svg');
    const size = (/** @type {string} */ name) => drawing?.getAttribute(name) || '1em';
    icon.innerHTML = `<svg width="${size('width')}" height="${size('height')}" viewBox="0 0 40 40" fill="none" stroke="currentColor" `
        + 'stroke-width="3" stroke-linecap="round" stroke-linejoin="round" aria-hidden="true"><rect x="4" y="13" width="14" height="14" '
        + 'rx="3" fill="currentColor"/><path d="M23 20h13m-6-6 6 6-6 6"/></svg>';
    button.append(icon, element('span', '', '', 'Perclip'));
    return button;
}

/** What Perclip adds to the page: the button, the keys, the notice, and the way through doubtful frames. */
class PagePart {
    /**
     * @param {{ core: any, dispatch: (action: any) => any, actionCreators: any, store: any }} page
     * @param {() => typeof DEFAULT_SETTINGS} settings
     */
    constructor({ core, dispatch, actionCreators, store }, settings) {
        this.core = core;
        this.dispatch = dispatch;
        this.actionCreators = actionCreators;
        this.store = store;
        this.settings = settings;
        this.highlight = new Highlight(store, dispatch);
        this.notice = new Notice(() => this.highlight.end());
        this.isCancelled = false;
        /** @type {Summary | null} */
        this.summary = null;
        const Action = actionClass(core, store, settings, (summary) => { this.summary = summary; this.tell(summary); });
        this.action = new Action();
        this.mount = this.mount.bind(this);
        this.onLeave = () => this.highlight.end();
        this.onKey = this.onKey.bind(this);
    }

    async start() {
        await this.core.actions.register(this.action);
        window.addEventListener('keydown', this.onKey, true);
        window.addEventListener('pagehide', this.onLeave);
        this.unsubscribe = this.store.subscribe?.(this.mount);
        this.mount();
    }

    stop() {
        window.removeEventListener('keydown', this.onKey, true);
        window.removeEventListener('pagehide', this.onLeave);
        this.unsubscribe?.();
        this.button?.remove();
        this.notice.hide();
    }

    get job() {
        return this.store.getState().annotation?.job?.instance ?? null;
    }

    /** Puts the button into the header, again after a job was left. */
    mount() {
        if (this.isMounting) return;
        this.isMounting = true;
        window.requestAnimationFrame(() => {
            this.isMounting = false;
            this.notice.settle(); // a panel may have come
            if (this.job) this.highlight.tidy();
            const header = this.job && document.querySelector('.cvat-annotation-header-left-group');
            if (!header || (this.button && header.contains(this.button))) return;
            const button = headerButton(header);
            button.title = `Propagate the selected object, or all of this frame [${this.settings().propagateKey}]`;
            button.onclick = () => { button.blur(); this.propagate(); };
            header.append(button);
            this.button = button;
        });
    }

    /** @param {KeyboardEvent} event */
    onKey(event) {
        if (!this.job || event.repeat) return;
        const { propagateKey, nextKey, previousKey } = this.settings();
        if (isShortcut(event, propagateKey)) this.propagate();
        else if (isShortcut(event, nextKey)) this.jump(1);
        else if (isShortcut(event, previousKey)) this.jump(-1);
        else return;
        event.preventDefault();
        event.stopPropagation();
    }

    /** One click: the selected object, or all of the frame, with the last parameters. */
    async propagate() {
        const { player, annotations } = this.store.getState().annotation;
        const { job } = this;
        if (this.action.isRunning || !job) return;
        const doing = underWay(this.store);
        if (doing) {
            this.notice.show(doing, { isError: true, seconds: 6 });
            return;
        }
        const selected = annotations.states.find((/** @type {any} */ state) => state.clientID === annotations.activatedStateID);
        if (selected && !isApplicable(selected)) {
            this.notice.show('Perclip propagates masks and polygons; the selected object is neither.', { isError: true, seconds: 6 });
            return;
        }
        const states = selected ? [selected] : annotations.states.filter(
            // Masks of a detector, which nobody has grouped, are propagated one by one.
            (/** @type {any} */ state) => isApplicable(state) && !state.outside && !(isWritten(state) && !groupOf(state)));
        if (!states.length) {
            this.notice.show('Draw a mask or a polygon on this frame, or select one, then propagate it.', { isError: true, seconds: 6 });
            return;
        }
        const parameters = knownParameters(stored('perclip.parameters'));
        if (parameters.Frames === RANGES[2] && Number(parameters['Target frame']) === player.frame.number) {
            this.notice.show('This is the last target frame: choose another one (menu, Run actions, Perclip).', { isError: true, seconds: 8 });
            return;
        }
        this.isCancelled = false;
        this.summary = null;
        const cancel = /** @type {[string, () => void]} */ (['Cancel', () => {
            this.isCancelled = true;
            this.notice.show('Cancelling…');
        }]);
        let isOver = false; // CVAT holds back progress and tells the last of it later
        const onProgress = (/** @type {string} */ text, /** @type {number} */ percent) => {
            if (!isOver && !this.isCancelled && !this.summary) this.notice.show(text, { percent, buttons: [cancel] });
        };
        onProgress('Perclip: starting', 0);
        this.action.isOneClick = true;
        try {
            await this.core.actions.call(job, this.action, parameters, player.frame.number, states, onProgress,
                () => this.isCancelled || this.job !== job);
            isOver = true;
            if (this.job === job && this.summary) await this.redraw();
            else if (this.job === job && this.isCancelled) this.notice.show('Cancelled. Nothing was changed.', { seconds: 6 });
            else this.notice.hide();
        } catch (error) {
            isOver = true;
            if (this.job === job) this.notice.show(messageOf(error), { isError: true });
            else this.notice.hide();
        } finally {
            this.action.isOneClick = false;
        }
    }

    async redraw() {
        const { number } = this.store.getState().annotation.player.frame;
        await this.dispatch(this.actionCreators.changeFrameAsync(number, undefined, undefined, true));
    }

    /** @param {number} step */
    jump(step) {
        const { player } = this.store.getState().annotation;
        const places = this.summary && this.summary.job === this.job ? this.summary.doubts.places : [];
        if (!places.length) {
            this.notice.show('There are no doubtful frames to look at.', { seconds: 4 });
            return;
        }
        const doing = underWay(this.store);
        if (doing) {
            if (!this.notice.box) this.notice.show(doing, { isError: true, seconds: 6 });
            return;
        }
        this.dispatch(this.actionCreators.changeFrameAsync(
            nextPlace(places.map(({ frame }) => frame), player.frame.number, step)));
    }

    /** @param {Summary} summary */
    tell(summary) {
        const { nextKey, previousKey } = this.settings();
        const { count, places } = summary.doubts;
        const lines = [];
        if (summary.failure) lines.push(summary.failure);
        lines.push(`${countsText(summary)} Ctrl+Z takes them back.`);
        if (summary.failure) lines.push('What is done is kept. Press again, on this frame, to go on from there.');
        lines.push(count ? `${many(count, 'doubtful frame')} in ${many(places.length, 'place')}: ${nextKey} and `
            + `${previousKey} go through them.` : summary.failure ? '' : 'No frame is doubtful.');
        lines.push(...summary.warnings);
        const clear = this.highlight.begin();
        if (clear) lines.push(clear);
        const buttons = /** @type {[string, () => void][]} */ ([...places].sort((a, b) => a.confidence - b.confidence)
            .slice(0, 6).sort((a, b) => a.frame - b.frame)
            .map(({ frame }) => [`${frame}`, () => this.dispatch(this.actionCreators.changeFrameAsync(frame))]));
        const isError = Boolean(summary.failure);
        const isDecided = !count && !isError;
        this.notice.show(lines.filter(Boolean).join('\n'), { isError, buttons, folds: isDecided,
            seconds: isDecided && !summary.warnings.length ? SHOWN_SECONDS : 0 });
    }
}

// -------------------------------------------------------------------------------------------------------- the page

/** Registers with the page once it is ready, be that before or after this file was loaded. */
function enterPage() {
    const page = /** @type {any} */ (window);
    if (page.perclip) return;
    const tag = document.currentScript;
    const attributes = tag ? { .../** @type {HTMLElement} */ (tag).dataset } : {};
    const settings = () => mergedSettings(attributes, stored('perclip.settings'));
    page.perclip = { settings };
    const register = () => page.cvatUI.registerComponent((/** @type {any} */ parts) => {
        const { core, store, actionCreators } = parts;
        /** @type {PagePart | null} */
        let part = null;
        if (!core?.actions?.register || !core.classes?.BaseCollectionAction || !core.lambda?.call || !store?.getState
            || !actionCreators?.changeFrameAsync) {
            console.warn('Perclip: this CVAT is too old for the page action (2.42 is known to work); nothing was added.');
        } else {
            part = new PagePart(parts, settings);
            part.start().then(
                () => console.info(`Perclip: ready, function ${settings().functionId}, ${settings().propagateKey} propagates.`),
                (error) => console.warn(`Perclip: CVAT refused the action (${messageOf(error)}); nothing was added.`),
            );
        }
        return { name: 'Perclip', destructor: () => part?.stop(), globalStateDidUpdate: () => part?.mount() };
    });
    if (page.cvatUI) register();
    else document.addEventListener('plugins.ready', register, { once: true });
}

if (typeof module === 'object' && typeof window === 'undefined') {
    module.exports = { Cancelled, ClipChain, countsText, DEFAULT_SETTINGS, doubtsOf, factsOf, findObjects, freePlace, isMarked, isShortcut,
        keyframesOf, knownParameters, markKeyframe, maskProblem, mergedSettings, nextPlace, NOT_DEPLOYED, optionsOf, outcomeOf, overlap, planClips, plannedTargets,
        polygonProblem, rangeOf, rateText, shapeProblem, targetObjects, TOO_OLD, underWay, UNREACHABLE };
} else {
    enterPage();
}
})();
