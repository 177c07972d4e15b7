"""Reads tables of results, in a fixed order, with diagnostics for rows that were left out."""

import dataclasses
import math
import os
import typing
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tqdm import tqdm

from data.common.cli import UserError
from eval.results import NAMES, ResultRow
from laws.rows.columns import match_columns, parse_columns
from laws.rows.diagnostic import Diagnostic
from laws.rows.filters import Filter
from laws.rows.formats import Record, open_table
from laws.rows.numbers import number_of
from laws.rows.protocols import of_protocol

MOST_ROWS = 2_000_000
"""Most rows that are read. One per evaluated checkpoint is hundreds; more are probably training steps."""
LARGEST = 1e60
"""Greatest absolute value; the least is its inverse. Squares and products then stay finite."""
IDENTITY = (
    *("seed", "init_seed", "data_seed", "population", "core", "size", "width", "depth", "context"),
    *("lr", "lr_rule", "batch", "schedule", "store", "config_hash"),
)
"""Columns by which two rows of one run name, budget and size are of different trainings."""
SHOWN = 3
"""Rows of one kind that a diagnostic names; the others are counted."""
_KINDS = typing.get_type_hints(ResultRow)
_SIZES = ("flops", "params", "samples")
_CORE = (*_SIZES, "loss")
_SIGNED = ("return_mean", "seed")
_WHOLE = ("params", "samples")


@dataclass(frozen=True)
class TableOptions:
    """How to read a table of results."""

    columns: tuple[str, ...] = ()
    """Names of columns, as FIELD=NAME: flops=C params=N samples=D loss='eval loss'. Common names are known."""
    filter: tuple[str, ...] = ()
    """Keep the rows that meet all of these conditions, such as optimizer=adamw or flops>=1e17."""
    group: str | None = None
    """Fit the rows of each value of this column apart."""
    flops_from_6nd: bool = False
    """Count FLOPs as 6 · parameters · samples, in place of a column of FLOPs."""


@dataclass(frozen=True)
class Runs:
    """Result rows, sorted, and the diagnostics of reading them."""

    rows: tuple[ResultRow, ...]
    diagnostics: tuple[Diagnostic, ...] = ()
    columns: Mapping[str, str] = field(default_factory=dict)
    """The column of the table behind each field that has another name in it."""


def read(
    paths: Sequence[str | os.PathLike[str]],
    game: str | None = None,
    *,
    protocol: str | None = None,
    mixed_versions: bool = False,
    options: TableOptions | None = None,
) -> Runs:
    """Read and join tables of results, keeping the rows of `game` (None: of every game).

    A table is delimited text, JSON, JSON lines or Parquet (`laws.rows.formats`); its columns go by their common names
    (`laws.rows.columns`). Without a column of games all rows are of `game`, or of the one that the file is named after;
    without one of runs each row is a training of its own; without one of samples D is C / 6N.

    A cell (game, run, flops, params, settings) that occurs twice with equal values is counted once (`duplicate_row`).
    Of one that was evaluated by several protocols, the row of `protocol` is kept, so that no loss counts twice. A row
    without a finite flops, params, samples or loss can't be fitted: it is left out (`incomplete_row`).

    Raises:
        UserError: no path is given, a file can't be read or has a bad row (the message names file and line) or lacks a
            column, two rows of one cell and protocol have different values, a cell has several protocols and none is
            chosen, no usable row of `game` is left, or the rows of a game count `exact` FLOPs by several versions and
            not `mixed_versions`.
    """
    if not paths:
        raise UserError("no result file given: name at least one table, such as runs.jsonl")
    reader = _Reader(options or TableOptions())
    for path in map(Path, paths):
        table = open_table(path)
        reader.add(str(path), _named(path, game), table.rows, decimal_comma=table.decimal_comma)
    return _finished(reader, game, protocol, mixed_versions)


def read_records(
    records: Iterable[Mapping[str, Any]], name: str = "table", *, options: TableOptions | None = None
) -> Runs:
    """The same from rows in memory, as mappings from column names to values; `name` is the game if no column says it.

    Raises:
        UserError: as `read`.
    """
    reader = _Reader(options or TableOptions())
    reader.add(name, name, ((f"row {number}", dict(each)) for number, each in enumerate(records, start=1)))
    return _finished(reader, None, None, mixed_versions=True)


