// The page action in Chromium, on a page like CVAT's, with the real function behind the lambda endpoint.
import assert from 'node:assert/strict';
import { mkdirSync, readdirSync } from 'node:fs';
import test, { after, before, beforeEach } from 'node:test';

import { startBrowser, startServer } from './browser.mjs';

const PICTURES = process.env.PICTURES; // where screenshots go, if anywhere
const LAST = 23;
let server;
let browser;
let tab;
let said;
let asked; // modules that the page has asked for, by address

before(async () => {
    [server, browser] = await Promise.all([startServer(), startBrowser()]);
    if (PICTURES) mkdirSync(PICTURES, { recursive: true });
});
after(async () => {
    await browser?.close();
    server?.stop();
});
beforeEach(async () => { await open(); });

/** The job, opened afresh in a browser that knows nothing of it. */
async function open(address = '/') {
    if (tab) { // a new document in the same tab: a new tab costs a process
        await tab.evaluate(() => localStorage.clear());
    } else {
        tab = await (await browser.newContext()).newPage();
        tab.on('request', (request) => { if (request.url().includes('/perclip/')) asked.push(request.url().replace(server.url, '')); });
        tab.on('console', (message) => said.push(message.text()));
        tab.on('pageerror', (error) => said.push(`uncaught: ${error}`));
    }
    await tab.setViewportSize({ width: 1280, height: 616 });
    [said, asked] = [[], []];
    await tab.goto(server.url + address);
    await tab.waitForFunction(() => window.page?.isReady);
    await fault([]);
}

/** Time that the test sets; no later document has it. */
async function ownTime(testing) {
    await tab.clock.install();
    testing.after(async () => {
        await tab.context().close();
        tab = undefined;
    });
}

const fault = (faults) => fetch(`${server.url}/faults`, { method: 'POST', body: JSON.stringify(faults) });
const calls = async () => (await fetch(`${server.url}/calls.json`)).json();
/** Draws the true mask of an object, as a person. */
const draw = (frame, object, more = {}) => tab.evaluate(([at, name, extra]) => (
    page.draw(at, { label_id: +name, points: page.truth[at][name].slice(), ...extra })), [frame, `${object}`, more]);
const drawBoth = async () => [await draw(0, 1), await draw(0, 2)];
const collection = () => tab.evaluate(() => page.job.collection.export());
const written = async () => (await collection()).shapes.filter(({ source }) => source === 'auto');
const human = async () => { const { shapes, tracks } = await collection(); return [...shapes, ...tracks].filter(({ source }) => source !== 'auto'); };
const notice = () => tab.locator('.perclip-notice-text').textContent({ timeout: 20_000 });
const noticed = (words) => tab.waitForFunction((text) => document.querySelector('.perclip-notice-text')?.textContent.includes(text), words, { timeout: 30_000 });
const steps = () => tab.evaluate(() => page.job.collection.done.length);
const save = () => tab.evaluate(async () => { page.job.collection.save(); });
const click = async () => { await tab.click('.perclip-button'); await noticed('filled'); };
const fromMenu = (parameters = {}, more = {}) => tab.evaluate(([given, extra]) => page.runFromMenu(given, extra), [parameters, more]);
const picture = (name) => PICTURES && tab.screenshot({ path: `${PICTURES}/${name}.jpg`, type: 'jpeg', quality: 85 });

/** The mean overlap of written masks with the truth, by the page's own frames. */
function overlapWithTruth(shapes) {
    return tab.evaluate((given) => {
        const pixels = (points) => {
            const [left, top, right] = points.slice(-4);
            const found = new Set();
            let position = 0;
            points.slice(0, -4).forEach((run, i) => {
                if (i % 2) for (let p = position; p < position + run; p++) found.add((top + Math.floor(p / (right - left + 1))) * 10000 + left + (p % (right - left + 1)));
                position += run;
            });
            return found;
        };
        const each = given.map(({ frame, label_id: label, points }) => {
            const [a, b] = [pixels(points), pixels(page.truth[frame][label])];
            const both = [...a].filter((p) => b.has(p)).length;
            return both / (a.size + b.size - both);
        });
        return each.reduce((a, b) => a + b) / each.length;
    }, shapes);
}

