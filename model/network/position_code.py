"""Where in the frame: key channels that let the memory read tell apart things that look alike."""

import math

import torch
from torch import Tensor, nn

_PERIODS = (120, 60, 30)  # stride-16 cells: the longest is twice the long side of a 480-line frame


class PositionCode(nn.Module):
    """Cosine and sine of both coordinates at three periods, each period with a learned amplitude a_f.

    To the squared key distance of two places d cells apart on an axis it adds the sum of
    2 a_f^2 (1 - cos(2 pi d / P_f)), which grows with small d and levels off: near places are preferred, far ones not
    forbidden.
    """

    channels = 4 * len(_PERIODS)

    def __init__(self) -> None:
        super().__init__()
        # 1.5: of 0, 1, 2, 4 added to an untrained-for network, 1 and 2 kept similar objects apart best.
        self.amplitude = nn.Parameter(torch.full((len(_PERIODS),), 1.5))

    def forward(self, height: int, width: int, corner: tuple[int, int] = (0, 0)) -> Tensor:
        """The code of a grid of cells whose first one is in row and column `corner`, (channels, height, width)."""
        device, dtype = self.amplitude.device, self.amplitude.dtype
        rate = 2 * math.pi / torch.tensor(_PERIODS, device=device, dtype=torch.float32)
        y = (corner[0] + torch.arange(height, device=device))[None, :, None] * rate[:, None, None]
        x = (corner[1] + torch.arange(width, device=device))[None, None, :] * rate[:, None, None]
        waves = [wave(angle).expand(-1, height, width) for angle in (y, x) for wave in (torch.cos, torch.sin)]
        return torch.cat([wave.to(dtype) * self.amplitude[:, None, None] for wave in waves])
