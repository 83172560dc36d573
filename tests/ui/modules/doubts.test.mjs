import assert from 'node:assert/strict';
import test from 'node:test';

import { doubtsOf, nextPlace } from '../../../plugin/ui/perclip/doubts.js';
import { FRAMES } from './job.mjs';

test('doubtful frames: the worst of each run of them, and the way round', () => {
    const low = [[103, 0.3], [104, 0.1], [105, 0.4], [120, 0.2], [120, 0.45], [130, 0.9]].map(([frame, confidence]) => ({ frame, confidence }));
    const { count, places } = doubtsOf(low, 0.5, FRAMES);
    assert.equal(count, 4);
    assert.deepEqual(places.map(({ frame }) => frame), [104, 120]);
    assert.equal(nextPlace([104, 120], 104, 1), 120);
    assert.equal(nextPlace([104, 120], 120, 1), 104);
    assert.equal(nextPlace([104, 120], 110, -1), 104);
    assert.equal(nextPlace([104, 120], 100, -1), 120);
});

test('a long run of doubtful frames is more than one place', () => {
    const { count, places } = doubtsOf(FRAMES.slice(0, 25).map((frame) => ({ frame, confidence: frame / 1000 })), 0.5, FRAMES);
    assert.deepEqual([count, places.map(({ frame }) => frame)], [25, [100, 110, 120]]);
});
