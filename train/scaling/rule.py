"""The learning rate of a network of N parameters, where none is given: a power law of N, as OLMo-core has it.

Theirs is 0.0047 (N / 108e6)^(-1/3) (github.com/allenai/OLMo-core, `olmo_core.model_ladder`). Ours goes through the best
rates of the sweep in train/README.md: N from 13 thousand to 427 thousand, batches of 2,048 samples.
"""

COEFFICIENT, EXPONENT = 0.27, -0.27

RULE = f"{COEFFICIENT:g} N^{EXPONENT:g}"
"""The rule, as configurations and result rows state it."""


def peak_of(params: int) -> float:
    """Peak learning rate for N counted parameters, to three digits."""
    return float(f"{COEFFICIENT * params**EXPONENT:.3g}")
