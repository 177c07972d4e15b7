"""The learning rate of a network of N parameters, where none is given: a power law of N, as OLMo-core has it.

Theirs is 0.0047 (N / 108e6)^(-1/3) (github.com/allenai/OLMo-core, `olmo_core.model_ladder`). Ours go through the best
rates of the runs in train/README.md: of NetHack's LSTMs, N from 13 thousand to 427 thousand, batches of 2,048 samples;
of Atari's convolutional networks, N from 2.6 to 20 thousand, batches of 128.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Rule:
    """A power law of the peak learning rate in N."""

    coefficient: float
    exponent: float

    def peak(self, params: int) -> float:
        """Peak learning rate for N counted parameters, to three digits."""
        return float(f"{self.coefficient * params**self.exponent:.3g}")

    def __str__(self) -> str:
        """As configurations and result rows state it."""
        return f"{self.coefficient:g} N^{self.exponent:g}"


NETHACK, ATARI = Rule(0.38, -0.275), Rule(2.4, -0.57)


def rule_of(agent: str) -> Rule:
    """The rule for an agent of that name: Atari's for that family, else NetHack's."""
    return ATARI if agent.startswith("atari/") else NETHACK
