"""STM and SWEM written out, slowly, from their papers: no module of ours is used, the parameters alone.

Nothing is folded, shared or read in chunks; one object after the other, and every frame remembered is kept.
"""

from collections.abc import Mapping

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

Weights = Mapping[str, Tensor]
_MEAN, _STD = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])


def stm(w: Weights, frames: np.ndarray, first: np.ndarray) -> np.ndarray:
    """Probabilities (K + 1, T, H, W) of frames uint8 (T, H, W, 3) from a label map of the first one; objects 1..K."""
    count, (height, width) = int(first.max()), first.shape
    top, left = -height % 16 // 2, -width % 16 // 2
    border = left, -width % 16 - left, top, -height % 16 - top
    inside = slice(top, top + height), slice(left, left + width)
    masks = torch.stack([torch.from_numpy(first == k).float() for k in range(count + 1)])
    results, permanent = [masks], []
    for t in range(1, len(frames)):
        before = _normalised(F.pad(_rgb(frames[t - 1]), border))
        soft = F.pad(results[-1], border)[1:]
        latest = []
        for k in range(count):
            others = (soft.sum(0) - soft[k]).clamp(0, 1)
            x = _conv(w, "Encoder_M.conv1", before, 2, 3)
            x = x + _conv(w, "Encoder_M.conv1_m", soft[None, None, k], 2, 3)
            x = x + _conv(w, "Encoder_M.conv1_o", others[None, None], 2, 3)
            r4 = _stages(w, "Encoder_M", ("res2", "res3", "res4"), x)[-1]
            latest.append((_conv(w, "KV_M_r4.Key", r4), _conv(w, "KV_M_r4.Value", r4)))
        if (t - 1) % 5 == 0:
            permanent.append(latest)
            memory = permanent
        else:
            memory = [*permanent, latest]
        image = _normalised(F.pad(_rgb(frames[t]), border))
        r2, r3, r4 = _stages(w, "Encoder_Q", ("res2", "res3", "res4"), _conv(w, "Encoder_Q.conv1", image, 2, 3))
        query, value = _conv(w, "KV_Q_r4.Key", r4), _conv(w, "KV_Q_r4.Value", r4)
        alone = []
        for k in range(count):
            keys = torch.cat([frame[k][0].flatten(2)[0] for frame in memory], 1)
            values = torch.cat([frame[k][1].flatten(2)[0] for frame in memory], 1)
            weights = torch.softmax(keys.T @ query.flatten(2)[0] / 128**0.5, 0)
            readout = (values @ weights).view(1, 512, *query.shape[2:])
            x = _res(w, "Decoder.ResMM", _conv(w, "Decoder.convFM", torch.cat([readout, value], 1)))
            for name, skip in (("Decoder.RF3", r3), ("Decoder.RF2", r2)):
                skip = _res(w, f"{name}.ResFS", _conv(w, f"{name}.convFS", skip))
                x = _res(w, f"{name}.ResMM", skip + F.interpolate(x, scale_factor=2, mode="bilinear"))
            logits = F.interpolate(_conv(w, "Decoder.pred2", F.relu(x)), scale_factor=4, mode="bilinear")
            alone.append(torch.softmax(logits, 1)[0, 1])
        results.append(_aggregated(torch.stack(alone))[:, *inside])
    return torch.stack(results, 1).numpy()


