"""Parameters and FLOPs of a network, from its configuration alone.

There are two conventions. `exact` counts every matrix product and convolution at its output size, attention,
normalisation, softmax, biases and gates; activations and one-hot encoding, at most 5 %, are left out. `paper` is that
of Tuyls et al. (arXiv 2307.09423): 6 N per sample, N the counted parameters, and for Atari networks the count of
`agents.atari.cnn`. A multiplication and an addition are two FLOPs. Training is one forward and one backward pass, the
latter twice the former (Kaplan et al., arXiv 2001.08361, section 2.1).
"""

from dataclasses import dataclass
from typing import Literal, get_args

Convention = Literal["exact", "paper"]
CONVENTIONS: tuple[Convention, ...] = get_args(Convention)

TRAIN_FACTOR = 3
"""Training FLOPs over forward FLOPs: the backward pass costs two forward passes."""


@dataclass(frozen=True)
class Part:
    """Parameters and forward FLOPs per sample of one or more layers."""

    params: int
    flops: int

    def __add__(self, other: "Part") -> "Part":
        return Part(self.params + other.params, self.flops + other.flops)

    def __mul__(self, times: int) -> "Part":
        return Part(self.params * times, self.flops * times)


NOTHING = Part(0, 0)


def table(rows: int, width: int, reads: int = 0) -> Part:
    """An embedding of `rows` rows, looked up `reads` times per sample at one operation each."""
    return Part(rows * width, reads)


def norm(width: int, positions: int = 1, *, bias: bool = True) -> Part:
    """LayerNorm (8 FLOPs per feature) or, without bias, RMSNorm (4), at each of `positions`."""
    return Part(width * (2 if bias else 1), width * positions * (8 if bias else 4))


def dense(inputs: int, outputs: int, *, bias: bool = True) -> Part:
    """A linear layer, applied once per sample."""
    added = outputs if bias else 0
    return Part(inputs * outputs + added, 2 * inputs * outputs + added)


def conv(taps: int, kernel: int, inputs: int, outputs: int) -> Part:
    """A convolution with bias; `taps` counts, over all output positions, the kernel positions that lie on the input."""
    return Part((kernel * inputs + 1) * outputs, 2 * taps * inputs * outputs)


def conv3x3(inputs: int, outputs: int, rows: int, columns: int) -> Part:
    """A 3x3 convolution of stride 1 that keeps the size; taps on the padding are not counted."""
    return conv((3 * rows - 2) * (3 * columns - 2), 9, inputs, outputs)


@dataclass(frozen=True)
class Group:
    """A named part of a network: an entry at the top level of its parameter tree."""

    name: str
    part: Part
    counted: bool
    """Whether its parameters belong to N."""


@dataclass(frozen=True)
class Cost:
    """Parameters and FLOPs of a network by group."""

    groups: tuple[Group, ...]
    paper_flops: int | None = None
    """Forward FLOPs per sample by `paper`; 2 N if None."""

    @property
    def params(self) -> int:
        """All parameters."""
        return sum(group.part.params for group in self.groups)

    @property
    def counted_params(self) -> int:
        """N, the counted parameters."""
        return sum(group.part.params for group in self.groups if group.counted)

    @property
    def forward_flops(self) -> int:
        """Forward FLOPs per sample by `exact`."""
        return sum(group.part.flops for group in self.groups)

    def train_flops(self, convention: Convention) -> int:
        """Training FLOPs per sample."""
        if convention == "paper":
            return TRAIN_FACTOR * (2 * self.counted_params if self.paper_flops is None else self.paper_flops)
        return TRAIN_FACTOR * self.forward_flops
