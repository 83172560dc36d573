import assert from 'node:assert/strict';
import test from 'node:test';

import { freePlace } from '../../../plugin/ui/perclip/notice.js';

test('the notice finds a place beside the panels', () => {
    const canvas = { left: 44, top: 56, right: 1000, bottom: 700 };
    const size = { width: 340, height: 120 };
    const panel = (left, top, right, bottom) => ({ left, top, right, bottom });
    assert.deepEqual(freePlace(size, canvas, []), { left: 60, top: 564 });
    assert.deepEqual(freePlace(size, canvas, [panel(44, 500, 300, 700)]), { left: 352, top: 564 });
    const [brushes, appearance, bottom] = [panel(60, 70, 500, 120), panel(700, 400, 1000, 700), panel(44, 600, 700, 700)];
    assert.deepEqual(freePlace(size, canvas, [brushes, appearance, bottom]), { left: 60, top: 318 });
    assert.deepEqual(freePlace(size, panel(0, 0, 200, 100), []), { left: 16, top: 0 }); // a tiny window
});
