// @ts-check
/**
 * The entry of Perclip into CVAT's page: carries what an annotator has drawn through the frames of a job, in one click.
 *
 * One script tag of type "module" loads this file, and it loads the others beside it. Its `data-` attributes are settings.
 * Only `page_part` and what it alone needs (`notice`, `highlight`, `header_button`) touch the screen. All files are served
 * below one address that names their version, so that a browser never mixes two (add-script-tag.sh).
 */

import { messageOf } from './errors.js';
import { PagePart } from './page_part.js';
import { mergedSettings, stored } from './settings.js';

/** Registers with the page once it is ready, be that before or after this file was loaded. */
function enterPage() {
    const page = /** @type {any} */ (window);
    if (page.perclip) return;
    const tag = [...document.scripts].find(({ src }) => src === import.meta.url);
    const attributes = { ...tag?.dataset };
    const settings = () => mergedSettings(attributes, stored('perclip.settings'));
    page.perclip = { settings };
    const register = () => page.cvatUI.registerComponent((/** @type {any} */ parts) => {
        const { core, store, actionCreators } = parts;
        /** @type {PagePart | null} */
        let part = null;
        if (!core?.actions?.register || !core.classes?.BaseCollectionAction || !core.lambda?.call || !store?.getState
            || !actionCreators?.changeFrameAsync) {
            console.warn('Perclip: this CVAT is too old for the page action (2.42 is known to work); nothing was added.');
        } else {
            part = new PagePart(parts, settings);
            part.start().then(
                () => console.info(`Perclip: ready, function ${settings().functionId}, ${settings().propagateKey} propagates.`),
                (error) => console.warn(`Perclip: CVAT refused the action (${messageOf(error)}); nothing was added.`),
            );
        }
        return { name: 'Perclip', destructor: () => part?.stop(), globalStateDidUpdate: () => part?.mount() };
    });
    if (page.cvatUI) register();
    else document.addEventListener('plugins.ready', register, { once: true });
}

enterPage();
