"""The main job: keyframes through a video into a folder of results, resumable, with the formats that were asked for."""

import time
from collections.abc import Callable, Mapping, Sized
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from model import InputError, Keyframe, PropagationOptions, Propagator, load_network
from model.data.inside_out import first_of, inside_out
from model.data.mask_picture import VOID, ColourTable
from model.errors import UndecodableFrameError
from model.evaluation.metrics import region_similarity
from model.network.checkpoint_files import shipped_path, weights_in_words
from model.program.folder_lock import FolderLock
from model.program.printable import printable
from plugin.digest import file_digest, keyframe_digest, names_digest
from plugin.keyframes import FrameFinder, label_map_files, read_keyframes, read_label_map
from plugin.keyframes.keyframe_set import KeyframeSet, check_size, default_name
from plugin.local_run.exports import ExportShapes, write_formats
from plugin.local_run.run_settings import claimed_folder
from plugin.sinks.doubt import most_doubtful
from plugin.sinks.mask_folder import MaskFolder
from plugin.sources import (
    Animation,
    FrameReader,
    FrameSource,
    ImageFolder,
    ReadAhead,
    StandInFrames,
    fill_in,
    open_source,
)

_TABLE_ROWS = 20
_WARNINGS = 10


@dataclass(frozen=True)
class PropagationJob:
    """Everything that a run needs to know.

    Attributes:
        source: video file or folder of images.
        keyframes: as `plugin.keyframes.read_keyframes` takes them.
        absent: frame numbers with the ids that are out of view there.
        out: folder of the results; None only for a dry run.
        network: name of the network.
        weights: its checkpoint; None for the shipped one.
        options: of the engine.
        start: first frame to give masks for.
        stop: frame behind the last one; None is the end.
        direction: "forward", "backward" or "both".
        objects: ids to propagate, with their names or None; None for all.
        formats: names from `plugin.local_run.formats.FORMATS`.
        shapes: of CVAT's formats.
        truth: folder of true masks to measure J against; None measures nothing.
        resume: go on with the results that lie in `out`.
        dry_run: only read and check everything, and tell which frame each mask is for; `out` is not touched.
    """

    source: Path
    keyframes: tuple[str, ...]
    absent: tuple[tuple[int, tuple[int, ...]], ...]
    out: Path | None
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
    dry_run: bool = False


