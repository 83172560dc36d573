"""Where frames come from: folders of images and video files, read on demand."""

from pathlib import Path

from model.errors import InputError
from plugin.sources.frame_source import FrameReader, FrameSource
from plugin.sources.image_folder import IMAGE_SUFFIXES, ImageFolder
from plugin.sources.read_ahead import ReadAhead
from plugin.sources.stand_in_frames import StandInFrames, fill_in
from plugin.sources.video_file import VideoFile

__all__ = [
    "FrameReader",
    "FrameSource",
    "ImageFolder",
    "ReadAhead",
    "StandInFrames",
    "VideoFile",
    "fill_in",
    "open_source",
]


def open_source(path: Path | str) -> FrameSource:
    """Open a folder of images or a video file.

    Raises:
        InputError: nothing is there, or it is neither; the text names the path and says what to do.
    """
    path = Path(path)
    if path.is_dir():
        return ImageFolder(path)
    if path.suffix.lower() in IMAGE_SUFFIXES:
        raise InputError(f"{path}: one image is no video; give the folder that holds all its frames")
    return VideoFile(path)
