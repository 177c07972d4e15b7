"""Numbers as tables write them: thousands separators, decimal commas, magnitudes and units, and missing values."""

import math
import re
from decimal import Decimal
from typing import Any

_MISSING = "na n/a n.a. nan none null nil - -- \u2013 \u2014 . ? <na> nat #n/a #num! #div/0! #value! missing"
MISSING = frozenset(("", *_MISSING.split()))
"""What a missing value is written as, in lower case."""
_POWERS = {"k thousand": 1e3, "m mio million": 1e6, "b g bn billion": 1e9, "t trillion": 1e12}
MAGNITUDES = {word: scale for words, scale in _POWERS.items() for word in words.split()}
"""Words and letters after a number."""
FLOPS = {**MAGNITUDES, "p": 1e15, "e": 1e18, "z": 1e21, "y": 1e24}
"""The same before `FLOPs`."""
LONGEST = 400
"""Digits of an integer that is kept exactly; longer ones are beyond double precision."""
_GAPS = "_' \u2019\u00a0\u2009\u202f"
_POWER = r"([eE][+-]?\d+)?"
_GROUPED = re.compile(rf"[+-]?\d{{1,3}}([,{_GAPS}]\d{{3}})+(\.\d+)?{_POWER}")
_GROUPED_COMMA = re.compile(rf"[+-]?\d{{1,3}}([.{_GAPS}]\d{{3}})+(,\d+)?{_POWER}")
_PLAIN = re.compile(rf"[+-]?(\d+\.?\d*|\.\d+){_POWER}")
_PLAIN_COMMA = re.compile(rf"[+-]?(\d+,?\d*|,\d+){_POWER}")
_INTEGER = re.compile(r"[+-]?\d+")
_TIMES = re.compile(r"([+-]?[\d.,]+)\s*[x\u00d7*\u00b7]\s*10\s*(?:\^|\*\*)\s*\{?([+-]?\d+)\}?")
_OF_TEN = re.compile(r"10\s*(?:\^|\*\*)\s*\{?([+-]?\d+)\}?")
_UNIT = re.compile(r"(.*[\d.,\s][kmbgtpezy]?)\s*(flops?|tokens?|samples?|params?|parameters?)", re.IGNORECASE)
_SCALED = re.compile(r"(.*?[\d.,])\s*([^\W\d_]+)", re.DOTALL)

_DAY = 86_400.0
_WORDS = {
    **{f"{word}s": scale for word, scale in MAGNITUDES.items() if len(word) > 3},
    "peta": 1e15,
    "exa": 1e18,
    "zetta": 1e21,
    "yotta": 1e24,
    "tera": 1e12,
    "giga": 1e9,
    "mega": 1e6,
    "kilo": 1e3,
}
_OF = re.compile(r"\b(in|of|params?|parameters?|tokens?|samples?|flops?)\b|[\u00d7*#]")
_SUFFIX = re.compile(r"[ _]+(?:in[ _]+)?((?i:thousands?|millions?|billions?|trillions?)|[KMBT])$")


def number_of(value: Any, *, decimal_comma: bool = False) -> float | int | None:
    """`value` as a number, which may be NaN or infinite; None for a missing one.

    Whole numbers are kept exactly. A magnitude after a number counts: 125M is 125,000,000 (k, M, B or G, T), and
    1.5 EFLOPs are 1.5e18; 1.5×10^18 is read as well.

    Raises:
        ValueError: it isn't a number.
    """
    if not isinstance(value, str):
        return _of_object(value)
    if not decimal_comma and _PLAIN.fullmatch(value) and len(value) <= LONGEST:
        return int(value) if _INTEGER.fullmatch(value) else float(value)
    text = value.strip().strip('"').strip().replace("\u2212", "-")
    if (word := text.casefold()) in MISSING:
        return math.nan if word == "nan" else None
    if word.lstrip("+-") in ("inf", "infinity"):
        return -math.inf if text.startswith("-") else math.inf
    if _INTEGER.fullmatch(text) and len(text) <= LONGEST:
        return int(text)
    bare, scale = _scaled(text)
    try:
        return _plain(bare, decimal_comma) * scale
    except OverflowError as error:
        raise ValueError("a number beyond double precision") from error


