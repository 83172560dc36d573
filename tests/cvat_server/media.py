"""Chunks as CVAT serves them: zips of images, or mp4 for video tasks."""

import io
import zipfile
from collections.abc import Sequence

import av
import numpy as np
from PIL import Image


def zip_chunk(frames: Sequence[np.ndarray], quality: str) -> bytes:
    """Original: PNG, as the file was uploaded; compressed: JPEG."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for place, frame in enumerate(frames):
            content = io.BytesIO()
            if quality == "original":
                Image.fromarray(frame).save(content, "PNG", compress_level=1)
                archive.writestr(f"{place:06d}.png", content.getvalue())
            else:
                Image.fromarray(frame).save(content, "JPEG", quality=70)
                archive.writestr(f"{place:06d}.jpeg", content.getvalue())
    return file.getvalue()


def mp4_chunk(frames: Sequence[np.ndarray], quality: str) -> bytes:
    """H.264 of even size: odd frames come a pixel larger, compressed ones of 1080 lines and more halved."""
    height, width = frames[0].shape[:2]
    if quality == "compressed" and height >= 1080:
        frames = [frame[::2, ::2] for frame in frames]
        height, width = frames[0].shape[:2]
    pad = ((0, height % 2), (0, width % 2), (0, 0))
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=25, options={"crf": "12", "preset": "ultrafast"})
        stream.height, stream.width, stream.pix_fmt = height + height % 2, width + width % 2, "yuv420p"
        for frame in frames:
            picture = av.VideoFrame.from_ndarray(np.pad(frame, pad, mode="edge"), format="rgb24")
            container.mux(stream.encode(picture))
        container.mux(stream.encode())
    return file.getvalue()