test('one click fills all frames with masks that are right, as one change that can be taken back and saved', async () => {
    await drawBoth();
    const drawn = JSON.stringify(await human());
    await click();
    const shapes = await written();
    assert.equal(shapes.length, 2 * LAST);
    for (const label of [1, 2]) {
        const own = shapes.filter((shape) => shape.label_id === label);
        assert.deepEqual(own.map(({ frame }) => frame).sort((a, b) => a - b), Array.from({ length: LAST }, (_, i) => i + 1));
        assert.equal(new Set(own.map(({ group }) => group)).size, 1);
    }
    assert.notEqual(shapes.find(({ label_id: id }) => id === 1).group, shapes.find(({ label_id: id }) => id === 2).group);
    assert.ok(await overlapWithTruth(shapes) > 0.9, `J ${await overlapWithTruth(shapes)}`);
    assert.equal(JSON.stringify(await human()), drawn);
    assert.equal(await steps(), 1);
    assert.equal(await tab.evaluate(() => page.job.collection.saved), undefined); // saving is the annotator's business
    await save();
    await tab.evaluate(() => page.job.actions.undo());
    assert.deepEqual(await written(), []);
    await tab.evaluate(() => page.job.actions.redo());
    assert.equal((await written()).length, 2 * LAST);
    await tab.evaluate(() => page.show(9));
    await picture('one-click');
    assert.deepEqual(said.filter((line) => /uncaught|Content Security/.test(line)), []);
});

test('what is shown is redrawn, and the whole job is sent in small images once', async () => {
    await draw(0, 1);
    await tab.evaluate(() => page.show(5));
    await tab.evaluate(() => page.show(0));
    await click();
    const made = await calls();
    const images = made.flatMap((call) => call.images);
    assert.ok(images.length < 24 + 8 * made.length, `${images.length} images in ${made.length} calls`);
    assert.ok(made.every((call) => call.characters / call.images.length < 60_000));
    await tab.evaluate(() => page.show(5));
    assert.equal(await tab.evaluate(() => page.state.annotation.annotations.states.length), 1);
});

test('a corrected frame counts, its neighbourhood is made anew, and other objects stay as they are', async () => {
    await drawBoth();
    await click();
    const first = await written();
    const wrong = first.find(({ frame, label_id: label }) => frame === 12 && label === 1);
    await tab.evaluate(([id]) => page.edit(id, page.truth[12]['1'].slice()), [wrong.clientID]);
    await tab.evaluate(async (id) => { await page.show(12); page.state.annotation.annotations.activatedStateID = id; }, wrong.clientID);
    await tab.evaluate(() => localStorage.setItem('perclip.parameters', JSON.stringify({ Direction: 'both' })));
    await tab.keyboard.press('Alt+KeyP');
    await noticed('22 frames filled');
    const people = await human();
    assert.deepEqual(people.map(({ frame, source }) => [frame, source]), [[0, 'manual'], [0, 'manual'], [12, 'semi-auto']]);
    const second = await written();
    const other = (shapes) => JSON.stringify(shapes.filter(({ label_id: label }) => label === 2));
    assert.equal(other(second), other(first));
    const own = second.filter(({ label_id: label }) => label === 1);
    assert.equal(own.length, LAST - 1);
    assert.ok(own.every(({ group }) => group === wrong.group));
    assert.ok(own.every((shape) => !first.some(({ clientID }) => clientID === shape.clientID)));
    await save();
});

test('from the menu: progress in frames and frames per second, and polygons', async () => {
    await drawBoth();
    await fromMenu({ Output: 'polygon', Direction: 'both', Speed: 'fast', 'Polygon tolerance': '1.5' });
    assert.equal(await tab.evaluate(() => page.toast), null);
    const progress = await tab.evaluate(() => page.progress);
    assert.ok(progress.some(([text]) => /Perclip: \d+ of 23 frames, [\d.]+ frames\/s/.test(text)), progress.join('; '));
    assert.ok(progress.every(([, percent]) => percent >= 0 && percent <= 100));
    const shapes = await written();
    assert.equal(shapes.length, 2 * LAST);
    assert.ok(shapes.every(({ type, points }) => type === 'polygon' && points.length >= 6));
    assert.equal((await calls())[0].clip_length, 25);
    await save();
    await tab.evaluate(() => page.show(14));
    await picture('polygons');
    // The next click has the same parameters.
    await tab.evaluate(() => page.show(0));
    await tab.evaluate(() => page.job.actions.undo());
    await click();
    assert.ok((await written()).every(({ type }) => type === 'polygon'));
});

