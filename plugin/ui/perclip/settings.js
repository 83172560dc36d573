// @ts-check
/**
 * Settings of the page action, the action's parameters, and shortcuts: their defaults, where they are kept, what they mean.
 */

/**
 * @typedef {{ range: string, target: number, direction: string, output: string, tolerance: number, clipLength: number,
 *     learn?: number }} Options `learn`: seconds to learn from the keyframes for; 0 or none: not at all
 */

export const ACTION_NAME = 'Perclip: propagate';
export const RANGES = ['to the end', 'to the next keyframe', 'to the target frame'];
export const DIRECTIONS = ['forward', 'backward', 'both'];
export const OUTPUTS = ['as drawn', 'mask', 'polygon'];
export const CLIP_LENGTHS = { accurate: 5, balanced: 10, fast: 25 };
export const LEARN = 'Learn from the keyframes first'; // of one run from the menu: not among what is kept
export const LEARN_NOT = 'no';

export const DEFAULT_SETTINGS = {
    functionId: 'pth-perclip', // in Nuclio
    shortSide: 480, // pixels of the images that are sent, as the function's PERCLIP_SHORT_SIDE
    doubt: 0.5, // frames with less confidence are doubtful
    propagateKey: 'Alt+P',
    nextKey: 'Alt+.',
    previousKey: 'Alt+,',
};

/** @typedef {typeof DEFAULT_SETTINGS} Settings */

export const DEFAULT_PARAMETERS = {
    Frames: RANGES[0],
    'Target frame': '0',
    Direction: DIRECTIONS[0],
    Output: OUTPUTS[0],
    'Polygon tolerance': '2',
    Speed: 'accurate',
};

/**
 * A JSON object from the browser's storage; {} where there is none.
 * @param {string} name
 * @returns {Record<string, any>}
 */
export function stored(name) {
    try {
        const value = JSON.parse(window.localStorage.getItem(name) ?? '{}');
        return value && typeof value === 'object' ? value : {};
    } catch {
        return {};
    }
}

/**
 * Puts a JSON object into the browser's storage, where there is one.
 * @param {string} name
 * @param {object} value
 */
export function keep(name, value) {
    try {
        window.localStorage.setItem(name, JSON.stringify(value));
    } catch {
        // Some browsers forbid it: the next run begins with the defaults.
    }
}

/**
 * Settings: defaults, then the script tag's `data-...` attributes, then the browser's `perclip.settings`.
 * @param {Record<string, string | undefined>} attributes
 * @param {Record<string, any>} own
 * @returns {Settings}
 */
export function mergedSettings(attributes, own) {
    /** @type {Record<string, any>} */
    const merged = { ...DEFAULT_SETTINGS };
    for (const source of [attributes, own]) {
        for (const [name, standard] of Object.entries(DEFAULT_SETTINGS)) {
            const value = source[name];
            if (typeof standard === 'string' && typeof value === 'string' && value) merged[name] = value;
            if (typeof standard === 'number' && Number(value) > 0) merged[name] = Number(value);
        }
    }
    return /** @type {Settings} */ (merged);
}

/**
 * The last parameters of the action, all as texts; unknown values become the defaults.
 * @param {Record<string, any>} last
 * @returns {typeof DEFAULT_PARAMETERS}
 */
export function knownParameters(last) {
    const parameters = { ...DEFAULT_PARAMETERS };
    if (RANGES.includes(last.Frames)) parameters.Frames = last.Frames;
    if (DIRECTIONS.includes(last.Direction)) parameters.Direction = last.Direction;
    if (OUTPUTS.includes(last.Output)) parameters.Output = last.Output;
    if (Object.hasOwn(CLIP_LENGTHS, last.Speed)) parameters.Speed = last.Speed;
    for (const name of /** @type {const} */ (['Target frame', 'Polygon tolerance'])) {
        if (Number.isFinite(Number.parseFloat(last[name]))) parameters[name] = String(last[name]);
    }
    return parameters;
}

/**
 * @param {Record<string, any>} parameters
 * @returns {Options}
 */
export function optionsOf(parameters) {
    const known = knownParameters(parameters);
    return {
        range: known.Frames,
        target: Math.round(Number(known['Target frame'])),
        direction: known.Direction,
        output: known.Output,
        tolerance: Math.min(100, Math.max(0, Number(known['Polygon tolerance']))),
        clipLength: CLIP_LENGTHS[/** @type {keyof typeof CLIP_LENGTHS} */ (known.Speed)],
    };
}

/**
 * Whether a key press is a shortcut such as "Alt+P"; by the key's place, as Alt changes letters on some systems.
 * @param {{ code: string, altKey: boolean, ctrlKey: boolean, shiftKey: boolean, metaKey: boolean }} event
 * @param {string} shortcut
 */
export function isShortcut(event, shortcut) {
    const parts = shortcut.split('+').map((part) => part.trim());
    const key = parts.pop() || '';
    const has = (/** @type {string} */ name) => parts.some((part) => part.toLowerCase() === name);
    /** @type {Record<string, string>} */
    const signs = { '.': 'Period', ',': 'Comma', '/': 'Slash', ';': 'Semicolon', '[': 'BracketLeft', ']': 'BracketRight' };
    const code = signs[key] ?? (/^[a-z]$/i.test(key) ? `Key${key.toUpperCase()}` : /^\d$/.test(key) ? `Digit${key}` : key);
    return event.code === code && event.altKey === has('alt') && event.ctrlKey === has('ctrl')
        && event.shiftKey === has('shift') && event.metaKey === has('meta');
}
