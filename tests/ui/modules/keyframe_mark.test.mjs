import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import test from 'node:test';

import { isMarked, markKeyframe } from '../../../plugin/ui/perclip/keyframe_mark.js';

test('the mark of keyframes is the one that the SDK program writes', () => {
    const { marked, persons } = JSON.parse(readFileSync(new URL('../../keyframe_mark_vectors.json', import.meta.url), 'utf8'));
    assert.ok(marked.length > 5 && persons.length > 5);
    for (const { name, points, outside, width, marked: expected } of marked) {
        assert.deepEqual(markKeyframe(points, outside, width), expected, name);
        assert.ok(isMarked(JSON.parse(JSON.stringify(expected)), outside) && !isMarked(expected, !outside), name);
    }
    for (const { name, points, outside } of persons) assert.ok(!isMarked(points, outside), name);
});