test('a polygon track stays one track: its keyframes as they were, Perclip\'s between them, one change', async () => {
    const polygon = (frame) => tab.evaluate((at) => { const [l, t, r, b] = page.truth[at]['2'].slice(-4); return [l, t, r + 1, t, r + 1, b + 1, l, b + 1]; }, frame);
    const shapes = [];
    for (const frame of [0, 10]) {
        shapes.push({ type: 'polygon', frame, points: await polygon(frame), outside: false, occluded: frame > 0, z_order: 2, rotation: 0, attributes: [] });
    }
    await draw(0, 2, { type: 'polygon', shapes, points: undefined, group: 5 });
    const drawn = await collection();
    await tab.keyboard.press('Alt+KeyP');
    await noticed('filled');
    const { shapes: others, tracks: [made, ...more] } = await collection();
    assert.deepEqual([others, more, made.source, made.group, made.shapes.length], [[], [], 'manual', 5, LAST + 1]);
    assert.deepEqual(made.shapes.filter(({ frame }) => [0, 10].includes(frame)), drawn.tracks[0].shapes);
    await save();
    assert.equal(await steps(), 1);
    await tab.evaluate(() => page.show(5));
    await picture('track');
    await tab.evaluate(() => page.job.actions.undo());
    assert.deepEqual(await collection(), drawn);
    await tab.evaluate(() => page.job.actions.redo());
    // A correction, and a frame that is said to be empty: both are the person's from then on.
    const corrected = await polygon(15);
    await tab.evaluate(async ([id, points]) => {
        await page.editTrack(id, 15, { points });
        await page.editTrack(id, 20, { outside: true });
        await page.show(0);
    }, [made.clientID, corrected]);
    const before = (await collection()).tracks[0];
    await tab.evaluate(() => document.querySelector('.perclip-notice-close').click());
    await tab.keyboard.press('Alt+KeyP');
    await noticed('filled');
    const after = (await collection()).tracks;
    assert.equal(after.length, 1);
    const at = (track, frame) => track.shapes.find((shape) => shape.frame === frame);
    for (const frame of [0, 10, 15, 20]) assert.deepEqual(at(after[0], frame), at(before, frame), `frame ${frame}`);
    assert.ok(at(after[0], 14) && at(after[0], 14).points.join() !== at(before, 14).points.join()); // made anew from the correction
    assert.equal(await steps(), 2);
    await save();
});

test('cancelling stops at once and leaves nothing behind', async () => {
    await drawBoth();
    await fault([null, { delay: 20 }]);
    const menu = await tab.evaluate(async () => {
        const began = performance.now();
        let cancelledAt = Infinity;
        const { registered, job, core } = page;
        await core.actions.run(job, registered[0], {}, 0, [], (text) => { if (/\d+ of 23/.test(text)) cancelledAt = Math.min(cancelledAt, performance.now()); },
            () => performance.now() > cancelledAt + 100);
        return performance.now() - cancelledAt - 100 + 0 * began;
    });
    assert.ok(menu < 1000, `${menu} ms`);
    assert.deepEqual([await written(), await steps()], [[], 0]);
    await fault([{ delay: 20 }]);
    await tab.click('.perclip-button');
    await tab.click('.perclip-notice-button', { timeout: 5000 });
    await noticed('Cancelled. Nothing was changed.');
    assert.equal(await tab.evaluate(() => page.registered[0].isRunning), false);
    assert.deepEqual([await written(), await steps()], [[], 0]);
});

