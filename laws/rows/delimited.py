"""Delimited text: which character separates, which is the decimal point, and what is header, comment or index."""

import csv
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path

from data.common.cli import UserError
from laws.rows.columns import CORE, Record, field_of
from laws.rows.numbers import is_number

_DELIMITERS = "\t;,|"
_ASKED = re.compile(r'\s*"?sep=(.)"?[ ]*')
"""Excel's own line for the delimiter."""
_RULE = re.compile(r"[\s|:+=-]*-{3,}[\s|:+=-]*")
"""The line under the header of a Markdown table."""
_ENDS = re.compile(r"\r\n|\n|\r")


@dataclass(frozen=True)
class Delimited:
    """Lines of delimited text."""

    lines: Sequence[str]
    delimiter: str
    decimal_comma: bool
    """Whether numbers are written with a decimal comma, as in 0,5."""
    commented: Sequence[int] = ()
    """Numbers of the lines that begin with #, as comments do, and would else be rows."""

    @staticmethod
    def of(text: str) -> "Delimited":
        """`text` as lines; what is none of its rows, such as comments, is empty."""
        lines = _ENDS.split(text)
        asked = next((found[1] for line in lines[:3] if (found := _ASKED.fullmatch(line))), "")
        contents = [place for place, line in enumerate(lines) if _is_content(line)]
        head = lines[contents[0]] if contents else ""
        delimiter = asked or _delimiter(head)
        header = _commented_header(lines, contents, delimiter)
        kept = [line if _is_content(line) else "" for line in lines]
        if header is not None:
            kept[header] = lines[header].lstrip().lstrip("#").lstrip()
        names = _split(kept[contents[0] if header is None else header], delimiter) if contents else []
        commented = [number for number, line in enumerate(lines, start=1) if _is_commented(line, names, delimiter)]
        if delimiter == " ":
            kept, delimiter = [_tabbed(line) for line in kept], "\t"
        return Delimited(kept, delimiter, _has_decimal_comma(kept, delimiter), commented)

    def rows(self, path: Path) -> Iterator[Record]:
        """The rows, by the names in the header.

        Raises:
            UserError: a line is damaged, or a column name stands twice.
        """
        place = 0

        def lines() -> Iterator[str]:
            nonlocal place
            for line in self.lines:
                place += 1
                yield line + "\n"

        reader = csv.reader(lines(), delimiter=self.delimiter, strict=True, skipinitialspace=True)
        try:
            header = [" ".join(name.split()) for name in _first(reader)]
            named = [name for name in header if name]
            if len(set(named)) < len(named):
                raise UserError(f"{path} line {place}: a column name stands twice; give each column its own name")
            filled = ((place, fields) for fields in reader if any(field.strip() for field in fields))
            first = list(islice(filled, 2))
            row_names = len(first) == 2 and all(_has_row_name(header, fields) for _, fields in first)
            for count, (line, fields) in enumerate(chain(first, filled), start=1):
                if len(fields) == len(header) + 1 and fields[-1].strip() and (row_names or _is_index(fields[0], count)):
                    fields = fields[1:]  # the first column has no name, as R and `DataFrame.to_string` write it
                if any(field.strip() for field in fields[len(header) :]) or any(header[len(fields) :]):
                    problem = f"{len(fields)} values for {len(header)} columns"
                    raise UserError(f"{path} line {line}: {problem}; mend the line")
                yield f"line {line}", {name: one.strip() for name, one in zip(header, fields, strict=False) if name}
        except csv.Error as error:
            raise UserError(f"{path} line {place}: not CSV ({error}); mend the line") from error


def _is_content(line: str) -> bool:
    bare = line.lstrip()
    return bool(bare) and bare[0] != "#" and not _ASKED.fullmatch(line) and not _RULE.fullmatch(line)


def _is_commented(line: str, names: Sequence[str], delimiter: str) -> bool:
    """Whether a line is a row behind #: one that was taken out, or of a run whose name begins so."""
    values = _split(line, delimiter) if line.lstrip().startswith("#") else []
    places = [place for place, name in enumerate(names) if field_of(name.strip(' "')) in CORE]
    return len(values) == len(names) and all(is_number(values[place].strip(' "#')) for place in places)


