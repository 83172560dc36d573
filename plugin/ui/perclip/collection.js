// @ts-check
/** Annotations of a job in CVAT's form, and which of them Perclip propagates or wrote. */

/**
 * Shapes and tracks as CVAT serializes them (cvat-core's `SerializedShape` and `SerializedTrack`).
 *
 * @typedef {{ spec_id: number, value: string }} Attribute
 * @typedef {{ type: string, frame: number, label_id: number, points: number[], group: number, source: string,
 *     attributes: Attribute[], occluded: boolean, outside: boolean, z_order: number, rotation: number, elements: any[],
 *     clientID?: number, score?: number }} Shape
 * @typedef {{ type: string, frame: number, points: number[], outside: boolean, occluded: boolean, z_order: number,
 *     rotation: number, attributes: Attribute[] }} TrackedShape
 * @typedef {{ frame: number, label_id: number, group: number, source: string, attributes: Attribute[], elements: any[],
 *     shapes: TrackedShape[], clientID?: number }} Track
 * @typedef {{ shapes: Shape[], tracks: Track[], tags: any[] }} Collection
 *
 * @typedef {{ id: number, name: string, type?: string, attributes: { id: number, mutable: boolean }[] }} Label
 * @typedef {{ width: number, height: number, frames: number[], last: number, labels: Label[] }} JobFacts
 *     `frames`: numbers, ascending, of those that can be propagated; `last`: the job's last frame.
 */

/** What Perclip wrote and nobody has edited: CVAT's page makes the source of edited shapes "semi-auto". */
export const isWritten = (/** @type {{ source: string }} */ annotation) => annotation.source === 'auto';

export const isPropagated = (/** @type {string} */ type) => type === 'mask' || type === 'polygon';