def exact_versions(rows: Sequence[ResultRow]) -> list[int]:
    """The versions of the `exact` convention (`agents.cost.EXACT_VERSION`) by which these rows count FLOPs."""
    counted = [row for row in rows if row.flop_convention == "exact" or row.flops_exact is not None]
    return sorted({1 if row.flop_version is None else row.flop_version for row in counted})


def ordered(rows: Sequence[ResultRow]) -> list[ResultRow]:
    """`rows` sorted by game, budget, size and run, so that results don't depend on the order of a file."""
    return sorted(rows, key=lambda row: (row.game, row.flops, row.params, row.run, row.samples))


def _named(path: Path, game: str | None) -> str:
    return game or path.name.split(".")[0] or "table"


def _finished(reader: "_Reader", game: str | None, protocol: str | None, mixed_versions: bool) -> Runs:
    rows = reader.rows()
    games = sorted({row.game for row in rows})
    of_game = [row for row in rows if game is None or row.game == game or row.game.startswith(f"{game} (")]
    if rows and not of_game:
        raise UserError(f"no rows of game {game!r}: the files hold {', '.join(games)}")
    if not rows:
        raise UserError(reader.nothing())
    kept = of_protocol(of_game, protocol)
    if not mixed_versions:
        _check_versions(kept)
    names = {row.game for row in kept}
    found = [item for item in reader.diagnostics() if item.game is None or item.game in names]
    return Runs(tuple(ordered(kept)), tuple(sorted(found, key=lambda item: (item.code, item.message))), reader.renamed)


def _check_versions(rows: Sequence[ResultRow]) -> None:
    for game in sorted({row.game for row in rows}):
        versions = exact_versions([row for row in rows if row.game == game])
        if len(versions) > 1:
            raise UserError(
                f"rows of {game} count exact FLOPs by versions {' and '.join(map(str, versions))}, which don't compare:"
                " give files of one version, or --mixed-versions to fit them as they are"
            )