def run_job(job: PropagationJob, tell: Callable[[str], None], warn: Callable[[str], None]) -> dict[str, str]:
    """Propagate, write, and report what came of it as name -> text.

    Args:
        tell: takes the lines that say, before the work begins, which frame each keyframe is for.
        warn: takes a line for each thing that was given and cannot be used.

    Raises:
        PerclipError: something that was handed in cannot be used, or the end of the source is lost: all before it is
            done then. Finished frames stay valid.
        KeyboardInterrupt: interrupted; its text says how far it got and how to go on.
    """
    # Two clips are decoded while the network works on one.
    opened = open_source(job.source)
    frames = StandInFrames(opened)
    with ReadAhead(frames, 2 * job.options.clip_length) as source:
        finder = FrameFinder(len(opened), opened.own_names(), job.source)
        keyframes = _read_keyframes(job, source, finder)
        for warning in keyframes.warnings[:_WARNINGS]:
            warn(warning)
        if len(keyframes.warnings) > _WARNINGS:
            warn(f"{len(keyframes.warnings) - _WARNINGS} more like these")
        frames.needed = [k.index for k in keyframes.keyframes]
        truth = None if job.truth is None else label_map_files(job.truth, finder)
        propagator = Propagator(load_network(job.network, job.weights), job.options)
        # The engine checks what goes together before anything is written.
        propagator.run(source, keyframes.keyframes, job.start, job.stop, job.direction)
        reached = _reached(job, source, keyframes)
        for line in _table(keyframes, finder, whole=job.dry_run):
            tell(line)
        if job.dry_run:
            return _what_would_be_done(finder, reached, truth)
        assert job.out is not None  # without --dry-run it is needed
        if opened.gaps:
            warn(
                f"{job.source}: frames seem to be missing behind frame {', '.join(map(str, opened.gaps[:10]))}: where "
                "the file is damaged there, the numbers of later frames are too low"
            )
        with claimed_folder(job.out, _settings(job, opened, keyframes, propagator), job.resume) as lock:
            results = MaskFolder(job.out, opened.own_names())
            fresh, seconds, lost = _propagate(job, propagator, source, frames, keyframes, results, reached, lock, warn)
            facts = {
                "source": f"{job.source} ({len(source)} frames, {source.width}x{source.height})",
                "network": f"{job.network}, {propagator.number_format} on {propagator.device}, "
                f"clip length {job.options.clip_length}, memory {job.options.memory}",
                "weights": weights_in_words(job.network, job.weights),
                "keyframes": ", ".join(str(k.index) for k in keyframes.keyframes),
                "frames": f"{len(results.finished())} with masks"
                + (f", {fresh} of them new in {seconds:.1f} s ({fresh / seconds:.1f} fps)" if fresh else ", none new"),
            }
            damaged = frames.warnings({*reached, *frames.needed})
            if damaged:
                facts["damaged"] = "; ".join(damaged)
            if truth is not None:
                facts["measured J"] = _measured(truth, keyframes, results, warn)
            facts["look at"] = _advice(results)
            try:
                written = write_formats(
                    job.formats, job.out, source, results, keyframes.object_names, facts, job.shapes
                )
            except KeyboardInterrupt:
                raise KeyboardInterrupt(
                    "all masks are finished; run the same command with --resume to write the other formats"
                ) from None
            lock.check()
            results.check_complete()
    if lost is not None:
        raise InputError(f"{lost}; all before it is done, and --stop {frames.lost_from} leaves the rest out")
    if opened.cut_off and job.stop is None and reached.stop == len(source):
        raise InputError(
            f"{job.source} is cut off behind frame {len(source) - 1}; all before it is done. Copy the file again, or "
            f"give --stop {len(source)} if there is no more"
        )
    return {**facts, "masks": str(job.out / "masks"), **{name: str(path) for name, path in written.items()}}


def _table(keyframes: KeyframeSet, frames: FrameFinder, whole: bool) -> list[str]:
    """Which frame each keyframe is for, a line each; of a long table the first and the last lines unless `whole`."""
    rows = []
    for keyframe in keyframes.keyframes:
        origin = keyframes.origins.get(keyframe.index, "--absent")
        objects = ", ".join(str(object_id) for object_id in keyframe.objects)
        rows.append(f"{origin} -> {frames.describe(keyframe.index)}, {_plural('object', keyframe.objects)} {objects}")
    if not whole and len(rows) > _TABLE_ROWS:
        hidden = len(rows) - _TABLE_ROWS
        rows[_TABLE_ROWS - 1 : -1] = [f"... {hidden} more, which --dry-run shows ..."]
    return [f"{'' if i else 'keyframes:':11}{row}" for i, row in enumerate(rows)]


def _plural(noun: str, items: Sized) -> str:
    return noun if len(items) == 1 else f"{noun}s"


def _what_would_be_done(frames: FrameFinder, reached: range, truth: Mapping[int, Path] | None) -> dict[str, str]:
    """What a dry run reports as name -> text."""
    facts = {
        "frames": f"{len(reached)} would get masks, {frames.describe(reached[0])} to {frames.describe(reached[-1])}"
    }
    if truth:
        first, last = min(truth), max(truth)
        facts["truth"] = (
            f"{_plural('mask', truth)} of {len(truth)} {_plural('frame', truth)}, {truth[first].name} -> "
            f"{frames.describe(first)} to {truth[last].name} -> {frames.describe(last)}"
        )
    return {**facts, "dry run": "nothing was written"}


def _read_keyframes(job: PropagationJob, source: FrameSource, frames: FrameFinder) -> KeyframeSet:
    """The keyframes, with what is absent, of the chosen objects, named."""
    size = (source.height, source.width)
    given = read_keyframes(job.keyframes, frames, size)
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
    names = {o: printable(name) for o, name in names.items()}
    return KeyframeSet(tuple(by_frame[i] for i in sorted(by_frame)), names, given.origins, given.warnings)