def swem(w: Weights, frames: np.ndarray, drawn: Mapping[int, np.ndarray], start: np.ndarray) -> np.ndarray:
    """Probabilities (K + 1, T, H, W); `drawn` are label maps by frame, `start` the bases' keys, (K, 2, 128, 128).

    Objects are numbered as they appear.
    """
    height, width = drawn[0].shape
    inner = (height + 8) // 16 * 16, (width + 8) // 16 * 16
    grid = inner[0] // 16, inner[1] // 16
    first: list[tuple[Tensor, ...]] = []
    update: list[tuple[Tensor, ...] | None] = []
    results = []
    for t, frame in enumerate(frames):
        image = _normalised(F.interpolate(_rgb(frame), inner, mode="bicubic"))
        f4, f8, f16 = _stages(
            w, "key_encoder", ("res2", "layer2", "layer3"), _conv(w, "key_encoder.conv1", image, 2, 3)
        )
        key, thin = _conv(w, "key_proj.key_proj", f16), _conv(w, "key_comp", f16)
        positions = key.flatten(2)[0].T
        p = torch.ones(1, height, width)
        if first:
            alone = []
            for old, new in zip(first, update):
                readout = _swem_read(positions, [old] if new is None else [old, new])
                memory, features = readout.T.view(1, 640, *grid).split([512, 128], 1)
                x = torch.cat([memory, thin, features], 1)
                x = (
                    _conv(w, "swem_core.fusion_layer.layer_f", x)
                    * _conv(w, "swem_core.fusion_layer.layer_a", x).sigmoid()
                )
                x = _res(w, "decoder.compress", x)
                for name, skip in (("decoder.up_16_8", f8), ("decoder.up_8_4", f4)):
                    skip = _conv(w, f"{name}.skip_conv", skip)
                    x = _res(w, f"{name}.out_conv", skip + F.interpolate(x, skip.shape[2:], mode="bilinear"))
                x = F.interpolate(_conv(w, "decoder.pred", F.relu(x)), (height, width), mode="bilinear")
                alone.append(x.sigmoid()[0, 0])
            p = _aggregated(torch.stack(alone))
        if t in drawn:
            p = p * torch.from_numpy(drawn[t] == 0)
            p = torch.cat([p, *(torch.from_numpy(drawn[t] == k).float()[None] for k in np.unique(drawn[t])[1:])])
        results.append(p)
        soft = F.interpolate(p[None], inner, mode="nearest" if t == 0 else "bilinear")[0]
        winner = p.argmax(0)
        for k in range(1, len(p)):
            value = _swem_value(w, image, f16, soft[k], 1 - soft[k] - soft[0]).flatten(2)[0].T
            h = F.interpolate((winner == k).float()[None, None], grid, mode="nearest").flatten()
            s = F.interpolate((p if t == 0 else soft)[None, k : k + 1], grid, mode="bilinear").flatten()
            groups = torch.stack([(1 - h) * (1 - s), h * s])
            if k > len(first):
                kappa = _unit(torch.from_numpy(start[k - 1]).transpose(1, 2))
                empty = kappa, torch.zeros(2, 128, 512), torch.full((2, 128), 1e-6)
                first.append(_swem_absorb(empty, positions, value, groups))
                update.append(first[-1] if t else None)
            else:
                update[k - 1] = _swem_absorb(update[k - 1] or first[k - 1], positions, value, groups)
    return torch.stack([F.pad(p, (0, 0, 0, 0, 0, len(results[-1]) - len(p))) for p in results], 1).numpy()


def _swem_absorb(prior: tuple[Tensor, ...], x: Tensor, v: Tensor, groups: Tensor) -> tuple[Tensor, ...]:
    """Bases (kappa, nu, zeta), (2, 128, ...), behind positions x (P, 128) and v (P, 512) of groups (2, P)."""
    old_kappa, old_nu, old_zeta = prior
    kappa, weight = old_kappa, groups
    for i in range(4):
        if i:
            total = torch.exp(_unit(x) @ _unit(kappa).transpose(1, 2) / 0.05).double().sum(2)
            weight = groups * (total.flip(0) / total.sum(0)).float()
        z = weight[:, :, None] * torch.softmax(x @ _unit(kappa).transpose(1, 2) / 0.05, 2)
        zeta = old_zeta + z.sum(1)
        kappa = (old_zeta[:, :, None] * old_kappa + z.transpose(1, 2) @ x) / zeta[:, :, None]
    return kappa, (old_zeta[:, :, None] * old_nu + z.transpose(1, 2) @ v) / zeta[:, :, None], zeta


def _swem_read(x: Tensor, banks: list[tuple[Tensor, ...]]) -> Tensor:
    """Memory 512 and affinity features 128 of positions x (P, 128)."""
    affinity = [_unit(x) @ torch.cat([_unit(kappa[g]) for kappa, _, _ in banks]).T / 0.05 for g in (0, 1)]
    values = torch.cat([nu[g] for g in (0, 1) for _, nu, _ in banks])
    together = torch.cat(affinity, 1)
    best = together.amax(1, keepdim=True)
    background, own = (torch.exp(a - best).sort(1, descending=True).values[:, :64].cumsum(1) for a in affinity)
    share = background / (background + own)
    return torch.cat([torch.softmax(together, 1) @ values, share, 1 - share], 1)


