// @ts-check
/** What can go wrong, in words for the annotator. */

/** The annotator does not want it any more. */
export class Cancelled extends Error {}

/** Something went wrong; the message is for the annotator. */
export class PerclipError extends Error {}

export const NOT_DEPLOYED = 'Perclip\'s function is not deployed on this CVAT server. Whoever runs it can deploy it with '
    + 'serverless/deploy.sh.';

export const UNREACHABLE = 'Perclip\'s function cannot be reached: it has stopped, or is just being started. Whoever runs this CVAT server '
    + 'sees why in Nuclio\'s dashboard or with docker logs.';

export const TOO_OLD = 'The function on this CVAT server is too old for this page, or it is no Perclip. Whoever runs it can '
    + 'deploy it anew with serverless/deploy.sh.';

/**
 * What an error says, in words.
 * @param {any} error
 */
export function messageOf(error) {
    return String(error?.message ?? error ?? 'unknown error');
}

/**
 * What a failed call means: `words` for the annotator; `again`: "wait" and call again, "less" work at once, or "no".
 * @param {any} error as `core.lambda.call` threw it: `code` is the HTTP status, 0 for a lost connection
 * @returns {{ words: string, again: 'wait' | 'less' | 'no' }}
 */
export function explained(error) {
    const status = error?.code;
    if (status === 404) return { words: NOT_DEPLOYED, again: 'no' };
    if (status === 413) return { words: 'The call was too large for the server.', again: 'less' };
    if (status === 504 || status === 408) return { words: 'The function took too long and timed out.', again: 'less' };
    if (status === 429 || status === 503) return { words: 'The function is busy.', again: 'wait' };
    if (status === 0 || status === 502) return { words: 'The connection to the function was lost.', again: 'wait' };
    if (status === 401 || status === 403) return { words: 'CVAT does not let you call the function.', again: 'no' };
    if (status === 500) return { words: TOO_OLD, again: 'no' };
    return { words: `CVAT refuses the call: ${messageOf(error)}`, again: 'no' };
}
