// The moving picture of the README: one click and its result on the sample's clip, with the real function behind the page.
//
//     cd tests/ui && PYTHON=../../.venv/bin/python node record.mjs        # writes docs/pictures/one-click.webp
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { PYTHON, ROOT, startBrowser, startServer } from './browser.mjs';

const PICTURE = process.argv[2] ?? fileURLToPath(new URL('../../docs/pictures/one-click.webp', import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'perclip-record-'));
const durations = []; // of the pictures, in milliseconds
const [server, browser] = await Promise.all([startServer(), startBrowser()]);
try {
    const tab = await (await browser.newContext({ viewport: { width: 1180, height: 616 } })).newPage();
    await tab.goto(`${server.url}/?opacity=55`);
    await tab.waitForFunction(() => window.page?.isReady);
    await tab.waitForSelector('.perclip-button');
    const picture = async (milliseconds) => {
        await tab.screenshot({ path: join(folder, `${String(durations.length).padStart(4, '0')}.png`) });
        durations.push(milliseconds);
    };
    const show = (frame) => tab.evaluate((number) => page.show(number), frame);
    // Headless browsers show no pointer.
    await tab.evaluate(() => {
        const pointer = document.createElement('div');
        pointer.style.cssText = 'position:fixed;z-index:5000;pointer-events:none;left:520px;top:400px';
        pointer.innerHTML = '<svg width="22" height="30" viewBox="0 0 22 30"><path d="M2 2v22l6-6 4 10 4-2-4-9h8z" fill="#000" stroke="#fff" stroke-width="2"/></svg>';
        document.body.append(pointer);
        window.addEventListener('mousemove', ({ clientX, clientY }) => { pointer.style.left = `${clientX}px`; pointer.style.top = `${clientY}px`; });
    });
    await picture(900);
    for (const object of [1, 2]) {
        await tab.evaluate((name) => page.draw(0, { label_id: +name, points: page.truth[0][name].slice() }), `${object}`);
        await picture(object === 1 ? 700 : 1000);
    }
    const button = await tab.locator('.perclip-button').boundingBox();
    const [x, y] = [button.x + button.width / 2, button.y + button.height * 0.6];
    for (let step = 1; step <= 8; step++) {
        await tab.mouse.move(520 + ((x - 520) * step) / 8, 400 + ((y - 400) * step) / 8);
        await picture(step === 8 ? 500 : 50);
    }
    await tab.mouse.click(x, y);
    for (let filled = false; !filled;) {
        await tab.waitForTimeout(150);
        filled = (await tab.locator('.perclip-notice-text').textContent()).includes('filled');
        await picture(filled ? 1500 : 250);
    }
    const last = await tab.evaluate(() => page.job.stopFrame);
    for (let frame = 1; frame <= last; frame++) {
        await show(frame);
        await picture(frame === last ? 2500 : 140);
    }
    writeFileSync(join(folder, 'durations.json'), JSON.stringify(durations));
    const made = spawnSync(PYTHON, ['-m', 'tests.ui.moving_picture', folder, PICTURE], { cwd: ROOT, stdio: 'inherit' });
    process.exitCode = made.status ?? 1;
} finally {
    await browser.close();
    server.stop();
    rmSync(folder, { recursive: true });
}
