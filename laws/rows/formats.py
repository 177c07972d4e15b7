"""Tables as people save them: delimited text in any encoding, JSON, JSON lines and Parquet, told apart by content."""

import csv
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data.common.cli import UserError

Record = tuple[str, dict[str, Any]]
"""Where a row stands, such as `line 3`, and its values by column name: text in a delimited file, else JSON values."""

MOST_BYTES = 1 << 30
"""Largest file that is read."""
_DELIMITERS = "\t;,|"
_UTF16 = {b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}


@dataclass(frozen=True)
class RawTable:
    """The rows of one file, lazily, as they stand in it."""

    rows: Iterator[Record]
    decimal_comma: bool = False
    """Whether numbers are written with a decimal comma, as in 0,5."""


def open_table(path: Path) -> RawTable:
    """The table in `path`: Parquet, JSON (an array of rows, or columns by name), JSON lines, or delimited text.

    Raises:
        UserError: the file doesn't exist, can't be read, is too large, or is none of these; in a damaged one, the row
            iterator raises it on the line concerned.
    """
    data = _bytes(path)
    if data[:4] == b"PAR1":
        return RawTable(_parquet(path))
    text = _decoded(path, data)
    start = text.lstrip()[:1]
    if start == "[":
        return RawTable(_json_array(path, text))
    if start == "{":
        return RawTable(_json_objects(path, text))
    return _delimited(path, text)


def _bytes(path: Path) -> bytes:
    if not path.is_file():
        what = "is a folder; name the runs.jsonl in it" if path.is_dir() else "does not exist; check the path"
        raise UserError(f"{path}: {what}")
    try:
        if path.stat().st_size > MOST_BYTES:
            raise UserError(f"{path}: larger than {MOST_BYTES >> 30} GiB; keep one row per evaluated checkpoint")
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: can't be read ({error.strerror}); check its permissions") from error


def _decoded(path: Path, data: bytes) -> str:
    """Text of UTF-8 or UTF-16, with or without a byte order mark, or of Windows' Western code page."""
    encoding = _UTF16.get(data[:2])
    if encoding is None and b"\0" in data[:200]:
        encoding = "utf-16-le" if data[1:2] == b"\0" else "utf-16-be"
    for name in (encoding,) if encoding else ("utf-8-sig", "cp1252"):
        try:
            text = data.decode(name)
        except UnicodeDecodeError:
            continue
        if "\0" not in text:
            return text
    raise UserError(f"{path}: not text in UTF-8, UTF-16 or Windows-1252, and not Parquet; export the table again")


def _parquet(path: Path) -> Iterator[Record]:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise UserError(f"{path}: reading Parquet needs pyarrow: pip install 'isoplay[parquet]'") from error
    try:
        file = pq.ParquetFile(path)
        number = 0
        for batch in file.iter_batches():
            for values in batch.to_pylist():
                number += 1
                yield f"row {number}", values
    except (pa.ArrowException, OSError, ValueError) as error:
        raise UserError(f"{path}: a damaged Parquet file ({str(error).splitlines()[0]}); write it again") from error


def _json_array(path: Path, text: str) -> Iterator[Record]:
    for number, values in enumerate(_loaded(path, text), start=1):
        if not isinstance(values, dict):
            raise UserError(f"{path} row {number}: not a JSON object; write an array of rows, or one row per line")
        yield f"row {number}", values


def _loaded(path: Path, text: str) -> Any:
    try:
        return json.loads(text, object_pairs_hook=_unrepeated)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: not JSON ({error}); write the file again") from error


def _json_objects(path: Path, text: str) -> Iterator[Record]:
    """JSON lines; or one object of columns, as `DataFrame.to_json` writes it: lists, or values by index."""
    lines = text.split("\n")
    first = next(line for line in lines if line.strip())
    try:
        whole = json.loads(first, object_pairs_hook=_unrepeated)
    except (ValueError, RecursionError):
        whole = None
    one_line = sum(bool(line.strip()) for line in lines) == 1
    if whole is None and not _starts_with_object(lines):
        whole, one_line = _loaded(path, text), True
    if one_line and isinstance(whole, dict) and whole and all(isinstance(each, dict | list) for each in whole.values()):
        yield from _columns(path, whole)
        return
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            values = json.loads(line, object_pairs_hook=_unrepeated)
        except (ValueError, RecursionError) as error:
            raise UserError(f"{path} line {number}: not JSON ({error}); remove or mend the line") from error
        if not isinstance(values, dict):
            raise UserError(f"{path} line {number}: not a JSON object; write one row per line")
        yield f"line {number}", values


