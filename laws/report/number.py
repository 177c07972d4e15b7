"""Numbers as the report writes them."""

MISSING = "\u2013"
"""The cell of a missing value: an en dash."""


def signed(value: float, digits: int = 3) -> str:
    """Fixed point, with a true minus sign."""
    return f"{value:.{digits}f}".replace("-", "\u2212")


def span(ends: tuple[float, float]) -> str:
    """An interval of exponents."""
    return f"{signed(ends[0])} to {signed(ends[1])}"


def interval(ends: tuple[float, float]) -> str:
    """An interval of a positive value, to three significant digits."""
    return f"{ends[0]:.3g} to {ends[1]:.3g}"


def significant(value: float) -> str:
    """Four significant digits, with a true minus sign."""
    return f"{value:.4g}".replace("-", "\u2212")


def of_loss(value: float) -> str:
    """Four decimals; four significant digits where these are few."""
    return f"{value:.4f}" if value >= 0.1 else f"{value:.4g}"


def abbreviated(value: float) -> str:
    """250, 12k, 5.6M, 3B, 2T."""
    for size, letter in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.4g}{letter}"
    return f"{value:.4g}"


def duration(seconds: float) -> str:
    """12.3 s, 2 min 05 s, 1 h 30 min."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"