def _only(by_frame: dict[int, Keyframe], objects: tuple[int, ...]) -> dict[int, Keyframe]:
    """The keyframes less all other objects; frames that have none of these are left out."""
    kept = {}
    for index, k in by_frame.items():
        named = set(k.objects) & set(objects)
        if named:
            kept[index] = Keyframe(index, np.where(np.isin(k.label_map, list(named)), k.label_map, 0), named)
    return kept


def _settings(
    job: PropagationJob, source: FrameSource, keyframes: KeyframeSet, propagator: Propagator
) -> dict[str, object]:
    """What a run must have in common with an earlier one to go on with its results."""
    return {
        "source": _source_digest(job.source, source),
        "frames": len(source),
        "size": [source.width, source.height],
        "keyframes": keyframe_digest(keyframes.keyframes),
        "network": job.network,
        "weights": file_digest(job.weights or shipped_path(job.network)),
        "direction": job.direction,
        **job.options.deciding,
        "dtype": f"torch.{propagator.number_format}",  # as folders of earlier versions have it
    }


def _source_digest(path: Path, source: FrameSource) -> str:
    """Tells another video, or other images, from those of an earlier run."""
    if path.is_dir() and isinstance(source, ImageFolder | Animation):
        return names_digest(source.files)
    return file_digest(path)


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
    source: FrameReader,
    frames: StandInFrames,
    keyframes: KeyframeSet,
    results: MaskFolder,
    reached: range,
    lock: FolderLock,
    warn: Callable[[str], None],
) -> tuple[int, float, UndecodableFrameError | None]:
    """Runs the engine into the folder.

    Returns:
        Number of new frames, the seconds they took, and why the run ended before the end of the source; None: it did
        not.
    """
    assert job.out is not None
    finished = results.finished_label_maps()
    done = sum(i in reached for i in finished)
    began = time.perf_counter()
    fresh, lost = 0, None
    bar = tqdm(total=len(reached), initial=done, unit="frame", desc="propagating", dynamic_ncols=True, smoothing=0.1)
    try:
        with bar:
            run = propagator.run(source, keyframes.keyframes, job.start, job.stop, job.direction, finished=finished)
            for result in fill_in(run, frames, finished):
                lock.check()
                results.add(result)
                fresh += 1
                bar.update()
    except KeyboardInterrupt:
        raise KeyboardInterrupt(
            f"{done + fresh} of {len(reached)} frames are finished in {job.out / 'masks'}; "
            "run the same command with --resume to go on"
        ) from None
    except UndecodableFrameError as error:
        if frames.lost_from is None or not results.finished():
            raise
        lost = error
    finally:
        for warning in frames.warnings({*reached, *frames.needed}):
            warn(warning)
    return fresh, time.perf_counter() - began, lost


def _measured(
    truth: Mapping[int, Path], keyframes: KeyframeSet, results: MaskFolder, warn: Callable[[str], None]
) -> str:
    """Mean J of each object over the frames that have a true mask and are not keyframes."""
    scores: dict[int, list[float]] = {}
    colours: ColourTable = {}  # a colour is one object in all masks, so that all must be read
    doubts: list[str] = []
    for index, path in truth.items():
        true_map = read_label_map(path, colours, may_be_empty=True, keep_void=True)
        if (doubt := inside_out(true_map)) is not None:
            doubts.append(f"{path}: {doubt}")
        if index not in results.finished():
            continue
        result = results.read(index)
        check_size(path, true_map.shape, result.label_map.shape)
        if result.is_keyframe:
            continue
        found = np.where(true_map == VOID, 0, result.label_map)  # void counts for nothing
        for obj in keyframes.object_names:
            scores.setdefault(obj, []).append(region_similarity(found == obj, true_map == obj))
    for warning in first_of(doubts):
        warn(warning)
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