test('doubtful frames are counted, and keys go through them', async () => {
    await open('/?doubt=0.999');
    await drawBoth();
    await click();
    const text = await notice();
    assert.match(text, /\d+ doubtful frames? in \d+ places?: Alt\+\. and Alt\+,/);
    assert.ok(await tab.locator('.perclip-notice-button').count() > 0);
    const at = () => tab.evaluate(() => page.state.annotation.player.frame.number);
    const places = [];
    for (let i = 0; i < 3; i++) {
        await tab.keyboard.press('Alt+Period');
        await tab.waitForTimeout(150);
        places.push(await at());
    }
    assert.ok(places[0] > 0, places.join());
    await tab.keyboard.press('Alt+Comma');
    await tab.waitForTimeout(150);
    const places2 = Number(/in (\d+) place/.exec(text)[1]);
    assert.equal(await at(), places2 === 1 ? places[0] : places2 === 2 ? places[1] : places[1]);
    await picture('doubtful');
    assert.ok(await tab.locator('.perclip-notice').isVisible());
});

test('errors of the function come in plain words, and nothing is changed', async () => {
    await drawBoth();
    const cases = [
        [{ status: 404 }, /not deployed/], [{ status: 500 }, /too old/], [{ answer: { states: ['s', 's'], shapes: [null, null] } }, /too old/],
        [{ answer: { error: { code: 'bad_image', message: 'frame 3 is no image' } } }, /refuses: frame 3 is no image/],
    ];
    for (const [bad, words] of cases) {
        await fault([bad]);
        await fromMenu();
        assert.match(await tab.evaluate(() => page.toast), words);
        await fault([bad]);
        await tab.click('.perclip-button');
        await tab.waitForFunction(() => document.querySelector('.perclip-notice[role=alert]'));
        assert.match(await notice(), words);
    }
    assert.deepEqual([await written(), await steps()], [[], 0]);
    await picture('error');
});

test('learning is offered where the function says that it can, refused with the reason, and told used or not', async () => {
    await drawBoth();
    const LEARN = 'Learn from the keyframes first';
    const offered = () => tab.evaluate((name) => page.registered[0].parameters[name]?.values, LEARN);
    const knows = (seconds) => tab.evaluate((given) => localStorage.setItem('perclip.learning',
        JSON.stringify({ functionId: 'pth-perclip', seconds: given, at: Date.now() })), seconds);
    // The real function, on a processor, was asked when the job was opened.
    await tab.waitForFunction(() => localStorage.getItem('perclip.learning'));
    assert.equal(await tab.evaluate(() => JSON.parse(localStorage.getItem('perclip.learning')).seconds), 0);
    assert.equal(await offered(), undefined);
    await knows(5); // as if it had had a GPU a while ago
    const [, yes] = await offered();
    assert.equal(yes, 'yes, about 5 s');
    await fromMenu({ [LEARN]: yes });
    assert.match(await tab.evaluate(() => page.toast), /refuses: learn is for a function on a GPU/);
    assert.deepEqual([await offered(), await steps()], [undefined, 0]);
    await knows(5);
    const learning = { used: true, same_weights: true, words: 'learned from the keyframes in 40 steps: J&F 0.400 -> 0.700' };
    const [left, right] = await tab.evaluate(() => [1, 2].map((object) => page.truth[1][object]));
    const frames = Array.from({ length: LAST }, (_, i) => ({ frame: i + 1, absent: [],
        shapes: [left, right].map((points, object) => ({ object, type: 'mask', points, confidence: 0.9 })) }));
    await fault([{ answer: { version: 1, frames, learning, continue: null, warnings: [] } }]);
    await fromMenu({ [LEARN]: yes });
    await noticed('Learning is used: learned from the keyframes in 40 steps: J&F 0.400 -> 0.700.');
    assert.deepEqual((await calls()).map(({ learn }) => learn), [5]);
    await click(); // the button never learns
    assert.ok((await calls()).slice(1).every(({ learn }) => learn === null));
    assert.doesNotMatch(await notice(), /Learning/);
});

test('a busy function is waited for; after time-outs what was finished is kept and the rest can follow', async () => {
    await drawBoth();
    await fault([{ status: 503 }]);
    await click();
    assert.equal((await written()).length, 2 * LAST);
    await tab.evaluate(() => page.job.actions.undo());
    await fault([null, ...Array(8).fill({ status: 504 })]);
    await tab.click('.perclip-button');
    await noticed('timed out');
    const [, done] = /(\d+) of 23 frames done in [\d.]+ s \([\d.]+ frames\/s\); all filled\..*kept\. Press again/s.exec(await notice());
    const kept = (await written()).length;
    assert.equal(kept, 2 * done);
    await picture('failed');
    assert.ok(kept > 0 && kept < 2 * LAST, `${kept}`);
    await fault([]);
    await tab.evaluate(() => document.querySelector('.perclip-notice-close').click());
    await click();
    assert.equal((await written()).length, 2 * LAST);
    assert.match(await notice(), new RegExp(`23 of 23 frames done in two runs: ${done} before, ${23 - done} now in .*all filled`));
    assert.ok((await calls())[0].images.length <= 24 - kept / 2 + 6, 'it went on where it was');
    await save();
});