class _Reader:
    """Collects the rows of tables, and what was left out of them."""

    def __init__(self, options: TableOptions) -> None:
        self.renamed: dict[str, str] = {}
        self._options = options
        self._chosen = parse_columns(options.columns)
        self._filters = [Filter.parse(text) for text in options.filter]
        self._seen: dict[tuple[Any, ...], tuple[ResultRow, str]] = {}
        self._notes: dict[tuple[str, str | None, str], tuple[int, list[str]]] = {}
        self._filtered = 0
        self._first = ""

    def add(self, source: str, game: str, rows: Iterable[Record], *, decimal_comma: bool = False) -> None:
        """Add the rows of a table, `game` its name where no column says it."""
        matched: dict[tuple[str, ...], dict[str, str]] = {}
        empty = True
        self._first = self._first or source
        for where, given in tqdm(rows, f"read {source}", unit="row", delay=2, leave=False, disable=None):
            empty, values, place = False, _flat(given), f"{source} {where}"
            names = tuple(values)
            if names not in matched:
                matched[names] = self._match(source, names)
            fields = matched[names]
            if not all(each.passes(values[each.column(names, fields)]) for each in self._filters):
                self._filtered += 1
                continue
            self._row(place, game, fields, values, decimal_comma)
            if len(self._seen) > MOST_ROWS:
                raise UserError(
                    f"{source}: more than {MOST_ROWS:,} rows: give one row per checkpoint, not per training step"
                )
        if empty:
            raise UserError(f"{source}: holds no rows; evaluate the runs first")

    def _match(self, source: str, names: tuple[str, ...]) -> dict[str, str]:
        """The column of each field; raises UserError with the columns there are where one is missing."""
        try:
            fields = match_columns(names, self._chosen)
        except UserError as error:
            raise UserError(f"{source}: --columns: {error}") from error
        if self._options.flops_from_6nd:
            fields.pop("flops", None)
        needed = ["params", "samples"] if self._options.flops_from_6nd else ["flops", "params"]
        missing = [name for name in needed if name not in fields]
        if missing:
            also = "; or --flops-from-6nd for C = 6·N·D" if missing == ["flops"] and "samples" in fields else ""
            raise UserError(
                f"{source}: no column for {' and '.join(missing)}; it has {', '.join(names)}: name it with"
                f" --columns {missing[0]}=NAME{also}"
            )
        self.renamed.update({field: name for field, name in fields.items() if field != name})
        return fields

    def _row(
        self, place: str, game: str, fields: Mapping[str, str], values: Mapping[str, Any], decimal_comma: bool
    ) -> None:
        record = {}
        for name, column in fields.items():
            record[name], trouble = _value(place, name, values[column], decimal_comma)
            if trouble:
                self._note("unreadable_value", None, f"{column} {trouble}: the value was left out", place)
        for name in ("game", "run"):
            if name in fields and record[name] is None:
                raise UserError(f"{place}: {name} is empty; every row needs a {name}")
        record["game"] = self._of_group(record.get("game") or game, values)
        params, samples, flops = record.get("params"), record.get("samples"), record.get("flops")
        if self._options.flops_from_6nd and params and samples:
            record["flops"] = flops = 6.0 * params * samples
        if "samples" not in fields and params and flops and math.isfinite(flops):
            record["samples"] = max(1, round(flops / 6 / params))
            self._note("derived", None, "D was counted as C / 6N, since there is no column for samples", place)
        missing = [name for name in _SIZES if record.get(name) is None]
        if bad := [f"{name} is {record[name]}" for name in _CORE if not math.isfinite(record.get(name) or 0)]:
            self._note("incomplete_row", record["game"], " and ".join(bad), place)
        elif missing:
            self._note("incomplete_row", record["game"], f"no {' and no '.join(missing)}", place)
        else:
            self._keep(record, place)

    def _of_group(self, game: str, values: Mapping[str, Any]) -> str:
        if self._options.group is None:
            return game
        column = Filter(self._options.group, "=", "").column(tuple(values), {})
        return f"{game} ({column}={values[column]})"

    def _keep(self, record: dict[str, Any], place: str) -> None:
        own = record.get("run") is None
        row = ResultRow(**{**record, "run": "" if own else record["run"]})
        identity = tuple(getattr(row, name) for name in IDENTITY)
        key = (row.game, row.run, row.flops, row.params, row.protocol, *identity)
        if own:
            key = (*key, row.samples, row.loss, row.return_mean)
            self._note("own_runs", None, "each row is taken as its own training: there is no column for run", place)
        if key not in self._seen:
            self._seen[key] = (row, place)
            return
        first, where = self._seen[key]
        if first != row:
            differ = [name for name in NAMES if getattr(first, name) != getattr(row, name)]
            raise UserError(
                f"{place} contradicts {where}: the same game, run, flops, params, seeds and settings with other"
                f" {', '.join(differ)}; remove the row that is wrong, or add a column for seed"
            )
        self._note("duplicate_row", row.game, "repeats an earlier row: counted once", place)

    def _note(self, code: str, game: str | None, what: str, place: str) -> None:
        count, places = self._notes.get((code, game, what), (0, []))
        self._notes[code, game, what] = count + 1, [*places, place] if count < SHOWN else places

    def rows(self) -> list[ResultRow]:
        """The rows, each training under a run name of its own."""
        return _distinct([row for row, _ in self._seen.values()])

    def nothing(self) -> str:
        """Why there are no rows at all."""
        if self._filtered:
            return f"{self._first}: no row meets {' and '.join(self._options.filter)}; mend --filter"
        return f"{self._first}: no row has flops, params and samples: evaluate the runs again"

    def diagnostics(self) -> Iterator[Diagnostic]:
        """One for each kind of row that was left out or changed, with the first few places."""
        for (code, game, what), (count, places) in self._notes.items():
            named = ", ".join(places) + (f" and {count - SHOWN:,} more" if count > SHOWN else "")
            if code == "incomplete_row":
                message = f"{count:,} {'row was' if count == 1 else 'rows were'} left out: {what} ({named})."
                yield Diagnostic("incomplete_row", "warning", game, None, message)
            elif code == "duplicate_row":
                yield Diagnostic("duplicate_row", "info", game, None, f"{named} {what}.")
            elif code == "unreadable_value":
                yield Diagnostic("unreadable_value", "warning", game, None, f"{what} ({named}).")
            elif code == "derived":
                yield Diagnostic("derived", "info", None, None, f"{what}.")
            else:
                yield Diagnostic("own_runs", "info", None, None, f"{what[0].upper()}{what[1:]}.")


