// @ts-check
/** What CVAT's page says of the annotator: what is under way, and what can be propagated. */

import { isPropagated } from './collection.js';

const UNDER_WAY = /^(draw_|edit$|ai_tools$|opencv_tools$|slice$|join$|merge$|group$|split$)/;

/**
 * What the annotator is doing that another frame or other masks would disturb, as an error says it; null: nothing.
 * @param {any} store
 */
export function underWay(store) {
    const { canvas } = store.getState().annotation;
    const control = String(canvas?.activeControl ?? '').toLowerCase();
    // While a new shape is drawn the canvas itself would let the frame change.
    const isDrawing = !control || /^(draw_|edit$|cursor$)/.test(control);
    if (!UNDER_WAY.test(control) && (canvas?.instance?.isAbleToChangeFrame?.() ?? true)) return null;
    return isDrawing ? 'Finish what you are drawing first.' : `Finish what you have begun first (${control.replaceAll('_', ' ')}).`;
}

/**
 * The group of an object of the page; 0 for none.
 * @param {any} state cvat-core's ObjectState
 * @returns {number}
 */
export function groupOf(state) {
    return state.group?.id ?? state.group ?? 0;
}

/**
 * Whether an object of the page can be propagated.
 * @param {any} state cvat-core's ObjectState
 */
export function isApplicable(state) {
    return (state.objectType === 'shape' && isPropagated(state.shapeType))
        || (state.objectType === 'track' && state.shapeType === 'polygon');
}
