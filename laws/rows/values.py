"""The value of a field of a result row, from that of a table's column."""

import dataclasses
import math
import typing
from collections.abc import Mapping
from typing import Any

from eval.results import ResultRow
from laws.rows.columns import CORE, LONGEST
from laws.rows.numbers import has_magnitude, number_of

LARGEST = 1e60
"""Greatest absolute value; the least is its inverse. Squares and products then stay finite."""
SIZES = ("flops", "params", "samples")
ROUNDING = 0.01
"""Relative change by which a size may be rounded to a whole number; more says that its unit is another."""
_BITS = 1000
"""Of integers that are certain to have a finite double."""
_SIGNED = ("return_mean", "seed", "init_seed", "data_seed")
_WHOLE = ("params", "samples")
_KINDS = typing.get_type_hints(ResultRow)
PLAIN: Mapping[str, type] = {
    each.name: next(
        kind for kind in (typing.get_args(_KINDS[each.name]) or (_KINDS[each.name],)) if kind is not type(None)
    )
    for each in dataclasses.fields(ResultRow)
}
"""The type of each field, without its None."""


class Unusable(Exception):
    """A value that can't be taken, in words."""


def value_of(name: str, value: Any, *, decimal_comma: bool = False, scale: float = 1.0) -> Any:
    """The value of field `name`: text, or a number times `scale`; None if it is missing.

    A number that a law is fitted to may be NaN or infinite, as its row is then left out.

    Raises:
        Unusable: it isn't one that the field can have.
    """
    if PLAIN[name] is str:
        missing = value is None or value == "" or (isinstance(value, float) and math.isnan(value))
        return None if missing or type(value).__name__ in ("NAType", "NaTType") else str(value)
    try:
        number = number_of(value, decimal_comma=decimal_comma)
    except ValueError as error:
        raise Unusable(f"is {_shown(value)}, not a number") from error
    if number is None:
        return None
    _check_double(number)
    if scale != 1 and not has_magnitude(value):
        number = number * scale
    if not math.isfinite(number):
        if name in CORE:
            return number
        if math.isnan(number):
            return None
        raise Unusable(f"is {number}")
    _check_range(name, number)
    if PLAIN[name] is float:
        return float(number)
    if name in _WHOLE:
        return _whole(name, number)
    if number != int(number):
        raise Unusable(f"is {number}, not a whole number")
    return int(number)


def _shown(value: Any) -> str:
    said = repr(value)
    return said if len(said) <= LONGEST else said[:LONGEST] + "…"


def _check_double(number: float | int) -> None:
    if isinstance(number, int) and number.bit_length() > _BITS:
        raise Unusable("is beyond double precision")


def _whole(name: str, number: float | int) -> int:
    whole = round(number)
    if whole < 1 or abs(number - whole) > ROUNDING * whole:
        remedy = f"if the unit is another, name it in the header, as in '{name} (M)'"
        raise Unusable(f"is {number}; it must be a whole number of {name}, 1 at least: {remedy}")
    return whole


def _check_range(name: str, number: float | int) -> None:
    if number and not 1 / LARGEST <= abs(number) <= LARGEST:
        raise Unusable(f"is {number}, beyond what a fit can count with")
    if name in SIZES and number <= 0:
        raise Unusable(f"is {number}; it must be greater than 0")
    if name not in _SIGNED and number < 0:
        raise Unusable(f"is {number}; it can't be negative")