def _is_index(field: str, count: int) -> bool:
    return field.strip() in (str(count - 1), str(count))


def _has_row_name(header: Sequence[str], fields: Sequence[str]) -> bool:
    """Whether sizes and losses are all numbers if the first field has no column, and are not if the last has none."""
    places = [place for place, name in enumerate(header) if field_of(name) in CORE]
    if len(fields) != len(header) + 1 or not places:
        return False
    as_is, moved = (all(is_number(fields[place + by]) for place in places) for by in (0, 1))
    return moved and not as_is


def _delimiter(head: str) -> str:
    """The delimiter that stands most often in the header, outside quotes and brackets; blanks where none does."""
    bare = re.sub(r'"[^"]*"|\([^)]*\)', "_", head)
    best = max(_DELIMITERS, key=bare.count)
    return best if bare.count(best) else " " if re.search(r"\S +\S", bare) else ","


def _tabbed(line: str) -> str:
    """`line` with tabs for the blanks between its fields."""
    return re.sub(r'("[^"]*")|[ \t]+', lambda found: found[1] or "\t", line.strip())


def _commented_header(lines: Sequence[str], contents: Sequence[int], delimiter: str) -> int | None:
    """The comment before the first row that names its columns, as NumPy writes it; None where the header is a line."""
    if not contents or contents[0] == 0 or not lines[contents[0] - 1].lstrip().startswith("#"):
        return None
    comment, first = lines[contents[0] - 1].lstrip().lstrip("#").strip(), lines[contents[0]].strip()
    names, values = (_split(line, delimiter) for line in (comment, first))
    numbers = sum(is_number(value) for value in values)
    return contents[0] - 1 if len(names) == len(values) and numbers > 1 and not any(map(is_number, names)) else None


def _split(line: str, delimiter: str) -> list[str]:
    return line.split() if delimiter == " " else line.split(delimiter)


def _has_decimal_comma(lines: Sequence[str], delimiter: str) -> bool:
    """Whether more numbers have a comma than a point that can't separate thousands; if none tells, see below.

    Between commas only a quoted number can have one. Where every mark could separate thousands, that of the losses is a
    decimal one, as losses are below 1,000; and without a point or a loss, one comma a number is.
    """
    text = "\n".join(lines)
    edge = '"' if delimiter == "," else re.escape(delimiter) + '"'
    start, end = (rf"(?:^|[{edge}])\s*", rf"(?=\s*(?:[{edge}]|$))") if delimiter != "," else ('"\\s*', '(?=\\s*")')
    power = r"(?:[eE][+-]?\d+)?"
    commas = re.findall(rf"{start}([+-]?[\d.]*\d,\d+{power}|[+-]?\d[\d.,]*,\d+{power}){end}", text, re.MULTILINE)
    points = re.findall(rf"{start}([+-]?[\d,]*\d\.\d+{power}){end}", text, re.MULTILINE)
    for_comma = sum(not re.fullmatch(r"[+-]?[1-9]\d{0,2}(,\d{3})+(\.\d+)?", number) for number in commas)
    for_point = sum(not re.fullmatch(r"[+-]?[1-9]\d{0,2}(\.\d{3})+(,\d+)?", number) for number in points)
    if for_comma or for_point or delimiter == ",":
        return for_comma > for_point
    if marks := _marks_of_losses(lines, delimiter):
        return marks == {","}
    return bool(commas) and not points and all(number.count(",") == 1 for number in commas)


def _marks_of_losses(lines: Sequence[str], delimiter: str) -> set[str]:
    """The commas and points in the column of the loss, if there is one."""
    header, *rows = [_split(line, delimiter) for line in lines if line.strip()] or [[]]
    places = [place for place, name in enumerate(header) if field_of(name.strip(' "')) == "loss"]
    return {mark for row in rows for place in places[:1] if place < len(row) for mark in ",." if mark in row[place]}


def _first(reader: Iterator[list[str]]) -> list[str]:
    return next((fields for fields in reader if any(field.strip() for field in fields)), [])
