// @ts-nocheck
/**
 * A page that offers `window.cvatUI` as CVAT 2.42 to 2.73 do, traps included (CVAT_CONTRACT 4 and 8), over a job of a few
 * frames. As in 2.73, the canvas lets the frame change while a new shape is drawn: `activeControl` tells of that.
 *
 * The address says what is odd: `late=1` the script comes after `plugins.ready`, `twice=1` it is loaded twice, `old=1` CVAT
 * has no collection actions. `window.page` is what the tests hold on to.
 */
(() => {
'use strict';

const query = new URLSearchParams(window.location.search);
const labels = [
    { id: 1, name: 'blob', type: 'any', attributes: [{ id: 11, mutable: false }, { id: 12, mutable: true }] },
    { id: 2, name: 'rock', type: 'any', attributes: [] },
];
const COLORS = { 1: '#ffe100', 2: '#ff33e0' }; // unlike those of the sample's objects
let nextClientID = 0;
let nextServerID = 1000;

class ArgumentError extends Error {}
class ServerError extends Error {
    constructor(message, code) {
        super(message);
        this.code = code;
    }
}

/** One annotation of the page; keeps the very list of points that it was given, as CVAT does. */
class Annotation {
    constructor(kind, data, job) {
        const label = labels.find(({ id }) => id === data.label_id);
        if (!label) throw new ArgumentError(`Unknown label ${data.label_id}`);
        data.attributes.forEach(() => {}); // throws where it is missing
        if (kind === 'track') {
            for (const shape of data.shapes) {
                if (shape.type === 'mask') throw new ArgumentError('a mask in a track');
                if (shape.points.length < 6) throw new ArgumentError('too few points');
            }
        } else if (data.type === 'mask') {
            if (!(data.frame in job.sizes)) throw new TypeError('Cannot read properties of undefined');
            this.points = data.points;
            this.box = this.points.splice(-4, 4); // this is how a shared list is corrupted
        } else {
            if (data.type === 'polygon' && data.points.length < 6) throw new ArgumentError('too few points');
            this.points = data.points;
        }
        this.kind = kind;
        this.data = data;
        this.group = data.group; // NaN arithmetic comes later where it is missing
        this.source = data.source;
        this.serverID = data.id;
        this.clientID = ++nextClientID;
        this.removed = false;
    }

    toJSON() {
        const json = { ...this.data, clientID: this.clientID, group: this.group, source: this.source, elements: [],
            attributes: this.data.attributes.map((attribute) => ({ ...attribute })) };
        if (this.kind === 'track') json.shapes = this.data.shapes.map((shape) => ({ ...shape, points: shape.points.slice() }));
        else json.points = [...this.points, ...(this.box ?? [])];
        delete json.score; // 2.42 does not know it
        if (this.serverID !== undefined) json.id = this.serverID;
        return json;
    }

    /** A person changes a track on a frame: that makes a keyframe there, and "auto" becomes "semi-auto", as in CVAT's page. */
    change(frame, more) {
        const at = this.data.shapes.findIndex((shape) => shape.frame === frame);
        if (at >= 0) this.data.shapes[at] = { ...this.data.shapes[at], ...more };
        else {
            const last = this.data.shapes.filter((shape) => shape.frame <= frame).pop();
            this.data.shapes.push({ ...last, attributes: [], ...more, frame });
            this.data.shapes.sort((a, b) => a.frame - b.frame);
        }
        if (this.source === 'auto') this.source = 'semi-auto';
    }

    /** What is seen of it on a frame: polygon tracks without interpolation, the last keyframe holds. */
    at(frame) {
        if (this.kind === 'shape') return this.data.frame === frame ? this.toJSON() : null;
        const last = this.data.shapes.filter((shape) => shape.frame <= frame).pop();
        return last && !last.outside ? { ...this.toJSON(), ...last, attributes: [] } : null;
    }
}

class Collection {
    constructor(job) {
        this.job = job;
        this.objects = [];
        this.undone = [];
        this.done = [];
    }

    alive() {
        return this.objects.filter((object) => !object.removed);
    }

    import({ shapes, tracks, tags }) {
        tags.forEach(() => {});
        const made = [];
        for (const shape of shapes) {
            made.push(new Annotation('shape', shape, this.job));
            this.objects.push(made.at(-1)); // one by one: what came before a bad one stays
        }
        for (const track of tracks) {
            made.push(new Annotation('track', track, this.job));
            this.objects.push(made.at(-1));
        }
        return made;
    }

    export() {
        const of = (kind) => this.alive().filter((object) => object.kind === kind).map((object) => object.toJSON());
        return { shapes: of('shape').sort((a, b) => a.frame - b.frame), tracks: of('track'), tags: [] }; // frame by frame
    }

    commit(created, deleted) {
        const gone = [...deleted.shapes, ...deleted.tracks, ...deleted.tags].map(({ clientID }) => (
            this.objects.find((object) => object.clientID === clientID)));
        if (gone.some((object) => !object)) throw new ArgumentError('Objects required to be deleted were not found');
        const made = this.import(created);
        if (!made.length && !gone.length) return;
        const before = gone.map((object) => object.removed);
        this.do(
            () => { gone.forEach((object) => { object.removed = true; }); made.forEach((object) => { object.removed = false; }); },
            () => { gone.forEach((object, i) => { object.removed = before[i]; }); made.forEach((object) => { object.removed = true; }); },
        );
    }

    do(redo, undo) {
        redo();
        this.done.push({ redo, undo });
        this.undone = [];
    }

    /** What the server and the page's next start would make of it. */
    save() {
        for (const object of this.alive()) {
            const json = object.toJSON();
            if (!Number.isInteger(json.frame)) throw new ServerError(`frame ${json.frame} cannot be opened any more`, 400);
            if (Number.isNaN(json.group + 1)) throw new ServerError('group is not a number', 400);
            const known = labels.find(({ id }) => id === json.label_id).attributes.map(({ id }) => id);
            const attributes = [...json.attributes, ...(json.shapes ?? []).flatMap((shape) => shape.attributes)];
            if (attributes.some(({ spec_id: id }) => !known.includes(id))) throw new ServerError('unknown spec_id', 400);
            if (object.kind === 'track') {
                const frames = json.shapes.map(({ frame }) => frame);
                if (frames.some((frame, i) => frame < 0 || frame >= this.job.length || (i && frame <= frames[i - 1]))) {
                    throw new ServerError(`keyframes ${frames}`, 400);
                }
                continue;
            }
            const { points } = json;
            if (!points.length || !points.every(Number.isFinite)) throw new ServerError('bad points', 400);
            if (json.type === 'mask') {
                const [left, top, right, bottom] = points.slice(-4);
                const { width, height } = this.job.sizes[json.frame];
                const sum = points.slice(0, -4).reduce((total, run) => total + run, 0);
                if (left < 0 || top < 0 || right >= width || bottom >= height) throw new ServerError('box outside', 400);
                if (sum !== (right - left + 1) * (bottom - top + 1)) throw new ServerError('bad run lengths', 400);
            }
        }
        for (const object of this.alive()) object.serverID ??= ++nextServerID;
        this.saved = this.export();
    }
}

class ObjectState {
    constructor(object, frame) {
        const seen = object.at(frame);
        Object.assign(this, { objectType: object.kind, shapeType: seen.type, clientID: object.clientID, points: seen.points,
            group: { id: object.group }, source: object.source, frame, outside: false, label: { id: object.data.label_id },
            export: async () => object.toJSON() });
    }
}

class Job {
    constructor({ frames, width, height }) {
        Object.assign(this, { id: 7, taskId: 3, startFrame: 0, stopFrame: frames - 1, length: frames, dimension: '2d', labels });
        this.sizes = Object.fromEntries(Array.from({ length: frames }, (_, frame) => [frame, { width, height }]));
        this.deletedFrames = new Set();
        this.latency = 0;
        this.latest = 0;
        this.collection = new Collection(this);
        const collection = this.collection;
        this.annotations = {
            get: async (frame) => collection.alive().filter((object) => object.at(frame)).map((object) => new ObjectState(object, frame)),
            export: async () => collection.export(),
            commit: async (created, deleted) => collection.commit(created, deleted),
            save: async () => collection.save(),
        };
        this.actions = {
            undo: async () => { const step = collection.done.pop(); step?.undo(); if (step) collection.undone.push(step); },
            redo: async () => { const step = collection.undone.pop(); step?.redo(); if (step) collection.done.push(step); },
        };
        this.frames = {
            frameNumbers: async () => Object.keys(this.sizes).map(Number),
            get: async (frame) => {
                if (!(frame in this.sizes)) throw new ArgumentError(`Frame ${frame} doesn't belong to the job`);
                return { ...this.sizes[frame], number: frame, deleted: this.deletedFrames.has(frame), data: () => this.data(frame) };
            },
        };
        this.decoded = new Map();
    }

    /** A newer request for a frame drops an older one, which fails with the frame's number, as in CVAT. */
    async data(frame) {
        const request = ++this.latest;
        const { width, height } = this.sizes[frame];
        if (!this.decoded.has(frame)) {
            const answer = await fetch(`/frames/${frame}.png`);
            const bitmap = await createImageBitmap(await answer.blob());
            await new Promise((resolve) => { setTimeout(resolve, this.latency); });
            if (request !== this.latest) throw frame;
            this.decoded.set(frame, bitmap);
        }
        return { renderWidth: width, renderHeight: height, imageData: this.decoded.get(frame) };
    }
}

// ---------------------------------------------------------------------------------------------------- cvat-core

class BaseCollectionAction {}

const registered = [];
const prepared = (action, given) => Object.fromEntries(Object.entries(action.parameters).map(([name, { type, defaultValue }]) => {
    const value = Object.hasOwn(given, name) ? given[name] : defaultValue;
    return [name, type === 'number' ? +value : value];
}));

/** As in CVAT: every 100 ms at most, and the last one later. */
function throttled(onProgress) {
    let [last, timer] = [-Infinity, 0];
    return (...given) => {
        clearTimeout(timer);
        const wait = last + 100 - performance.now();
        const tell = () => { last = performance.now(); onProgress(...given); };
        if (wait <= 0) tell();
        else timer = setTimeout(tell, wait);
    };
}

const core = {
    classes: { BaseCollectionAction },
    actions: {
        register: async (action) => {
            if (!(action instanceof BaseCollectionAction)) throw new ArgumentError('must inherit one of base classes');
            if (registered.some(({ name }) => name === action.name)) throw new ArgumentError(`"${action.name}" is already exists`);
            registered.push(action);
        },
        list: async () => [...registered],
        run: async (job, action, given, frame, filters, tell, cancelled) => {
            const onProgress = throttled(tell);
            try {
                await action.init(job, prepared(action, given));
                const { width, height, number } = await job.frames.get(frame);
                const collection = action.applyFilter({ collection: job.collection.export(), frameData: { width, height, number } });
                const result = await action.run({ collection, frameData: { width, height, number }, onProgress, cancelled });
                await job.annotations.commit(result.created, result.deleted, frame);
            } finally {
                onProgress('Finalizing', 100);
                await action.destroy();
            }
        },
        call: async (job, action, given, frame, states, tell, cancelled) => {
            const onProgress = throttled(tell);
            try {
                await action.init(job, prepared(action, given));
                const exported = await Promise.all(states.map((state) => state.export()));
                const of = (kind) => exported.filter((_, i) => states[i].objectType === kind);
                const { width, height, number } = await job.frames.get(frame);
                const collection = action.applyFilter({ collection: { shapes: of('shape'), tracks: of('track'), tags: [] },
                    frameData: { width, height, number } });
                const result = await action.run({ collection, frameData: { width, height, number }, onProgress, cancelled });
                await job.annotations.commit(result.created, result.deleted, frame);
            } finally {
                await action.destroy();
            }
        },
    },
    lambda: {
        call: async (taskId, model, args) => {
            let answer;
            try {
                answer = await fetch(`/api/lambda/functions/${model.id}`, { method: 'POST', body: JSON.stringify({ ...args, task: taskId }) });
            } catch (error) {
                throw new ServerError(String(error), 0);
            }
            if (state.annotation.job.instance?.taskId !== taskId) throw new Error('the job was left');
            if (!answer.ok) throw new ServerError(`Request failed with status code ${answer.status}`, answer.status);
            return answer.json();
        },
    },
};

// ---------------------------------------------------------------------------------------------------------- store

const state = { annotation: { job: { instance: null }, player: { frame: { number: 0, fetching: false } },
    annotations: { states: [], activatedStateID: null }, canvas: { ready: true, activeControl: 'cursor',
        instance: { isAbleToChangeFrame: () => !window.page.isEditing } } }, // true while a new shape is drawn
    settings: { shapes: { opacity: Number(query.get('opacity') ?? 3), selectedOpacity: 30 } } };
const listeners = new Set();
const store = { getState: () => state, subscribe: (listener) => { listeners.add(listener); return () => listeners.delete(listener); } };
const changed = () => listeners.forEach((listener) => listener());
const dispatch = (action) => {
    if (typeof action === 'function') return action();
    if (action.type === 'CHANGE_SHAPES_OPACITY') {
        state.settings = { ...state.settings, shapes: { ...state.settings.shapes, opacity: action.payload.opacity } };
        if (state.annotation.job.instance && shown) draw(shown);
        changed();
    }
    return action;
};
const actionCreators = {
    changeFrameAsync: (number, _fill, _step, force = false) => async () => {
        const { player, annotations, job, canvas } = state.annotation;
        if (!job.instance || (!force && number === player.frame.number)) return;
        if (window.page.isEditing) return; // silently, as CVAT
        player.frame.fetching = true;
        changed();
        const frame = await job.instance.frames.get(number);
        annotations.states = await job.instance.annotations.get(number);
        annotations.activatedStateID = null;
        window.page.lost ||= /^draw_/.test(canvas.activeControl); // what was being drawn is gone
        player.frame.number = number;
        // The canvas asks for the image when all is settled; where its request is dropped, it stays as it is.
        canvas.ready = false;
        player.frame.fetching = false;
        changed();
        try {
            draw((await frame.data()).imageData);
            canvas.ready = true;
        } catch (dropped) {
            window.page.dropped.push(dropped);
        }
        changed();
    },
};

// --------------------------------------------------------------------------------------------------------- screen

const HASH = 'css-a1b2c3'; // of antd: another one in every build
const ICON = '<svg width="40" height="40" viewBox="0 0 40 40"><path d="M9 12h22v3H9zm0 7h22v3H9zm0 7h22v3H9z" fill="currentColor"/></svg>';
let shown = null;

function render(isInJob) {
    const root = document.getElementById('root');
    shown = null;
    const button = (name) => `<button type="button" style="${name === 'Redo' ? 'opacity:0.5;pointer-events:none' : ''}" class="ant-btn ${HASH} ant-btn-link `
        + `ant-btn-color-link ant-btn-variant-link ${name === 'Menu' ? 'ant-dropdown-trigger ' : ''}cvat-annotation-header-${name.toLowerCase()}-button `
        + `cvat-annotation-header-button"><span role="img" class="anticon">${ICON}</span><span>${name}</span></button>`;
    root.innerHTML = !isInJob ? '<h1>Jobs</h1>' : `
        <div class="cvat-annotation-header"><div class="cvat-annotation-header-left-group">
            ${['Menu', 'Save', 'Undo', 'Redo'].map(button).join('')}
        </div><div class="player"></div></div>
        <div class="main"><div class="left cvat-canvas-controls-sidebar"></div><div class="canvas cvat-canvas-container"><canvas></canvas></div>
        <div class="right cvat-objects-sidebar"><div class="objects"></div><div class="cvat-objects-appearance-collapse"><b>Appearance</b><br>
        Opacity <span class="opacity"></span> %<br>Selected opacity 30 %<br>Color by Label</div></div></div>`;
}

/** CVAT's bar of brushes, which comes when a mask is drawn. */
function renderBrushes() {
    document.querySelector('.cvat-brush-tools-toolbox')?.remove();
    if (state.annotation.canvas.activeControl !== 'draw_mask') return;
    const bar = document.createElement('div');
    bar.className = 'cvat-brush-tools-toolbox';
    bar.textContent = '✓ brush eraser polygon';
    document.body.append(bar);
}

function draw(bitmap) {
    shown = bitmap;
    const canvas = document.querySelector('.canvas canvas');
    if (!canvas) return;
    [canvas.width, canvas.height] = [bitmap.width * 3, bitmap.height * 3];
    const context = canvas.getContext('2d');
    context.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
    context.scale(3, 3);
    const { states } = state.annotation.annotations;
    for (const { shapeType, points, label } of states) {
        context.fillStyle = context.strokeStyle = COLORS[label.id];
        context.globalAlpha = state.settings.shapes.opacity / 100;
        if (shapeType === 'mask') {
            const [left, top, right] = points.slice(-4);
            const width = right - left + 1;
            let position = 0;
            points.slice(0, -4).forEach((run, i) => {
                for (let p = position; i % 2 && p < position + run; p++) context.fillRect(left + (p % width), top + Math.floor(p / width), 1, 1);
                position += run;
            });
        } else {
            context.beginPath();
            for (let i = 0; i < points.length; i += 2) context.lineTo(points[i], points[i + 1]);
            context.closePath();
            context.fill();
            context.globalAlpha = 1;
            context.stroke();
        }
        context.globalAlpha = 1;
    }
    document.querySelector('.player').textContent = `Frame ${state.annotation.player.frame.number} of ${state.annotation.job.instance.stopFrame}`;
    document.querySelector('.opacity').textContent = state.settings.shapes.opacity;
    document.querySelector('.objects').innerHTML = states.map(({ clientID, label, shapeType, source, objectType }) => (
        `<div class="item" style="border-color:${COLORS[label.id]}">${clientID} <b>${labels.find(({ id }) => id === label.id).name}</b>
        ${shapeType} ${objectType}<br>source: ${source}</div>`)).join('');
}

window.page = {
    core, state, registered, isEditing: false, dropped: [], lost: false,
    /** Takes a tool, as the annotator does in the bar of controls. */
    take(control) {
        state.annotation.canvas.activeControl = control;
        renderBrushes();
        changed();
    },
    get job() { return state.annotation.job.instance; },
    async enterJob() {
        const facts = await (await fetch('/job.json')).json();
        this.truth = facts.truth;
        state.annotation.job.instance = new Job(facts);
        render(true);
        changed();
        await this.show(0);
    },
    leaveJob() {
        state.annotation.job.instance = null;
        render(false);
        changed();
    },
    show: (frame) => dispatch(actionCreators.changeFrameAsync(frame, undefined, undefined, true)),
    async draw(frame, shape) {
        const annotation = { type: 'mask', frame, label_id: 1, group: 0, source: 'manual', attributes: [], occluded: false, outside: false,
            z_order: 0, rotation: 0, elements: [], ...shape };
        const before = nextClientID;
        const { collection } = this.job;
        await this.job.annotations.commit({ shapes: annotation.shapes ? [] : [annotation], tracks: annotation.shapes ? [annotation] : [],
            tags: [] }, { shapes: [], tracks: [], tags: [] });
        collection.done.pop(); // the tests count the action's steps alone
        await this.show(state.annotation.player.frame.number);
        return before + 1;
    },
    /** A person changes the points of a shape: its source says so, as in CVAT's page. */
    async edit(clientID, points) {
        const object = this.job.collection.objects.find((other) => other.clientID === clientID);
        [object.points, object.box] = [points.slice(0, -4), points.slice(-4)];
        object.source = object.source === 'auto' ? 'semi-auto' : object.source;
        await this.show(state.annotation.player.frame.number);
    },
    /** The annotator moves CVAT's slider of opacity. */
    set: (opacity) => dispatch({ type: 'CHANGE_SHAPES_OPACITY', payload: { opacity } }),
    /** A person changes a track on a frame. */
    async editTrack(clientID, frame, more) {
        this.job.collection.objects.find((other) => other.clientID === clientID).change(frame, more);
        await this.show(state.annotation.player.frame.number);
    },
    async runFromMenu(parameters, { cancelAfter = Infinity } = {}) {
        this.progress = [];
        this.toast = null;
        const cancelled = () => this.progress.length >= cancelAfter;
        try {
            await core.actions.run(this.job, registered[0], parameters, state.annotation.player.frame.number, [],
                (text, percent) => this.progress.push([text, percent]), cancelled);
        } catch (error) {
            // CVAT shows errors alone: a thrown text shows nothing
            this.toast = error instanceof Error ? error.message : '';
        }
        await this.show(state.annotation.player.frame.number);
    },
};

const addScript = () => {
    const script = document.createElement('script');
    script.type = 'module';
    script.src = '/perclip/0123abcd/entry.js';
    script.dataset.shortSide = '180';
    if (query.has('doubt')) script.dataset.doubt = query.get('doubt');
    document.head.append(script);
    return new Promise((resolve) => { script.onload = resolve; });
};

window.addEventListener('DOMContentLoaded', async () => {
    render(false);
    if (!query.has('late')) await addScript();
    if (query.has('twice')) await addScript();
    if (query.has('old')) { delete core.actions; delete core.classes; }
    window.page.components = [];
    Object.defineProperty(window, 'cvatUI', { value: Object.freeze({
        registerComponent: (build) => {
            const component = build({ core, dispatch, actionCreators, store });
            window.page.components.push(component);
            if (component.globalStateDidUpdate) listeners.add(() => component.globalStateDidUpdate(state));
        },
    }) });
    document.dispatchEvent(new CustomEvent('plugins.ready'));
    if (query.has('late')) await addScript();
    await window.page.enterJob();
    window.page.isReady = true;
});
})();
