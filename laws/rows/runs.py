"""Reads result rows from jsonl or csv files, in a fixed order, with diagnostics for rows that were left out."""

import csv
import dataclasses
import io
import json
import math
import os
import typing
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data.common.cli import UserError
from eval.results import NAMES, ResultRow
from laws.rows.diagnostic import Diagnostic
from laws.rows.protocols import of_protocol

REQUIRED = tuple(field.name for field in dataclasses.fields(ResultRow) if field.default is dataclasses.MISSING)
_KINDS = typing.get_type_hints(ResultRow)
MOST_ROWS = 100_000
"""Most rows that are read. One per evaluated checkpoint is hundreds; more are probably training steps."""
LARGEST = 1e60
"""Greatest absolute value; the least is its inverse. Squares and products then stay finite."""
_SIZES = ("flops", "params", "samples")
_SIGNED = ("return_mean", "seed")


@dataclass(frozen=True)
class Runs:
    """Result rows, sorted, and the diagnostics of reading them."""

    rows: tuple[ResultRow, ...]
    diagnostics: tuple[Diagnostic, ...] = ()


def read(
    paths: Sequence[str | os.PathLike[str]],
    game: str | None = None,
    *,
    protocol: str | None = None,
    mixed_versions: bool = False,
) -> Runs:
    """Read and join result files (`.jsonl` or `.csv`), keeping the rows of `game` (None: of every game).

    A cell (game, run, flops, params) that occurs twice with equal values is counted once (`duplicate_row`). Of one that
    was evaluated by several protocols, the row of `protocol` is kept, so that no loss counts twice. A row
    without flops, params or samples can't be fitted: it is left out (`incomplete_row`).

    Raises:
        UserError: no path is given, a file can't be read or has a bad row (the message names file and line), two rows
            of one cell and protocol have different values, a cell has several protocols and none is chosen, no usable
            row of `game` is left, or the rows of a game count `exact` FLOPs by several versions and not
            `mixed_versions`.
    """
    if not paths:
        raise UserError("no result file given: name at least one runs.jsonl or .csv file")
    rows: dict[tuple[str, str, float, int, str | None], tuple[ResultRow, str]] = {}
    diagnostics: list[Diagnostic] = []
    for path in map(Path, paths):
        for place, record in _records(path):
            if len(rows) > MOST_ROWS:
                raise UserError(
                    f"{path}: more than {MOST_ROWS:,} rows: give one row per checkpoint, not per training step"
                )
            missing = [name for name in _SIZES if record[name] is None]
            if missing:
                diagnostics.append(_incomplete(place, record["game"], missing))
                continue
            row = ResultRow(**record)
            key = (row.game, row.run, row.flops, row.params, row.protocol)
            if key not in rows:
                rows[key] = (row, place)
                continue
            diagnostics.append(_duplicate(rows[key], row, place))
    games = sorted({row.game for row, _ in rows.values()})
    if game is not None and game not in games:
        raise UserError(f"no rows of game {game!r}: the files hold {', '.join(games) or 'no whole row'}")
    if not rows:
        raise UserError(f"{paths[0]}: no row has flops, params and samples: evaluate the runs again")
    kept = of_protocol([row for row, _ in rows.values() if game in (None, row.game)], protocol)
    if not mixed_versions:
        _check_versions(kept)
    of_game = [diagnostic for diagnostic in diagnostics if game in (None, diagnostic.game)]
    return Runs(tuple(ordered(kept)), tuple(sorted(of_game, key=lambda item: (item.code, item.message))))


def exact_versions(rows: Sequence[ResultRow]) -> list[int]:
    """The versions of the `exact` convention (`agents.cost.EXACT_VERSION`) by which these rows count FLOPs."""
    counted = [row for row in rows if row.flop_convention == "exact" or row.flops_exact is not None]
    return sorted({1 if row.flop_version is None else row.flop_version for row in counted})


def _check_versions(rows: Sequence[ResultRow]) -> None:
    for game in sorted({row.game for row in rows}):
        versions = exact_versions([row for row in rows if row.game == game])
        if len(versions) > 1:
            raise UserError(
                f"rows of {game} count exact FLOPs by versions {' and '.join(map(str, versions))}, which don't compare:"
                " give files of one version, or --mixed-versions to fit them as they are"
            )


def ordered(rows: Sequence[ResultRow]) -> list[ResultRow]:
    """`rows` sorted by game, budget, size and run, so that results don't depend on the order of a file."""
    return sorted(rows, key=lambda row: (row.game, row.flops, row.params, row.run, row.samples))


def _incomplete(place: str, game: str, missing: Sequence[str]) -> Diagnostic:
    message = f"{place} has no {' and no '.join(missing)}: the row was left out."
    return Diagnostic("incomplete_row", "warning", game, None, message)


