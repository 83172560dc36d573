"""Where frames come from: folders of images, video files and animations, read on demand.

Door: the package itself, `frame_source`, `own_pictures`, `read_ahead`, `stand_in_frames`, `video_file`.
Imports: `model`, `model.data`, `model.learning`, `model.program`.
"""

from pathlib import Path

from model.data.picture_files import PICTURE_SUFFIXES
from model.errors import InputError
from plugin.sources.animation import Animation, pictures_in
from plugin.sources.frame_source import FrameReader, FrameSource
from plugin.sources.image_folder import ImageFolder, image_files
from plugin.sources.read_ahead import ReadAhead
from plugin.sources.stand_in_frames import StandInFrames, fill_in
from plugin.sources.video_file import VideoFile

__all__ = [
    "Animation",
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
    """Open a folder of images, a video file, or an animation, by itself or alone in a folder.

    Raises:
        InputError: nothing is there, or it is none of these; the text names the path and says what to do.
    """
    path = Path(path)
    if path.is_dir():
        files = image_files(path)
        if len(files) == 1 and (pictures_in(files[0]) or 1) > 1:
            return Animation(files[0])
        return ImageFolder(path)
    count = pictures_in(path)
    if count == 1:
        raise InputError(f"{path}: one image is no video; give the folder that holds all its frames")
    if count is None and path.suffix.lower() in PICTURE_SUFFIXES and path.is_file():
        # FFmpeg would read what it understands of it as a video, and leave the other pictures out.
        raise InputError(f"{path}: the file is damaged or no picture; copy it again, or save its pictures as PNG files")
    return VideoFile(path) if count is None else Animation(path)
