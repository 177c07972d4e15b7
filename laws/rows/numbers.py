"""Numbers as tables write them: thousands separators, decimal commas, magnitudes such as 125M, and missing values."""

import math
import re
from typing import Any

import numpy as np

MISSING = frozenset({"", "na", "n/a", "nan", "none", "null", "-", "--", "<na>", "nat", "?"})
"""What a missing value is written as, in lower case."""
MAGNITUDES = {"k": 1e3, "m": 1e6, "b": 1e9, "g": 1e9, "t": 1e12}
_GROUPED = re.compile(r"[+-]?\d{1,3}([,_' \u00a0\u202f]\d{3})+(\.\d+)?([eE][+-]?\d+)?")
_GROUPED_COMMA = re.compile(r"[+-]?\d{1,3}([._' \u00a0\u202f]\d{3})+(,\d+)?([eE][+-]?\d+)?")
_PLAIN = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_PLAIN_COMMA = re.compile(r"[+-]?(\d+,?\d*|,\d+)([eE][+-]?\d+)?")


def number_of(value: Any, *, decimal_comma: bool = False) -> float | int | None:
    """`value` as a number, which may be NaN or infinite; None for a missing one.

    Whole numbers are kept exactly. A magnitude after a number counts: 125M is 125,000,000 (k, M, B or G, T).

    Raises:
        ValueError: it isn't a number.
    """
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or (isinstance(value, int | float) and not isinstance(value, bool)):
        return value
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is not a number")
    text = value.strip().strip('"').strip()
    if text.casefold() in MISSING:
        return math.nan if text.casefold() == "nan" else None
    if text.casefold().lstrip("+-") in ("inf", "infinity"):
        return -math.inf if text.startswith("-") else math.inf
    scale = MAGNITUDES.get(text[-1].casefold(), 1.0)
    bare = text[:-1].strip() if scale != 1 else text
    grouped, plain = (_GROUPED_COMMA, _PLAIN_COMMA) if decimal_comma else (_GROUPED, _PLAIN)
    if plain.fullmatch(bare):
        bare = bare.replace(",", ".")
    elif grouped.fullmatch(bare):
        bare = re.sub(r"[._' \u00a0\u202f]" if decimal_comma else r"[,_' \u00a0\u202f]", "", bare).replace(",", ".")
    else:
        raise ValueError(f"{value!r} is not a number")
    if bare.lstrip("+-").isdecimal() and scale == 1:
        return int(bare)
    return float(bare) * scale
