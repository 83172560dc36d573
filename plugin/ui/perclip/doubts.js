// @ts-check
/** Doubtful frames: where to look, and the way through them. */

const LONGEST_PLACE = 10; // frames

/**
 * Where to look: the most doubtful frame of each run of up to ten doubtful frames, ascending, and how many these runs have.
 * @param {{ frame: number, confidence: number }[]} confidences
 * @param {number} below
 * @param {number[]} frames of the job, ascending
 */
export function doubtsOf(confidences, below, frames) {
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
export function nextPlace(places, current, step) {
    const ordered = step > 0 ? places : [...places].reverse();
    return ordered.find((frame) => (frame - current) * step > 0) ?? ordered[0];
}
