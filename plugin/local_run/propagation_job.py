"""The main job: keyframes through a video into a folder of results, resumable, with the formats that were asked for."""

import time
from collections.abc import Callable, Iterable, Mapping, Sized
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

import model
from model import InputError, Keyframe
from model.errors import UndecodableFrameError
from model.learning.lesson import Lesson
from model.learning.recipe import refuse_unsuited
from model.network.checkpoint_files import shipped_path, weights_in_words
from model.network.config import network_config
from model.network.fitted_options import fitted
from model.object_masks import ObjectMasks
from model.program.folder_lock import FolderLock
from model.program.printable import printable
from model.propagation.layers import overlaps
from model.result import FrameResult
from plugin.digest import digest_of, file_digest, keyframe_digest, names_digest
from plugin.keyframes import FrameFinder, read_keyframes
from plugin.keyframes.keyframe_set import KeyframeSet, default_name
from plugin.local_run.exports import ExportShapes, write_formats
from plugin.local_run.run_settings import claimed_folder
from plugin.local_run.true_masks import TrueMasks
from plugin.sinks.doubt import most_doubtful
from plugin.sinks.mask_folder import MaskFolder
from plugin.sources import (
    Animation,
    FrameSource,
    ImageFolder,
    ReadAhead,
    StandInFrames,
    fill_in,
    open_source,
)
from plugin.sources.own_pictures import with_own_pictures