def _starts_with_object(lines: list[str]) -> bool:
    """Whether the first line with text is a whole object or a damaged one, and not the `{` of a printed file."""
    return next(line for line in lines if line.strip()).strip() != "{"


def _columns(path: Path, whole: dict[str, Any]) -> Iterator[Record]:
    columns = {name: each if isinstance(each, list) else list(each.values()) for name, each in whole.items()}
    if len({len(each) for each in columns.values()}) > 1:
        raise UserError(f"{path}: its columns differ in length; write an array of rows")
    for number, values in enumerate(zip(*columns.values(), strict=True), start=1):
        yield f"row {number}", dict(zip(columns, values, strict=True))


def _unrepeated(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        raise ValueError("a name stands twice")
    return values


def _delimited(path: Path, text: str) -> RawTable:
    """Rows of delimited text: blank lines and lines that start with # are left out, and so is Excel's `sep=;`."""
    head = next((line for line in text.splitlines() if _is_content(line)), "")
    asked = next((line[4:5] for line in text.splitlines()[:3] if re.fullmatch(r"sep=.", line.strip())), "")
    delimiter = asked or _delimiter(head)
    if delimiter == " ":
        text, delimiter = re.sub(r"[ ]+", "\t", text), "\t"
    comma = delimiter != "," and _has_decimal_comma(text, delimiter)
    return RawTable(_csv(path, text, delimiter), comma)


def _is_content(line: str) -> bool:
    return bool(line.strip()) and not line.lstrip().startswith("#") and not re.fullmatch(r"sep=.", line.strip())


def _delimiter(head: str) -> str:
    """The delimiter that stands most often in the header, outside quotes; blanks where none does."""
    bare = re.sub(r'"[^"]*"', "", head)
    best = max(_DELIMITERS, key=bare.count)
    return best if bare.count(best) else " " if re.search(r"\S +\S", bare) else ","


def _has_decimal_comma(text: str, delimiter: str) -> bool:
    """Whether some number has a comma that can't separate thousands, or all numbers with one have no point."""
    edge = re.escape(delimiter)
    numbers = re.findall(rf'(?:^|[{edge}"])\s*([+-]?\d[\d,.]*,\d+(?:[eE][+-]?\d+)?)(?=\s*(?:[{edge}"]|$))', text, re.M)
    if any(not re.fullmatch(r"[+-]?\d{1,3}(,\d{3})+(\.\d+)?", number) for number in numbers):
        return True
    points = re.search(rf"(?:^|[{edge}])\s*[+-]?\d+\.\d+", text, re.M)
    return bool(numbers) and not points and all(number.count(",") == 1 for number in numbers)


def _csv(path: Path, text: str, delimiter: str) -> Iterator[Record]:
    place = 0

    def lines() -> Iterator[str]:
        nonlocal place
        for line in text.splitlines(keepends=True):
            place += 1
            # A quoted field may hold empty lines and number signs; the reader asks for its lines alike.
            yield line if _is_content(line) else "\n"

    reader = csv.reader(lines(), delimiter=delimiter, strict=True, skipinitialspace=True)
    try:
        header = [name.strip() for name in _first(reader)]
        named = [name for name in header if name]
        if len(set(named)) < len(named):
            raise UserError(f"{path} line {place}: a column name stands twice; give each column its own name")
        for fields in reader:
            if not any(field.strip() for field in fields):
                continue
            if len(fields) > len(header) and any(field.strip() for field in fields[len(header) :]):
                raise UserError(f"{path} line {place}: {len(fields)} values for {len(header)} columns; mend the line")
            if len(fields) < len(header) and any(header[len(fields) :]):
                raise UserError(f"{path} line {place}: {len(fields)} values for {len(header)} columns; mend the line")
            yield f"line {place}", {name: field.strip() for name, field in zip(header, fields, strict=False) if name}
    except csv.Error as error:
        raise UserError(f"{path} line {place}: not CSV ({error}); mend the line") from error


def _first(reader: Iterator[list[str]]) -> list[str]:
    return next((fields for fields in reader if fields), [])
