"""Carries the masks of a few annotated frames through a video or a folder of images.

Give one or more keyframes: masks that are right. Between two keyframes Perclip propagates both ways and fuses the
results; a keyframe's own masks always come back exactly as given, also where objects overlap. The results are palette
PNG masks (pixel value = object id, of the upper object where several share a pixel) in DIR/masks, and whatever --format
asks for beside them.
"""

import argparse
import re
import sys
from functools import partial
from pathlib import Path

from model.errors import InputError
from model.learning.recipe import DEFAULT_SECONDS, USUAL_TIME
from model.network.config import DEFAULT_NETWORK, NETWORKS
from model.options import DIRECTIONS, DTYPES, MEMORY_POLICIES, PropagationOptions
from plugin.cli.learning_time import learning_time
from plugin.local_run.formats import FORMATS

HELP = "carry keyframe masks through a video"
EXAMPLES = """\
keyframes:
  0=mask.png         a palette or grey PNG for the first frame: the value of a pixel is its object id, 0 is background
  0=person.png 0=helmet.png      several masks of one object each for a frame: each is an object, called after its file
  masks/             a folder of such PNGs, named like the pictures they belong to; for a video, by frame number
  instances.json     COCO instances; annotations.xml: "CVAT for video 1.1" or "CVAT for images 1.1"
Pictures are found by name; folders, suffixes and the hashes that exporters add do not matter. --dry-run shows which
frame each one is for.

examples:
  perclip propagate clip.mp4 --keyframe 0=first.png --out result
  perclip propagate clip.mp4 --keyframe 0=first.png --keyframe 40=fix.png --objects 1=horse,2=rider --out result
  perclip propagate clip.mp4 --keyframe 0=person.png --keyframe 0=helmet.png --format coco --out result
  perclip propagate frames/ --keyframe annotations.xml --format all --clip-length 25 --out result
  perclip propagate cells.mp4 --keyframe 0=first.png --learn --out result     # of what the network knows little of
  perclip propagate clip.mp4 --keyframe 0=first.png --out result --resume     # after an interruption

exit codes: 0 done, 2 bad input or the end of the video is lost (all before it is done then), 130 interrupted
"""

_DEFAULT = PropagationOptions()


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    parser.add_argument("source", type=Path, metavar="VIDEO_OR_FOLDER", help="video file, or folder of images")
    parser.add_argument(
        "--keyframe",
        action="append",
        required=True,
        metavar="WHAT",
        help="a frame with true masks, see below; repeat it",
    )
    parser.add_argument(
        "--absent",
        action="append",
        default=[],
        metavar="INDEX=ID[,ID]",
        help="objects that are out of view on a frame: what is carried there from other frames ends; repeat it",
    )
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder for the results")
    parser.add_argument(
        "--dry-run", action="store_true", help="write nothing: show which frame each keyframe is for, and check them"
    )
    parser.add_argument("--resume", action="store_true", help="go on where an interrupted run into DIR stopped")
    parser.add_argument(
        "--objects", metavar="ID[=NAME],...", help="propagate only these objects, and name them (default: all)"
    )
    parser.add_argument(
        "--format",
        action="append",
        metavar="NAME,...",
        help=f"what to write beside the masks: {', '.join(FORMATS)}, all or none (default overlay,report)",
    )
    parser.add_argument("--shape", choices=("mask", "polygon"), default="mask", help="in CVAT's formats (default mask)")
    parser.add_argument(
        "--tolerance", type=float, metavar="PIXELS", help="how far polygons may stray from the mask (default 1)"
    )
    parser.add_argument(
        "--learn",
        nargs="?",
        type=learning_time,
        const=USUAL_TIME,
        metavar="SECONDS",
        help="first let the network learn from the keyframes, and use that where a check says it is better (default "
        f"{DEFAULT_SECONDS['cpu']:g} seconds, {DEFAULT_SECONDS['cuda']:g} on a GPU); Ctrl-C goes on without",
    )
    parser.add_argument(
        "--truth",
        action="append",
        default=[],
        metavar="WHAT",
        help="true masks, a folder or whatever --keyframe takes: print J, the measured overlap; repeat it",
    )

    how = parser.add_argument_group("how to propagate")
    how.add_argument("--direction", choices=DIRECTIONS, default="both", help="from the keyframes (default both)")
    how.add_argument("--start", type=int, default=0, metavar="N", help="first frame to give masks for (default 0)")
    how.add_argument("--stop", type=int, metavar="N", help="frame behind the last one (default: the end)")
    how.add_argument(
        "--clip-length",
        type=int,
        default=_DEFAULT.clip_length,
        metavar="L",
        help="frames segmented at once: 5 is accurate, 25 is fast (default 5; stm and swem 1)",
    )
    how.add_argument(
        "--short-side",
        type=int,
        default=_DEFAULT.short_side,
        metavar="PIXELS",
        help="size of the network's input; 0 keeps the frames' size (default 480)",
    )
    how.add_argument(
        "--memory",
        choices=MEMORY_POLICIES,
        default=_DEFAULT.memory,
        help="every: all clips' last frames, most accurate; bounded: constant memory and speed, for long videos; "
        "previous: every 5th frame and the last one, for clips shorter than 5 (default every; stm previous; swem has a "
        "memory of its own)",
    )
    how.add_argument("--memory-tokens", type=int, metavar="N", help="budget of --memory bounded in positions")
    how.add_argument("--no-progressive", action="store_true", help="no progressive matching inside long clips")

    network = parser.add_argument_group("network")
    network.add_argument(
        "--model", choices=sorted(NETWORKS), default=DEFAULT_NETWORK, help=f"default {DEFAULT_NETWORK}"
    )
    network.add_argument("--weights", type=Path, metavar="FILE", help="checkpoint (default: the shipped one)")
    network.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1 (default auto)")
    network.add_argument("--dtype", choices=DTYPES, default="auto", help="number format of the network (default auto)")
    network.add_argument(
        "--device-memory", type=float, metavar="GB", help="how much of a GPU's memory may be taken (default all)"
    )
    network.add_argument(
        "--compile",
        action="store_true",
        help="have torch compile the network first, which takes up to minutes: for long work on a GPU",
    )


