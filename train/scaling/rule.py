"""The learning rate of a network of N parameters, where none is given: a power law of N, as OLMo-core has it.

Batches of B samples, smaller than those of the fit, learn at (B / batch)^(1/3) of the rate: in batches of 256 NetHack's
LSTMs did as well on average at half the rate of 2,048, and their seeds differed less.

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
    batch: int
    """Samples of a batch to which it was fitted, the same for larger ones."""

    def peak(self, params: int, batch: int) -> float:
        """Peak learning rate for N counted parameters and batches of B samples, to three digits."""
        of_batch = min(1.0, batch / self.batch) ** (1 / 3)
        return float(f"{self.coefficient * params**self.exponent * of_batch:.3g}")

    def __str__(self) -> str:
        """As configurations and result rows state it."""
        return f"{self.coefficient:g} N^{self.exponent:g} min(1, B/{self.batch})^(1/3)"


NETHACK, ATARI = Rule(0.93, -0.32, 2048), Rule(2.4, -0.57, 128)


def rule_of(agent: str) -> Rule:
    """The rule for an agent of that name: Atari's for that family, else NetHack's."""
    return ATARI if agent.startswith("atari/") else NETHACK
