// @ts-check
/** The notice: a small box beside CVAT's panels. */

import { element } from './element.js';

/**
 * @typedef {{ left: number, top: number, right: number, bottom: number }} Box
 */

/**
 * Where a notice covers none of CVAT's panels, or least of them: the first of these places inside the canvas that is free.
 * @param {{ width: number, height: number }} size of the notice
 * @param {Box} canvas
 * @param {Box[]} panels
 * @returns {{ left: number, top: number }}
 */
export function freePlace({ width, height }, canvas, panels) {
    const gap = 16;
    const xs = [canvas.left + gap, (canvas.left + canvas.right - width) / 2, canvas.right - width - gap];
    const ys = [canvas.bottom - height - gap, (canvas.top + canvas.bottom - height) / 2, canvas.top + gap];
    const places = ys.flatMap((top) => xs.map((left) => ({ left: Math.max(0, left), top: Math.max(0, top) })));
    const covered = places.map(({ left, top }) => panels.reduce((total, panel) => {
        const across = Math.min(left + width, panel.right) - Math.max(left, panel.left);
        const down = Math.min(top + height, panel.bottom) - Math.max(top, panel.top);
        return total + Math.max(0, across) * Math.max(0, down);
    }, 0));
    return places[covered.indexOf(Math.min(...covered))];
}

const CANVAS = '.cvat-canvas-container, .cvat-canvas-grid-root';

const PANELS = '.cvat-annotation-header, .cvat-canvas-controls-sidebar, .cvat-objects-sidebar, .cvat-objects-appearance-collapse, '
    + '.cvat-brush-tools-toolbox, .cvat-canvas-z-axis-wrapper, .cvat-canvas-hints-container';

const NOTICE_STYLE = 'position:fixed;z-index:3000;width:340px;box-sizing:border-box;background:#fff;color:#262626;'
    + 'border-radius:6px;box-shadow:0 4px 16px rgba(0,0,0,.25);font:14px/1.5 sans-serif';

const SIGN_STYLE = 'border:0;background:none;cursor:pointer;font-size:16px;line-height:1;padding:0 4px;color:inherit';
const UNFOLDED_SECONDS = 8; // of what needs no decision ...
export const SHOWN_SECONDS = 30; // ... until it goes

/**
 * A small box beside CVAT's panels: progress with a way to cancel, what was done, or what is wrong. It can be moved and
 * folded, and folds itself where there is nothing to decide.
 */
export class Notice {
    /** @param {() => void} [onHide] */
    constructor(onHide = () => {}) {
        /** @type {HTMLElement | null} */
        this.box = null;
        /** @type {number[]} */
        this.timers = [];
        this.onHide = onHide;
        /** @type {{ left: number, top: number } | null} */
        this.place = null; // where the annotator has moved it
    }

    /**
     * @param {string} text
     * @param {{ percent?: number, isError?: boolean, seconds?: number, folds?: boolean, buttons?: [string, () => void][] }} [extra]
     *     `seconds`: until it goes by itself; `folds`: it folds itself first
     */
    show(text, { percent, isError = false, seconds = 0, folds = false, buttons = [] } = {}) {
        for (const timer of this.timers.splice(0)) window.clearTimeout(timer);
        const box = this.box ?? this.open();
        box.setAttribute('role', isError ? 'alert' : 'status');
        box.style.borderLeft = isError ? '4px solid #ff4d4f' : '';
        const body = /** @type {HTMLElement} */ (box.lastElementChild);
        const line = element('div', 'perclip-notice-text', 'white-space:pre-line', text);
        body.replaceChildren(line);
        if (percent !== undefined) {
            const bar = element('div', 'perclip-notice-bar', 'height:6px;margin:8px 0;background:#f0f0f0;border-radius:3px');
            bar.append(element('div', '', `height:100%;width:${percent}%;background:#1890ff;border-radius:3px`));
            body.append(bar);
        }
        for (const [label, onClick] of buttons) {
            const button = element('button', 'perclip-notice-button',
                'margin:8px 8px 0 0;padding:0 8px;border:1px solid #d9d9d9;border-radius:3px;background:#fff;cursor:pointer', label);
            button.onclick = onClick;
            body.append(button);
        }
        /** @type {HTMLElement} */ (box.querySelector('.perclip-notice-close')).style.visibility = percent === undefined ? '' : 'hidden';
        const title = text.split('\n')[0];
        /** @type {HTMLElement} */ (box.querySelector('.perclip-notice-title')).dataset.line = title;
        this.fold(percent !== undefined && this.isFolded); // progress stays as it was put
        if (folds) this.timers.push(window.setTimeout(() => this.fold(true), UNFOLDED_SECONDS * 1000));
        if (seconds) this.timers.push(window.setTimeout(() => this.hide(), seconds * 1000));
    }

