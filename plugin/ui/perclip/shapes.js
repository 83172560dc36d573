// @ts-check
/** Masks and polygons: whether CVAT can take them, their pixels, and how far two of them overlap. */

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
export function maskProblem(points, width, height) {
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
export function polygonProblem(points, width, height) {
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
export function distance(one, other) {
    const [a, b] = [one, other].map((shape) => {
        const [left, top, right, bottom] = boxOf(shape);
        return { x: (left + right) / 2, y: (top + bottom) / 2, size: Math.hypot(right - left, bottom - top) };
    });
    return Math.hypot(a.x - b.x, a.y - b.y) / Math.max(a.size, b.size);
}

/**
 * The pixels that two masks or polygons share, and those of each.
 * @param {{ type: string, points: number[] }} one
 * @param {{ type: string, points: number[] }} other
 * @returns {{ both: number, areas: number[] }}
 */
function shared(one, other) {
    const [box, second] = [boxOf(one), boxOf(other)];
    if (box[0] >= second[2] || second[0] >= box[2] || box[1] >= second[3] || second[1] >= box[3]) return { both: 0, areas: [1, 1] };
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
    return { both, areas: [a.area, b.area] };
}

/**
 * Intersection over union of two masks or polygons, 0..1.
 * @param {{ type: string, points: number[] }} one
 * @param {{ type: string, points: number[] }} other
 */
export function overlap(one, other) {
    const { both, areas: [a, b] } = shared(one, other);
    return both ? both / (a + b - both) : 0;
}

const INSIDE = 0.9; // of the smaller one's pixels lie in the larger one ...
const SMALLER = 0.6; // ... and it has less than this share of its area

/**
 * Whether one of two masks or polygons looks like a part of the other: it lies inside and is much smaller.
 * @param {{ type: string, points: number[] }} one
 * @param {{ type: string, points: number[] }} other
 */
export function isPart(one, other) {
    const { both, areas } = shared(one, other);
    const [least, most] = [Math.min(...areas), Math.max(...areas)];
    return both >= INSIDE * least && least < SMALLER * most;
}
