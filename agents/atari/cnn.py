"""The paper's Atari network: three convolutions and one linear layer over four stacked frames.

Channels w, 2w and 2w, kernels 8, 4 and 3, strides 4, 2 and 1, no padding (Mnih et al. 2015, without its hidden linear
layer). The widths are those whose parameters Tuyls et al. (arXiv 2307.09423) published. This module needs no JAX; the
Flax module is in `agents.atari.agent`.
"""

from dataclasses import dataclass
from functools import cache

from agents.cost import Cost, Group, conv, head, of_data, relu
from agents.overrides import require
from data.spec import FRAME_COLUMNS, FRAME_ROWS, STACK

WIDTHS = (1, 3, 5, 8, 13, 23, 34, 50, 81, 117, 167, 266)
"""The paper's twelve values of w."""

LAYERS = ((1, 8, 4), (2, 4, 2), (2, 3, 1))
"""Channels over w, kernel size and stride of each convolution."""

PIXELS = STACK * FRAME_ROWS * FRAME_COLUMNS
"""Pixels of a sample; to make a number of one is an operation."""


@dataclass(frozen=True)
class CNN:
    """Configuration of a network."""

    width: int
    """w, the channels of the first convolution."""
    actions: int

    kind = "cnn"
    depth = len(LAYERS)
    """Number of convolutions."""

    def __post_init__(self) -> None:
        """Raise `UserError` if a size is out of range."""
        require(self, width=1)

    @property
    def sides(self) -> tuple[int, ...]:
        """Rows (and columns) of the frames and of each convolution's output: 84, 20, 9, 7."""
        found = [FRAME_ROWS]
        for _, kernel, stride in LAYERS:
            found.append((found[-1] - kernel) // stride + 1)
        return tuple(found)

    @property
    def channels(self) -> tuple[int, ...]:
        """Channels of the frames and of each convolution's output."""
        return STACK, *(times * self.width for times, _, _ in LAYERS)

    def cost(self) -> Cost:
        """Parameters and FLOPs per sample.

        `paper` counts a convolution at every position of its input instead of its output, up to 17 times too many (a
        stride of 4 leaves 20x20 of 84x84 positions), and no biases.
        """
        groups, overcount = [], 0
        channels, sides = self.channels, self.sides
        for number, (_, kernel, _) in enumerate(LAYERS):
            inputs, outputs = channels[number : number + 2]
            taps, positions, first = kernel**2, sides[number + 1] ** 2, number == 0
            part = conv(taps * positions, taps, inputs, outputs, positions, data=first) + relu(outputs * positions)
            groups.append(Group(f"conv{number}", part + of_data(PIXELS) if first else part, True))
            overcount += 2 * taps * inputs * outputs * sides[number] ** 2
        features = channels[-1] * sides[-1] ** 2
        groups.append(Group("head", head(features, self.actions), True))
        return Cost(tuple(groups), overcount + 2 * features * self.actions)


@cache
def of_params(params: int, most_actions: int = 18) -> CNN | None:
    """The paper's network with so many parameters; None if no width and number of actions gives that many."""
    networks = (CNN(width, actions) for width in WIDTHS for actions in range(2, most_actions + 1))
    return next((network for network in networks if network.cost().params == params), None)
