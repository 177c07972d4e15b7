"""FLOP and parameter accounting, from the configuration alone.

Two conventions, by name. `exact`: every matrix product and convolution at its true output size, attention,
normalisation, softmax, biases and gates included; activations and one-hot coding are left out (at most 5 %).
`paper`: 6 N per sample, N the counted parameters (Tuyls et al., arXiv 2307.09423); of its Atari networks, which see
each weight many times, what `agents.atari.cnn` says.
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
class Part:
    """Parameters, and forward FLOPs per sample, of one or more layers; parts add up."""

    params: int
    flops: int

    def __add__(self, other: "Part") -> "Part":
        return Part(self.params + other.params, self.flops + other.flops)

    def __mul__(self, times: int) -> "Part":
        return Part(self.params * times, self.flops * times)


NOTHING = Part(0, 0)


def table(rows: int, width: int, reads: int = 0) -> Part:
    """Embedding table, read by index `reads` times a sample: one operation each to find the row."""
    return Part(rows * width, reads)


def norm(width: int, positions: int = 1, *, bias: bool = True) -> Part:
    """LayerNorm (mean, variance, scale, bias: 8 FLOPs a unit) or RMSNorm (scale: 4), at each of `positions`."""
    return Part(width * (2 if bias else 1), width * positions * (8 if bias else 4))


def dense(inputs: int, outputs: int, *, bias: bool = True) -> Part:
    """One matrix product per sample, and its bias."""
    added = outputs if bias else 0
    return Part(inputs * outputs + added, 2 * inputs * outputs + added)


def conv(taps: int, kernel: int, inputs: int, outputs: int) -> Part:
    """One convolution with bias: `taps` kernel positions that meet the input, over all output positions."""
    return Part((kernel * inputs + 1) * outputs, 2 * taps * inputs * outputs)


def conv3x3(inputs: int, outputs: int, rows: int, columns: int) -> Part:
    """A 3x3 convolution of stride 1 that keeps the size; taps on the zeros beyond the edge are not work."""
    return conv((3 * rows - 2) * (3 * columns - 2), 9, inputs, outputs)


@dataclass(frozen=True)
class Group:
    """One named part of a network."""

    name: str
    part: Part
    counted: bool
    """Whether its parameters belong to N."""


@dataclass(frozen=True)
class Cost:
    """What a network costs, by group; the groups are the top level of its parameter tree."""

    groups: tuple[Group, ...]
    paper_flops: int | None = None
    """Forward FLOPs per sample, `paper`; 2 N where None."""

    @property
    def params(self) -> int:
        """Every parameter."""
        return sum(group.part.params for group in self.groups)

    @property
    def counted_params(self) -> int:
        """N: the parameters that the laws count."""
        return sum(group.part.params for group in self.groups if group.counted)

    @property
    def forward_flops(self) -> int:
        """Forward FLOPs per sample, `exact`."""
        return sum(group.part.flops for group in self.groups)

    def train_flops(self, convention: Convention) -> int:
        """Training FLOPs per sample."""
        if convention == "paper":
            return TRAIN_FACTOR * (2 * self.counted_params if self.paper_flops is None else self.paper_flops)
        return TRAIN_FACTOR * self.forward_flops
