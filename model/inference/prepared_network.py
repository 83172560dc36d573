"""A network made ready to run: on its device, in its number format, in batches of the size that the device likes."""

import copy
import re
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from typing import NamedTuple

import torch
from torch import Tensor

from model.device.allocator import keep_freed_memory
from model.device.cpu_features import can_bfloat16, has_bfloat16
from model.device.device_memory import bound_device_memory
from model.device.primitive_cache import bound_kept_primitives
from model.errors import DeviceMemoryError, InputError
from model.inference.compiled_parts import compile_parts
from model.inference.fitted_framing import FittedFraming
from model.inference.focus import segment_regions
from model.inference.framing import Framing
from model.inference.region import Region
from model.inference.region_cover import batches
from model.network.activated_convolution import fuse_activations
from model.network.config import NetworkConfig
from model.network.decoder import DecoderInput
from model.network.quantised_convolution import can_quantise
from model.network.refinement import WINDOW
from model.network.segmentation_network import STRIDE, FrameFeatures, SegmentationNetwork
from model.options import PropagationOptions

# Images, or images times objects, in one call. On the CPU larger batches lose to page faults, whatever the clip length.
_MICRO_BATCH = {"cpu": 1, "cuda": 16}


def choose_device(name: str) -> torch.device:
    """The device of `PropagationOptions.device`; raises InputError where it does not exist."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if not re.fullmatch(r"cpu|cuda(:\d+)?", name):
        raise InputError(f"unknown device {name!r}; use auto, cpu, cuda or cuda:1")
    device = torch.device(name)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise InputError(f"device {name!r}: torch finds {torch.cuda.device_count()} GPUs here; use cpu or auto")
    return device


def choose_dtype(name: str, device: torch.device) -> torch.dtype:
    """The floating-point dtype of `PropagationOptions.dtype` on a device; raises InputError for one it cannot do."""
    if name == "float16" and device.type == "cpu":
        raise InputError('dtype "float16" is for GPUs: use "auto", which takes the fastest that this processor has')
    if name == "bfloat16" and device.type == "cpu" and not can_bfloat16():
        raise InputError(
            'dtype "bfloat16" is not for this processor, which has neither AVX-512 nor other instructions for it: use '
            '"auto", which takes the fastest that it has'
        )
    if name not in ("auto", "int8"):
        return getattr(torch, name)
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
    return torch.bfloat16 if device.type == "cpu" and has_bfloat16() else torch.float32


class EncodedClip(NamedTuple):
    """The encoded frames of a clip.

    Attributes:
        keys: of the memory's dtype, (T, tokens, key_dim).
        local_keys: (1, local_key_dim, T, h, w) for the refinement, or None.
        decoding: for each micro-batch, the image features that decoding needs.
        last: stride-16 features of the last frame, (1, C, h, w), for memorising it.
        own: positions whose features are the frame's own, not those of a frame nearby, bool (T, tokens); None: all.
    """

    keys: Tensor
    local_keys: Tensor | None
    decoding: list[DecoderInput]
    last: Tensor
    own: Tensor | None = None


class InferenceNetwork:
    """The engine's view of a network. Images are float32 (3, H, W), normalised and padded to multiples of 16."""

    def __init__(self, network: SegmentationNetwork, options: PropagationOptions):
        self.device = choose_device(options.device)
        self.dtype = choose_dtype(options.dtype, self.device)
        if self.device.type == "cpu":
            keep_freed_memory()
            bound_kept_primitives()
            if options.compile:
                raise InputError("compile=True is for GPUs: on a processor the network is as fast without")
        elif options.device_memory is not None:
            bound_device_memory(self.device, options.device_memory)
        network = copy.deepcopy(network).eval().requires_grad_(False)
        if not options.refinement:
            network.leave_out_refinement()
        if options.fold_batchnorm:
            network.fold_norms()
        layout = torch.channels_last if options.channels_last else torch.contiguous_format
        self._layout = layout
        try:
            # Torch's annotations lack the memory format.
            self._network = network.to(self.device, self.dtype, memory_format=layout)  # type: ignore[call-overload]
        except torch.OutOfMemoryError:
            raise DeviceMemoryError("the GPU's memory does not even hold the network: use the CPU") from None
        if self.device.type == "cpu" and options.fuse_activations:
            fuse_activations(self._network)
        self.quantised = self._may_quantise(options)
        if self.quantised:
            self._network.quantise()
        # A GPU likes few large pieces of work better than many small ones.
        self.focuses = options.focus and self._network.compact and self.device.type == "cpu"
        if options.compile:
            compile_parts(self._network, self.device)
        self._micro_batch = _MICRO_BATCH.get(self.device.type, 1)
        # Half the digits make the CPU's search several times faster, at no accuracy.
        self._key_dtype = self.dtype if self.device.type == "cpu" else torch.float32

    @property
    def config(self) -> NetworkConfig:
        """Of the network."""
        return self._network.config

    def framing(self, height: int, width: int, short_side: int | None, any_frame_size: bool = False) -> Framing:
        """How frames of a size in pixels are fitted to this network's strides."""
        # STM's and SWEM's public scripts shrink frames at most, and never enlarge them.
        if self.config.framing != "pad" and short_side is not None and min(height, width) <= short_side:
            short_side = None
        if self.config.framing == "fit":
            return FittedFraming(height, width, short_side, self.device, any_frame_size)
        pads_first = self.config.framing == "pad-first"
        return Framing(height, width, short_side, self.device, any_frame_size, pads_first)

    @property
    def number_format(self) -> str:
        """What the convolutions compute with: "int8" (most of the trunk), "bfloat16", "float16" or "float32"."""
        return "int8" if self.quantised else str(self.dtype).removeprefix("torch.")

    @property
    def size(self) -> int:
        """Bytes of its weights, about: those in 8-bit integers, which are few, do not count."""
        tensors = (*self._network.parameters(), *self._network.buffers())
        return sum(tensor.nbytes for tensor in tensors)

    @property
    def carries_masks(self) -> bool:
        """True if the last channels of values and readouts are a mask (`model.network.compact_value_encoder`)."""
        return self._network.compact

    def _may_quantise(self, options: PropagationOptions) -> bool:
        possible = self.device.type == "cpu" and self._network.compact and options.channels_last and can_quantise()
        if options.dtype == "int8" and not possible:
            raise InputError(
                'dtype "int8" is for perclip-lite, channels last, on a processor with instructions for it (VNNI): use '
                '"auto", which takes it where it can'
            )
        return possible and options.dtype in ("auto", "int8")

    @property
    def context(self) -> int:
        """Frames on each side of a frame that its refinement depends on, where the first of them has an even number."""
        # One block looks at pairs of frames; each further one reaches a pair farther at most.
        return WINDOW[0] * max(1, self._network.config.refinement_blocks - 1) if self._network.refines else 0

    @property
    def in_pieces(self) -> bool:
        """True where long clips are better worked on in pieces; a GPU likes them whole."""
        return self.device.type == "cpu"

    def encode_clip(self, images: Iterable[Tensor], room: list[DecoderInput] | None = None) -> EncodedClip:
        """Encodes T images, which are asked for as they are needed.

        Args:
            images: of a clip, or of a piece of it.
            room: image features that are not needed any more; what waits for the decoder takes their place. Blocks
                that live longer than a frame, between those of single frames, cut the heap into pieces.
        """
        keys: list[Tensor] = []
        local_keys: list[Tensor] = []  # of a network with refinement only
        decoding: list[DecoderInput] = []
        images = iter(images)
        while batch := list(islice(images, self._micro_batch)):
            for features in self._encode(batch):
                keys.append(self._flat(features.key))
                if features.local_key is not None:
                    local_keys.append(features.local_key)
                image = features.decoder_input
                decoding.append(image if room is None else _put(image, room))
        joined = torch.cat(local_keys).transpose(0, 1)[None] if local_keys else None
        return EncodedClip(torch.cat(keys), joined, decoding, features.pyramid.f16[-1:])

    def repeated(self, clip: EncodedClip, count: int, room: list[DecoderInput]) -> EncodedClip:
        """A single encoded frame, and so many more in front of it that take over all its features."""
        local_keys = clip.local_keys
        if local_keys is not None:
            local_keys = local_keys.permute(0, 2, 3, 4, 1).repeat(1, count + 1, 1, 1, 1).permute(0, 4, 1, 2, 3)
        decoding = [*(_put(clip.decoding[0], room) for _ in range(count)), *clip.decoding]
        keys = clip.keys.repeat(count + 1, 1, 1)
        own = torch.zeros(keys.shape[:2], dtype=torch.bool, device=keys.device)
        own[-1] = True
        return EncodedClip(keys, local_keys, decoding, clip.last, own)

    def encode_regions(
        self, clip: EncodedClip, frames: Sequence[int], image: Callable[[int], Tensor], regions: Sequence[Region]
    ) -> None:
        """Encodes regions of some frames of a clip, as if there were nothing around them, in place.

        Several go together, which 8-bit integers then share their steps.

        Args:
            clip: of frames that are a micro-batch each.
            frames: which of them; at least one.
            image: gives the image of a frame by its place in the clip.
            regions: in cells; at least one.
        """
        assert clip.own is not None
        grid = tuple(clip.decoding[0].thin.shape[2:])
        largest = max(region.cells for region in regions)
        for some in batches(frames, largest, grid[0] * grid[1]):
            for region, parts in zip(regions, self._parts(map(image, some), len(some), regions)):
                features = self._network.encode(parts, (region.top, region.left))
                for i, t in enumerate(some):
                    region.of(clip.own[t].view(grid))[:] = True
                    region.of(clip.keys[t].T.unflatten(1, grid)).copy_(features.key[i])
                    if clip.local_keys is not None and features.local_key is not None:
                        region.of(clip.local_keys[0, :, t]).copy_(features.local_key[i])
                    for kept, new, scale in zip(clip.decoding[t], features.decoder_input, (1, 2, 4)):
                        region.of(kept[0], scale).copy_(new[i])

    def _parts(self, images: Iterable[Tensor], count: int, regions: Sequence[Region]) -> list[Tensor]:
        """Network input of each region of cells, for so many images; of these one at a time is kept."""
        sizes = [(count, 3, STRIDE * (r.bottom - r.top), STRIDE * (r.right - r.left)) for r in regions]
        parts = [torch.empty(size, dtype=self.dtype, memory_format=self._layout) for size in sizes]
        for n, image in enumerate(images):
            for part, region in zip(parts, regions):
                part[n].copy_(region.of(image, STRIDE))
        return parts

    def _encode(self, images: list[Tensor]) -> list[FrameFeatures]:
        """The features of a batch, or of its halves if it is too large for the device."""
        try:
            return [self._network.encode(self._input(_batch(images)))]
        except torch.OutOfMemoryError:
            if len(images) == 1:
                raise
        self._take_smaller_batches(len(images))
        half = len(images) // 2
        return self._encode(images[:half]) + self._encode(images[half:])

    def _take_smaller_batches(self, count: int) -> None:
        """From now on, where so many images, or images times objects, were too many."""
        self._micro_batch = min(self._micro_batch, count // 2)
        torch.cuda.empty_cache()

    def encode_image(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """The key (tokens, key_dim) and stride-16 features (1, C, h, w) of an image that is not decoded."""
        (features,) = self._encode([image])
        return self._flat(features.key)[0], features.pyramid.f16

    def segment(
        self, local_keys: Tensor | None, images: Sequence[DecoderInput], readouts: Tensor, lead: int = 0
    ) -> Tensor:
        """Refines and decodes successive frames of a clip.

        Args:
            local_keys: of T frames, (1, local_key_dim, T, h, w), for the refinement; or None.
            images: of N of these frames, for each micro-batch.
            readouts: of K objects, (K, T, h, w, value_dim).
            lead: frames in front of those N that are there for the refinement only, as are those behind them.

        Returns:
            Logits at stride 4, float32 (N, K, 4h, 4w).
        """
        readouts = readouts.to(self.dtype).permute(0, 4, 1, 2, 3)  # some memories work in float32 whatever comes
        if self.focuses:
            return segment_regions(self._network, local_keys, images, readouts, lead)
        refined = self._network.refine(local_keys, readouts[None])[0].permute(2, 0, 1, 3, 4)
        logits, start = [], lead
        for image in images:
            part = refined[start : start + len(image.thin)]
            start += len(part)
            logits.append(self._decode(image, part))
        return torch.cat(logits)

    def _decode(self, image: DecoderInput, readouts: Tensor) -> Tensor:
        """Logits of a batch of frames and their readouts (N, K, value_dim, h, w)."""
        frames, count = readouts.shape[:2]
        together = min(count, max(1, self._micro_batch // frames))
        try:
            frame = self._network.prepare_decoding(image)
            return torch.cat([self._network.decode(frame, some).float() for some in readouts.split(together, 1)], 1)
        except torch.OutOfMemoryError:
            if frames == together == 1:
                raise
        self._take_smaller_batches(frames * together)
        if together > 1:
            return self._decode(image, readouts)
        half = frames // 2
        halves = (DecoderInput(*(x[part] for x in image)) for part in (slice(half), slice(half, None)))
        return torch.cat([self._decode(*each) for each in zip(halves, (readouts[:half], readouts[half:]))])

    def encode_value(
        self, image: Tensor, f16: Tensor, masks: Tensor, layers: Sequence[int] | None = None, drawn: bool = False
    ) -> Tensor:
        """What the memory gets of a frame.

        Args:
            image: of the frame.
            f16: its stride-16 features, (1, C, h, w).
            masks: of all objects, (K, rows, columns), as the framing's `drawn_masks` and `memory_masks` give them.
            layers: of the objects; None: all lie in one.
            drawn: all of them are a keyframe's.

        Returns:
            (K, tokens, C).
        """
        # What is compiled is compiled anew for each list of layers: one layer is none.
        several = None if layers is None or len(set(layers)) <= 1 else tuple(layers)
        values = self._network.encode_value(self._input(image[None]), f16, masks[None], several, drawn)
        return values[0].flatten(2).transpose(1, 2)

    def _flat(self, keys: Tensor) -> Tensor:
        """(N, C, h, w) -> (N, h w, C), contiguous: sums over keys depend, in their last bits, on how these lie."""
        return keys.to(self._key_dtype).flatten(2).transpose(1, 2).contiguous()

    def _input(self, images: Tensor) -> Tensor:
        return images.to(self.dtype, memory_format=self._layout)


def _put(image: DecoderInput, room: list[DecoderInput]) -> DecoderInput:
    """Copies features to a place in the room, or to a new one if there is none of their size."""
    fitting = (i for i, place in enumerate(room) if all(a.shape == b.shape for a, b in zip(place, image)))
    if (found := next(fitting, None)) is None:
        return DecoderInput(*map(torch.clone, image))
    place = room.pop(found)
    for kept, new in zip(place, image):
        kept.copy_(new)
    return place


def _batch(images: Sequence[Tensor]) -> Tensor:
    # Of a single image no copy is made.
    return images[0][None] if len(images) == 1 else torch.stack(list(images))