def run(arguments: argparse.Namespace) -> None:
    """Run the job and print what came of it."""
    if arguments.out is None and not arguments.dry_run:
        raise InputError("give --out DIR, a folder for the results (or --dry-run to write nothing)")
    options = PropagationOptions(
        clip_length=arguments.clip_length,
        short_side=arguments.short_side or None,
        progressive_interval=None if arguments.no_progressive else _DEFAULT.progressive_interval,
        memory=arguments.memory,
        memory_tokens=arguments.memory_tokens,
        device=arguments.device,
        dtype=arguments.dtype,
        device_memory=arguments.device_memory,
        compile=arguments.compile,
    )
    names = parse_objects(arguments.objects)
    formats = parse_formats(arguments.format)
    absent = [parse_absent(value) for value in arguments.absent]

    # Torch and OpenCV load only when there is something to do.
    from plugin.local_run.exports import ExportShapes
    from plugin.local_run.propagation_job import PropagationJob, run_job

    shapes = ExportShapes(arguments.shape, *([] if arguments.tolerance is None else [arguments.tolerance]))

    summary = run_job(
        PropagationJob(
            source=arguments.source,
            keyframes=tuple(arguments.keyframe),
            absent=tuple(absent),
            out=arguments.out,
            network=arguments.model,
            weights=arguments.weights,
            options=options,
            start=arguments.start,
            stop=arguments.stop,
            direction=arguments.direction,
            objects=names,
            formats=formats,
            shapes=shapes,
            learn=arguments.learn,
            truth=tuple(arguments.truth),
            resume=arguments.resume,
            dry_run=arguments.dry_run,
        ),
        tell=partial(print, flush=True),
        warn=_warn,
    )
    for name, value in summary.items():
        print(f"{name:15}{value}")


def _warn(line: str) -> None:
    print(f"perclip: warning: {line}", file=sys.stderr)


def parse_objects(text: str | None) -> dict[int, str | None] | None:
    """`1=horse,2` -> {1: "horse", 2: None}; None for all objects. Raises InputError for anything else."""
    if text is None:
        return None
    names: dict[int, str | None] = {}
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d{1,3})\s*(?:=\s*(.*\S)\s*)?", part)
        if not match:
            raise InputError(f"--objects {text}: {part!r} is no object; write ids and names like 1=horse,2=rider")
        names[int(match[1])] = match[2]
    return names


def parse_formats(values: list[str] | None) -> tuple[str, ...]:
    """The formats to write, in their fixed order. Raises InputError for an unknown one."""
    asked = [name.strip() for value in values or ["overlay,report"] for name in value.split(",")]
    unknown = next((name for name in asked if name not in (*FORMATS, "all", "none")), None)
    if unknown is not None:
        raise InputError(f"--format {unknown}: choose from {', '.join(FORMATS)}, all or none")
    return tuple(name for name in FORMATS if name in asked or "all" in asked)


def parse_absent(text: str) -> tuple[int, tuple[int, ...]]:
    """`40=1,2` -> (40, (1, 2)). Raises InputError for anything else."""
    match = re.fullmatch(r"(\d{1,9})=(\d{1,3}(?:,\d{1,3})*)", text.replace(" ", ""))
    if not match:
        raise InputError(f"--absent {text}: write the frame and the ids that are out of view there, like 40=1,2")
    return int(match[1]), tuple(int(i) for i in match[2].split(","))
