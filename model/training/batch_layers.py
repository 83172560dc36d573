"""Which objects of a batch compete for pixels: those of one layer of one sample; nested objects lie in layers apart."""

import torch
from torch import Tensor


class BatchLayers:
    """The layers of a batch of B samples of K objects, as R rows: one for each layer that a sample has.

    Attributes:
        samples: the sample of each row, int64 (R,).
        members: which objects compete in a row, bool (R, K).
    """

    def __init__(self, layers: Tensor):
        """Takes the layer of each object, int64 (B, K)."""
        pairs = [(b, layer) for b, row in enumerate(layers.tolist()) for layer in dict.fromkeys(row)]
        device = layers.device
        self.samples = torch.tensor([b for b, _ in pairs], device=device)
        self.members = layers[self.samples] == torch.tensor([[layer] for _, layer in pairs], device=device)
        self._alike = (layers[:, :, None] == layers[:, None, :]).float()
        self._plain = len(pairs) == len(layers)
        rows = {pair: r for r, pair in enumerate(pairs)}
        self._rows = torch.tensor(
            [[rows[b, layer] for layer in row] for b, row in enumerate(layers.tolist())], device=device
        )

    @classmethod
    def single(cls, samples: int, objects: int, device: torch.device) -> "BatchLayers":
        """All objects of a sample compete with each other."""
        return cls(torch.zeros(samples, objects, dtype=torch.int64, device=device))

    def alike(self, sample: int) -> Tensor:
        """Which objects of a sample lie in one layer, bool (K, K)."""
        return self._alike[sample] > 0

    def rows_of(self, values: Tensor, outside: float) -> Tensor:
        """Values of objects (B, T, K, ...) -> (R, T, K, ...), `outside` where one is not of the row's layer."""
        if self._plain:
            return values
        members = self.members.view(len(self.members), 1, -1, *[1] * (values.ndim - 3))
        return torch.where(members, values[self.samples], outside)

    def objects_of(self, rows: Tensor) -> Tensor:
        """Values of rows (R, T, K, H, W) -> of each object the one of its own row, (B, T, K, H, W)."""
        if self._plain:
            return rows
        places = torch.arange(self._rows.shape[1], device=rows.device)
        return rows[self._rows, :, places].transpose(1, 2)

    def others(self, masks: Tensor) -> Tensor:
        """The sum of the other masks of each object's layer, (B, K, H, W) of masks (B, K, H, W)."""
        if self._plain:
            return masks.sum(1, keepdim=True) - masks
        return torch.einsum("bjk,bkhw->bjhw", self._alike.to(masks.dtype), masks) - masks

    def classes(self, masks: Tensor) -> Tensor:
        """What each pixel of a row shows: 0 for none of its objects, else their number from 1 on.

        Masks of 0 and 1, (B, T, K, H, W) -> int64 (R, T, H, W).
        """
        numbers = torch.arange(1, masks.shape[2] + 1, device=masks.device).view(-1, 1, 1)
        return (self.rows_of(masks, 0.0) * numbers).amax(2).long()
