// @ts-check
/** A range, propagated by clip calls that follow each other. */

import { rateText } from './counts.js';
import { Cancelled, explained, PerclipError, TOO_OLD, UNREACHABLE } from './errors.js';
import { sleep } from './sleep.js';

/**
 * @typedef {{ object: number, type?: string, points?: number[], confidence: number }} AnsweredObject
 * @typedef {{ frame: number, shapes: AnsweredObject[], absent: AnsweredObject[] }} AnsweredFrame
 */

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
 * A range, propagated by clip calls that follow each other. While one is answered, the images of the next are made.
 */
export class ClipChain {
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
        /** @type {{ used: boolean, words: string } | null} */
        this.learning = null; // what came of it
        this.isUnlike = false; // some answers came from weights that were learned again, and came out otherwise
        this.isDone = false;
        this.isKnown = false; // the function has answered something in this run
        this.before = 0; // frames that an earlier run has answered
        this.runs = 1; // that this one goes on from, itself included
        this.smallest = clip.clip_length ?? 1; // images of a call: the function works on whole clips
        if (before && JSON.stringify(before.clip) === JSON.stringify(clip)) {
            this.answered = new Map(before.answered);
            this.going = before.going;
            this.isDone = before.isDone;
            this.learning = before.learning;
            this.isUnlike = before.isUnlike;
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

    /** What came of learning, for the annotator; empty where it was not asked for, or is not known yet. */
    get learned() {
        if (!this.clip.learn || !this.answered.size) return [];
        if (!this.learning) return ['Not learned: the function stopped before, or is too old to learn.'];
        const { used, words } = this.learning;
        const lines = [`Learning ${used ? 'is used' : 'is not used'}: ${words}.`];
        if (this.isUnlike) lines.push('Several workers learned, and came to slightly different weights.');
        return lines;
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
                [this.learning, this.isUnlike] = [null, false];
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
            this.learning = answer.learning ?? this.learning;
            this.isUnlike ||= answer.learning?.same_weights === false;
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
                const spent = this.now() - began - (answer.timing?.learning ?? 0);
                const speed = (this.consumed - before) / Math.max(0.05, spent);
                batch = Math.min(LARGEST_BATCH, Math.max(this.smallest, Math.round(speed * aim)));
            }
            this.going = going = answer.continue;
        }
        this.isDone = true;
        this.report();
    }

    /**
     * What the first call should bring beside the keyframes; of several keyframes, and to learn, the function says it better.
     * @param {number[]} keyframes
     */
    firstFrames(keyframes) {
        if (keyframes.length > 1 || this.clip.learn) return [];
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
        let size = 0;
        const needed = new Set(going.needed);
        for (const frame of new Set([...needed, ...going.next.slice(0, batch)])) {
            if (!needed.has(frame) && size > MOST_CHARACTERS && images.size >= needed.size + this.smallest) break;
            const image = await this.unlessCancelled(this.world.image(frame));
            images.set(frame, image);
            size += image.length;
        }
        // To learn, some of the next ones are needed.
        const end = going.next.findIndex((frame) => !images.has(frame));
        const sent = end < 0 ? going.next : going.next.slice(0, end);
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
        const first = this.clip.learn && !this.learning ? 'Learning from the keyframes' : 'Sending the first frames';
        const text = this.consumed ? `${done} of ${total} frames, ${rateText(this.rate)}` : first;
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
