import assert from 'node:assert/strict';
import test from 'node:test';

import { underWay } from '../../../plugin/ui/perclip/page_state.js';

test('what is under way is not disturbed: drawing, editing, and what CVAT\'s other tools have begun', () => {
    const store = (activeControl, isFree = true) => ({ getState: () => ({ annotation: { canvas: { activeControl, instance: { isAbleToChangeFrame: () => isFree } } } }) });
    for (const control of ['draw_mask', 'draw_polygon', 'draw_rectangle', 'draw_skeleton', 'edit']) {
        assert.equal(underWay(store(control)), 'Finish what you are drawing first.', control);
    }
    for (const control of ['ai_tools', 'opencv_tools', 'merge', 'group', 'join', 'slice', 'split']) assert.match(underWay(store(control)), /Finish what you have begun/);
    for (const control of ['cursor', 'drag_canvas', 'zoom_canvas', 'open_issue', undefined, null]) assert.equal(underWay(store(control)), null, control);
    assert.equal(underWay(store('cursor', false)), 'Finish what you are drawing first.');
    assert.equal(underWay({ getState: () => ({ annotation: { canvas: {} } }) }), null);
});
