"""SWEM's bases (CVPR 2022, 3.2): how they absorb a frame, by weighted expectation-maximisation, and how they are read.

Groups are in the order background, object, everywhere.
"""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

BASES = 128  # of each group
ITERATIONS = 4
TOP = 64  # bases of each group that the affinity features are made of
_TAU = 0.05
_PRIOR_WEIGHT = 1e-6  # of a base that has absorbed nothing
_CHUNK = 4096  # queries at once


class Bases(NamedTuple):
    """The bases of K objects, float32.

    Attributes:
        kappa: keys, (K, 2, J, key_dim), not of unit length.
        nu: values, (K, 2, J, value_dim).
        zeta: how much each has absorbed, (K, 2, J); it only grows.
    """

    kappa: Tensor
    nu: Tensor
    zeta: Tensor


def unit(x: Tensor) -> Tensor:
    """Vectors (..., C) at unit length."""
    return x / (x.norm(dim=-1, keepdim=True) + 1e-6)


def starting_keys(obj: int, key_dim: int, count: int = BASES) -> Tensor:
    """The keys that an object's bases start from, float32 (2, count, key_dim), of unit length.

    Normal numbers of numpy's `RandomState(0)`, whose stream is fixed for ever, read as (object, group, channel, base)
    and scaled to a variance of 2 / count: object 1 has the first part of it, object 2 the second. So that results
    depend on nothing but the object's id; the public code goes on with one stream from video to video.
    """
    random = np.random.RandomState(0)
    for _ in range(obj):
        draw = random.standard_normal((2, key_dim, count))
    kappa = torch.from_numpy((draw * (2 / count) ** 0.5).astype(np.float32))
    return unit(kappa.transpose(1, 2)).contiguous()


def empty_bases(kappa: Tensor, value_dim: int) -> Bases:
    """Bases that have absorbed nothing, by their keys (K, 2, J, key_dim)."""
    nu = kappa.new_zeros((*kappa.shape[:3], value_dim))
    return Bases(kappa, nu, kappa.new_full(kappa.shape[:3], _PRIOR_WEIGHT))


def absorb(prior: Bases, key: Tensor, value: Tensor, groups: Tensor, iterations: int = ITERATIONS) -> Bases:
    """The bases behind a frame: expectation-maximisation from the bases before it.

    In float64, which costs a hundredth of a frame's work: the keys' softmax is steep, and what float32 rounds off grows
    from frame to frame (probabilities of a small video strayed by 4.4e-4 in 6 frames, so by 0.8e-4).

    Args:
        prior: of K objects.
        key: of P positions, float32 (P, key_dim).
        value: of each object, float32 (K, P, value_dim).
        groups: how much each position belongs to each group, float32 (K, 2, P), 0..1.
        iterations: at least 1.

    Returns:
        The bases, float32.
    """
    prior = Bases(*(x.double() for x in prior))
    key, value, groups = key.double(), value.double(), groups.double()
    alike = unit(key)
    mass = prior.zeta[..., None]
    kappa, weight = prior.kappa, groups
    for i in range(iterations):
        if i:
            weight = groups * _other_share(alike, kappa)
        # E: the key is not normalised here, only the base.
        z = weight[..., None] * torch.softmax(key @ unit(kappa).transpose(-1, -2) / _TAU, -1)
        # M: always from the prior, never from the iteration before.
        zeta = prior.zeta + z.sum(-2)
        kappa = (mass * prior.kappa + z.transpose(-1, -2) @ key) / zeta[..., None]
    nu = (mass * prior.nu + z.transpose(-1, -2) @ value[:, None]) / zeta[..., None]
    return Bases(kappa.float(), nu.float(), zeta.float())


def _other_share(alike: Tensor, kappa: Tensor) -> Tensor:
    """W: how badly a group explains each position, by unit keys (P, key_dim): (K, 2, P).

    1 - P, where P is a group's share of the likelihood, is the other group's share. Taken as that it keeps its digits
    where P is nearly 1; as a difference it would lose all of them, and the division by zeta brings the error back.
    """
    likelihood = torch.logsumexp(alike @ unit(kappa).transpose(-1, -2) / _TAU, -1)
    return torch.softmax(likelihood, 1).flip(1)


def read_bases(queries: Tensor, banks: list[Bases], top: int = TOP) -> Tensor:
    """What queries (Q, key_dim), float32, read of the bases of K objects.

    Args:
        queries: keys of positions.
        banks: of the same objects; all are read together.
        top: bases of each group that the features are made of.

    Returns:
        (K, Q, value_dim + 2 top): the memory, and behind it the affinity features: the background's share of the
        likelihood of the 1, 2, ... `top` most similar bases of each group, and 1 minus these.
    """
    keys = torch.cat([unit(bank.kappa) for bank in banks], 2)  # (K, 2, J, key_dim)
    values = torch.cat([bank.nu for bank in banks], 2).flatten(1, 2)
    parts = []
    for q in queries.split(_CHUNK):
        affinity = unit(q) @ keys.transpose(-1, -2) / _TAU  # (K, 2, Q, J)
        all_of_them = affinity.transpose(1, 2).flatten(2)
        memory = torch.softmax(all_of_them, -1) @ values
        likelihood = torch.exp(affinity - all_of_them.amax(-1)[:, None, :, None])
        largest = likelihood.topk(top, -1).values.cumsum(-1)
        background = largest[:, 0] / (largest[:, 0] + largest[:, 1])
        parts.append(torch.cat([memory, background, 1 - background], -1))
    return torch.cat(parts, 1)
