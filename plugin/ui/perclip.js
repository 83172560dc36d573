// @ts-check
/**
 * Perclip in CVAT's page: carries what an annotator has drawn through the frames of a job, in one click.
 *
 * One script tag loads this file into the stock page. It registers an annotation action, puts a button into the header
 * and listens to a few keys. Frames come from the page's own decoder and go, scaled down, through CVAT's lambda endpoint
 * to the Nuclio function (clip calls: serverless/README.md); what comes back is one undoable change of the page.
 *
 * From top to bottom: settings, masks and polygons, objects, ranges, the chain of calls, what is created and deleted,
 * frames, the action, and what the annotator sees. All above "frames" is pure and tested without a browser.
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
 * @typedef {{ label: number, group: number, isTrack: boolean, uncertain: boolean, ids: Set<number>,
 *     drawn: Map<number, Drawn[]>, absent: Set<number>, written: Shape[], writtenTracks: Track[] }} AnnotatedObject
 *     `drawn`: what people drew, by frame; `absent`: frames where their tracks end; `written`: what Perclip wrote before;
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
 * @typedef {{ left: number, top: number, width: number, height: number, bits: Uint8Array }} Pixels
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
    return { left, top, width, height, bits };
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
    return { left, top, width, height, bits };
}

/**
 * Intersection over union of two masks or polygons, 0..1.
 * @param {{ type: string, points: number[] }} one
 * @param {{ type: string, points: number[] }} other
 */
function overlap(one, other) {
    const [a, b] = [one, other].map((shape) => (shape.type === 'mask' ? maskPixels : polygonPixels)(shape.points));
    const left = Math.max(a.left, b.left);
    const right = Math.min(a.left + a.width, b.left + b.width);
    const bottom = Math.min(a.top + a.height, b.top + b.height);
    let both = 0;
    for (let y = Math.max(a.top, b.top); y < bottom; y++) {
        const inA = (y - a.top) * a.width - a.left;
        const inB = (y - b.top) * b.width - b.left;
        for (let x = left; x < right; x++) both += a.bits[inA + x] & b.bits[inB + x];
    }
    const sum = (/** @type {Uint8Array} */ bits) => bits.reduce((total, bit) => total + bit, 0);
    const either = both ? sum(a.bits) + sum(b.bits) - both : 1;
    return both / either;
}

// --------------------------------------------------------------------------------------------------------- objects