def _flat(values: Mapping[str, Any]) -> dict[str, Any]:
    """`values` with nested objects, such as W&B's config and summary, as columns `config.lr`."""
    if not any(isinstance(value, Mapping) for value in values.values()):
        return dict(values)
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            flat.update({f"{name}.{inner}": each for inner, each in _flat(value).items()})
        else:
            flat[name] = value
    return flat


def _distinct(rows: Sequence[ResultRow]) -> list[ResultRow]:
    """`rows` renamed where one run name stands for several trainings of a size, or where there are no run names."""
    by_name: dict[tuple[str, str], list[ResultRow]] = defaultdict(list)
    for row in rows:
        by_name[row.game, row.run].append(row)
    found: list[ResultRow] = []
    for (_, run), same in by_name.items():
        if not run:
            found += _numbered(same)
            continue
        cells = {(row.flops, row.params, row.protocol) for row in same}
        if len(cells) == len(same):
            found += same
            continue
        differ = [name for name in IDENTITY if len({getattr(row, name) for row in same}) > 1]
        found += [replace(row, run=f"{run} ({_settings(row, differ)})") for row in same]
    return found


def _settings(row: ResultRow, names: Sequence[str]) -> str:
    return ", ".join(f"{name} {getattr(row, name)}" for name in names)


def _numbered(rows: Sequence[ResultRow]) -> Iterator[ResultRow]:
    """Rows without a run name, named by budget and size."""
    taken: dict[tuple[float, int], int] = defaultdict(int)
    for row in sorted(rows, key=lambda row: (row.flops, row.params, row.samples, row.loss or 0.0)):
        taken[row.flops, row.params] += 1
        number = taken[row.flops, row.params]
        yield replace(row, run=f"C {row.flops:g} N {row.params}" + (f" #{number}" if number > 1 else ""))


def _value(place: str, name: str, value: Any, decimal_comma: bool) -> tuple[Any, str]:
    """The value of a field, and what is wrong with one that was left out; raises UserError for a bad size or loss."""
    kind = _PLAIN[name]
    if kind is str:
        missing = value is None or value == "" or (isinstance(value, float) and math.isnan(value))
        return (None if missing else str(value)), ""
    try:
        number = number_of(value, decimal_comma=decimal_comma)
        number = None if number is None else _in_range(place, name, number)
    except ValueError as error:
        if name in _CORE:
            raise UserError(f"{place}: {name} is {value!r}, not a number; mend the value") from error
        return None, "holds text"
    if number is None or (name in _CORE and not math.isfinite(number)):
        return number, ""
    if not math.isfinite(number):
        return None, f"is {number}" if math.isinf(number) else ""
    if kind is float:
        return float(number), ""
    if name in _WHOLE:
        return max(1, round(number)), ""
    return (int(number), "") if number == int(number) else (None, "is not a whole number")


def _in_range(place: str, name: str, number: float | int) -> float | int:
    try:
        finite = math.isfinite(number)
    except OverflowError as error:
        raise UserError(f"{place}: {name} is beyond double precision; mend the value") from error
    if not finite:
        return number
    if number and not 1 / LARGEST <= abs(number) <= LARGEST:
        raise UserError(f"{place}: {name} is {number}, beyond what a fit can count with; mend the value")
    if name in _SIZES and number <= 0:
        raise UserError(f"{place}: {name} is {number}; it must be greater than 0")
    if name not in _SIGNED and number < 0:
        raise UserError(f"{place}: {name} is {number}; it can't be negative")
    return number


_PLAIN: Mapping[str, type] = {
    each.name: next(
        kind for kind in (typing.get_args(_KINDS[each.name]) or (_KINDS[each.name],)) if kind is not type(None)
    )
    for each in dataclasses.fields(ResultRow)
}
"""The type of each field, without its None."""
