import assert from 'node:assert/strict';
import test from 'node:test';

import { factsOf } from '../../../plugin/ui/perclip/frames.js';
import { LABELS } from './job.mjs';

test('images of another size and deleted frames are no part of the sequence', async () => {
    const sizes = { 0: [64, 48], 1: [64, 48], 2: [32, 48], 3: [64, 48] };
    const job = { stopFrame: 3, labels: LABELS, frames: { frameNumbers: async () => [0, 1, 2, 3],
        get: async (frame) => ({ width: sizes[frame][0], height: sizes[frame][1], deleted: frame === 1 }) } };
    assert.deepEqual(await factsOf(job, 0), { width: 64, height: 48, frames: [0, 3], last: 3, labels: LABELS });
});
