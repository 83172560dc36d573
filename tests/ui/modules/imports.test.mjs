// How the modules hang together: no build step checks it, and a circle would only show in a browser.
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import test from 'node:test';

const FOLDER = new URL('../../../plugin/ui/perclip/', import.meta.url);
const sources = new Map(readdirSync(FOLDER).map((name) => [name, readFileSync(new URL(name, FOLDER), 'utf8')]));
/** What a module names as its source, types in comments included. */
const namedBy = (name) => [...sources.get(name).matchAll(/\bfrom\s+'([^']*)'|\bimport\s*\(?\s*'([^']*)'/g)].map(([, from, plain]) => from ?? plain);
const importsOf = (name) => namedBy(name).map((address) => address.replace('./', ''));

test('all modules are imported by relative address, so that they have the version that the entry has', () => {
    for (const name of sources.keys()) {
        for (const address of namedBy(name)) assert.ok(/^\.\/\w+\.js$/.test(address) && sources.has(address.slice(2)), `${name}: ${address}`);
        assert.doesNotMatch(sources.get(name), /\bimport\(|new Worker|importScripts/, name);
    }
});

test('there are no circles among the modules, types included', () => {
    const done = new Set();
    const visit = (name, path) => {
        assert.ok(!path.includes(name), [...path, name].join(' > '));
        if (done.has(name)) return;
        for (const other of importsOf(name)) visit(other, [...path, name]);
        done.add(name);
    };
    for (const name of sources.keys()) visit(name, []);
});

test('the entry needs all modules', () => {
    const needed = new Set(['entry.js']);
    for (const name of needed) for (const other of importsOf(name)) needed.add(other);
    assert.deepEqual([...needed].sort(), [...sources.keys()].sort());
});

test('each module says its one business, is checked, and is short', () => {
    for (const [name, source] of sources) {
        assert.match(source, /^\/\/ @ts-check\n\/\*\*(?: |\n \* )[A-Z]/, name);
        assert.ok(source.split('\n').length <= 300, name);
    }
});
