"""Intra-clip refinement: attention over the frames of a clip in shifted space-time windows (PCVOS 3.4).

The attention weights come from image keys alone, so they are computed once for all objects of a clip.
"""

from typing import NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

WINDOW = (2, 7, 7)  # time, height, width (PCVOS: 7 is best for its cost)

# Positions of windows that are worked on at once. On the CPU those of two frames stay in the cache: with PCVOS at 480p
# and clips of 25 frames the refinement takes 58 ms per frame instead of 78, and about 1 GB less.
_POSITIONS = {"cpu": 2**12}


_Size = tuple[int, int, int]  # time, height, width


class _Layout(NamedTuple):
    """How one clip is cut into windows: the (time, height, width) sizes of each step."""

    size: _Size
    padded: _Size
    window: _Size
    shift: _Size

    @classmethod
    def of(cls, size: _Size, shifted: bool) -> "_Layout":
        # An axis no longer than the window is one window of its own length, and is not shifted.
        window = tuple(min(w, s) for w, s in zip(WINDOW, size))
        shift = tuple(w // 2 if shifted and s > w else 0 for w, s in zip(WINDOW, size))
        padded = tuple(-(-s // w) * w for s, w in zip(size, window))
        return cls(size, cast(_Size, padded), cast(_Size, window), cast(_Size, shift))

    def partition(self, x: Tensor) -> Tensor:
        """(B, T, H, W, C) -> windows (B, windows, positions, C); padded with zeros at the end of each axis, rolled."""
        (t, h, w), (wt, wh, ww) = self.padded, self.window
        grow = [p - s for p, s in zip(self.padded, self.size)]
        x = F.pad(x, (0, 0, 0, grow[2], 0, grow[1], 0, grow[0]))
        if any(self.shift):
            x = torch.roll(x, [-s for s in self.shift], (1, 2, 3))
        x = x.view(x.shape[0], t // wt, wt, h // wh, wh, w // ww, ww, -1)
        return x.permute(0, 1, 3, 5, 2, 4, 6, 7).reshape(x.shape[0], -1, wt * wh * ww, x.shape[-1])

    def join(self, x: Tensor) -> Tensor:
        """The inverse of `partition`: (B, windows, positions, C) -> (B, T, H, W, C)."""
        (t, h, w), (wt, wh, ww) = self.padded, self.window
        x = x.view(x.shape[0], t // wt, h // wh, w // ww, wt, wh, ww, -1)
        x = x.permute(0, 1, 4, 2, 5, 3, 6, 7).reshape(x.shape[0], t, h, w, -1)
        if any(self.shift):
            x = torch.roll(x, self.shift, (1, 2, 3))
        return x[:, : self.size[0], : self.size[1], : self.size[2]]

    def rows(self, count: int) -> "_Layout":
        """The layout of some rows of windows along the time axis whose frames are in their rolled order already."""
        length = count * self.window[0]
        return _Layout((length, *self.size[1:]), (length, *self.padded[1:]), self.window, (0, *self.shift[1:]))

    def mask(self, like: Tensor) -> Tensor | None:
        """0 where two positions of a rolled window were neighbours before rolling, -100 elsewhere (Swin)."""
        if not any(self.shift):
            return None
        region = torch.zeros((1, *self.padded, 1), device=like.device)
        for axis, (length, window, shift) in enumerate(zip(self.padded, self.window, self.shift)):
            position = torch.arange(length, device=like.device)
            part = (
                (position >= length - window).float() + (position >= length - shift).float() if shift else position * 0
            )
            region += part.view([-1 if i == axis + 1 else 1 for i in range(5)]) * 3**axis
        # The regions are those of the rolled grid, so they are cut without rolling.
        windows = self._replace(size=self.padded, shift=(0, 0, 0)).partition(region)[0, :, :, 0]
        return torch.where(windows[:, :, None] == windows[:, None, :], 0.0, -100.0).to(like.dtype)


def _relative_position_index() -> Tensor:
    """Row of the bias table for each pair of positions in a window, (98, 98)."""
    coordinates = torch.stack(torch.meshgrid(*(torch.arange(w) for w in WINDOW), indexing="ij")).flatten(1)
    offset = coordinates[:, :, None] - coordinates[:, None, :]
    t, h, w = (offset[i] + WINDOW[i] - 1 for i in range(3))
    return (t * (2 * WINDOW[1] - 1) + h) * (2 * WINDOW[2] - 1) + w


class WindowAttention(nn.Module):
    """One-head attention inside windows; queries and keys are one and the same projection of the local key."""

    relative_position_index: Tensor

    def __init__(self, key_dim: int, value_dim: int):
        super().__init__()
        table = (2 * WINDOW[0] - 1) * (2 * WINDOW[1] - 1) * (2 * WINDOW[2] - 1)
        self.relative_position_bias_table = nn.Parameter(torch.zeros(table, 1))
        self.register_buffer("relative_position_index", _relative_position_index())
        self.qk = nn.Linear(key_dim, key_dim)
        self.v = nn.Linear(value_dim, value_dim)
        self.proj = nn.Linear(value_dim, value_dim)

    def weights(self, key: Tensor, mask: Tensor | None) -> Tensor:
        """Windows of keys (B, windows, N, key_dim), mask (windows, N, N) -> weights (B, windows, N, N)."""
        q = self.qk(key)
        n = key.shape[2]
        # Windows that shrank use the table's leading rows, as the public network does.
        bias = self.relative_position_bias_table[self.relative_position_index[:n, :n].reshape(-1), 0].view(n, n)
        scores = q @ q.transpose(-1, -2) * q.shape[-1] ** -0.5 + bias
        return torch.softmax(scores if mask is None else scores + mask, -1)


class _Mlp(nn.Module):
    def __init__(self, dim: int, hidden_dim: int):
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden_dim)
        self.fc2 = nn.Linear(hidden_dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(x)))


class RefinementBlock(nn.Module):
    """Attention and MLP, each with LayerNorm and residual, on the value stream."""

    def __init__(self, key_dim: int, value_dim: int, mlp_dim: int, shifted: bool):
        super().__init__()
        self.shifted = shifted
        self.norm1 = nn.LayerNorm(key_dim)
        self.norm1_v = nn.LayerNorm(value_dim)
        self.attn = WindowAttention(key_dim, value_dim)
        self.norm2 = nn.LayerNorm(value_dim)
        self.mlp = _Mlp(value_dim, mlp_dim)

    def forward(self, key: Tensor, value: Tensor) -> Tensor:
        """Local keys (B, T, H, W, key_dim) and values of K objects (B, K, T, H, W, value_dim) -> refined values."""
        layout = _Layout.of(cast(_Size, tuple(key.shape[1:4])), self.shifted)
        weights = self.attn.weights(layout.partition(self.norm1(key)), layout.mask(key))
        # One object and a few rows of windows at a time bound the memory.
        return torch.stack([self._refine(value[:, k], weights, layout) for k in range(value.shape[1])], 1)

    def _refine(self, value: Tensor, weights: Tensor, layout: _Layout) -> Tensor:
        """Values (B, T, H, W, value_dim) of an object, weights (B, windows, N, N) -> refined values."""
        length, (b, _, h, w, c) = layout.window[0], value.shape
        rows = layout.padded[0] // length
        together = max(1, _POSITIONS.get(value.device.type, 2**17) // (length * h * w))
        refined: dict[int, Tensor] = {}
        for start in range(0, rows, together):
            part = range(start, min(start + together, rows))
            # The frames of these windows; behind the last one comes padding, then the first, where windows are shifted.
            frames = [(i + layout.shift[0]) % layout.padded[0] for i in range(part.start * length, part.stop * length)]
            seen = [i for i in frames if i < value.shape[1]]
            v = value[:, seen]
            normed = self.norm1_v(v)
            if len(seen) < len(frames):
                nothing = normed.new_zeros(b, 1, h, w, c)
                each = dict(zip(seen, normed.split(1, 1)))
                normed = torch.cat([each.get(i, nothing) for i in frames], 1)
            cut = layout.rows(len(part))
            windows = weights.unflatten(1, (rows, -1))[:, part.start : part.stop].flatten(1, 2)
            attended = cut.join(self.attn.proj(windows @ self.attn.v(cut.partition(normed))))
            if len(seen) < len(frames):
                attended = attended[:, [frames.index(i) for i in seen]]
            v = v + attended
            v = v + self.mlp(self.norm2(v))
            refined |= zip(seen, v.split(1, 1))
        return torch.cat([refined[i] for i in range(value.shape[1])], 1)


class _Stack(nn.Module):
    def __init__(self, blocks: list[RefinementBlock]):
        super().__init__()
        self.blocks = nn.ModuleList(blocks)


class IntraClipRefinement(nn.Module):
    """Refines the readouts of a whole clip jointly; the result replaces the readouts."""

    def __init__(self, key_dim: int, value_dim: int, mlp_dim: int, blocks: int, final_norm: bool):
        super().__init__()
        stack = _Stack([RefinementBlock(key_dim, value_dim, mlp_dim, i % 2 == 1) for i in range(blocks)])
        self.layers = nn.ModuleList([stack])
        self.norm = nn.LayerNorm(value_dim) if final_norm else None

    @property
    def blocks(self) -> list[RefinementBlock]:
        """In the order of their work."""
        (stack,) = cast(list[_Stack], list(self.layers))
        return cast(list[RefinementBlock], list(stack.blocks))

    def forward(self, key: Tensor, value: Tensor) -> Tensor:
        """Local keys (B, key_dim, T, h, w) and readouts (B, K, value_dim, T, h, w) -> the readouts' shape."""
        key = key.permute(0, 2, 3, 4, 1)
        value = value.permute(0, 1, 3, 4, 5, 2)
        for block in self.blocks:
            value = block(key, value)
        if self.norm is not None:
            value = self.norm(value)
        return value.permute(0, 1, 5, 2, 3, 4)
