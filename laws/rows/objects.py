"""Tables of objects: JSON as rows, as one row per line or as columns, and the layouts of `DataFrame.to_json`."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from data.common.cli import UserError
from laws.rows.columns import Record, known, shortened

_HOW = "write an array of rows, or one row per line"


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


def json_rows(path: Path, text: str) -> Iterator[Record]:
    """The rows of JSON, one document or one per line.

    Raises:
        UserError: it is damaged, or no table; the message names the line or row.
    """
    if (documents := _documents(text)) is None:
        yield from _lines(path, text)
    elif len(documents) == 1:
        yield from _table(path, *documents[0])
    else:
        yield from _checked(path, [(f"line {line}", values) for line, values in documents])


def _documents(text: str) -> list[tuple[int, Any]] | None:
    """The documents in `text`, with the line that each begins on; None where it is damaged, or has one per line."""
    documents: list[tuple[int, Any]] = []
    place = len(text) - len(text.lstrip())
    line = 1 + text.count("\n", 0, place)
    while place < len(text):
        try:
            values, end = _DECODER.raw_decode(text, place)
        except (ValueError, RecursionError):
            return None
        documents.append((line, values))
        spread = text.count("\n", place, end)
        after = re.compile(r"\s*").match(text, end)
        place_after = after.end() if after else end
        if not spread and place_after < len(text):
            return None  # JSON lines, whose errors are told by line
        line += spread + text.count("\n", end, place_after)
        place = place_after
    return documents


def _lines(path: Path, text: str) -> Iterator[Record]:
    """JSON lines; a damaged document of several lines is told as a whole."""
    if text.lstrip()[:1] == "[" or text.lstrip().split("\n", 1)[0].strip() == "{":
        try:
            _DECODER.decode(text)
        except (ValueError, RecursionError) as error:
            raise UserError(f"{path}: not JSON ({error}); write the file again") from error
    for number, line in enumerate(re.split(r"\r\n|\n|\r", text), start=1):
        if not line.strip():
            continue
        try:
            values = _DECODER.decode(line)
        except (ValueError, RecursionError) as error:
            raise UserError(f"{path} line {number}: not JSON ({error}); remove or mend the line") from error
        yield from _checked(path, [(f"line {number}", values)])


def _checked(path: Path, rows: Sequence[tuple[str, Any]]) -> Iterator[Record]:
    for where, values in rows:
        if not isinstance(values, dict):
            raise UserError(f"{path} {where}: not a JSON object; {_HOW}")
        yield where, values


def _table(path: Path, line: int, whole: Any) -> Iterator[Record]:
    """The rows of one document, by its layout."""
    if isinstance(whole, dict):
        yield from _of_object(path, line, whole)
    elif isinstance(whole, list) and whole and all(isinstance(row, list) for row in whole):
        yield from _of_lists(path, [str(name) for name in whole[0]], whole[1:])
    elif isinstance(whole, list):
        yield from _checked(path, [(f"row {number}", row) for number, row in enumerate(whole, start=1)])
    else:
        raise UserError(f"{path}: a single value; {_HOW}")


def _of_object(path: Path, line: int, whole: dict[str, Any]) -> Iterator[Record]:
    """Columns, or rows by name, or rows beside other values, or a single row."""
    inner = list(whole.values())
    rows = [each for each in inner if isinstance(each, list) and each and all(isinstance(row, dict) for row in each)]
    if isinstance(whole.get("columns"), list) and isinstance(whole.get("data"), list):
        yield from _of_lists(path, [str(name) for name in whole["columns"]], whole["data"])
    elif len(rows) == 1:
        yield from _table(path, line, rows[0])
    elif inner and all(isinstance(each, dict) and each for each in inner) and set.intersection(*map(set, inner)):
        yield from _of_objects(path, whole)
    elif any(isinstance(each, list) for each in inner) and not any(isinstance(each, dict) for each in inner):
        yield from _of_columns(path, whole)
    elif whole:
        yield f"line {line}", whole


def _of_lists(path: Path, names: Sequence[str], rows: Sequence[Any]) -> Iterator[Record]:
    if len(set(names)) < len(names):
        raise UserError(f"{path}: a column name stands twice; give each column its own name")
    for number, row in enumerate(rows, start=1):
        if not isinstance(row, list) or len(row) != len(names):
            raise UserError(f"{path} row {number}: not one value for each of {len(names)} columns; mend the row")
        yield f"row {number}", dict(zip(names, row, strict=True))


def _of_objects(path: Path, whole: Mapping[str, dict[str, Any]]) -> Iterator[Record]:
    """Columns that hold values by row, or rows that hold values by column: the known names are those of columns."""
    inner = list(dict.fromkeys(name for each in whole.values() for name in each))
    if known(inner) > known(list(whole)):
        for name, row in whole.items():
            yield f"row {shortened(name)}", {**({} if name.isdecimal() else {"run": name}), **row}
        return
    for number, label in enumerate(inner, start=1):
        yield f"row {number}", {name: column.get(label) for name, column in whole.items()}


def _of_columns(path: Path, whole: Mapping[str, Any]) -> Iterator[Record]:
    """Lists by column name; a single value among them is that of every row."""
    lengths = {len(each) for each in whole.values() if isinstance(each, list)}
    if len(lengths) > 1:
        raise UserError(f"{path}: its columns differ in length; write an array of rows")
    for number in range(max(lengths)):
        yield f"row {number + 1}", {n: each[number] if isinstance(each, list) else each for n, each in whole.items()}


def _unrepeated(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The JSON object of these pairs.

    Raises:
        ValueError: a name stands twice.
    """
    values = dict(pairs)
    if len(values) < len(pairs):
        raise ValueError("a name stands twice")
    return values


_DECODER = json.JSONDecoder(object_pairs_hook=_unrepeated)
"""Reads JSON; NaN and Infinity are numbers of it, as most programs write them."""
