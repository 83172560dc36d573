// @ts-check
/** Whether the function can learn from keyframes, and for how long: asked once, and remembered for a while. */

import { keep, stored } from './settings.js';

const KEPT = 'perclip.learning';
const KEPT_HOURS = 1;

/** What the function says of learning. CVAT reads an action's parameters at once: it is asked before they are shown. */
export class LearningAbility {
    /**
     * @param {any} core cvat-core
     * @param {() => string} functionId
     */
    constructor(core, functionId) {
        this.core = core;
        this.functionId = functionId;
        this.isAsking = false;
    }

    /**
     * Seconds that learning takes, about; 0 where the function cannot, or nobody knows yet. What it said long ago holds until it says
     * something else: jobs stay open for hours, and a function that cannot any more refuses.
     */
    get seconds() {
        return this.said?.seconds ?? 0;
    }

    /** Whether it has said so not long ago. */
    get isFresh() {
        return Math.abs(Date.now() - (this.said?.at ?? -Infinity)) < KEPT_HOURS * 3600_000;
    }

    /** What it said last, if that was the same function. */
    get said() {
        const { functionId, seconds, at } = stored(KEPT);
        return functionId === this.functionId() && Number.isFinite(seconds) ? { seconds, at } : null;
    }

    /**
     * Asks, unless it has just said so. A function that is too old to say cannot.
     * @param {any} job any of the page
     */
    async ask(job) {
        if (this.isAsking || this.isFresh) return;
        this.isAsking = true;
        const functionId = this.functionId();
        try {
            const answer = await this.core.lambda.call(job.taskId, { id: functionId }, { type: 'init_tracking', job: job.id,
                frame: job.startFrame, shapes: [{ type: 'mask', points: [], clip: { ask: 'status' } }] });
            const seconds = Number(answer?.learning?.usual_seconds) || 0;
            keep(KEPT, { functionId, seconds, at: Date.now() });
        } catch {
            // It does not answer now: the next job asks again. The annotator, who has asked for nothing, is not troubled.
        } finally {
            this.isAsking = false;
        }
    }

    /** The function has refused to learn: it is another one than it was. */
    refused() {
        keep(KEPT, { functionId: this.functionId(), seconds: 0, at: Date.now() });
    }
}
