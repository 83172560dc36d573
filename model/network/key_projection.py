"""The convolution from image features to keys."""

from torch import Tensor, nn


class KeyProjection(nn.Module):
    """One convolution, under the name that public checkpoints have for it."""

    def __init__(self, in_dim: int, out_dim: int, kernel: int):
        super().__init__()
        self.key_proj = nn.Conv2d(in_dim, out_dim, kernel, padding=kernel // 2)

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_dim, h, w) -> (N, out_dim, h, w)."""
        return self.key_proj(x)