test('after an undo, what is written for one object does not pass for another\'s', async () => {
    const [first, second] = [await draw(0, 1), await draw(0, 2, { label_id: 1 })];
    const press = async (clientID) => {
        await tab.evaluate(async (id) => { await page.show(0); page.state.annotation.annotations.activatedStateID = id; }, clientID);
        await tab.evaluate(() => document.querySelector('.perclip-notice-close')?.click());
        await click();
    };
    await press(first);
    await tab.evaluate(() => page.job.actions.undo());
    await press(second);
    const kept = (await written()).map(({ clientID }) => clientID);
    await press(first);
    const shapes = await written();
    assert.equal(shapes.length, 2 * LAST);
    assert.ok(kept.every((id) => shapes.some(({ clientID }) => clientID === id)));
    assert.equal(new Set(shapes.map(({ group }) => group)).size, 2);
});

test('the target frame of the menu holds for the button, until it is reached', async () => {
    await draw(0, 1);
    await fromMenu({ Frames: 'to the target frame', 'Target frame': 6 });
    assert.deepEqual((await written()).map(({ frame }) => frame), [1, 2, 3, 4, 5, 6]);
    await tab.evaluate(() => page.show(2));
    await tab.evaluate(() => { [{ clientID: page.state.annotation.annotations.activatedStateID }] = page.state.annotation.annotations.states; });
    await click();
    assert.equal((await written()).length, 6);
    await tab.evaluate(() => page.show(6));
    await tab.click('.perclip-button');
    await noticed('last target frame');
    assert.equal(await tab.evaluate(() => JSON.parse(localStorage.getItem('perclip.parameters')).Frames), 'to the target frame');
});

test('what somebody draws while it runs wins', async () => {
    await drawBoth();
    await fault([null, { delay: 1.5 }]);
    await tab.click('.perclip-button');
    await noticed('frames/s');
    await draw(15, 1);
    await noticed('filled');
    const shapes = (await collection()).shapes.filter(({ frame, label_id: label }) => frame === 15 && label === 1);
    assert.deepEqual(shapes.map(({ source }) => source), ['manual']);
    assert.equal((await written()).length, 2 * LAST - 1);
});

test('frames may be changed while it runs: neither waits for the other in vain', async () => {
    await drawBoth();
    await tab.evaluate(() => { page.job.latency = 150; });
    await tab.click('.perclip-button');
    await tab.evaluate(async () => {
        for (const frame of [20, 3, 17, 8, 22]) {
            await page.show(frame);
            await new Promise((resolve) => { setTimeout(resolve, 200); });
        }
    });
    await noticed('filled');
    assert.equal((await written()).length, 2 * LAST);
    assert.deepEqual(await tab.evaluate(() => page.dropped), []); // the annotator saw them all
});

test('the annotator is not disturbed while drawing or editing: refused before, waited for after', async () => {
    await drawBoth();
    const begin = { edit: () => { page.isEditing = true; }, draw: () => page.take('draw_mask'), merge: () => page.take('merge') };
    const end = () => { page.isEditing = false; page.take('cursor'); };
    for (const [what, start] of Object.entries(begin)) {
        await tab.evaluate(start);
        await tab.click('.perclip-button');
        const words = what === 'merge' ? /Finish what you have begun first \(merge\)/ : /Finish what you are drawing first\./;
        assert.match(await notice(), words);
        await fromMenu();
        assert.match(await tab.evaluate(() => page.toast), words);
        await tab.evaluate(end);
        assert.equal((await calls()).length, 0);
    }
    await tab.evaluate(() => { page.lost = false; }); // the menu's own redrawing above
    for (const what of ['edit', 'draw']) {
        await fault([null, { delay: 1 }]);
        await tab.click('.perclip-button');
        await noticed('frames/s');
        await tab.evaluate(begin[what]);
        await noticed('it is shown when you have finished');
        await tab.waitForTimeout(300);
        assert.deepEqual(await written(), []);
        await tab.evaluate(end);
        await noticed('filled');
        assert.equal((await written()).length, 2 * LAST);
        assert.equal(await tab.evaluate(() => page.lost), false);
        await tab.evaluate(() => page.job.actions.undo());
    }
});

