"""Tables in JSON: rows, one row per line, columns by name, and the layouts of `DataFrame.to_json`."""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from data.common.cli import UserError
from laws.rows.columns import known
from laws.rows.records import DECODER, Record, shortened

_HOW = "write an array of rows, or one row per line"


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
            values, end = DECODER.raw_decode(text, place)
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
            DECODER.decode(text)
        except (ValueError, RecursionError) as error:
            raise UserError(f"{path}: not JSON ({error}); write the file again") from error
    for number, line in enumerate(re.split(r"\r\n|\n|\r", text), start=1):
        if not line.strip():
            continue
        try:
            values = DECODER.decode(line)
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
