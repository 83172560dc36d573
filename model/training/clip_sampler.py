"""Training samples: one labelled frame and two clips, cut from a video, with another sequence's object pasted over."""

from dataclasses import dataclass

import cv2
import numpy as np

from model.annotated_sequences import AnnotatedSequence

_LEAST_AREA = 0.01  # of the crop: objects smaller than this in the first frame teach nothing


@dataclass(frozen=True)
class SampleShape:
    """Sizes of a sample: frames = 1 + clips * clip_frames (PCVOS: 7); square crops; up to `objects` objects."""

    clips: int = 2
    clip_frames: int = 3
    crop: int = 256
    objects: int = 2

    @property
    def frames(self) -> int:
        """Frames of one sample."""
        return 1 + self.clips * self.clip_frames


class ClipSampler:
    """Draws samples at random, reproducibly from its generator."""

    def __init__(self, sequences: list[AnnotatedSequence], shape: SampleShape, rng: np.random.Generator):
        self._sequences, self._shape, self._rng = sequences, shape, rng

    def draw(self, max_gap: int, paste: float = 0.6) -> tuple[np.ndarray, np.ndarray]:
        """One sample.

        Args:
            max_gap: largest distance between two clips in frames (inside a clip it is at most 5).
            paste: how often an object of another sequence is pasted over.

        Returns:
            frames uint8 (T, S, S, 3) and masks uint8 (T, K, S, S) of 0 and 1; unused objects are empty.
        """
        while True:
            frames, labels = self._cut(max_gap)
            if frames is None:
                continue
            ids = [i for i in np.unique(labels[0]) if i and (labels[0] == i).mean() > _LEAST_AREA]
            if not ids:
                continue
            self._rng.shuffle(ids)
            chosen = ids[: self._shape.objects]
            masks = np.zeros((len(frames), self._shape.objects, *labels.shape[1:]), np.uint8)
            for k, i in enumerate(chosen):
                masks[:, k] = labels == i
            if len(chosen) < self._shape.objects and self._rng.random() < paste:
                self._paste(frames, masks, len(chosen), max_gap)
            return self._recolour(frames), masks

    def _times(self, length: int, max_gap: int) -> np.ndarray:
        """Ascending or descending frame numbers with the gaps of the curriculum, fitted into the sequence."""
        steps = []
        for _ in range(self._shape.clips):
            steps.append(self._rng.integers(1, max_gap + 1))
            inner = self._rng.integers(1, 6)
            steps += [self._rng.integers(1, inner + 1) for _ in range(self._shape.clip_frames - 1)]
        offsets = np.concatenate([[0], np.cumsum(steps)])
        if offsets[-1] >= length:
            offsets = np.floor(offsets * (length - 1) / offsets[-1]).astype(int)
        times = offsets + self._rng.integers(0, length - offsets[-1])
        return times[::-1] if self._rng.random() < 0.5 else times

    def _cut(self, max_gap: int) -> tuple[np.ndarray | None, np.ndarray | None]:
        """A random crop around an object, the same place in all frames; None where it has no object."""
        sequence = self._sequences[self._rng.integers(len(self._sequences))]
        times = self._times(len(sequence.frames), max_gap)
        first = sequence.label_maps[times[0]]
        ys, xs = np.nonzero(first)
        if len(ys) == 0:
            return None, None
        height, width = first.shape
        size = self._shape.crop
        # Between the source's own scale and the enlargement that inference at 480 lines brings.
        side = int(min(height, width, size / self._rng.uniform(0.8, 1.6)))
        pick = self._rng.integers(len(ys))
        top = np.clip(ys[pick] - self._rng.integers(side // 4, side - side // 4), 0, height - side)
        left = np.clip(xs[pick] - self._rng.integers(side // 4, side - side // 4), 0, width - side)
        flip = self._rng.random() < 0.5
        frames, labels = [], []
        for t in times:
            frame = sequence.frames[t][top : top + side, left : left + side]
            label = sequence.label_maps[t][top : top + side, left : left + side]
            if flip:
                frame, label = frame[:, ::-1], label[:, ::-1]
            frames.append(cv2.resize(np.ascontiguousarray(frame), (size, size), interpolation=cv2.INTER_LINEAR))
            labels.append(cv2.resize(np.ascontiguousarray(label), (size, size), interpolation=cv2.INTER_NEAREST_EXACT))
        return np.stack(frames), np.stack(labels)

    def _paste(self, frames: np.ndarray, masks: np.ndarray, slot: int, max_gap: int) -> None:
        """Lays another sample's object over the frames, in place, drifting at random; it occludes what is there."""
        other, labels = self._cut(max_gap)
        if other is None:
            return
        ids = [i for i in np.unique(labels[0]) if i and (labels[0] == i).mean() > _LEAST_AREA]
        if not ids:
            return
        chosen = labels == self._rng.choice(ids)
        size = self._shape.crop
        scale = self._rng.uniform(0.5, 1.0)
        shift = self._rng.uniform(-0.35, 0.35, 2) * size
        drift = self._rng.uniform(-0.06, 0.06, 2) * size
        for t in range(len(frames)):
            dx, dy = shift + drift * t + (1 - scale) * size / 2
            warp = np.float32([[scale, 0, dx], [0, scale, dy]])
            moved = cv2.warpAffine(other[t], warp, (size, size))
            soft = cv2.warpAffine(chosen[t].astype(np.float32), warp, (size, size))
            frames[t] = (soft[..., None] * moved + (1 - soft[..., None]) * frames[t]).astype(np.uint8)
            hard = soft > 0.5
            masks[t, :slot] *= ~hard
            masks[t, slot] = hard

    def _recolour(self, frames: np.ndarray) -> np.ndarray:
        """Brightness, contrast and saturation: one draw for the sample, a little more per frame."""
        base = self._rng.uniform(0.75, 1.25, 3)
        out = np.empty_like(frames)
        for t, frame in enumerate(frames):
            brightness, contrast, saturation = base * self._rng.uniform(0.95, 1.05, 3)
            x = frame.astype(np.float32)
            grey = x.mean(2, keepdims=True)
            x = grey + (x - grey) * saturation
            x = (x - x.mean()) * contrast + x.mean() * brightness
            out[t] = np.clip(x, 0, 255).astype(np.uint8)
        return out