const SAME_AS_WRITTEN = 0.3; // overlap with what Perclip wrote on the same or the next frame
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
    return { label, group, isTrack: false, uncertain: false, ids: new Set(), drawn: new Map(), absent: new Set(),
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
 * The keyframes of a person's polygon track, each with all attributes that hold there.
 * @param {AnnotatedObject} object
 * @param {Track} track
 * @param {Set<number>} usable
 */
function addDrawnTrack(object, track, usable) {
    object.isTrack = true;
    object.ids.add(/** @type {number} */ (track.clientID));
    const attributes = new Map(track.attributes.map((attribute) => [attribute.spec_id, attribute]));
    for (const shape of [...track.shapes].sort((a, b) => a.frame - b.frame)) {
        for (const attribute of shape.attributes) attributes.set(attribute.spec_id, attribute);
        if (!usable.has(shape.frame)) continue;
        if (shape.outside) object.absent.add(shape.frame);
        else addDrawn(object, shape.frame, { ...shape, attributes: [...attributes.values()] }, track.clientID);
    }
}

/**
 * The objects of a job with all that people drew of them and all that Perclip wrote of them.
 *
 * One object are: a track; shapes of one label and group; lone shapes that lie on what Perclip wrote of a group; shapes
 * that are alone of their label on each frame; shapes that overlap from keyframe to keyframe and overlap no others.
 * Where all this does not tell, the objects are uncertain.
 *
 * @param {Collection} collection
 * @param {number[]} frames ascending; all others are left out of account
 * @returns {AnnotatedObject[]}
 */
function findObjects(collection, frames) {
    const usable = new Set(frames);
    /** @type {Map<string, AnnotatedObject>} */
    const groups = new Map();
    /** @type {AnnotatedObject[]} */
    const single = [];
    const owner = (/** @type {{ label_id: number, group: number }} */ annotation) => {
        const key = `${annotation.label_id} ${annotation.group}`;
        const object = (annotation.group && groups.get(key)) || newObject(annotation.label_id, annotation.group);
        if (annotation.group) groups.set(key, object);
        else single.push(object);
        return object;
    };
    for (const track of collection.tracks) {
        if (track.shapes[0]?.type !== 'polygon') continue;
        if (!isWritten(track)) addDrawnTrack(owner(track), track, usable);
        else if (track.group) owner(track).writtenTracks.push(track);
    }
    /** @type {Shape[]} */
    const lone = [];
    for (const shape of collection.shapes) {
        if (!isPropagated(shape.type) || !usable.has(shape.frame)) continue;
        if (!isWritten(shape)) {
            if (shape.group) addDrawn(owner(shape), shape.frame, shape, shape.clientID);
            else lone.push(shape);
        } else if (shape.group) owner(shape).written.push(shape);
    }
    const found = [...groups.values()];
    const rest = adopt(lone, found, frames);
    const labels = new Set(rest.map((shape) => shape.label_id));
    const chains = [...labels].flatMap((label) => chainsOf(rest.filter((shape) => shape.label_id === label)));
    const objects = [...found, ...single, ...chains];
    for (const object of objects) {
        for (const annotation of [...object.written, ...object.writtenTracks]) {
            object.ids.add(/** @type {number} */ (annotation.clientID));
        }
    }
    return objects;
}

/**
 * Gives lone shapes to the groups whose written masks they lie on or continue; returns those that lie on none.
 * @param {Shape[]} lone
 * @param {AnnotatedObject[]} groups
 * @param {number[]} frames
 */
function adopt(lone, groups, frames) {
    const places = new Map(frames.map((frame, place) => [frame, place]));
    /** @type {{ shape: Shape, object: AnnotatedObject, score: number }[]} */
    const pairs = [];
    for (const object of groups) {
        /** @type {Map<number, { type: string, points: number[] }>} */
        const written = new Map(object.written.map((shape) => [shape.frame, shape]));
        for (const track of object.writtenTracks) {
            for (const shape of track.shapes) if (!shape.outside) written.set(shape.frame, shape);
        }
        for (const shape of lone) {
            if (shape.label_id !== object.label || object.drawn.has(shape.frame)) continue;
            const place = /** @type {number} */ (places.get(shape.frame));
            const near = [frames[place], frames[place - 1], frames[place + 1]].map((frame) => written.get(frame));
            const score = Math.max(0, ...near.map((other) => (other ? overlap(shape, other) : 0)));
            if (score >= SAME_AS_WRITTEN) pairs.push({ shape, object, score });
        }
    }
    /** @type {Set<Shape>} */
    const adopted = new Set();
    for (const { shape, object } of pairs.sort((a, b) => b.score - a.score)) {
        if (adopted.has(shape) || object.drawn.has(shape.frame)) continue;
        adopted.add(shape);
        addDrawn(object, shape.frame, shape, shape.clientID);
    }
    return lone.filter((shape) => !adopted.has(shape));
}

/**
 * Which of the ungrouped shapes of one label are one object.
 * @param {Shape[]} shapes
 * @returns {AnnotatedObject[]}
 */
function chainsOf(shapes) {
    /** @type {Map<number, Shape[]>} */
    const byFrame = new Map();
    for (const shape of shapes) byFrame.set(shape.frame, [...(byFrame.get(shape.frame) ?? []), shape]);
    const isAlone = [...byFrame.values()].every((onFrame) => onFrame.length === 1);
    /** @type {{ object: AnnotatedObject, last: Shape }[]} */
    const chains = [];
    for (const [, onFrame] of [...byFrame].sort(([a], [b]) => a - b)) {
        const open = [...chains];
        for (const shape of onFrame) {
            const scores = open.map(({ last }) => (last.frame === shape.frame ? 0 : overlap(last, shape)));
            const best = scores.indexOf(Math.max(...scores));
            const isClear = scores.every((score, i) => i === best || score <= ANOTHER_OBJECT);
            let chain = open.length && (isAlone || (scores[best] >= SAME_OBJECT && isClear)) ? open[best] : null;
            if (!chain) {
                chain = { object: newObject(shape.label_id, 0), last: shape };
                // It may be any object that was drawn before and not found again.
                chain.object.uncertain = open.length > 0;
                if (open.length) for (const other of open) other.object.uncertain = true;
                chains.push(chain);
            }
            chain.last = shape;
            addDrawn(chain.object, shape.frame, shape, shape.clientID);
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
 * @returns {AnnotatedObject[]}
 */
function targetObjects(collection, chosen, frame, frames) {
    const ids = new Set([...chosen.shapes, ...chosen.tracks].map((annotation) => annotation.clientID));
    const objects = findObjects(collection, frames).filter((object) => [...object.ids].some((id) => ids.has(id)));
    const known = new Set(objects.flatMap((object) => (object.drawn.size ? [...object.ids] : [])));
    for (const shape of collection.shapes) {
        const isOpen = ids.has(shape.clientID) && !known.has(/** @type {number} */ (shape.clientID));
        if (!isOpen || shape.frame !== frame || !isPropagated(shape.type) || !frames.includes(frame)) continue;
        let object = objects.find((other) => other.written.includes(shape));
        if (!object) objects.push(object = newObject(shape.label_id, shape.group));
        object.written = object.written.filter((other) => other !== shape);
        addDrawn(object, frame, shape, shape.clientID);
    }
    return objects.filter((object) => object.drawn.size);
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
    // A track that Perclip wrote is replaced up to a keyframe of its own, as nobody can say where it was between two.
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
 * The object `clip` of all calls of a chain but for images and `continue`, and how many frames its passes segment.
 *
 * @param {AnnotatedObject[]} objects their places are their names
 * @param {Range[]} ranges of the objects
 * @param {JobFacts} job
 * @param {Options} options
 */
function planClip(objects, ranges, job, options) {
    const from = Math.min(...ranges.map((range) => range.from));
    const to = Math.max(...ranges.map((range) => range.to));
    const numbers = job.frames.filter((frame) => frame >= from && frame <= to);
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
    const serving = objects.map((object) => keyframes.filter(({ frame }) => (
        object.drawn.has(frame) || object.absent.has(frame))).map(({ frame }) => frame));
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
const MOST_SLOW_CALLS = 3;

/** The annotator does not want it any more. */
class Cancelled extends Error {}

/** Something went wrong; the message is for the annotator. */
class PerclipError extends Error {}

const NOT_DEPLOYED = 'Perclip\'s function is not deployed on this CVAT server. Whoever runs it can deploy it with '
    + 'serverless/deploy.sh.';
const TOO_OLD = 'The function on this CVAT server is too old for this page, or it is no Perclip. Whoever runs it can '
    + 'deploy it anew with serverless/deploy.sh.';

/**
 * What a failed call means: `words` for the annotator; `again`: "wait" and call again, "less" work at once, or "no".
 * @param {any} error as `core.lambda.call` threw it: `code` is the HTTP status, 0 or nothing for a lost connection
 * @returns {{ words: string, again: 'wait' | 'less' | 'no' }}
 */
function explained(error) {
    const status = Number(error?.code) || 0;
    if (status === 404) return { words: NOT_DEPLOYED, again: 'no' };
    if (status === 413) return { words: 'The call was too large for the server.', again: 'less' };
    if (status === 504 || status === 408) return { words: 'The function took too long and timed out.', again: 'less' };
    if (status === 429 || status === 503) return { words: 'The function is busy.', again: 'wait' };
    if (status === 0 || status === 502) return { words: 'The connection to the function was lost.', again: 'wait' };
    if (status === 401 || status === 403) return { words: 'CVAT does not let you call the function.', again: 'no' };
    if (status === 400 || status === 500) return { words: TOO_OLD, again: 'no' };
    return { words: String(error?.message ?? error), again: 'no' };
}

/**
 * A range, propagated by clip calls that follow each other. While one is answered, the images of the next are made.
 */
class ClipChain {
    /**
     * @param {{ clip: Record<string, any>, work: number }} plan as `planClip` gives it
     * @param {{ call: (clip: object) => Promise<any>, image: (frame: number) => Promise<string>,
     *     prefetch: (frames: number[]) => void, cancelled: () => boolean, onProgress: (text: string, percent: number)
     *     => void, now?: () => number, pause?: (milliseconds: number) => Promise<void> }} world
     *     `image`: of a frame, JPEG in base64.
     */
    constructor({ clip, work }, world) {
        this.clip = clip;
        this.work = work;
        this.world = world;
        this.now = world.now ?? (() => performance.now() / 1000);
        this.pause = world.pause ?? ((milliseconds) => new Promise((resolve) => { setTimeout(resolve, milliseconds); }));
        /** @type {Map<number, AnsweredFrame>} */
        this.answered = new Map();
        /** @type {string[]} */
        this.warnings = [];
        this.consumed = 0; // frames that passes have segmented
        this.drawn = new Set(clip.keyframes.map((/** @type {{ frame: number }} */ { frame }) => frame));
        this.began = this.now();
    }

    /** How many frames were answered, of how many; those with something drawn do not count. */
    get progress() {
        const done = [...this.answered.keys()].filter((frame) => !this.drawn.has(frame)).length;
        return { done, total: this.clip.frames.length - this.drawn.size };
    }

    /** Frames per second so far. */
    get rate() {
        return this.consumed / Math.max(0.001, this.now() - this.began);
    }

    /**
     * Fills `answered`; what is there when an error is thrown is final, too.
     *
     * @throws {Cancelled}
     * @throws {PerclipError}
     */
    async run() {
        const keyframes = [...this.drawn];
        let going = { state: /** @type {string | null} */ (null), needed: keyframes, next: this.firstFrames(keyframes) };
        const smallest = this.clip.clip_length ?? 1; // the function works on whole clips
        let batch = Math.max(FIRST_BATCH, smallest);
        let seconds = MOST_SECONDS;
        let slow = 0;
        let idle = 0;
        for (let calls = 0; ;) {
            this.report();
            const { body, sent } = await this.body(going, batch, seconds);
            const began = this.now();
            const calling = this.patiently(body);
            this.world.prefetch(going.next.slice(sent.length, sent.length + 2 * batch));
            const { answer, less } = await this.unlessCancelled(calling);
            if (less) {
                if (++slow > MOST_SLOW_CALLS || (batch === smallest && seconds <= 2)) throw this.failure(less);
                batch = Math.max(smallest, Math.floor(Math.min(batch, sent.length) / 2));
                seconds = Math.max(2, seconds / 2);
                continue;
            }
            for (const frame of answer.frames) this.answered.set(frame.frame, frame);
            this.warnings = answer.warnings ?? [];
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
                batch = Math.min(LARGEST_BATCH, Math.max(smallest, Math.round(speed * aim)));
            }
            going = answer.continue;
        }
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
        for (const frame of [...going.needed, ...going.next.slice(0, batch)]) {
            if (images.has(frame)) continue;
            const isNeeded = images.size < going.needed.length;
            if (!isNeeded && size > MOST_CHARACTERS) break;
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
     * An answer, after waiting for a busy function if need be; or `less`, why less should be asked for.
     * @param {object} body
     * @returns {Promise<{ answer?: any, less?: string }>}
     */
    async patiently(body) {
        const deadline = this.now() + PATIENCE;
        for (let wait = 1; ; wait = Math.min(8, wait * 2)) {
            let failed;
            try {
                const answer = await this.world.call(body);
                const code = answer?.error?.code;
                if (code === undefined && Array.isArray(answer?.frames)) return { answer };
                if (code === 'too_large') failed = { words: answer.error.message, again: 'less' };
                else if (code === 'busy') failed = { words: answer.error.message, again: 'wait' };
                else if (code === undefined || code === 'bad_version') failed = { words: TOO_OLD, again: 'no' };
                else failed = { words: `The function refuses: ${answer.error.message}`, again: 'no' };
            } catch (error) {
                failed = explained(error);
            }
            if (this.world.cancelled()) throw new Cancelled();
            if (failed.again === 'less') return { less: failed.words };
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
        return new PerclipError(done ? `${words} It got through ${done} of ${total} frames.` : words);
    }

    /** @param {string} [instead] */
    report(instead) {
        const { done, total } = this.progress;
        const text = this.consumed ? `${done} of ${total} frames, ${this.rate.toFixed(1)} frames/s` : 'Sending the first frames';
        this.world.onProgress(`Perclip: ${instead ?? text}`, Math.min(99, Math.round((100 * this.consumed) / this.work)));
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
 * A track that shows polygons on some frames and nothing between them; null without a polygon.
 * @param {Map<number, { shape: Shape | null } | { own: TrackedShape }>} events by frame: what is seen from there on
 * @param {AnnotatedObject} object
 * @param {number} group
 * @param {JobFacts} job
 * @returns {Track | null}
 */
function trackOf(events, object, group, job) {
    const label = job.labels.find((other) => other.id === object.label);
    const mutable = new Set(label?.attributes.filter((attribute) => attribute.mutable).map(({ id }) => id));
    /** @type {TrackedShape[]} */
    const shapes = [];
    let values = '';
    for (const [frame, event] of [...events].sort(([a], [b]) => a - b)) {
        const last = shapes[shapes.length - 1];
        const seen = 'own' in event ? (event.own.outside ? null : event.own) : event.shape;
        if (!seen) {
            if (last && !last.outside) shapes.push({ ...last, frame, points: last.points.slice(), outside: true, attributes: [] });
            continue;
        }
        let attributes = seen.attributes.filter(({ spec_id: id }) => mutable.has(id));
        if (JSON.stringify(attributes) === values) attributes = [];
        else if (attributes.length) values = JSON.stringify(attributes);
        shapes.push({ type: 'polygon', frame, points: seen.points.slice(), outside: false, occluded: seen.occluded,
            z_order: seen.z_order, rotation: 0, attributes });
    }
    if (!shapes.length) return null;
    const drawn = nearestDrawn(object, shapes[0].frame);
    return { frame: shapes[0].frame, label_id: object.label, group, source: 'auto', elements: [], shapes,
        attributes: knownAttributes(drawn.attributes, label).filter(({ spec_id: id }) => !mutable.has(id)) };
}

/**
 * What one commit creates and deletes, how sure the function was, and what could not be taken.
 *
 * A frame that has something drawn of an object gets nothing of it; what Perclip wrote before goes from all frames that
 * were answered.
 *
 * @param {{ object: AnnotatedObject, name: number, range: Range }[]} targets `name`: of the object in the answers
 * @param {Map<number, AnsweredFrame>} answered
 * @param {JobFacts} job
 * @param {Options} options
 * @param {number} highestGroup in use
 */
function outcomeOf(targets, answered, job, options, highestGroup) {
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
    let groups = highestGroup;
    for (const { object, name, range } of targets) {
        const group = object.group || ++groups;
        const label = job.labels.find((other) => other.id === object.label);
        const asTrack = object.isTrack && options.output !== 'mask';
        const inRange = job.frames.filter((frame) => frame >= range.low && frame <= range.high && answered.has(frame));
        /** @type {Map<number, { shape: Shape | null } | { own: TrackedShape }>} */
        const events = new Map();
        /** @type {Set<number>} */
        const settled = new Set();
        for (const frame of inRange) {
            const answer = /** @type {AnsweredFrame} */ (answered.get(frame));
            const seen = answer.shapes.find((other) => other.object === name);
            const absent = answer.absent.find((other) => other.object === name);
            if (object.drawn.has(frame)) {
                settled.add(frame);
                events.set(frame, { shape: null });
                continue;
            }
            if (!seen) {
                if (!absent && !object.absent.has(frame)) continue;
                settled.add(frame);
                events.set(frame, { shape: null });
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
            const problem = asTrack && shape.type !== 'polygon' ? 'is no polygon' : shapeProblem(shape, job);
            if (problem) {
                refused.push(`frame ${frame}: a ${shape.type || 'shape'} ${problem}`);
                continue;
            }
            settled.add(frame);
            filled.add(frame);
            confidences.push({ frame, confidence: seen.confidence });
            if (asTrack) events.set(frame, { shape });
            else created.shapes.push(shape);
        }
        deleted.shapes.push(...object.written.filter((shape) => settled.has(shape.frame)));
        const tracks = object.writtenTracks.filter((track) => track.shapes.some(({ frame }) => settled.has(frame)));
        deleted.tracks.push(...tracks);
        if (!asTrack) for (const frame of settled) events.set(frame, { shape: null });
        for (const { shapes } of tracks) {
            for (const own of shapes) if (!settled.has(own.frame)) events.set(own.frame, { own });
        }
        endAtGaps(events, settled, job);
        const track = asTrack || tracks.length ? trackOf(events, object, group, job) : null;
        if (track) created.tracks.push(track);
    }
    return { created, deleted, confidences, refused, filled };
}

/**
 * Lets a track end behind the last of the settled frames, where nothing says what comes.
 * @param {Map<number, { shape: Shape | null } | { own: TrackedShape }>} events
 * @param {Set<number>} settled
 * @param {JobFacts} job
 */
function endAtGaps(events, settled, job) {
    for (const frame of settled) {
        const following = job.frames.find((other) => other > frame) ?? frame + 1;
        if (following <= job.last && !events.has(following)) events.set(following, { shape: null });
    }
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
const CACHED_CHARACTERS = 128 * 2 ** 20;

const sleep = (/** @type {number} */ milliseconds) => new Promise((resolve) => { setTimeout(resolve, milliseconds); });

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
        const deadline = performance.now() + FRAME_PATIENCE * 1000;
        for (;;) {
            if (this.isStopped) throw new Cancelled();
            // CVAT drops a request for a frame when a newer one comes: neither may drop the other's.
            if (!this.isBusy()) {
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
 * @typedef {{ frames: number, objects: number, seconds: number, rate: number, warnings: string[], failure: string | null,
 *     doubts: { count: number, places: { frame: number, confidence: number }[] }, job: any }} Summary
 */
function actionClass(core, store, settings, onDone) {
    return class PropagateAction extends core.classes.BaseCollectionAction {
        /** @type {any} */
        job = null;
        parameters_ = DEFAULT_PARAMETERS;
        isRunning = false;

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
            window.localStorage.setItem('perclip.parameters', JSON.stringify(this.parameters_));
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
            const objects = targetObjects(whole, chosen, current, facts.frames);
            const targets = plannedTargets(objects, facts, current, options);
            const plan = planClip(targets.map(({ object }) => object), targets.map(({ range }) => range), facts, options);
            const isBusy = () => Boolean(store.getState().annotation.player?.frame?.fetching);
            const { functionId, shortSide, doubt } = settings();
            const frames = new PageFrames(job, isBusy, facts, shortSide);
            const [first] = plan.clip.keyframes;
            const chain = new ClipChain(plan, {
                image: (frame) => frames.image(frame),
                prefetch: (numbers) => frames.prefetch(numbers),
                // CVAT hands on what lies in a shape; the frame's own image, which CVAT adds, is not looked at.
                call: (clip) => core.lambda.call(job.taskId, { id: functionId }, {
                    type: 'init_tracking', job: job.id, frame: first.frame, shapes: [{ type: 'mask', points: [], clip }],
                }),
                cancelled,
                onProgress,
            });
            let failure = null;
            try {
                await chain.run();
            } catch (error) {
                // What was finished before is kept: it would come out the same again.
                if (!(error instanceof PerclipError) || !chain.progress.done) throw error;
                failure = error.message;
            } finally {
                frames.isStopped = true;
            }
            await this.editingEnds(cancelled);
            // What the annotator drew meanwhile counts.
            const now = await job.annotations.export();
            const fresh = targetObjects(now, chosen, current, facts.frames);
            const remaining = targets.flatMap(({ object, range }, name) => {
                const same = fresh.find((other) => [...other.ids].some((id) => object.ids.has(id)));
                return same ? [{ object: same, range, name }] : [];
            });
            const highest = [...now.shapes, ...now.tracks, ...now.tags].reduce((most, { group }) => Math.max(most, group || 0), 0);
            const { created, deleted, confidences, refused, filled } = outcomeOf(
                remaining, chain.answered, facts, options, highest);
            if (cancelled()) throw new Cancelled();
            const warnings = [...chain.warnings, ...refused.slice(0, 3)];
            if (refused.length > 3) warnings.push(`${refused.length - 3} more`);
            onDone({ frames: filled.size, objects: remaining.length, seconds: chain.now() - chain.began, rate: chain.rate,
                warnings, failure, doubts: doubtsOf(confidences, doubt, facts.frames), job });
            return { created, deleted };
        }

        /**
         * Waits while the annotator edits a mask: CVAT could not show the result.
         * @param {() => boolean} cancelled
         */
        async editingEnds(cancelled) {
            const canvas = store.getState().annotation.canvas?.instance;
            while (canvas?.isAbleToChangeFrame && !canvas.isAbleToChangeFrame()) {
                if (cancelled()) throw new Cancelled();
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
        throw new PerclipError(`Which of the shapes of "${nameOf(uncertain)}" are one object cannot be told. `
            + 'Group the shapes of each object (select them and press G), then propagate.');
    }
    for (const object of objects) {
        const problem = outputProblem(object, facts.labels.find(({ id }) => id === object.label), options);
        if (problem) throw new PerclipError(problem);
    }
    const targets = objects.flatMap((object) => {
        const range = rangeOf(object, facts.frames, current, options);
        return range ? [{ object, range }] : [];
    });
    if (!targets.length) {
        const way = { forward: ' behind this one', backward: ' before this one' }[options.direction] ?? '';
        throw new PerclipError(`There are no frames to fill${way}. Choose another direction or other frames `
            + '(menu, Run actions, Perclip).');
    }
    return targets;
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

const NOTICE_STYLE = 'position:fixed;right:24px;bottom:48px;z-index:3000;width:340px;padding:12px 16px;background:#fff;'
    + 'color:#262626;border-radius:6px;box-shadow:0 4px 16px rgba(0,0,0,.25);font:14px/1.5 sans-serif';

/** A small box in the corner: progress with a way to cancel, what was done, or what is wrong. Never in the way. */
class Notice {
    constructor() {
        /** @type {HTMLElement | null} */
        this.box = null;
        this.timer = 0;
    }

    /**
     * @param {string} text
     * @param {{ percent?: number, isError?: boolean, seconds?: number, buttons?: [string, () => void][] }} [extra]
     *     `seconds`: until it goes by itself
     */
    show(text, { percent, isError = false, seconds = 0, buttons = [] } = {}) {
        this.hide();
        const box = element('div', 'perclip-notice', NOTICE_STYLE);
        box.setAttribute('role', isError ? 'alert' : 'status');
        if (isError) box.style.borderLeft = '4px solid #ff4d4f';
        const close = element('button', 'perclip-notice-close',
            'float:right;border:0;background:none;cursor:pointer;font-size:16px;line-height:1', '×');
        close.title = 'Close';
        close.onclick = () => this.hide();
        const line = element('div', 'perclip-notice-text', 'white-space:pre-line', text);
        box.append(...(percent === undefined ? [close] : []), line);
        if (percent !== undefined) {
            const bar = element('div', 'perclip-notice-bar', 'height:6px;margin:8px 0;background:#f0f0f0;border-radius:3px');
            bar.append(element('div', '', `height:100%;width:${percent}%;background:#1890ff;border-radius:3px`));
            box.append(bar);
        }
        for (const [label, onClick] of buttons) {
            const button = element('button', 'perclip-notice-button',
                'margin:8px 8px 0 0;padding:0 8px;border:1px solid #d9d9d9;border-radius:3px;background:#fff;cursor:pointer', label);
            button.onclick = onClick;
            box.append(button);
        }
        document.body.append(box);
        this.box = box;
        if (seconds) this.timer = window.setTimeout(() => this.hide(), seconds * 1000);
    }

    hide() {
        window.clearTimeout(this.timer);
        this.box?.remove();
        this.box = null;
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
        this.notice = new Notice();
        this.isCancelled = false;
        /** @type {Summary | null} */
        this.summary = null;
        const Action = actionClass(core, store, settings, (summary) => { this.summary = summary; this.tell(summary); });
        this.action = new Action();
        this.mount = this.mount.bind(this);
        this.onKey = this.onKey.bind(this);
    }

    async start() {
        await this.core.actions.register(this.action);
        window.addEventListener('keydown', this.onKey, true);
        this.unsubscribe = this.store.subscribe?.(this.mount);
        this.mount();
    }

    stop() {
        window.removeEventListener('keydown', this.onKey, true);
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
            const header = this.job && document.querySelector('.cvat-annotation-header-left-group');
            if (!header || (this.button && header.contains(this.button))) return;
            const button = element('button', 'ant-btn ant-btn-link cvat-annotation-header-button perclip-button', '');
            button.append(element('span', '', 'font-size:18px;line-height:1', '⇶'), element('span', '', '', 'Perclip'));
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

    /** One click: the selected object, or all of the frame that a person drew, with the last parameters. */
    async propagate() {
        const { canvas, player, annotations } = this.store.getState().annotation;
        const { job } = this;
        if (this.action.isRunning || !job) return;
        if (canvas?.instance && !canvas.instance.isAbleToChangeFrame()) {
            this.notice.show('Finish what you are drawing first.', { isError: true, seconds: 6 });
            return;
        }
        const selected = annotations.states.find((/** @type {any} */ state) => state.clientID === annotations.activatedStateID);
        if (selected && !isApplicable(selected)) {
            this.notice.show('Perclip propagates masks and polygons; the selected object is neither.', { isError: true, seconds: 6 });
            return;
        }
        const states = selected ? [selected] : annotations.states.filter(
            (/** @type {any} */ state) => isApplicable(state) && !isWritten(state) && !state.outside);
        if (!states.length) {
            this.notice.show('Draw a mask or a polygon on this frame, or select one, then propagate it.', { isError: true, seconds: 6 });
            return;
        }
        const parameters = knownParameters(stored('perclip.parameters'));
        // A target frame is chosen in the menu, for once.
        if (parameters.Frames === RANGES[2]) parameters.Frames = RANGES[0];
        this.isCancelled = false;
        this.summary = null;
        const cancel = /** @type {[string, () => void]} */ (['Cancel', () => { this.isCancelled = true; this.notice.hide(); }]);
        const onProgress = (/** @type {string} */ text, /** @type {number} */ percent) => {
            if (!this.isCancelled && !this.summary) this.notice.show(text, { percent, buttons: [cancel] });
        };
        onProgress('Perclip: starting', 0);
        try {
            await this.core.actions.call(job, this.action, parameters, player.frame.number, states, onProgress,
                () => this.isCancelled || this.job !== job);
            if (this.job === job && this.summary) await this.redraw();
            else this.notice.hide();
        } catch (error) {
            if (this.job === job) this.notice.show(messageOf(error), { isError: true });
            else this.notice.hide();
        }
    }

    async redraw() {
        const { number } = this.store.getState().annotation.player.frame;
        await this.dispatch(this.actionCreators.changeFrameAsync(number, undefined, undefined, true));
    }

    /** @param {number} step */
    jump(step) {
        const { player, canvas } = this.store.getState().annotation;
        const places = this.summary && this.summary.job === this.job ? this.summary.doubts.places : [];
        if (!places.length) {
            this.notice.show('There are no doubtful frames to look at.', { seconds: 4 });
        } else if (!canvas?.instance || canvas.instance.isAbleToChangeFrame()) {
            this.dispatch(this.actionCreators.changeFrameAsync(
                nextPlace(places.map(({ frame }) => frame), player.frame.number, step)));
        }
    }

    /** @param {Summary} summary */
    tell(summary) {
        const { nextKey, previousKey } = this.settings();
        const { count, places } = summary.doubts;
        const many = (/** @type {number} */ n, /** @type {string} */ noun) => `${n} ${noun}${n === 1 ? '' : 's'}`;
        const lines = [];
        if (summary.failure) lines.push(`${summary.failure} These are kept: run it again for the rest.`);
        lines.push(`${many(summary.frames, 'frame')} filled in ${summary.seconds.toFixed(1)} s `
            + `(${summary.rate.toFixed(1)} frames/s). Ctrl+Z takes them back.`);
        lines.push(count ? `${many(count, 'doubtful frame')} in ${many(places.length, 'place')}: ${nextKey} and `
            + `${previousKey} go through them.` : 'No frame is doubtful.');
        lines.push(...summary.warnings);
        const buttons = /** @type {[string, () => void][]} */ ([...places].sort((a, b) => a.confidence - b.confidence)
            .slice(0, 6).sort((a, b) => a.frame - b.frame)
            .map(({ frame }) => [`${frame}`, () => this.dispatch(this.actionCreators.changeFrameAsync(frame))]));
        const isError = Boolean(summary.failure);
        this.notice.show(lines.join('\n'), { isError, buttons, seconds: count || isError || summary.warnings.length ? 0 : 8 });
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
    module.exports = { adopt, chainsOf, Cancelled, ClipChain, DEFAULT_SETTINGS, doubtsOf, explained, findObjects, isShortcut,
        knownParameters, maskPixels, maskProblem, mergedSettings, nextPlace, NOT_DEPLOYED, optionsOf, outcomeOf, outputProblem,
        overlap, PerclipError, planClip, plannedTargets, polygonPixels, polygonProblem, rangeOf, shapeProblem, targetObjects,
        TOO_OLD };
} else {
    enterPage();
}
})();
