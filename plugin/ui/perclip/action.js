// @ts-check
/**
 * The annotation action that CVAT runs, from its menus and from Perclip's button: from what is selected to what is committed.
 * Frames come from the page's own decoder and go, scaled down, through CVAT's lambda endpoint to the Nuclio function (clip
 * calls: serverless/README.md); what comes back is one undoable change of the page.
 */

import { ClipChain } from './clip_chain.js';
import { planClips } from './clip_plan.js';
import { isPropagated } from './collection.js';
import { outcomeOf } from './commit.js';
import { doubtsOf } from './doubts.js';
import { Cancelled, messageOf, PerclipError } from './errors.js';
import { factsOf, PageFrames } from './frames.js';
import { targetObjects } from './objects.js';
import { isApplicable, underWay } from './page_state.js';
import { plannedTargets } from './ranges.js';
import { ACTION_NAME, CLIP_LENGTHS, DEFAULT_PARAMETERS, DIRECTIONS, keep, knownParameters, LEARN, LEARN_NOT, optionsOf, OUTPUTS, RANGES,
    stored } from './settings.js';
import { sleep } from './sleep.js';

const CANNOT_LEARN = 'The function cannot learn any more: close this menu, open it again, and run without learning.';

/**
 * @import { AnnotatedObject } from './annotated_object.js'
 * @import { Collection, JobFacts } from './collection.js'
 * @import { Summary } from './counts.js'
 * @import { LearningAbility } from './learning_ability.js'
 * @import { Range } from './ranges.js'
 * @import { Settings } from './settings.js'
 */

/**
 * The action that CVAT runs: from its menus, and from Perclip's button.
 *
 * @param {any} core cvat-core
 * @param {any} store of the page
 * @param {() => Settings} settings
 * @param {LearningAbility} ability
 * @param {(summary: Summary) => void} onDone told before what was found is committed
 */
export function actionClass(core, store, settings, ability, onDone) {
    return class PropagateAction extends core.classes.BaseCollectionAction {
        /** @type {any} */
        job = null;
        parameters_ = DEFAULT_PARAMETERS;
        learn = 0; // seconds; the button never learns
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
                ...(ability.seconds ? { [LEARN]: select([LEARN_NOT, `yes, about ${Math.ceil(ability.seconds)} s`], LEARN_NOT) } : {}),
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
            const isLearning = !this.isOneClick && (parameters[LEARN] ?? LEARN_NOT) !== LEARN_NOT;
            if (isLearning && !ability.seconds) throw new PerclipError(CANNOT_LEARN);
            this.job = job;
            this.parameters_ = knownParameters(parameters);
            this.learn = isLearning ? ability.seconds : 0;
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
            const options = { ...optionsOf(this.parameters_), learn: this.learn };
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
                warnings, failure, learned: [...new Set(chains.flatMap((chain) => chain.learned))],
                doubts: doubtsOf(confidences, settings().doubt, facts.frames), job });
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
                        call: async (clip) => {
                            const answer = await core.lambda.call(job.taskId, { id: functionId }, { type: 'init_tracking', job: job.id,
                                frame: plan.clip.keyframes[0].frame, shapes: [{ type: 'mask', points: [], clip }] });
                            if (answer?.error?.code === 'no_learning') ability.refused();
                            return answer;
                        },
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
