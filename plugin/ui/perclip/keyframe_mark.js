// @ts-check
/** The mark by which Perclip's keyframes in a person's track are known again. */

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
export function markKeyframe(points, outside, width) {
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
export function isMarked(points, outside) {
    if (points.length < 6 || !points.every(Number.isFinite)) return false;
    const steps = points.map((value) => Math.floor(value * PER_PIXEL));
    const isOnGrid = points.every((value, i) => !i || value * PER_PIXEL === steps[i]);
    return isOnGrid && points[0] === steps[0] / PER_PIXEL + (checksumOf(steps, outside) + 1) * MARK_UNIT;
}