def _duplicate(known: tuple[ResultRow, str], row: ResultRow, place: str) -> Diagnostic:
    first, where = known
    if first != row:
        names = [name for name in NAMES if getattr(first, name) != getattr(row, name)]
        raise UserError(
            f"{place} contradicts {where}: the same game, run, flops, params and protocol with other"
            f" {', '.join(names)}; remove the row that is wrong"
        )
    message = f"{place} repeats {where}: counted once."
    return Diagnostic("duplicate_row", "info", row.game, row.flops, message)


def _records(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each row of one file as (file and line, checked values by column name)."""
    read_format = {".jsonl": _jsonl, ".csv": _csv}.get(path.suffix)
    if read_format is None:
        raise UserError(f"{path}: not a .jsonl or .csv file; name the result file of a run, such as runs.jsonl")
    empty = True
    for line, values in read_format(path, _text(path)):
        empty = False
        place = f"{path} line {line}"
        yield place, _checked(place, values)
    if empty:
        raise UserError(f"{path}: holds no rows; evaluate the runs first")


def _text(path: Path) -> str:
    if not path.is_file():
        what = "is a folder; name the runs.jsonl in it" if path.is_dir() else "does not exist; check the path"
        raise UserError(f"{path}: {what}")
    try:
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 text (byte {error.start}); write the file again") from error
    except OSError as error:
        raise UserError(f"{path}: can't be read ({error.strerror}); check its permissions") from error


def _jsonl(path: Path, text: str) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            values = json.loads(line, object_pairs_hook=_unrepeated)
        except ValueError as error:
            raise UserError(f"{path} line {number}: not JSON ({error}); remove or mend the line") from error
        if not isinstance(values, dict):
            raise UserError(f"{path} line {number}: not a JSON object; write one row per line")
        yield number, values


def _unrepeated(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        raise ValueError("a name stands twice")
    return values


def _csv(path: Path, text: str) -> Iterator[tuple[int, dict[str, Any]]]:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        header = next(reader, [])
        if len(set(header)) < len(header):
            raise UserError(f"{path} line 1: a column name stands twice; give each column its own name")
        for fields in reader:
            if not fields:
                continue
            if len(fields) != len(header):
                raise UserError(
                    f"{path} line {reader.line_num}: {len(fields)} values for {len(header)} columns; mend the line"
                )
            yield (
                reader.line_num,
                {name: _parsed(name, field) for name, field in zip(header, fields, strict=True)},
            )
    except csv.Error as error:
        raise UserError(f"{path} line {reader.line_num}: not CSV ({error}); mend the line") from error


def _checked(place: str, values: dict[str, Any]) -> dict[str, Any]:
    unknown = sorted(set(values) - set(NAMES))
    if unknown:
        raise UserError(f"{place}: unknown column {', '.join(unknown)}; the columns are {', '.join(NAMES)}")
    missing = [name for name in REQUIRED if name not in values]
    if missing:
        raise UserError(f"{place}: no column {', '.join(missing)}; every row needs {', '.join(REQUIRED)}")
    record = {name: _value(place, name, value) for name, value in values.items()}
    for name in ("game", "run"):
        if not record[name]:
            raise UserError(f"{place}: {name} is empty; every row needs a {name}")
    return record


def _value(place: str, name: str, value: Any) -> Any:
    kind = _kind(name)
    if value is None:
        return None
    if kind is str:
        if not isinstance(value, str):
            raise UserError(f"{place}: {name} is {value!r}, not text; put it in quotes")
        return value
    number = _number(place, name, value)
    if kind is float:
        return float(number)
    if number != int(number):
        raise UserError(f"{place}: {name} is {value}, not a whole number; mend the value")
    return int(number)


def _number(place: str, name: str, value: Any) -> int | float:
    """`value` as a finite number of the right sign."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise UserError(f"{place}: {name} is {value!r}, not a number; mend the value")
    try:
        finite = math.isfinite(value)
    except OverflowError as error:
        raise UserError(f"{place}: {name} is beyond double precision; mend the value") from error
    if not finite:
        raise UserError(f"{place}: {name} is {value}; leave it empty (null), or evaluate the run again")
    if value and not 1 / LARGEST <= abs(value) <= LARGEST:
        raise UserError(f"{place}: {name} is {value}, beyond what a fit can count with; mend the value")
    if name in _SIZES and value <= 0:
        raise UserError(f"{place}: {name} is {value}; it must be greater than 0")
    if name not in _SIGNED and value < 0:
        raise UserError(f"{place}: {name} is {value}; it can't be negative")
    return value


def _parsed(name: str, field: str) -> Any:
    """A CSV field as a JSON value; a field that is no number stays text, for `_value` to refuse by name."""
    if field == "":
        return None
    if name not in NAMES or _kind(name) is str or "_" in field:
        return field
    try:
        return int(field) if field.isdecimal() else float(field)
    except ValueError:
        return field


def _kind(name: str) -> type:
    """The plain type of a column, without its None."""
    kinds = [kind for kind in (typing.get_args(_KINDS[name]) or (_KINDS[name],)) if kind is not type(None)]
    return kinds[0]
