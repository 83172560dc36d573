// @ts-check
/** What a run has done: its counts, and how they are said. */

/**
 * @typedef {{ what: string, frames: number, done: number, total: number, before: number, runs: number, seconds: number }} Counts
 *     `frames`: that got something, of `done` of `total`, `before` of them by earlier runs that were cut off.
 * @typedef {Counts & { warnings: string[], failure: string | null, learned: string[],
 *     doubts: { count: number, places: { frame: number, confidence: number }[] }, job: any }} Summary
 *     `learned`: what came of learning; empty where nobody asked for it.
 */

/**
 * A speed in words.
 * @param {number} rate frames per second
 */
export function rateText(rate) {
    return rate >= 0.1 ? `${rate.toFixed(1)} frames/s` : rate > 0 ? `${Math.round(1 / rate)} s per frame` : '0 frames/s';
}

/**
 * @param {number} count
 * @param {string} noun
 */
export function many(count, noun) {
    return `${count} ${noun}${count === 1 ? '' : 's'}`;
}

/**
 * What was done, in numbers that agree with each other.
 * @param {Counts} counts
 */
export function countsText({ what, frames, done, total, before, runs, seconds }) {
    const speed = `${seconds.toFixed(1)} s (${rateText((done - before) / Math.max(0.001, seconds))})`;
    if (done === total && !before && frames >= done) return `${what}: ${many(frames, 'frame')} filled in ${speed}.`;
    const split = before ? ` in ${runs === 2 ? 'two' : runs} runs: ${before} before, ${done - before} now` : '';
    const filled = frames >= done ? 'all filled' : `${frames} filled, ${done - frames} without anything`;
    return `${what}: ${done} of ${total} frames done${split} in ${speed}; ${filled}.`;
}
