"""Parameters and FLOPs of a network, from its configuration alone.

There are two conventions. `exact` counts the forward pass and the gradient of every layer at its true size: a layer
over data has no input gradient, the carry that enters a window is data, and an embedding's gradient is one addition per
number looked up. It is the count of the reference path (tables are gathered, nothing is computed twice to save memory)
and within 5 % of XLA's count of `jax.value_and_grad` (`agents.xla`); the optimiser is left out. `paper` is that of
Tuyls et al. (arXiv 2307.09423): 6 N per sample, N the counted parameters, and for Atari networks three times the
forward count of `agents.atari.cnn`. A multiplication and an addition are two FLOPs.
"""

from dataclasses import dataclass
from typing import Literal, get_args

Convention = Literal["exact", "paper"]
CONVENTIONS: tuple[Convention, ...] = get_args(Convention)

EXACT_VERSION = 2
"""Version of `exact`. Version 1 counted every backward pass as two forward passes."""

PAPER_FACTOR = 3
"""Training FLOPs over forward FLOPs by `paper` (Kaplan et al., arXiv 2001.08361, section 2.1)."""


@dataclass(frozen=True)
class Part:
    """Parameters, and FLOPs per sample of the forward and the backward pass, of one or more layers."""

    params: int
    forward: int
    backward: int

    @property
    def train(self) -> int:
        """FLOPs per sample of training: both passes."""
        return self.forward + self.backward

    def __add__(self, other: "Part") -> "Part":
        return Part(self.params + other.params, self.forward + other.forward, self.backward + other.backward)

    def __mul__(self, times: int) -> "Part":
        return Part(self.params * times, self.forward * times, self.backward * times)


NOTHING = Part(0, 0, 0)


def of_data(operations: int) -> Part:
    """Operations on the observation, which have no gradient."""
    return Part(0, operations, 0)


def table(rows: int, width: int, reads: int = 0) -> Part:
    """An embedding of `rows` rows, looked up `reads` times per sample; its gradient is scattered by addition."""
    return Part(rows * width, reads, reads * width)


def norm(width: int, positions: int = 1, *, bias: bool = True) -> Part:
    """LayerNorm (7 and 13 FLOPs per feature) or, without bias, RMSNorm (4 and 9), at each of `positions`."""
    forward, backward = (7, 13) if bias else (4, 9)
    features = width * positions
    return Part(width * (2 if bias else 1), features * forward, features * backward)


def relu(features: int) -> Part:
    """A maximum; backward a comparison and a choice."""
    return Part(0, features, 2 * features)


def elu(features: int) -> Part:
    """Two comparisons and two choices; backward the same, a sum and a product. The exponential is not counted."""
    return Part(0, 4 * features, 6 * features)


def dense(inputs: int, outputs: int, *, bias: bool = True, data: bool = False) -> Part:
    """A linear layer, applied once per sample; `data`: its input is data, which needs no gradient."""
    weights, added = inputs * outputs, outputs if bias else 0
    return Part(weights + added, 2 * weights + added, 2 * weights * (1 if data else 2) + added)


def head(inputs: int, actions: int) -> Part:
    """The linear layer of the logits; training adds their cross-entropy, 4 FLOPs per action each way."""
    return dense(inputs, actions) + Part(0, 0, 8 * actions)


def conv(taps: int, kernel: int, inputs: int, outputs: int, positions: int, *, data: bool = False) -> Part:
    """A convolution with bias and `positions` outputs per channel; `data` as of `dense`.

    `taps` counts, over all output positions, the kernel positions that lie on the input.
    """
    products, added = 2 * taps * inputs * outputs, positions * outputs
    return Part((kernel * inputs + 1) * outputs, products + added, products * (1 if data else 2) + added)


def conv3x3(inputs: int, outputs: int, rows: int, columns: int, *, data: bool = False) -> Part:
    """A 3x3 convolution of stride 1 that keeps the size; taps on the padding are not counted."""
    return conv((3 * rows - 2) * (3 * columns - 2), 9, inputs, outputs, rows * columns, data=data)


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
        return sum(group.part.forward for group in self.groups)

    def train_flops(self, convention: Convention) -> int:
        """Training FLOPs per sample."""
        if convention == "paper":
            return PAPER_FACTOR * (2 * self.counted_params if self.paper_flops is None else self.paper_flops)
        return sum(group.part.train for group in self.groups)
