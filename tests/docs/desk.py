"""A folder with all that the documents' examples name, made small."""

import zipfile
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from plugin.local_run.sample import render_sample
from tests.cvat_server import CvatState, FakeJob, FakeLabel, FakeTask
from tests.model.training.data_sets import GREEN, RED, moving_squares, write_davis, zipped
from tests.plugin.cvat.program import TASK, blank_task, draw, mask_shape, square
from tests.plugin.keyframe_files import cvat, image, mask_xml

HEIGHT, WIDTH = 120, 160
_LENGTH = 42  # frame 40 is a keyframe in the examples
_JOB, _SECOND_JOB = 7, 8


def lay_out(folder: Path) -> None:
    """A clip, its frames, masks and annotations, and exported tasks to train on."""
    clip = render_sample(folder / "out" / "sample", frames=_LENGTH, height=HEIGHT, width=WIDTH)
    (folder / "clip.mp4").write_bytes(clip.video.read_bytes())
    for name, number in (("first.png", 0), ("fix.png", 40)):
        (folder / name).write_bytes(clip.masks[number].read_bytes())
    (folder / "frames").mkdir()
    (folder / "masks").mkdir()
    video = cv2.VideoCapture(str(clip.video))
    for number in range(3):
        Image.fromarray(video.read()[1][:, :, ::-1]).save(folder / "frames" / f"{number:05d}.png")
    for number in (0, 2):
        (folder / "masks" / f"{number:05d}.png").write_bytes(clip.masks[number].read_bytes())
    first = np.array(Image.open(folder / "first.png"))
    for name, mask in (("person", first > 0), ("helmet", first == 1)):
        Image.fromarray(mask).save(folder / f"{name}.png")
    shapes = [mask_xml(first == k, label=f"thing {k}", source="manual", occluded=0, z_order=0) for k in (1, 2)]
    cvat(folder, image(0, *shapes, size=first.shape).replace("f0.png", "00000.png"), meta="")
    for name in ("task.zip", "task1.zip", "task2.zip"):
        _exported_task(folder, name)
    sequence = _training_sequence()
    write_davis(folder / "DAVIS", sequence)
    for name in ("held-out.zip", "val.zip"):
        zipped(folder / "DAVIS", folder / name)


def _training_sequence():
    return moving_squares("bear", {1: RED, 2: GREEN}, length=4, size=(160, 120), side=30, apart=10, start=20, speed=3)


def _exported_task(folder: Path, name: str) -> None:
    """A "CVAT for images" export with its images: two objects, grouped, on every frame."""
    work = folder / f"export of {name}"
    (work / "images").mkdir(parents=True)
    sequence, entries = _training_sequence(), []
    for number, (frame, labels) in enumerate(zip(sequence.frames, sequence.label_maps)):
        Image.fromarray(frame).save(work / "images" / f"f{number}.png")
        masks = [
            mask_xml(labels == k, label="block", source="manual", occluded=0, z_order=0, group_id=k) for k in (1, 2)
        ]
        entries.append(image(number, *masks, size=labels.shape))
    cvat(work, *entries, meta="<mode>annotation</mode>")
    with zipfile.ZipFile(folder / name, "w") as archive:
        for path in sorted(work.rglob("*.*")):
            archive.write(path, path.relative_to(work))


def cvat_tasks() -> CvatState:
    """Task 12, and task 13 of project 3 in the subset "train", each with one drawn mask."""
    frames = np.zeros((4, 24, 32, 3), np.uint8)
    second = FakeTask(TASK + 1, frames, [FakeJob(_SECOND_JOB, 0, 3)], [FakeLabel(1, "car")], project=3, subset="train")
    state = CvatState([blank_task(4, [FakeJob(_JOB, 0, 3)]), second], projects=[3])
    for job in (_JOB, _SECOND_JOB):
        draw(state, job, shapes=[mask_shape(0, square(8, 8, 10))])
    return state
