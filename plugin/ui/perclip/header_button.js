// @ts-check
/** The button in CVAT's header. */

import { element } from './element.js';

const OWN_NAME = /^cvat-annotation-header-.+-button$|^cvat-annotation-disabled|^ant-dropdown|^ant-tooltip|-(loading|disabled)$/;

/**
 * A button that looks like its neighbours. Names of antd's classes differ from build to build: they are copied.
 * @param {Element} header
 */
export function headerButton(header) {
    const neighbours = [...header.querySelectorAll('.cvat-annotation-header-button')];
    const like = neighbours.reverse().find((other) => other.querySelector('svg')) ?? neighbours[0];
    const classes = [...(like?.classList ?? ['ant-btn', 'ant-btn-link'])].filter((name) => !OWN_NAME.test(name));
    const button = element('button', [...new Set([...classes, 'cvat-annotation-header-button', 'perclip-button'])].join(' '), '');
    button.setAttribute('type', 'button');
    const icon = element('span', like?.querySelector('[role=img]')?.className || 'anticon', '');
    icon.setAttribute('role', 'img');
    const drawing = like?.querySelector('svg');
    const size = (/** @type {string} */ name) => drawing?.getAttribute(name) || '1em';
    icon.innerHTML = `<svg width="${size('width')}" height="${size('height')}" viewBox="0 0 40 40" fill="none" stroke="currentColor" `
        + 'stroke-width="3" stroke-linecap="round" stroke-linejoin="round" aria-hidden="true"><rect x="4" y="13" width="14" height="14" '
        + 'rx="3" fill="currentColor"/><path d="M23 20h13m-6-6 6 6-6 6"/></svg>';
    button.append(icon, element('span', '', '', 'Perclip'));
    return button;
}
