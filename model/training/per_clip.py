"""One training pass: memorise the labelled frame, then segment clip after clip, memorising each one's last frame."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from model.memory.memory_read import affinity, key_bias, read_values
from model.network.fitted_options import fitted
from model.network.pcvos import PCVOS
from model.network.resnet import Pyramid
from model.network.segmentation_network import FrameFeatures
from model.options import PropagationOptions
from model.training.batch_layers import BatchLayers
from model.training.memory_faults import MemoryFaults

_NO_FAULTS = MemoryFaults(0, 0, 0)
_SURE = math.log(1e7)  # soft aggregation clamps probabilities to 1e-7 from 0 and 1


def segment_clips(
    network: PCVOS,
    images: Tensor,
    masks: Tensor,
    clip_frames: int,
    faults: MemoryFaults = _NO_FAULTS,
    random: torch.Generator | None = None,
    layers: BatchLayers | None = None,
    decoys: Tensor | None = None,
) -> Tensor:
    """Aggregated probabilities of all frames behind the first.

    Args:
        network: in train mode.
        images: normalised, (B, T, 3, H, W), T = 1 + clips * clip_frames.
        masks: of the first frame, 0..1, (B, K, H, W).
        clip_frames: frames of one clip.
        faults: of what is remembered behind the first frame.
        random: what faults are drawn from; None: torch's own.
        layers: which objects compete with each other; None: all of a sample.
        decoys: what may be remembered wrongly, bool (B, T, H, W); None: nothing.

    Returns:
        float32 (R, T - 1, K + 1, H, W), a row for each layer of each sample: without `layers` R is B.
    """
    batch, length = images.shape[:2]
    if layers is None:
        layers = BatchLayers.single(batch, masks.shape[1], masks.device)
    random = torch.default_generator if random is None else random
    # As many positions as where it propagates.
    top_k = fitted(PropagationOptions(), network.config).read_positions
    features = network.encode(images.flatten(0, 1))
    if faults.placeless:
        keys = features.key.unflatten(0, (batch, length))
        keys = faults.weaken_places(keys, network.config.position_dim, random)
        features = features._replace(key=keys.flatten(0, 1))

    def frames(first: int, last: int) -> FrameFeatures:
        """Features of frames first..last-1 of every sample, flattened (B * frames)."""

        def cut(x: Tensor) -> Tensor:
            return x.unflatten(0, (batch, length))[:, first:last].flatten(0, 1)

        local = None if features.local_key is None else cut(features.local_key)
        return FrameFeatures(Pyramid(*map(cut, features.pyramid)), cut(features.key), cut(features.thin), local)

    keys, values, outputs = [], [], []
    remembered = {0: masks}
    for start in range(1, length, clip_frames):
        for t, mask in remembered.items():
            memory = frames(t, t + 1)
            mask = mask.to(images.dtype)
            value = network.value_encoder(images[:, t], memory.pyramid.f16, mask, layers.others(mask))
            if faults.blurred:
                value = faults.blur_mask_channels(value, random)
            keys.append(memory.key.float().flatten(2).transpose(1, 2))
            values.append(value.float().flatten(3).transpose(2, 3))
        clip = frames(start, start + clip_frames)
        readout = _read(clip.key, torch.cat(keys, 1), torch.cat(values, 2), clip_frames, top_k)
        if clip.local_key is not None:
            local = clip.local_key.unflatten(0, (batch, clip_frames)).transpose(1, 2)
            readout = network.refine(local, readout)
        logits = network.decode(
            network.prepare_decoding(clip.decoder_input), readout.permute(0, 3, 1, 2, 4, 5).flatten(0, 1)
        )
        rows = layers.rows_of(logits.float().unflatten(0, (batch, clip_frames)), -_SURE)
        probabilities = _aggregate_logits(rows.flatten(0, 1)).unflatten(0, (len(rows), clip_frames))
        outputs.append(probabilities)
        clip_masks = layers.objects_of(probabilities[:, :, 1:])
        last, first = start + clip_frames - 1, start if faults.lasts(random) else start + clip_frames - 1
        beside = None if decoys is None else decoys[:, first : last + 1]
        spoiled = faults.spoil(clip_masks[:, first - start :], random, layers, beside)
        remembered = dict(zip(range(first, last + 1), spoiled.unbind(1)))
    return torch.cat(outputs, 1)


def _aggregate_logits(logits: Tensor) -> Tensor:
    """`aggregate(object_probabilities(logits))` in a third of the time: odds are exp(logit), so that it is a softmax.

    Logits (N, K, h, w) at stride 4 -> float32 (N, K + 1, 4h, 4w), background first.
    """
    logits = F.interpolate(logits, scale_factor=4, mode="bilinear", align_corners=False).clamp(-_SURE, _SURE)
    nothing = -F.softplus(logits).sum(1, keepdim=True)  # log of prod(1 - p_k)
    background = (nothing - torch.log(-torch.expm1(nothing))).clamp(-_SURE, _SURE)
    return torch.softmax(torch.cat([background, logits], 1), 1)


def _read(query: Tensor, keys: Tensor, values: Tensor, clip_frames: int, top_k: int) -> Tensor:
    """Queries (B T, C, h, w), keys (B, N, C), values (B, K, N, Cv) -> readouts (B, K, Cv, T, h, w)."""
    h, w = query.shape[2:]
    readouts = []
    for sample in range(len(keys)):
        q = query.unflatten(0, (len(keys), clip_frames))[sample].float().permute(0, 2, 3, 1).flatten(0, 2)
        # Autocast would compare the keys in bfloat16, whose steps are as large as the differences between neighbours.
        with torch.autocast(query.device.type, enabled=False):
            weights, positions = affinity(q, keys[sample], key_bias(keys[sample]), top_k)
        readouts.append(torch.stack([read_values(weights, positions, v) for v in values[sample]]))
    return torch.stack(readouts).unflatten(2, (clip_frames, h, w)).permute(0, 1, 5, 2, 3, 4)