def _swem_value(w: Weights, image: Tensor, f16: Tensor, mask: Tensor, others: Tensor) -> Tensor:
    x = torch.cat([image, mask[None, None], others[None, None]], 1)
    x = F.relu(_bn(w, "value_encoder.bn1", _conv(w, "value_encoder.conv1", x, 2, 3)))
    x = F.max_pool2d(x, 3, 2, 1)
    for layer, first_stride in (("layer1", 1), ("layer2", 2), ("layer3", 2)):
        for i in (0, 1):
            name, stride = f"value_encoder.{layer}.{i}", first_stride if i == 0 else 1
            y = F.relu(_bn(w, f"{name}.bn1", _conv(w, f"{name}.conv1", x, stride, 1)))
            y = _bn(w, f"{name}.bn2", _conv(w, f"{name}.conv2", y))
            x = F.relu(y + _shortcut(w, name, x, stride))
    x = _res(w, "value_encoder.fuser.block1", torch.cat([x, f16], 1))
    gates = "value_encoder.fuser.attention"

    def mlp(pooled: Tensor) -> Tensor:
        hidden = F.linear(pooled, w[f"{gates}.ChannelGate.mlp.1.weight"], w[f"{gates}.ChannelGate.mlp.1.bias"])
        return F.linear(F.relu(hidden), w[f"{gates}.ChannelGate.mlp.3.weight"], w[f"{gates}.ChannelGate.mlp.3.bias"])

    y = x * (mlp(x.mean((2, 3))) + mlp(x.amax((2, 3)))).sigmoid()[:, :, None, None]
    both = torch.cat([y.amax(1, keepdim=True), y.mean(1, keepdim=True)], 1)
    y = y * _conv(w, f"{gates}.SpatialGate.spatial.conv", both, 1, 3).sigmoid()
    return _res(w, "value_encoder.fuser.block2", x + y)


def _stages(w: Weights, encoder: str, names: tuple[str, ...], x: Tensor) -> list[Tensor]:
    """ResNet-50 behind its first convolution: strides 4, 8 and 16."""
    x = F.max_pool2d(F.relu(_bn(w, f"{encoder}.bn1", x)), 3, 2, 1)
    found = []
    for stage, blocks, first_stride in zip(names, (3, 4, 6), (1, 2, 2)):
        for i in range(blocks):
            name, stride = f"{encoder}.{stage}.{i}", first_stride if i == 0 else 1
            y = F.relu(_bn(w, f"{name}.bn1", _conv(w, f"{name}.conv1", x, 1, 0)))
            y = F.relu(_bn(w, f"{name}.bn2", _conv(w, f"{name}.conv2", y, stride, 1)))
            y = _bn(w, f"{name}.bn3", _conv(w, f"{name}.conv3", y, 1, 0))
            x = F.relu(y + _shortcut(w, name, x, stride))
        found.append(x)
    return found


def _shortcut(w: Weights, name: str, x: Tensor, stride: int) -> Tensor:
    if f"{name}.downsample.0.weight" not in w:
        return x
    return _bn(w, f"{name}.downsample.1", _conv(w, f"{name}.downsample.0", x, stride, 0))


def _res(w: Weights, name: str, x: Tensor) -> Tensor:
    y = _conv(w, f"{name}.conv2", F.relu(_conv(w, f"{name}.conv1", F.relu(x))))
    return y + (_conv(w, f"{name}.downsample", x) if f"{name}.downsample.weight" in w else x)


def _conv(w: Weights, name: str, x: Tensor, stride: int = 1, padding: int = 1) -> Tensor:
    return F.conv2d(x, w[f"{name}.weight"], w.get(f"{name}.bias"), stride, padding)


def _bn(w: Weights, name: str, x: Tensor) -> Tensor:
    mean, var = w[f"{name}.running_mean"], w[f"{name}.running_var"]
    return F.batch_norm(x, mean, var, w[f"{name}.weight"], w[f"{name}.bias"], eps=1e-5)


def _unit(x: Tensor) -> Tensor:
    return x / (x.norm(dim=-1, keepdim=True) + 1e-6)


def _rgb(frame: np.ndarray) -> Tensor:
    return torch.from_numpy(frame).permute(2, 0, 1)[None].float() / 255


def _normalised(x: Tensor) -> Tensor:
    return (x - _MEAN[:, None, None]) / _STD[:, None, None]


def _aggregated(p: Tensor) -> Tensor:
    p = torch.cat([(1 - p).prod(0, keepdim=True), p]).clamp(1e-7, 1 - 1e-7)
    return torch.softmax(torch.log(p / (1 - p)), 0)
