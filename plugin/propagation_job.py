"""The main job: keyframes through a video into a folder of results, resumable, with the formats that were asked for."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from model import InputError, Keyframe, PropagationOptions, Propagator, load_network
from model.checkpoint_files import SHIPPED
from model.mask_picture import VOID, ColourTable
from model.metrics import region_similarity
from plugin.exports import ExportShapes, write_formats
from plugin.keyframes import label_map_files, read_keyframes, read_label_map
from plugin.keyframes.keyframe_set import KeyframeSet, check_size, default_name
from plugin.run_settings import claim_folder, file_digest, keyframe_digest, names_digest
from plugin.sinks.doubt import most_doubtful
from plugin.sinks.mask_folder import MaskFolder
from plugin.sources import FrameSource, ReadAhead, open_source


@dataclass(frozen=True)
class PropagationJob:
    """Everything that a run needs to know.

    Attributes:
        source: video file or folder of images.
        keyframes: as `plugin.keyframes.read_keyframes` takes them.
        absent: frame numbers with the ids that are out of view there.
        out: folder of the results.
        network: name of the network.
        weights: its checkpoint; None for the shipped one.
        options: of the engine.
        start: first frame to give masks for.
        stop: frame behind the last one; None is the end.
        direction: "forward", "backward" or "both".
        objects: ids to propagate, with their names or None; None for all.
        formats: names from `plugin.formats.FORMATS`.
        shapes: of CVAT's formats.
        truth: folder of true masks to measure J against; None measures nothing.
        resume: go on with the results that lie in `out`.
    """

    source: Path
    keyframes: tuple[str, ...]
    absent: tuple[tuple[int, tuple[int, ...]], ...]
    out: Path
    network: str
    weights: Path | None
    options: PropagationOptions
    start: int
    stop: int | None
    direction: str
    objects: Mapping[int, str | None] | None
    formats: tuple[str, ...]
    shapes: ExportShapes
    truth: Path | None
    resume: bool


def run_job(job: PropagationJob) -> dict[str, str]:
    """Propagate, write, and report what came of it as name -> text.

    Raises:
        PerclipError: something that was handed in cannot be used; finished frames stay valid.
        KeyboardInterrupt: interrupted; its text says how far it got and how to go on.
    """
    # Two clips are decoded while the network works on one.
    opened = open_source(job.source)
    with ReadAhead(opened, 2 * job.options.clip_length) as source:
        keyframes = _read_keyframes(job, source)
        truth = None if job.truth is None else label_map_files(job.truth)
        propagator = Propagator(load_network(job.network, job.weights), job.options)
        # The engine checks what goes together before anything is written.
        propagator.run(source, keyframes.keyframes, job.start, job.stop, job.direction)
        reached = _reached(job, source, keyframes)
        results = _open_results(job, opened, keyframes, propagator)
        fresh, seconds = _propagate(job, propagator, source, keyframes, results, reached)
        facts = {
            "source": f"{job.source} ({len(source)} frames, {source.width}x{source.height})",
            "network": f"{job.network}, {propagator.number_format} on {propagator.device}, "
            f"clip length {job.options.clip_length}, memory {job.options.memory}",
            "keyframes": ", ".join(str(k.index) for k in keyframes.keyframes),
            "frames": f"{len(results.finished())} with masks"
            + (f", {fresh} of them new in {seconds:.1f} s ({fresh / seconds:.1f} fps)" if fresh else ", none new"),
        }
        if truth is not None:
            facts["measured J"] = _measured(truth, keyframes, results)
        facts["look at"] = _advice(results)
        try:
            written = write_formats(job.formats, job.out, source, results, keyframes.object_names, facts, job.shapes)
        except KeyboardInterrupt:
            raise KeyboardInterrupt(
                "all masks are finished; run the same command with --resume to write the other formats"
            ) from None
    return {**facts, "masks": str(job.out / "masks"), **{name: str(path) for name, path in written.items()}}


def _read_keyframes(job: PropagationJob, source: FrameSource) -> KeyframeSet:
    """The keyframes, with what is absent, of the chosen objects, named."""
    size = (source.height, source.width)
    given = read_keyframes(job.keyframes, size)
    by_frame = {k.index: k for k in given.keyframes}
    for index, ids in job.absent:
        known = by_frame.get(index)
        label_map = np.zeros(size, np.uint8) if known is None else known.label_map
        clash = sorted(set(ids) & set(known.present)) if known else []
        if clash:
            raise InputError(
                f"--absent {index}={clash[0]}: object {clash[0]} has a mask on that very frame; remove one"
            )
        by_frame[index] = Keyframe(index, label_map, {*ids, *(known.objects if known else ())})
    names = dict(given.object_names)
    unknown = sorted({o for k in by_frame.values() for o in k.objects} - set(names))
    if unknown:
        raise InputError(
            f"--absent names object {unknown[0]}, which no keyframe shows: give a mask of it on some frame"
        )
    if job.objects is not None:
        missing = sorted(set(job.objects) - set(names))
        if missing:
            raise InputError(
                f"--objects names object {missing[0]}, but the keyframes have {', '.join(map(str, sorted(names)))}"
            )
        names = {o: job.objects[o] or names.get(o, default_name(o)) for o in sorted(job.objects)}
        by_frame = _only(by_frame, tuple(names))
    return KeyframeSet(tuple(by_frame[i] for i in sorted(by_frame)), names)


def _only(by_frame: dict[int, Keyframe], objects: tuple[int, ...]) -> dict[int, Keyframe]:
    """The keyframes less all other objects; frames that have none of these are left out."""
    kept = {}
    for index, k in by_frame.items():
        named = set(k.objects) & set(objects)
        if named:
            kept[index] = Keyframe(index, np.where(np.isin(k.label_map, list(named)), k.label_map, 0), named)
    return kept


def _open_results(
    job: PropagationJob, source: FrameSource, keyframes: KeyframeSet, propagator: Propagator
) -> MaskFolder:
    """The folder of results: a fresh one, or on --resume that of an earlier run with the same settings."""
    settings = {
        "source": _source_digest(job.source, source),
        "frames": len(source),
        "size": [source.width, source.height],
        "keyframes": keyframe_digest(keyframes.keyframes),
        "network": job.network,
        "weights": file_digest(job.weights or SHIPPED[job.network]),
        "direction": job.direction,
        **job.options.deciding,
        "dtype": f"torch.{propagator.number_format}",  # as folders of earlier versions have it
    }
    claim_folder(job.out, settings, job.resume)
    return MaskFolder(job.out)


def _source_digest(path: Path, source: FrameSource) -> str:
    """Tells another video, or other images, from those of an earlier run."""
    return names_digest(source.files) if path.is_dir() else file_digest(path)


def _reached(job: PropagationJob, source: FrameSource, keyframes: KeyframeSet) -> range:
    """The frames that get masks; raises InputError where there are none."""
    first, stop = job.start, len(source) if job.stop is None else job.stop
    if job.direction == "forward":
        first = max(first, keyframes.keyframes[0].index)
    if job.direction == "backward":
        stop = min(stop, keyframes.keyframes[-1].index + 1)
    if first >= stop:
        raise InputError(
            f"no frame is left to segment: --start, --stop and --direction {job.direction} leave none of the "
            f"{len(source)} frames"
        )
    return range(first, stop)


def _propagate(
    job: PropagationJob,
    propagator: Propagator,
    source: FrameSource,
    keyframes: KeyframeSet,
    results: MaskFolder,
    reached: range,
) -> tuple[int, float]:
    """Runs the engine into the folder; gives the number of new frames and the seconds they took."""
    finished = results.finished_label_maps()
    done = sum(i in reached for i in finished)
    began = time.perf_counter()
    fresh = 0
    bar = tqdm(total=len(reached), initial=done, unit="frame", desc="propagating", dynamic_ncols=True, smoothing=0.1)
    try:
        with bar:
            for result in propagator.run(
                source, keyframes.keyframes, job.start, job.stop, job.direction, finished=finished
            ):
                results.add(result)
                fresh += 1
                bar.update()
    except KeyboardInterrupt:
        raise KeyboardInterrupt(
            f"{done + fresh} of {len(reached)} frames are finished in {job.out / 'masks'}; "
            "run the same command with --resume to go on"
        ) from None
    return fresh, time.perf_counter() - began


def _measured(truth: Mapping[int, Path], keyframes: KeyframeSet, results: MaskFolder) -> str:
    """Mean J of each object over the frames that have a true mask and are not keyframes."""
    scores: dict[int, list[float]] = {}
    colours: ColourTable = {}  # a colour is one object in all masks, so that all must be read
    for index, path in truth.items():
        true_map = read_label_map(path, colours, may_be_empty=True, keep_void=True)
        if index not in results.finished():
            continue
        result = results.read(index)
        check_size(path, true_map.shape, result.label_map.shape)
        if result.is_keyframe:
            continue
        found = np.where(true_map == VOID, 0, result.label_map)  # void counts for nothing
        for obj in keyframes.object_names:
            scores.setdefault(obj, []).append(region_similarity(found == obj, true_map == obj))
    if not scores:
        return "nothing to measure: no result has a true mask"
    means = {obj: float(np.mean(values)) for obj, values in scores.items()}
    each = ", ".join(f"{keyframes.object_names[obj]} {mean:.3f}" for obj, mean in means.items())
    return f"{np.mean(list(means.values())):.3f} ({each}) over {len(next(iter(scores.values())))} frames"


def _advice(results: MaskFolder) -> str:
    doubts = most_doubtful(results, 5, apart=5)
    if not doubts:
        return "nothing in doubt"
    return "frames " + ", ".join(f"{d.index} ({d.confidence:.2f})" for d in doubts) + ", the least sure (confidence)"
