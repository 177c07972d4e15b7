"""FLOP and parameter accounting, from the configuration alone.

Two conventions, by name. `exact`: every matrix product and convolution at its true output size, attention
included. `paper`: 6 N per sample, N the counted parameters (Tuyls et al., arXiv 2307.09423).
A multiply and an add are two FLOPs. Training is forward plus backward, backward twice the forward
(Kaplan et al., arXiv 2001.08361, section 2.1).
"""

from dataclasses import dataclass
from typing import Literal, get_args

Convention = Literal["exact", "paper"]
CONVENTIONS: tuple[Convention, ...] = get_args(Convention)

TRAIN_FACTOR = 3
"""Training FLOPs over forward FLOPs: forward once, backward twice."""


@dataclass(frozen=True)
class Group:
    """One part of a network: its parameters, and forward FLOPs per sample."""

    name: str
    params: int
    forward_flops: float
    counted: bool
    """Whether its parameters belong to N."""


@dataclass(frozen=True)
class Cost:
    """What a network costs, by group."""

    groups: tuple[Group, ...]

    @property
    def params(self) -> int:
        """Every parameter."""
        return sum(group.params for group in self.groups)

    @property
    def counted_params(self) -> int:
        """N: the parameters that the laws count."""
        return sum(group.params for group in self.groups if group.counted)

    @property
    def forward_flops(self) -> float:
        """Forward FLOPs per sample, `exact`."""
        return sum(group.forward_flops for group in self.groups)

    def train_flops(self, convention: Convention) -> float:
        """Training FLOPs per sample."""
        if convention == "paper":
            return 2.0 * TRAIN_FACTOR * self.counted_params
        return TRAIN_FACTOR * self.forward_flops
