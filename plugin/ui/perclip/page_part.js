// @ts-check
/** What Perclip adds to the page: the button, the keys, the notice, and the way through doubtful frames. */

import { actionClass } from './action.js';
import { isWritten } from './collection.js';
import { countsText, many } from './counts.js';
import { nextPlace } from './doubts.js';
import { messageOf } from './errors.js';
import { headerButton } from './header_button.js';
import { Highlight } from './highlight.js';
import { LearningAbility } from './learning_ability.js';
import { Notice, SHOWN_SECONDS } from './notice.js';
import { groupOf, isApplicable, underWay } from './page_state.js';
import { isShortcut, knownParameters, RANGES, stored } from './settings.js';

/**
 * @import { Summary } from './counts.js'
 * @import { Settings } from './settings.js'
 */

/** What Perclip adds to the page: the button, the keys, the notice, and the way through doubtful frames. */
export class PagePart {
    /**
     * @param {{ core: any, dispatch: (action: any) => any, actionCreators: any, store: any }} page
     * @param {() => Settings} settings
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
        this.ability = new LearningAbility(core, () => this.settings().functionId);
        const Action = actionClass(core, store, settings, this.ability, (summary) => { this.summary = summary; this.tell(summary); });
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
            if (this.job && this.job !== this.asked && this.job.dimension !== '3d') this.ability.ask(this.job);
            this.asked = this.job;
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
        if (summary.failure) {
            const again = summary.learned.length ? 'Run it from the menu again, with learning,' : 'Press again, on this frame,';
            lines.push(`What is done is kept. ${again} to go on from there.`);
        }
        lines.push(...summary.learned);
        lines.push(count ? `${many(count, 'doubtful frame')} in ${many(places.length, 'place')}: ${nextKey} and `
            + `${previousKey} go through them.` : summary.failure ? '' : 'No frame is doubtful.');
        lines.push(...summary.warnings);
        const clear = this.highlight.begin();
        if (clear) lines.push(clear);
        const buttons = /** @type {[string, () => void][]} */ ([...places].sort((a, b) => a.confidence - b.confidence)
            .slice(0, 6).sort((a, b) => a.frame - b.frame)
            .map(({ frame }) => [`${frame}`, () => this.dispatch(this.actionCreators.changeFrameAsync(frame))]));
        const isError = Boolean(summary.failure);
        const isDecided = !count && !isError && !summary.learned.length; // what came of learning is to be read
        this.notice.show(lines.filter(Boolean).join('\n'), { isError, buttons, folds: isDecided,
            seconds: isDecided && !summary.warnings.length ? SHOWN_SECONDS : 0 });
    }
}
