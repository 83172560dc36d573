// @ts-check
/** The job's frames, from the page's own decoder. */

import { Cancelled, messageOf, PerclipError } from './errors.js';
import { sleep } from './sleep.js';

/**
 * @import { JobFacts } from './collection.js'
 */

const JPEG_QUALITY = 0.92;
const FRAME_PATIENCE = 30; // seconds
const POLITENESS = 10; // seconds for which the annotator's own frames come first
const CACHED_CHARACTERS = 128 * 2 ** 20;

/** Frames of a job as small JPEGs, from the page's decoder: one at a time, and never before the annotator's own. */
export class PageFrames {
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
export async function factsOf(job, current) {
    const { width, height } = await job.frames.get(current);
    const frames = [];
    for (const frame of await job.frames.frameNumbers()) {
        const data = await job.frames.get(frame);
        // Images of another size are another sequence.
        if (!data.deleted && data.width === width && data.height === height) frames.push(frame);
    }
    return { width, height, frames, last: job.stopFrame, labels: job.labels };
}
