"""What the networks for Gymnasium environments cost, from the configuration alone.

Every field of the observation that is not the image is flattened; numbers are compressed by symlog (Hafner et al.,
arXiv 2301.04104), bytes scaled to [0, 1]. Over the image go three convolutions of 3 x 3 and stride 2 with w, 2w and 2w
channels; then, as over the rest, linear layers.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from agents.cost import Cost, Group, Part, conv, dense, head, of_data, relu
from agents.overrides import require
from data.spec import Field

CHANNELS = (1, 2, 2)
"""Of each convolution, over w."""
KERNEL, STRIDE = 3, 2

Fields = tuple[tuple[str, Field], ...]
"""The observation: names and fields, hashable."""


def image_of(observation: Mapping[str, Field]) -> str | None:
    """The name of the only field with axes of rows, columns and channels; None if none or several have them."""
    images = [name for name, field in observation.items() if len(field.shape) == 3]
    return images[0] if len(images) == 1 else None


@dataclass(frozen=True)
class MLP:
    """A multilayer perceptron over all fields, flattened."""

    width: int
    """Units of each hidden layer."""
    actions: int
    fields: Fields
    depth: int = 2
    """Hidden layers."""

    kind = "mlp"
    image = None

    def __post_init__(self) -> None:
        """Raise `UserError` if a size is out of range."""
        require(self, width=1, depth=1)

    @property
    def inputs(self) -> int:
        """Numbers observed."""
        return sum(math.prod(field.shape) for _, field in self.fields)

    def cost(self) -> Cost:
        """Parameters and FLOPs per sample."""
        widths = (self.inputs, *(self.width for _ in range(self.depth)))
        parts = [dense(*widths[n : n + 2], data=n == 0) + relu(self.width) for n in range(self.depth)]
        parts[0] += scaling(self.fields)
        groups = [Group(f"hidden{number}", part, True) for number, part in enumerate(parts)]
        return Cost((*groups, Group("head", head(self.width, self.actions), True)))


@dataclass(frozen=True)
class CNN:
    """Convolutions over the image, one hidden layer over their output and all other fields."""

    width: int
    """w, the channels of the first convolution; the hidden layer has 16 w units."""
    actions: int
    fields: Fields

    kind = "cnn"
    depth = len(CHANNELS)

    def __post_init__(self) -> None:
        """Raise `UserError` if a size is out of range."""
        require(self, width=1)

    @property
    def hidden(self) -> int:
        """Units of the hidden layer."""
        return 16 * self.width

    @property
    def image(self) -> str:
        """Name of the field over which the convolutions go."""
        name = image_of(dict(self.fields))
        assert name is not None, "the ladder has no such network without an image"
        return name

    def cost(self) -> Cost:
        """Parameters and FLOPs per sample; taps on the zeros beyond an edge are not work."""
        rows, columns, channels = dict(self.fields)[self.image].shape
        groups, others = [], tuple((name, field) for name, field in self.fields if name != self.image)
        for number, times in enumerate(CHANNELS):
            taps = _taps(rows) * _taps(columns)
            rows, columns = -(-rows // STRIDE), -(-columns // STRIDE)
            outputs, positions = times * self.width, rows * columns
            part = conv(taps, KERNEL**2, channels, outputs, positions, data=number == 0) + relu(outputs * positions)
            groups.append(Group(f"conv{number}", part, True))
            channels = outputs
        features = rows * columns * channels + sum(math.prod(field.shape) for _, field in others)
        hidden = dense(features, self.hidden) + relu(self.hidden) + scaling(self.fields)
        return Cost((*groups, Group("hidden0", hidden, True), Group("head", head(self.hidden, self.actions), True)))


def scaling(fields: Fields) -> Part:
    """To scale the observation: bytes are converted and divided, other numbers compressed by symlog."""
    return of_data(sum(math.prod(field.shape) * (2 if field.dtype == "uint8" else 3) for _, field in fields))


def _taps(size: int) -> int:
    """Along one axis, pairs of an output and a tap of its kernel that meet the input, padded as SAME."""
    outputs = -(-size // STRIDE)
    before = max((outputs - 1) * STRIDE + KERNEL - size, 0) // 2
    starts = [STRIDE * output - before for output in range(outputs)]
    return sum(min(start + KERNEL, size) - max(start, 0) for start in starts)
