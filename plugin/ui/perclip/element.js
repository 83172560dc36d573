// @ts-check
/** An element of the page with its looks. */

/**
 * @param {string} tag
 * @param {string} name of its class
 * @param {string} style
 * @param {string} [text]
 */
export function element(tag, name, style, text) {
    const made = document.createElement(tag);
    made.className = name;
    made.style.cssText = style;
    if (text !== undefined) made.textContent = text;
    return made;
}
