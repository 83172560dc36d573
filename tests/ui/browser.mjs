// Starts the page's server (with the real function behind it) and Debian's Chromium, for the browser tests.
import { spawn, spawnSync } from 'node:child_process';
import { resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { chromium } from 'playwright-core';

export const ROOT = fileURLToPath(new URL('../..', import.meta.url));
/** The interpreter that has Perclip's dependencies. */
export const PYTHON = process.env.PYTHON ? (process.env.PYTHON.includes('/') ? resolve(process.env.PYTHON) : process.env.PYTHON) : 'python3';

/** The path of a Chromium on this machine. */
export function chromiumPath() {
    const names = [process.env.CHROMIUM, 'chromium', 'chromium-browser', 'google-chrome'].filter(Boolean);
    for (const name of names) {
        const found = spawnSync('which', [name], { encoding: 'utf8' }).stdout.trim();
        if (found) return found;
    }
    throw new Error('no Chromium');
}

/** The server's address and what stops it. */
export async function startServer() {
    const server = spawn(PYTHON, ['-m', 'tests.ui.page_server'], { cwd: ROOT, stdio: ['pipe', 'pipe', 'inherit'] });
    const lines = createInterface({ input: server.stdout });
    const url = await new Promise((resolve, reject) => {
        lines.once('line', resolve);
        server.once('exit', () => reject(new Error('the page server ended')));
    });
    return { url, stop: () => { server.stdin.end(); } };
}

/** A Chromium without a window. */
export function startBrowser() {
    // Containers have neither a sandbox for root nor much shared memory.
    return chromium.launch({ executablePath: chromiumPath(), args: ['--no-sandbox', '--disable-dev-shm-usage', '--disable-gpu'] });
}
