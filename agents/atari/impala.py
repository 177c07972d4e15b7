"""A residual network for Atari, IMPALA's (Espeholt et al., arXiv 1802.01561, figure 3) without its hidden layer.

Three sections of w, 2w and 2w channels, each a convolution, a 3x3 max-pool of stride 2 and two residual blocks of two
convolutions, all 3x3 and of stride 1; then one linear layer. This module needs no JAX; the Flax module is in
`agents.atari.agent`.
"""

from dataclasses import dataclass

from agents.atari.cnn import PIXELS
from agents.cost import NOTHING, Cost, Group, Part, conv3x3, head, of_data, relu
from agents.overrides import require
from data.spec import FRAME_ROWS, STACK

WIDTHS = (1, 2, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96)

SECTIONS = (1, 2, 2)
"""Channels of each section over w."""


@dataclass(frozen=True)
class IMPALA:
    """Configuration of a network."""

    width: int
    """w, the channels of the first section."""
    actions: int
    blocks: int = 2
    """Residual blocks per section, of two convolutions each."""

    kind = "impala"

    def __post_init__(self) -> None:
        """Raise `UserError` if a size is out of range."""
        require(self, width=1, blocks=0)

    @property
    def depth(self) -> int:
        """Number of convolutions."""
        return len(SECTIONS) * (1 + 2 * self.blocks)

    @property
    def sides(self) -> tuple[int, ...]:
        """Rows (and columns) of the frames and of each section's output: 84, 42, 21, 11."""
        found = [FRAME_ROWS]
        for _ in SECTIONS:
            found.append(-(-found[-1] // 2))
        return tuple(found)

    @property
    def channels(self) -> tuple[int, ...]:
        """Channels of the frames and of each section's output."""
        return STACK, *(times * self.width for times in SECTIONS)

    def cost(self) -> Cost:
        """Parameters and FLOPs per sample; `paper` also counts kernel positions on the padding, and no biases."""
        groups, overcount = [], 0
        for number in range(len(SECTIONS)):
            inputs, outputs = self.channels[number : number + 2]
            before, after = self.sides[number : number + 2]
            features, data = outputs * after**2, number == 0
            section = conv3x3(inputs, outputs, before, before, data=data) + (of_data(PIXELS) if data else NOTHING)
            # A maximum of 9 numbers is 8 maxima of two; the gradient of each is 16 operations, which share it at a tie.
            pool = Part(0, 8 * features, 8 * 16 * features)
            residual = Part(0, features, features)
            blocks = ((relu(features) + conv3x3(outputs, outputs, after, after)) * 2 + residual) * self.blocks
            groups.append(Group(f"section{number}", section + pool + blocks, True))
            overcount += 2 * 9 * outputs * (inputs * before**2 + 2 * self.blocks * outputs * after**2)
        features = self.channels[-1] * self.sides[-1] ** 2
        groups.append(Group("head", relu(features) + head(features, self.actions), True))
        return Cost(tuple(groups), overcount + 2 * features * self.actions)