def is_number(value: Any, *, decimal_comma: bool = False) -> bool:
    """Whether `value` is a number that isn't missing."""
    try:
        number = number_of(value, decimal_comma=decimal_comma)
    except ValueError:
        return False
    return number is not None and not is_nan(number)


def is_nan(number: float | int) -> bool:
    """Whether `number` is NaN; of integers beyond double precision as well."""
    return isinstance(number, float) and math.isnan(number)


def has_magnitude(value: Any) -> bool:
    """Whether `value` is text that ends in a magnitude or a unit, as 125M does."""
    return isinstance(value, str) and value.strip()[-1:].isalpha()


def _of_object(value: Any) -> float | int | None:
    """A number of JSON, NumPy, Arrow, pandas or any array library of no dimension."""
    if getattr(value, "ndim", None) == 0 and hasattr(value, "item"):
        value = value.item()
    if isinstance(value, Decimal):
        if value.is_finite() and abs(value.adjusted()) > 400:
            raise ValueError("a number beyond double precision")
        value = int(value) if value.is_finite() and value == value.to_integral_value() else float(value)
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return None
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value
    raise ValueError("not a number")


def _scaled(text: str) -> tuple[str, float]:
    """`text` without its magnitude and unit, and what they multiply it by."""
    unit = _UNIT.fullmatch(text)
    magnitudes = MAGNITUDES
    if unit:
        text, magnitudes = unit[1].strip(), FLOPS if unit[2].casefold().startswith("flop") else MAGNITUDES
    found = _SCALED.fullmatch(text)
    scale = magnitudes.get(found[2].casefold()) if found else None
    return (found[1].strip(), scale) if found and scale else (text, 1.0)


def _plain(text: str, decimal_comma: bool) -> float:
    grouped, plain = (_GROUPED_COMMA, _PLAIN_COMMA) if decimal_comma else (_GROUPED, _PLAIN)
    if ten := _OF_TEN.fullmatch(text):
        text = f"1e{ten[1]}"
    elif times := _TIMES.fullmatch(text):
        text = f"{times[1]}e{times[2]}"
    if grouped.fullmatch(text):
        text = re.sub(rf"[{'.' if decimal_comma else ','}{_GAPS}]", "", text)
    elif not plain.fullmatch(text):
        raise ValueError("not a number")
    return float(text.replace(",", "."))


def scale_of(name: str) -> float:
    """What the values of a column of sizes or FLOPs are to be multiplied by, after its name; 1 without a unit."""
    for unit in re.findall(r"[(\[](.*?)[)\]]", name):
        if (scale := _scale(unit)) != 1:
            return scale
    suffix = _SUFFIX.search(name)
    return _scale(suffix[1]) if suffix else 1.0


def without_unit(name: str) -> str:
    """`name` without a magnitude at its end."""
    return _SUFFIX.sub("", name)


def _scale(unit: str) -> float:
    bare = unit.casefold().strip()
    days = re.search(r"days?$", bare)
    if days:
        bare = re.sub(r"[-/_ ·]*s[-/_ ·]*days?$|[-/_ ·]*days?$", "", bare)
    if prefixed := re.fullmatch(r"([kmgtpezy]|kilo|mega|giga|tera|peta|exa|zetta|yotta)[ -]?f(lops?)?", bare):
        scale = (FLOPS | _WORDS)[prefixed[1]]
        return scale * _DAY if days else scale
    bare = _OF.sub(" ", bare).strip(" .x")
    if power := re.fullmatch(r"(?:1?e|10 ?\^? ?)\+?(\d{1,2})", bare):
        return 10.0 ** int(power[1])
    return (MAGNITUDES | _WORDS).get(bare, 1.0)
