"""The learning rate of a network of N parameters, where none is given: a power law, fitted to sweeps.

The form is OLMo-core's, 0.0047 (N / 108e6)^(-1/3) (github.com/allenai/OLMo-core, `olmo_core.model_ladder`); the
constants are fitted to the sweeps in train/README.md, by `python -m laws rate`.
"""

COEFFICIENT, EXPONENT, REFERENCE = 0.0047, -1 / 3, 108e6

RULE = f"{COEFFICIENT:g} (N / {REFERENCE:.0e})^{EXPONENT:.3g}"
"""The rule, as configurations and result rows state it."""


def peak_of(params: int) -> float:
    """Peak learning rate for N counted parameters, to three digits."""
    return float(f"{COEFFICIENT * (params / REFERENCE) ** EXPONENT:.3g}")