/** Boxes of the notice and of a panel of CVAT's: whether they overlap. */
const covers = (panel) => tab.evaluate((selector) => {
    const [a, b] = ['.perclip-notice', selector].map((name) => document.querySelector(name).getBoundingClientRect());
    return a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom;
}, panel);

test('the button looks like its neighbours, and is none of them', async () => {
    const looks = await tab.evaluate(() => ['.cvat-annotation-header-undo-button', '.perclip-button'].map((name) => {
        const button = document.querySelector(name);
        const style = (node) => { const { color, fontSize, width, height, margin, padding, display } = getComputedStyle(node); return { color, fontSize, width, height, margin, padding, display }; };
        const box = button.getBoundingClientRect();
        return { button: style(button), icon: style(button.children[0].querySelector('svg')), text: style(button.children[1]).fontSize, top: box.top, classes: button.className };
    }));
    const [{ classes: theirs, ...neighbour }, { classes: ours, ...button }] = looks;
    assert.deepEqual(button, neighbour);
    assert.ok(theirs.includes('undo') && !/undo|redo|menu|save|dropdown/.test(ours), ours);
    assert.equal(await tab.locator('.perclip-button').evaluate((node) => getComputedStyle(node).opacity), '1'); // Redo is dimmed
});

test('the notice keeps off CVAT\'s panels, can be moved, and folds itself when there is nothing to decide', async (testing) => {
    await tab.setViewportSize({ width: 900, height: 616 });
    await drawBoth();
    await ownTime(testing);
    await tab.evaluate(() => page.take('draw_mask'));
    await tab.click('.perclip-button');
    for (const panel of ['.cvat-objects-appearance-collapse', '.cvat-brush-tools-toolbox', '.cvat-annotation-header']) assert.ok(!await covers(panel), panel);
    await tab.evaluate(() => page.take('cursor'));
    await click();
    await tab.clock.pauseAt(await tab.evaluate(() => Date.now() + 500)); // however long the following takes
    assert.ok(!await covers('.cvat-objects-sidebar'));
    await picture('notice');
    const box = async () => tab.locator('.perclip-notice').boundingBox();
    const first = await box();
    await tab.mouse.move(first.x + 60, first.y + 12);
    await tab.mouse.down();
    await tab.mouse.move(first.x + 160, first.y - 88, { steps: 4 });
    await tab.mouse.up();
    const moved = await box();
    assert.deepEqual([moved.x - first.x, moved.y - first.y], [100, -100]);
    assert.ok(await tab.locator('.perclip-notice-text').isVisible());
    await tab.clock.runFor(9000);
    assert.ok(!await tab.locator('.perclip-notice-text').isVisible() && await tab.locator('.perclip-notice').isVisible());
    assert.match(await tab.locator('.perclip-notice-title').textContent(), /23 frames filled/);
    await picture('folded');
    await tab.click('.perclip-notice-fold');
    assert.ok(await tab.locator('.perclip-notice-text').isVisible());
    await tab.clock.runFor(30_000);
    assert.equal(await tab.locator('.perclip-notice').count(), 0);
});