if TYPE_CHECKING:
    from model import PropagationOptions, Propagator

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
        learn: seconds to learn from the keyframes for, first; `USUAL_TIME`: as long as is usual; None: not at all.
        truth: true masks to measure J against, as `TrueMasks` takes them; none measures nothing.
        resume: go on with the results that lie in `out`.
        dry_run: only read and check everything, and tell which frame each mask is for; `out` is not touched.
    """

    source: Path
    keyframes: tuple[str, ...]
    absent: tuple[tuple[int, tuple[int, ...]], ...]
    out: Path | None
    network: str
    weights: Path | None
    options: "PropagationOptions"
    start: int
    stop: int | None
    direction: str
    objects: Mapping[int, str | None] | None
    formats: tuple[str, ...]
    shapes: ExportShapes
    learn: float | None
    truth: tuple[str, ...]
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
    job = replace(job, options=fitted(job.options, network_config(job.network)))
    if job.learn is not None:
        refuse_unsuited(job.network)
    # Two clips are decoded while the network works on one.
    opened = open_source(job.source)
    frames = StandInFrames(opened)
    with ReadAhead(frames, 2 * job.options.clip_frames) as source:
        finder = FrameFinder(len(opened), opened.own_names(), job.source)
        keyframes = _read_keyframes(job, source, finder)
        for warning in keyframes.warnings[:_WARNINGS]:
            warn(warning)
        if len(keyframes.warnings) > _WARNINGS:
            warn(f"{len(keyframes.warnings) - _WARNINGS} more like these")
        if (overlap := _overlap(keyframes)) is not None:
            warn(overlap)
        frames.needed = [k.index for k in keyframes.keyframes]
        size = (source.height, source.width)
        truth = TrueMasks(job.truth, finder, len(source), size, keyframes.object_names) if job.truth else None
        # Loads torch, now that what was given can be read.
        network = model.load_network(job.network, job.weights)
        propagator = model.Propagator(network, job.options)
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
        settings = _settings(job, opened, keyframes, propagator)
        with claimed_folder(job.out, settings, job.resume) as lock:
            results = MaskFolder(job.out, opened.own_names())
            learning = {}
            if job.learn is not None:
                from plugin.local_run.folder_learning import learn_in

                lesson = with_own_pictures(Lesson(source, keyframes.keyframes, _labels(keyframes)), frames)
                finished = results.finished()
                left = not set(reached) <= set(finished)
                learned = learn_in(job.out, network, job.options, job.learn, lesson, bool(finished), left)
                learning = {"learning": learned.record.words}
                tell(f"{'learning:':11}{learned.record.words}")
                if learned.network is not network:
                    propagator = model.Propagator(learned.network, job.options)
            began = time.perf_counter()
            run = propagator.run(
                source,
                keyframes.keyframes,
                job.start,
                job.stop,
                job.direction,
                finished=results.finished_masks(),
                labels=_labels(keyframes),
            )
            try:
                fresh, lost = _fill_folder(results, run, frames, reached, lock)
            finally:
                for warning in frames.warnings({*reached, *frames.needed}):
                    warn(warning)
            seconds = time.perf_counter() - began
            facts = {
                "source": f"{job.source} ({len(source)} frames, {source.width}x{source.height})",
                "network": f"{job.network}, {propagator.number_format} on {propagator.device}, "
                f"clip length {job.options.clip_length}, memory {job.options.memory}",
                "weights": weights_in_words(job.network, job.weights),
                **learning,
                "keyframes": ", ".join(str(k.index) for k in keyframes.keyframes),
                "frames": f"{len(results.finished())} with masks"
                + (f", {fresh} of them new in {seconds:.1f} s ({fresh / seconds:.1f} fps)" if fresh else ", none new"),
            }
            damaged = frames.warnings({*reached, *frames.needed})
            if damaged:
                facts["damaged"] = "; ".join(damaged)
            if truth is not None:
                facts["measured J"] = truth.measured(results, warn)
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
        objects = ", ".join(_called(object_id, keyframes.object_names) for object_id in keyframe.objects)
        rows.append(f"{origin} -> {frames.describe(keyframe.index)}, {_plural('object', keyframe.objects)} {objects}")
    if not whole and len(rows) > _TABLE_ROWS:
        hidden = len(rows) - _TABLE_ROWS
        rows[_TABLE_ROWS - 1 : -1] = [f"... {hidden} more, which --dry-run shows ..."]
    return [f"{'' if i else 'keyframes:':11}{row}" for i, row in enumerate(rows)]


def _called(object_id: int, names: Mapping[int, str]) -> str:
    name = names[object_id]
    return str(object_id) if name == default_name(object_id) else f"{object_id} ({name})"


def _overlap(keyframes: KeyframeSet) -> str | None:
    """A warning where objects overlap, which palette PNGs cannot show; None where none do."""
    for keyframe in keyframes.keyframes:
        for a, b in overlaps(keyframe.masks):
            names = " and ".join(_called(o, keyframes.object_names) for o in (a, b))
            return (
                f"objects {names} overlap on frame {keyframe.index}: each comes back whole, but where they share "
                "pixels the PNGs in masks/ show the upper one alone; --format coco writes every mask whole"
            )
    return None


def _labels(keyframes: KeyframeSet) -> dict[int, str]:
    """What the objects are, of those that anybody named."""
    return {o: name for o, name in keyframes.object_names.items() if name != default_name(o)}


def _plural(noun: str, items: Sized) -> str:
    return noun if len(items) == 1 else f"{noun}s"


def _what_would_be_done(frames: FrameFinder, reached: range, truth: TrueMasks | None) -> dict[str, str]:
    """What a dry run reports as name -> text."""
    facts = {
        "frames": f"{len(reached)} would get masks, {frames.describe(reached[0])} to {frames.describe(reached[-1])}"
    }
    if truth is not None:
        files = truth.files
        first, last = min(files), max(files)
        facts["truth"] = (
            f"{_plural('mask', files)} of {len(files)} {_plural('frame', files)}, {files[first].name} -> "
            f"{frames.describe(first)} to {files[last].name} -> {frames.describe(last)}"
        )
    return {**facts, "dry run": "nothing was written"}


def _read_keyframes(job: PropagationJob, source: FrameSource, frames: FrameFinder) -> KeyframeSet:
    """The keyframes, with what is absent, of the chosen objects, named."""
    size = (source.height, source.width)
    given = read_keyframes(job.keyframes, frames, size)
    by_frame = {k.index: k for k in given.keyframes}
    for index, ids in job.absent:
        known = by_frame.get(index)
        masks = ObjectMasks.of({}, shape=size) if known is None else known.masks
        clash = sorted(set(ids) & set(known.present)) if known else []
        if clash:
            raise InputError(
                f"--absent {index}={clash[0]}: object {clash[0]} has a mask on that very frame; remove one"
            )
        by_frame[index] = Keyframe(index, masks, {*ids, *(known.objects if known else ())})
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
            kept[index] = Keyframe(index, k.masks.only(named), named)
    return kept


def _settings(
    job: PropagationJob, source: FrameSource, keyframes: KeyframeSet, propagator: "Propagator"
) -> dict[str, object]:
    """What a run must have in common with an earlier one to go on with its results."""
    return {
        "source": _source_digest(job.source, source),
        "frames": len(source),
        "size": [source.width, source.height],
        "keyframes": keyframe_digest(keyframes.keyframes),
        **({} if _overlap(keyframes) is None else {"labels": digest_of(_labels(keyframes))}),
        "network": job.network,
        "weights": file_digest(job.weights or shipped_path(job.network)),
        "learn": job.learn,
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


def _fill_folder(
    results: MaskFolder, run: Iterable[FrameResult], frames: StandInFrames, reached: range, lock: FolderLock
) -> tuple[int, UndecodableFrameError | None]:
    """Takes a run over `frames` into the folder.

    Returns:
        Number of new frames, and why the run ended before the end of the source; None: it did not.
    """
    finished = results.finished_masks()
    done = sum(i in reached for i in finished)
    fresh = 0
    bar = tqdm(total=len(reached), initial=done, unit="frame", desc="propagating", dynamic_ncols=True, smoothing=0.1)
    try:
        with bar:
            for result in fill_in(run, frames, finished):
                lock.check()
                results.add(result)
                fresh += 1
                bar.update()
    except KeyboardInterrupt:
        raise KeyboardInterrupt(
            f"{done + fresh} of {len(reached)} frames are finished in {results.folder / 'masks'}; "
            "run the same command with --resume to go on"
        ) from None
    except UndecodableFrameError as error:
        if frames.lost_from is None or not results.finished():
            raise
        return fresh, error
    return fresh, None


def _advice(results: MaskFolder) -> str:
    doubts = most_doubtful(results, 5, apart=5)
    if not doubts:
        return "nothing in doubt"
    return "frames " + ", ".join(f"{d.index} ({d.confidence:.2f})" for d in doubts) + ", the least sure (confidence)"