    /** The empty box in the page. */
    open() {
        const box = element('div', 'perclip-notice', NOTICE_STYLE);
        const bar = element('div', 'perclip-notice-handle', 'display:flex;align-items:center;gap:4px;padding:6px 8px 0 16px;cursor:move;'
            + 'user-select:none;touch-action:none');
        const title = element('div', 'perclip-notice-title', 'flex:1;font-weight:600;overflow:hidden;text-overflow:ellipsis;white-space:nowrap');
        const fold = element('button', 'perclip-notice-fold', SIGN_STYLE);
        fold.onclick = () => this.fold(!this.isFolded);
        const close = element('button', 'perclip-notice-close', SIGN_STYLE, '×');
        close.title = 'Close';
        close.onclick = () => this.hide();
        bar.append(title, fold, close);
        bar.onpointerdown = (event) => this.drag(event, bar);
        box.append(bar, element('div', '', 'padding:2px 16px 12px'));
        document.body.append(box);
        this.box = box;
        return box;
    }

    get isFolded() {
        return this.box?.dataset.folded === 'true';
    }

    /** @param {boolean} isFolded */
    fold(isFolded) {
        const { box } = this;
        if (!box) return;
        box.dataset.folded = String(isFolded);
        const body = /** @type {HTMLElement} */ (box.lastElementChild);
        body.style.display = isFolded ? 'none' : '';
        const title = /** @type {HTMLElement} */ (box.querySelector('.perclip-notice-title'));
        title.textContent = isFolded ? title.dataset.line ?? '' : 'Perclip';
        /** @type {HTMLElement} */ (title.parentElement).style.paddingBottom = isFolded ? '6px' : '0';
        const fold = /** @type {HTMLElement} */ (box.querySelector('.perclip-notice-fold'));
        fold.textContent = isFolded ? '▴' : '▾';
        fold.title = isFolded ? 'Unfold' : 'Fold';
        this.settle();
    }

    /** Puts the box where the annotator wants it, or else beside CVAT's panels. */
    settle() {
        const { box } = this;
        if (!box) return;
        const { width, height } = box.getBoundingClientRect();
        const screen = { left: 0, top: 0, right: window.innerWidth, bottom: window.innerHeight };
        const canvas = document.querySelector(CANVAS)?.getBoundingClientRect() ?? screen;
        const panels = [...document.querySelectorAll(PANELS)].map((panel) => panel.getBoundingClientRect());
        const { left, top } = this.place ?? freePlace({ width, height }, canvas, panels);
        box.style.left = `${Math.max(0, Math.min(left, screen.right - width))}px`;
        box.style.top = `${Math.max(0, Math.min(top, screen.bottom - height))}px`;
    }

    /**
     * @param {PointerEvent} event
     * @param {HTMLElement} bar
     */
    drag(event, bar) {
        if (event.button || /** @type {HTMLElement} */ (event.target).tagName === 'BUTTON' || !this.box) return;
        const { left, top } = this.box.getBoundingClientRect();
        bar.setPointerCapture(event.pointerId);
        bar.onpointermove = ({ clientX, clientY }) => {
            this.place = { left: left + clientX - event.clientX, top: top + clientY - event.clientY };
            this.settle();
        };
        bar.onpointerup = bar.onpointercancel = () => { bar.onpointermove = null; };
    }

    hide() {
        for (const timer of this.timers.splice(0)) window.clearTimeout(timer);
        if (!this.box) return;
        this.box.remove();
        this.box = null;
        this.onHide();
    }
}
