import assert from 'node:assert/strict';
import test from 'node:test';

import { DEFAULT_SETTINGS, isShortcut, knownParameters, mergedSettings, optionsOf } from '../../../plugin/ui/perclip/settings.js';

test('settings come from the script tag and the browser; nonsense is left out', () => {
    assert.deepEqual(mergedSettings({}, {}), DEFAULT_SETTINGS);
    const merged = mergedSettings({ shortSide: '384', functionId: 'mine', doubt: 'x' }, { nextKey: 'Alt+N', functionId: 5 });
    assert.deepEqual([merged.shortSide, merged.functionId, merged.doubt, merged.nextKey], [384, 'mine', 0.5, 'Alt+N']);
    assert.equal(knownParameters({ Frames: 'x', Speed: 'toString', Direction: 'both', 'Polygon tolerance': 'y' }).Speed, 'accurate');
    assert.equal(knownParameters({ Direction: 'both' }).Direction, 'both');
    assert.deepEqual(optionsOf({ Speed: 'fast', 'Target frame': 12, 'Polygon tolerance': 1000 }),
        { range: 'to the end', target: 12, direction: 'forward', output: 'as drawn', tolerance: 100, clipLength: 25 });
});

test('shortcuts go by the key\'s place and all modifiers', () => {
    const press = (code, more = {}) => ({ code, altKey: true, ctrlKey: false, shiftKey: false, metaKey: false, ...more });
    assert.ok(isShortcut(press('KeyP'), 'Alt+P'));
    assert.ok(isShortcut(press('Period'), 'Alt+.'));
    assert.ok(isShortcut(press('F8', { altKey: false, ctrlKey: true }), 'Ctrl+F8'));
    assert.ok(!isShortcut(press('KeyP', { shiftKey: true }), 'Alt+P'));
    assert.ok(!isShortcut(press('KeyP', { altKey: false }), 'Alt+P'));
    assert.ok(!isShortcut(press('KeyO'), 'Alt+P'));
});
