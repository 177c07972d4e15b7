"""Units in the names of columns, such as `Params (M)` or `tokens_B`."""

import re

from laws.rows.numbers import FLOPS, MAGNITUDES

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
