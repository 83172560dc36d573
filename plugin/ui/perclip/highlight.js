// @ts-check
/** Highlighting: shapes shown clearly for a while. */

import { keep, stored } from './settings.js';

const FAINT = 15; // per cent: of shapes that are shown with less, hardly anything is to be seen
const CLEAR = 30; // as CVAT shows the selected one

/** For a while, shows shapes clearly where CVAT shows them faintly (3 % as it is installed). */
export class Highlight {
    /**
     * @param {any} store
     * @param {(action: any) => any} dispatch
     */
    constructor(store, dispatch) {
        this.store = store;
        this.dispatch = dispatch;
        /** @type {number | null} */
        this.before = null;
        this.left = Number(stored('perclip.highlight').before); // by a page that was closed meanwhile
    }

    /** Ends what an earlier page has left, once CVAT has read its settings. */
    tidy() {
        if (this.left >= 0 && this.opacity === CLEAR && this.before === null) this.set(this.left);
        this.left = NaN;
    }

    /** Per cent; undefined where this CVAT does not tell. */
    get opacity() {
        return this.store.getState().settings?.shapes?.opacity;
    }

    /** @param {number} opacity per cent */
    set(opacity) {
        this.dispatch({ type: 'CHANGE_SHAPES_OPACITY', payload: { opacity } });
    }

    /** Begins, if there is need; what the annotator should know of it, or null. */
    begin() {
        const { opacity } = this;
        if (this.before !== null && opacity === CLEAR) return this.words(this.before);
        if (typeof opacity !== 'number' || opacity >= FAINT) return null;
        keep('perclip.highlight', { before: opacity });
        this.set(CLEAR);
        const isSet = this.opacity === CLEAR;
        this.before = isSet ? opacity : null;
        return isSet ? this.words(opacity) : `CVAT shows shapes at ${opacity} % opacity: raise it in "Appearance" to see them.`;
    }

    /** @param {number} before */
    words(before) {
        return `Shapes are shown clearly until this closes, then at ${before} % opacity again: "Appearance" sets that.`;
    }

    /** Ends, unless the annotator has set another opacity meanwhile. */
    end() {
        if (this.before === null) return;
        if (this.opacity === CLEAR) this.set(this.before);
        this.before = null;
        keep('perclip.highlight', {});
    }
}
