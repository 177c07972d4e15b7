"""Rows of a table by column name, before a column has a meaning."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from data.common.cli import printable

Record = tuple[str, dict[str, Any]]
"""Where a row stands, such as `line 3`, and its values by column name: text in a delimited file, else JSON values."""
SHOWN = 24
"""Names that a message lists."""
LONGEST = 60
"""Characters of a name or value that a message shows."""


def unified(records: Iterable[Record]) -> list[Record]:
    """`records` with nested objects as columns such as `config.lr`, each with the columns of all, None where absent.

    A row that lacks a value, such as that of a run that crashed, is then read like the others.
    """
    flat = [(where, _flat(values)) for where, values in records]
    names = dict.fromkeys(name for _, values in flat for name in values)
    return [(where, {name: values.get(name) for name in names}) for where, values in flat]


def _flat(values: Mapping[str, Any], depth: int = 8) -> dict[str, Any]:
    if all(isinstance(name, str) for name in values) and not any(isinstance(each, Mapping) for each in values.values()):
        return dict(values)
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping) and "value" in value and set(value) <= {"value", "desc"}:
            flat[str(name)] = value["value"]  # a setting as W&B's config.yaml has it
        elif isinstance(value, Mapping) and depth:
            flat.update({f"{name}.{inner}": each for inner, each in _flat(value, depth - 1).items()})
        else:
            flat[str(name)] = value
    return flat


def listed(names: Sequence[str]) -> str:
    """`names` on one line, the first few of many."""
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(shortened(name) for name in names[:SHOWN]) + more


def shortened(text: str) -> str:
    """`text` on one line, its beginning if it is long."""
    return printable(text if len(text) <= LONGEST else text[:LONGEST] + "…")


def unrepeated(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The JSON object of these pairs.

    Raises:
        ValueError: a name stands twice.
    """
    values = dict(pairs)
    if len(values) < len(pairs):
        raise ValueError("a name stands twice")
    return values


DECODER = json.JSONDecoder(object_pairs_hook=unrepeated)
"""Reads JSON; NaN and Infinity are numbers of it, as most programs write them."""