test('what was filled is to be seen at CVAT\'s faint opacity while the notice is there; then all is as before', async () => {
    const opacity = () => tab.evaluate(() => page.state.settings.shapes.opacity);
    await draw(0, 1);
    await tab.evaluate(() => page.show(9));
    await picture('faint-before');
    await tab.evaluate(() => page.show(0));
    await click();
    assert.equal(await opacity(), 30);
    assert.match(await notice(), /at 3 % opacity/);
    await tab.evaluate(() => page.show(9));
    await picture('highlighted');
    await tab.click('.perclip-notice-close');
    assert.equal(await opacity(), 3);
    // What the annotator sets meanwhile stays.
    await tab.evaluate(() => page.job.actions.undo());
    await tab.evaluate(() => page.show(0));
    await click();
    await tab.evaluate(() => page.set(45));
    await tab.click('.perclip-notice-close');
    assert.equal(await opacity(), 45);
    await tab.evaluate(() => page.job.actions.undo());
    await click();
    assert.doesNotMatch(await notice(), /opacity/);
    // A page that was closed in between has kept the raised setting.
    await tab.evaluate(() => localStorage.setItem('perclip.highlight', JSON.stringify({ before: 3 })));
    await tab.goto(`${server.url}/?opacity=30`);
    await tab.waitForFunction(() => window.page?.isReady && page.state.settings.shapes.opacity === 3);
});

test('a function that does not run is told so, and nothing is changed', async (testing) => {
    await drawBoth();
    await ownTime(testing);
    await fault(Array(40).fill({ status: 503 }));
    await tab.click('.perclip-button');
    await noticed('is busy, or does not run');
    for (let second = 0; second < 15 && !(await notice()).includes('cannot be reached'); second++) {
        await tab.clock.runFor(1000);
        await new Promise((resolve) => { setTimeout(resolve, 50); });
    }
    await noticed('cannot be reached');
    assert.deepEqual([await written(), await steps()], [[], 0]);
});

test('a job that is left while it runs is left alone, and the button comes back with the next one', async () => {
    await drawBoth();
    await fault([null, { delay: 1 }]);
    await tab.click('.perclip-button');
    await noticed('frames/s');
    const [job] = [await tab.evaluateHandle(() => page.job)];
    await tab.evaluate(() => page.leaveJob());
    await tab.waitForFunction(() => !page.registered[0].isRunning && !document.querySelector('.perclip-notice'), null, { timeout: 5000 });
    assert.equal(await job.evaluate(({ collection: own }) => own.done.length), 0);
    assert.equal(await tab.locator('.perclip-button').count(), 0);
    await tab.evaluate(() => page.enterJob());
    await tab.waitForSelector('.perclip-button');
    await drawBoth();
    await click();
    assert.equal((await written()).length, 2 * LAST);
});

test('with nothing drawn, or something that cannot be propagated, a notice says what to do', async () => {
    await tab.click('.perclip-button');
    assert.match(await notice(), /Draw a mask or a polygon/);
    const id = await draw(0, 1, { type: 'rectangle', points: [5, 5, 20, 20] });
    await tab.evaluate((clientID) => { page.state.annotation.annotations.activatedStateID = clientID; }, id);
    await tab.click('.perclip-button');
    assert.match(await notice(), /masks and polygons/);
    await drawBoth();
    await tab.evaluate(() => { for (let frame = 1; frame < page.job.length; frame++) page.job.deletedFrames.add(frame); });
    await tab.click('.perclip-button');
    await noticed('no frames to fill');
    assert.equal((await calls()).length, 0);
});

test('deleted frames get nothing', async () => {
    await drawBoth();
    await tab.evaluate(() => { page.job.deletedFrames.add(4).add(5); });
    await click();
    assert.deepEqual((await written()).filter(({ frame }) => frame === 4 || frame === 5), []);
    assert.equal((await written()).length, 2 * (LAST - 2));
});

test('all modules come from the address that names the version, once each', async () => {
    const modules = readdirSync(new URL('../../plugin/ui/perclip/', import.meta.url));
    assert.deepEqual(asked.sort(), modules.map((name) => `/perclip/0123abcd/${name}`).sort());
});

test('the script registers once, early or late, and only warns in a CVAT that is too old', async () => {
    for (const address of ['/', '/?late=1', '/?twice=1', '/?late=1&twice=1']) {
        await open(address);
        await tab.waitForSelector('.perclip-button');
        assert.equal(await tab.evaluate(() => page.registered.length), 1, address);
        assert.equal(await tab.locator('.perclip-button').count(), 1, address);
        assert.equal(said.filter((line) => line.startsWith('Perclip')).length, 1, said.join('\n'));
    }
    await open('/?old=1');
    assert.match(said.join('\n'), /too old/);
    assert.equal(await tab.locator('.perclip-button').count(), 0);
    assert.ok(!said.some((line) => line.startsWith('uncaught')), said.join('\n'));
});
