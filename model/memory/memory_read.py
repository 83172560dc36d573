"""The memory read: top-k softmax attention by negative squared distance (STCN, PCVOS 3.2), read sparsely."""

import torch
import torch.nn.functional as F
from torch import Tensor

# Queries whose similarities are held at once. On the CPU a small block stays in the cache; on a GPU it bounds memory.
_CHUNK = {"cpu": 128, "cuda": 4096}
_GRAIN = 64  # their number is rounded up to multiples, so that oneDNN, which keeps something for each size, meets few

_GROUP, _LARGE_GROUP = 8, 16  # memory positions whose largest similarity is looked at first
_LEAST_GROUPS = 10  # per position to read; with fewer, the detour costs more than it saves
_MANY_GROUPS = 64  # per position to read; with fewer, torch's `topk` takes another algorithm, which is slower here


def affinity(query: Tensor, keys: Tensor, bias: Tensor, top_k: int) -> tuple[Tensor, Tensor]:
    """The positions of the memory that each query reads, and with what weight.

    Similarity is (2 k.q - |k|^2) / sqrt(C), the negative squared distance up to a term that all memory positions share;
    the softmax runs over the `top_k` most similar positions.

    Args:
        query: (Q, C).
        keys: (N, C) of the same dtype, float32 or bfloat16.
        bias: (N,) of the same dtype, `key_bias(keys)`; minus infinity for what shall not be read.
        top_k: positions to read; all N where there are fewer.

    Returns:
        weights float32 (Q, k), sum 1 over k; positions int64 (Q, k) into the memory.
    """
    k = min(top_k, keys.shape[0])
    scale = 2 * query.shape[1] ** -0.5
    weights, positions = [], []
    for part in F.pad(query, (0, 0, 0, -len(query) % _GRAIN)).split(_CHUNK.get(query.device.type, 1024)):
        similarity = torch.addmm(bias, part, keys.T, alpha=scale)
        best, where = _largest(similarity, k)
        weights.append(torch.softmax(best.float(), 1))
        positions.append(where)
    return torch.cat(weights)[: len(query)], torch.cat(positions)[: len(query)]


def _largest(similarity: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """`topk` along the rows, unsorted: (Q, N) -> values and positions (Q, k).

    The k largest lie in the k groups whose maxima are largest, so that the slow search need only look at maxima and at
    those groups. Two CPU cores, bfloat16, 128 queries, k of 20: 0.8 ms instead of 1.4 with 9,720 positions (1.2 with
    small groups), 1.1 instead of 1.8 with 19,440, 2.3 instead of 5.1 with 64,800.
    """
    n = similarity.shape[1]
    group = _GROUP if n >= _GROUP * _MANY_GROUPS * k else _LARGE_GROUP
    groups = n // group
    if groups < _LEAST_GROUPS * k:
        return similarity.topk(k, dim=1, sorted=False)
    # Group j holds the positions j, j + groups, ...: maxima of neighbouring columns are taken by vector instructions.
    maxima = similarity[:, : groups * group].unflatten(1, (group, groups)).amax(1)
    chosen = maxima.topk(k, dim=1, sorted=False).indices
    offsets = torch.arange(0, groups * group, groups, device=similarity.device)
    rest = torch.arange(groups * group, n, device=similarity.device).expand(len(similarity), -1)
    candidates = torch.cat([(chosen[:, :, None] + offsets).flatten(1), rest], 1)
    best, where = similarity.gather(1, candidates).topk(k, dim=1, sorted=False)
    return best, candidates.gather(1, where)


def key_bias(keys: Tensor) -> Tensor:
    """-|k|^2 / sqrt(C) of each key, (N, C) -> (N,) of the same dtype."""
    return (keys.float().square().sum(1) * -(keys.shape[1] ** -0.5)).to(keys.dtype)


def read_values(weights: Tensor, positions: Tensor, values: Tensor) -> Tensor:
    """Weighted sum of the read positions' values: (Q, k), (Q, k) and values (N, C) -> (Q, C) of the values' dtype."""
    return F.embedding_bag(positions, values, per_sample_weights=weights.to(values.dtype), mode="sum")
