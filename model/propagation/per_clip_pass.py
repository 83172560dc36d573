"""One pass over a span in one direction: clip by clip, against the memory (PCVOS 3.2 to 3.5)."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from model.consistency.pass_observer import PassObserver
from model.inference.clip_images import ClipImages
from model.inference.clip_segmentation import ClipSegmentation
from model.inference.object_cells import anywhere, object_cells
from model.inference.prepared_network import EncodedClip
from model.keyframe import Keyframe
from model.memory.memory import Memory
from model.memory.memory_thinning import worth_keeping
from model.memory.new_memory import new_memory
from model.network.decoder import DecoderInput
from model.network.soft_aggregation import layer_sums
from model.propagation.layers import Layers
from model.propagation.local_encoding import encode_around_objects
from model.propagation.prediction import Prediction, Predictions, pack, rounded, unpack
from model.propagation.run import Run
from model.propagation.timeline import Span

_SEEN = 0.1  # of an object's mask, anywhere in a cell


class Paused(Exception):  # noqa: N818, as it is no error
    """A pass may not go on now; carries the frames of the clip that would be next."""

    def __init__(self, indices: range):
        super().__init__()
        self.indices = indices


class _Segmented(NamedTuple):
    """A segmented clip.

    Attributes:
        keys: (T, tokens, key_dim).
        own: where these are the frame's own, bool (T, tokens); None: everywhere.
        f16: stride-16 features of the last frame, (1, C, h, w).
        image: the last frame, float32 (3, H, W).
        logits: float32 (T, K, H / 4, W / 4).
    """

    keys: Tensor
    own: Tensor | None
    f16: Tensor
    image: Tensor
    logits: Tensor


class PerClipPass:
    """Propagates the keyframes of a span forward (step 1) or backward (step -1).

    An object enters at a keyframe where it is present, with that keyframe and the next one that speaks for it (the
    other end of its stretch, if there is one) as permanent memory; it leaves at the next keyframe that speaks for it.
    """

    def __init__(self, run: Run, span: Span, layers: Layers, step: int):
        """Plans the pass over a span, step 1 forward or -1 backward; keeps its part of the run's record up to date."""
        self._run, self._layers = run, layers
        self._network, self._framing, self._options, self._frames = run.network, run.framing, run.options, run.frames
        self._record = run.record.of(span.first, step)
        self._recorded = self._record.reached
        self._step = step
        self._keyframes = {k.index: k for k in span.keyframes[::step]}  # in the order they are met
        self._range = range(span.first, span.last + 1)
        self._banks: list[Memory] = []
        self._room: list[DecoderInput] = []
        # Where each object is in the frame before, bool (h, w), if values carry masks.
        self._seen: dict[int, Tensor] = {}
        self._observer = PassObserver(run.framing)

    @property
    def _active(self) -> tuple[int, ...]:
        return tuple(sorted(o for bank in self._banks for o in bank.objects))

    @property
    def _active_layers(self) -> list[int]:
        return self._layers.places(self._active)

    def clips(self) -> Iterator[list[tuple[int, Predictions]]]:
        """Frame numbers with what is predicted of the objects that are propagated there, clip by clip as the pass goes.

        The first frame is the first keyframe. A clip is memorised only when the next one is asked for.
        """
        if not self._keyframes:
            return
        position = next(iter(self._keyframes))
        while position in self._range:
            indices = self._next_clip(position)
            last = indices[-1]
            position = last + self._step
            keyframe = self._keyframes.get(last)
            if not self._propagates(last):
                yield [(i, {}) for i in indices]
                if keyframe is not None:
                    self._enter(keyframe)
                continue
            recorded = self._recorded is not None and (last - self._recorded) * self._step <= 0
            known = recorded or all(i in self._run.finished for i in indices)
            if known:
                yield [(i, {}) for i in indices]
            else:
                if not self._run.admit(indices):
                    raise Paused(indices)
                images = ClipImages(self._framing, self._frames, indices)
                clip = self._segment(images, len(indices))
                evidence = self._observer.observe(
                    clip.keys, clip.own, clip.logits, self._active, images.picture, self._active_layers
                )
                del images  # its frames are not needed while the next clip is worked on
                predictions = [map(Prediction, *frame) for frame in zip(clip.logits, evidence)]
                clip_predictions = [dict(zip(self._active, frame)) for frame in predictions]
                yield list(zip(indices, clip_predictions))
                # Behind the yield: a clip whose results were not all taken is not recorded, and comes again.
                self._record.reached = last
                if self._record.resumable:
                    self._record.ends[last] = pack(clip_predictions[-1])
            if not (self._propagates(position) or (keyframe is not None and position in self._range)):
                continue
            if recorded:
                self._memorise_recorded(last, keyframe)
            elif known:
                self._memorise(last, keyframe, *self._recall(last))
            else:
                ended = rounded(clip.logits[-1]) if self._record.resumable else clip.logits[-1]
                masks = self._framing.memory_masks(ended, self._active_layers)
                self._memorise(last, keyframe, clip.image, clip.keys[-1], clip.f16, masks)
            if not recorded:
                self._record.memory = {bank.stretch: bank.frames for bank in self._banks}
                if self._record.resumable:
                    states = {bank.stretch: bank.state() for bank in self._banks}
                    self._record.states = {stretch: s for stretch, s in states.items() if s is not None}
                self._record.forget(self._keyframes)

    def _propagates(self, index: int) -> bool:
        """True if some active object must be segmented at a frame: no keyframe there speaks for all of them."""
        if index not in self._range:
            return False
        keyframe = self._keyframes.get(index)
        return not set(self._active) <= set(keyframe.objects if keyframe else ())

    def _next_clip(self, position: int) -> range:
        """Up to clip_length frames; a clip ends at a keyframe, or before one that speaks for all active objects."""
        indices = [position]
        while len(indices) < self._options.clip_frames and indices[-1] not in self._keyframes:
            following = indices[-1] + self._step
            if following not in self._range or (following in self._keyframes and not self._propagates(following)):
                break
            indices.append(following)
        return range(position, indices[-1] + self._step, self._step)

    def _image(self, index: int) -> Tensor:
        return self._framing.image(self._frames[index], index)

    def _segment(self, images: ClipImages, length: int) -> _Segmented:
        """Encode, read, refine, decode a clip of so many frames."""
        together = (self._options.progressive_interval or length) if self._network.in_pieces else length
        # In whole clips nothing is saved by keeping room for the next.
        room = self._room if self._network.in_pieces else None
        segmentation = ClipSegmentation(self._network, length, [] if room is None else room)
        keys: list[Tensor] = []
        own: list[Tensor] = []  # of pieces around objects only
        for start in range(0, length, together):
            part = range(start, min(start + together, length))
            if self._network.focuses:
                piece, readouts = self._piece_around_objects(images, part, last=part.stop == length)
            else:
                piece = self._network.encode_clip(map(images, part), room)
                readouts = {}
                for bank in self._banks:
                    readouts |= self._read(bank, piece.keys, last=part.stop == length)
            stacked = torch.stack([readouts[o] for o in self._active]).unflatten(2, self._framing.grid)
            segmentation.add(piece, stacked)
            keys.append(piece.keys)
            if piece.own is not None:
                own.append(piece.own)
        of_all = torch.cat(own) if own else None
        return _Segmented(torch.cat(keys), of_all, piece.last, images.last, segmentation.logits())

    def _piece_around_objects(
        self, images: ClipImages, part: range, last: bool
    ) -> tuple[EncodedClip, dict[int, Tensor]]:
        """A part of a clip, encoded and read where objects may be; `last` says that no more frames follow."""
        piece, reads = encode_around_objects(
            self._network, self._banks, images, part, self._framing.grid, self._seen, self._room
        )
        before = anywhere(self._seen.values())
        readouts: dict[int, Tensor] = {}
        for bank, read in zip(self._banks, reads):
            found = read.readouts(piece.keys, before)
            if not last:
                self._pass_on(bank, piece.keys[-1], found)
            readouts |= found
        self._seen = self._cells({o: readout[-1] for o, readout in readouts.items()})
        return piece, readouts

    def _read(self, bank: Memory, keys: Tensor, last: bool) -> dict[int, Tensor]:
        """Readouts (T, tokens, value_dim) of a bank's objects, with progressive matching (PCVOS 3.5).

        `last` says that no more frames of the clip follow.
        """
        length = len(keys)
        interval = self._options.progressive_interval or length
        parts = []
        for start in range(0, length, interval):
            part = keys[start : start + interval]
            readout = bank.read(part.flatten(0, 1))
            parts.append({o: value.unflatten(0, part.shape[:2]) for o, value in readout.items()})
            if start + interval < length or not last:
                self._pass_on(bank, part[-1], parts[-1])
        return {o: torch.cat([part[o] for part in parts]) for o in bank.objects}

    def _pass_on(self, bank: Memory, key: Tensor, readouts: dict[int, Tensor]) -> None:
        """Lets the frames to come read the last one of an interval: its key, and the interval's readouts."""
        values = {o: readout[-1] for o, readout in readouts.items()}
        bank.add_temporary(*self._thinned(key, values, self._cells(values)))

    def _recall(self, index: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """What `_memorise` needs of a finished frame: image, key, features and masks of the active objects."""
        image = self._image(index)
        masks = self._framing.drawn_masks(self._run.finished[index], self._active, self._active_layers)
        return image, *self._network.encode_image(image), masks

    def _memorise_recorded(self, index: int, keyframe: Keyframe | None) -> None:
        """Bring back what an earlier run memorised of a clip's last frame, if it is still in memory."""
        packed = self._record.ends.get(index)
        if packed is None:
            return
        predictions = unpack(packed)
        self._observer.resume({o: p.evidence for o, p in predictions.items()})
        logits = torch.stack([predictions[o].logits for o in self._active]).to(self._network.device)
        image = self._image(index)
        masks = self._framing.memory_masks(logits, self._active_layers)
        self._memorise(index, keyframe, image, *self._network.encode_image(image), masks)

    def _memorise(
        self, index: int, keyframe: Keyframe | None, image: Tensor, key: Tensor, f16: Tensor, masks: Tensor
    ) -> None:
        """Memorise a predicted frame; where it is a keyframe too, its masks replace what their layers have there.

        Args:
            index: frame number.
            keyframe: of this frame, if it is one.
            image: float32 (3, H, W), normalised and padded.
            key: float32 (tokens, key_dim).
            f16: stride-16 features (1, C, h, w).
            masks: soft masks (K, H, W) of the active objects, ascending by id.
        """
        objects = self._active
        if keyframe is not None:
            self._leave(keyframe)
            survivors = self._active
            above, below = self._layers.places(keyframe.objects), self._layers.places(survivors)
            drawn = self._framing.drawn_masks(keyframe.masks, keyframe.objects, above)
            kept = masks[[objects.index(o) for o in survivors]] * (1 - layer_sums(drawn, above, below))
            masks = self._framing.settled(torch.cat([kept, drawn]), below + above)
            objects = survivors + keyframe.objects
        values = dict(zip(objects, self._network.encode_value(image, f16, masks, self._layers.places(objects))))
        self._observer.pass_by(key)
        self._seen = self._cells(values)
        new = self._recorded is None or (index - self._recorded) * self._step > 0
        kept, kept_values = self._thinned(key, values, self._seen)
        for bank in self._banks:
            if new or self._record.remembers(bank.stretch, index):
                bank.add(index, kept, {o: kept_values[o] for o in bank.objects})
        if keyframe is not None:
            self._enter_with(keyframe, key, values, joins=True)

    def _cells(self, values: dict[int, Tensor]) -> dict[int, Tensor]:
        """Where each object is, bool (h, w), by its values (tokens, value_dim); empty if these do not carry masks."""
        if not self._network.carries_masks:
            return {}
        return {o: object_cells(value, self._framing.grid, _SEEN)[0] for o, value in values.items()}

    def _thinned(
        self, key: Tensor, values: dict[int, Tensor], seen: dict[int, Tensor]
    ) -> tuple[Tensor, dict[int, Tensor]]:
        """What the memory keeps of a predicted frame's key (tokens, key_dim) and values (tokens, value_dim)."""
        if not (self._options.thin_memory and self._network.carries_masks):
            return key, values
        kept = worth_keeping(anywhere(seen.values()))
        return key[kept], {o: value[kept] for o, value in values.items()}

    def _leave(self, keyframe: Keyframe) -> None:
        """Objects that the keyframe speaks for end here."""
        for bank in self._banks:
            bank.restrict(tuple(o for o in bank.objects if o not in keyframe.objects))
        self._banks = [bank for bank in self._banks if bank.objects]

    def _enter(self, keyframe: Keyframe) -> None:
        """Start the keyframe's objects where no other object goes on."""
        self._leave(keyframe)
        key, values = self._run.keyframe_memory.read(keyframe, self._layers)
        self._seen = self._cells(values)
        self._enter_with(keyframe, key, values)

    def _enter_with(self, keyframe: Keyframe, key: Tensor, values: dict[int, Tensor], joins: bool = False) -> None:
        """Start the keyframe's present objects, those with the same other end as one group.

        `joins` says that the frame was segmented, for the sake of other objects.
        """
        groups: dict[int | None, list[int]] = {}
        for o in keyframe.present:
            groups.setdefault(self._next_keyframe(o, keyframe.index), []).append(o)
        for end, objects in groups.items():
            bank = new_memory(
                self._network.config.memory,
                tuple(objects),
                keyframe.index,
                self._framing.tokens,
                self._options,
                end,
                joins,
            )
            bank.add_keyframe(key, values)
            if end is not None:
                bank.add_keyframe(*self._run.keyframe_memory.read(self._keyframes[end], self._layers))
            if self._recorded is not None and (state := self._record.states.get(bank.stretch)) is not None:
                bank.restore(state)
            self._banks.append(bank)
        if keyframe.present:
            masks = self._framing.masks(keyframe.masks, keyframe.present, self._layers.places(keyframe.present))
            picture = self._framing.at_network_size(np.asarray(self._frames[keyframe.index]))
            self._observer.enter(key, picture, masks, keyframe.present)

    def _next_keyframe(self, obj: int, index: int) -> int | None:
        """The next keyframe of the pass, behind a frame, that speaks for an object."""
        ahead = (i for i, k in self._keyframes.items() if (i - index) * self._step > 0 and obj in k.objects)
        return next(ahead, None)
