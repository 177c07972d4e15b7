"""Reads tables of results, in a fixed order, with diagnostics for rows that were left out."""

import math
import operator
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from data.common.cli import UserError
from data.common.progress import BRIEF, Bar
from eval.results import NAMES, ResultRow
from laws.rows.columns import CORE, LONGEST, Record, is_loss, listed, match_columns, parse_columns
from laws.rows.diagnostic import Diagnostic
from laws.rows.filters import Filter, column_of
from laws.rows.formats import open_table
from laws.rows.numbers import is_number, scale_of
from laws.rows.objects import unified
from laws.rows.protocols import IDENTITY, distinct, of_protocol
from laws.rows.values import SIZES, Unusable, value_of

MOST_ROWS = 2_000_000
"""Most rows that are read. One per evaluated checkpoint is hundreds; more are probably training steps."""
_TRAINING = operator.attrgetter("game", "run", "flops", "params", "protocol", *IDENTITY)
"""By what two rows are of one cell."""
SHOWN = 3
"""Rows of one kind that a diagnostic names; the others are counted."""


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
    options = options or TableOptions()
    reader = _Reader(options)
    for path in map(Path, paths):
        table = open_table(path)
        reader.add(str(path), _named(path, game, options.group), table.rows, decimal_comma=table.decimal_comma)
        reader.leave_out(f"{path} line {line}" for line in table.commented)
    return _finished(reader, game, protocol, mixed_versions)


def read_records(
    records: Iterable[Mapping[str, Any]], name: str = "table", *, options: TableOptions | None = None
) -> Runs:
    """The same from rows in memory, as mappings from column names to values; `name` is the game if no column says it.

    Raises:
        UserError: as `read`.
    """
    reader = _Reader(options or TableOptions())
    reader.add(name, name, unified((f"row {number}", dict(each)) for number, each in enumerate(records, start=1)))
    return _finished(reader, None, None, mixed_versions=True)


def exact_versions(rows: Sequence[ResultRow]) -> list[int]:
    """The versions of the `exact` convention (`agents.cost.EXACT_VERSION`) by which these rows count FLOPs."""
    counted = [row for row in rows if row.flop_convention == "exact" or row.flops_exact is not None]
    return sorted({1 if row.flop_version is None else row.flop_version for row in counted})


def ordered(rows: Sequence[ResultRow]) -> list[ResultRow]:
    """`rows` sorted by game, budget, size and run, so that results don't depend on the order of a file."""
    return sorted(rows, key=lambda row: (row.game, row.flops, row.params, row.run, row.samples))


def _named(path: Path, game: str | None, group: str | None) -> str:
    """The game of a table without a column of games; of `game (GROUP=VALUE)`, as groups are called, the game."""
    asked = game.rpartition(f" ({group}=")[0] if game and group else ""
    return asked or game or path.name.split(".")[0] or "table"


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


@dataclass(frozen=True)
class _Layout:
    """What the columns of one table are."""

    fields: Mapping[str, str]
    """The column of each field."""
    scales: Mapping[str, float]
    """What the unit in its name multiplies a field by, where there is one."""
    conditions: Sequence[tuple[Filter, str, float]]
    """The filters, with their columns and what the unit of the field that they name multiplies these by."""
    group: str | None
    """The column whose values are fitted apart."""


class _Reader:
    """Collects the rows of tables, and what was left out of them."""

    def __init__(self, options: TableOptions) -> None:
        self.renamed: dict[str, str] = {}
        self._options = options
        self._chosen = parse_columns(options.columns)
        self._filters = [Filter.parse(text) for text in options.filter]
        self._seen: dict[tuple[Any, ...], tuple[ResultRow, str]] = {}
        self._notes: dict[tuple[str, str | None, str], tuple[int, list[str]]] = {}
        self._unreadable: dict[str, str] = {}
        self._failed: dict[str, dict[str, None]] = {}
        self._first = ""

    def add(self, source: str, game: str, rows: Iterable[Record], *, decimal_comma: bool = False) -> None:
        """Add the rows of a table, all of the same columns; `game` is its name where no column says it."""
        layout: _Layout | None = None
        self._first = self._first or source
        for where, values in Bar(rows, f"read {source}", unit="row", delay=BRIEF, leave=False):
            layout = layout or self._layout(source, values, decimal_comma)
            if not self._passes(layout, values, decimal_comma):
                continue
            self._row(f"{source} {where}", game, layout, values, decimal_comma)
            if len(self._seen) > MOST_ROWS:
                raise UserError(
                    f"{source}: more than {MOST_ROWS:,} rows: give one row per checkpoint, not per training step"
                )
        if layout is None:
            raise UserError(f"{source}: holds no rows; evaluate the runs first")

    def leave_out(self, places: Iterable[str]) -> None:
        """Note the places of rows that were taken for comments."""
        for place in places:
            self._note("incomplete_row", None, "they begin with #, as comments do", place)

    def _layout(self, source: str, first: Mapping[str, Any], decimal_comma: bool) -> _Layout:
        """Which column is which; raises UserError with the columns there are where one is missing."""
        names = tuple(first)
        numbers = {name for name, value in first.items() if is_number(value, decimal_comma=decimal_comma)}
        try:
            fields = match_columns(names, self._chosen, numbers)
        except UserError as error:
            raise UserError(f"{source}: --columns: {error}") from error
        if self._options.flops_from_6nd:
            fields.pop("flops", None)
        self._check_needed(source, names, fields)
        self.renamed.update({known: name for known, name in fields.items() if known != name})
        others = [name for name in names if is_loss(name) and name not in fields.values()]
        if others and "loss" in fields and "loss" not in self._chosen:
            said = f"L is column {fields['loss']}, not {listed(others)}: --columns loss=NAME takes another"
            self._note("derived", None, said, source)
        scales = {size: scale for size in SIZES if size in fields and (scale := scale_of(fields[size])) != 1}
        for size, scale in scales.items():
            self._note("derived", None, f"{fields[size]} was multiplied by {scale:g}, as its name says", source)
        conditions = []
        for each in self._filters:
            column = column_of(f"{source}: --filter", each.name, names, fields)
            scale = next((scale for size, scale in scales.items() if fields[size] == column), 1.0)
            conditions.append((each, column, 1.0 if each.name == column else scale))
        group = self._options.group and column_of(f"{source}: --group", self._options.group, names, fields)
        return _Layout(fields, scales, conditions, group)

    def _check_needed(self, source: str, names: Sequence[str], fields: Mapping[str, str]) -> None:
        needed = ["params", "samples"] if self._options.flops_from_6nd else ["flops", "params"]
        missing = [name for name in needed if name not in fields]
        if not missing and "loss" not in fields and "return_mean" not in fields:
            missing = ["loss"]
        if missing and all(map(is_number, names)):
            raise UserError(f"{source}: its first row is numbers; put the names of the columns above it")
        if missing:
            also = "; or --flops-from-6nd for C = 6·N·D" if missing == ["flops"] and "samples" in fields else ""
            raise UserError(
                f"{source}: no column for {' and '.join(missing)}; it has {listed(names)}: name it with"
                f" --columns {missing[0]}=NAME{also}"
            )

    def _passes(self, layout: _Layout, values: Mapping[str, Any], decimal_comma: bool) -> bool:
        for each, column, scale in layout.conditions:
            if not each.passes(values[column], decimal_comma=decimal_comma, scale=scale):
                failed = self._failed.setdefault(column, {})
                if len(failed) <= SHOWN:
                    failed[str(values[column])] = None
                return False
        return True

    def _row(self, place: str, game: str, layout: _Layout, values: Mapping[str, Any], decimal_comma: bool) -> None:
        fields, record = layout.fields, {}
        for name, column in fields.items():
            try:
                scale = layout.scales.get(name, 1.0)
                record[name] = value_of(name, values[column], decimal_comma=decimal_comma, scale=scale)
            except Unusable as error:
                if name in CORE:
                    raise UserError(f"{place}: {name} {error}; mend the value") from error
                record[name] = None
                # Of many such values of a column the first is shown.
                said = self._unreadable.setdefault(column, f"{column} {error}: the value was left out")
                self._note("unreadable_value", None, said, place)
        for name in ("game", "run"):
            if name in fields and record[name] is None:
                raise UserError(f"{place}: {name} is empty; every row needs a {name}")
        record["game"] = record.get("game") or game
        if layout.group is not None:
            record["game"] += f" ({layout.group}={values[layout.group]})"
        params, samples, flops = record.get("params"), record.get("samples"), record.get("flops")
        if self._options.flops_from_6nd and params and samples:
            record["flops"] = flops = 6.0 * params * samples
        if "samples" not in fields and params and flops and math.isfinite(params) and math.isfinite(flops):
            if flops < 3 * params:
                raise UserError(
                    f"{place}: {flops:g} FLOPs are not a sample of {params:,} parameters, by D = C / 6N: if the unit is"
                    f" another, name it in the header, as in '{fields['flops']} (PF-days)'"
                )
            record["samples"] = round(flops / 6 / params)
            self._note("derived", None, "D was counted as C / 6N, since there is no column for samples", place)
        missing = [name for name in SIZES if record.get(name) is None and (name in fields or name == "flops")]
        if bad := [f"{name} is {record[name]}" for name in CORE if not math.isfinite(record.get(name) or 0)]:
            self._note("incomplete_row", record["game"], " and ".join(bad), place)
        elif missing:
            self._note("incomplete_row", record["game"], f"no {' and no '.join(missing)}", place)
        else:
            self._keep(record, place)

    def _keep(self, record: dict[str, Any], place: str) -> None:
        own = record.get("run") is None
        row = ResultRow(**{**record, "run": "" if own else record["run"]})
        key = (row,) if own else _TRAINING(row)
        if own:
            self._note("own_runs", None, "each row is taken as its own training: there is no column for run", place)
        if key not in self._seen:
            self._seen[key] = (row, place)
            return
        first, where = self._seen[key]
        if first != row:
            differ = [name for name in NAMES if getattr(first, name) != getattr(row, name)]
            raise UserError(
                f"{place} contradicts {where}: the same game, run, flops, params, seeds and settings with other"
                f" {', '.join(differ)}; remove the row that is wrong, add a column for seed, or"
                " take rows apart with --filter or --group"
            )
        self._note("duplicate_row", row.game, "repeats an earlier row: counted once", place)

    def _note(self, code: str, game: str | None, what: str, place: str) -> None:
        count, places = self._notes.get((code, game, what), (0, []))
        self._notes[code, game, what] = count + 1, [*places, place] if count < SHOWN else places

    def rows(self) -> list[ResultRow]:
        """The rows, each training under a run name of its own."""
        return distinct([row for row, _ in self._seen.values()])

    def nothing(self) -> str:
        """Why there are no rows at all."""
        if self._failed:
            held = "; ".join(f"{column} is {_some(values)}" for column, values in self._failed.items())
            return f"{self._first}: no row meets {' and '.join(self._options.filter)} ({held}); mend --filter"
        why = [what for code, _, what in self._notes if code == "incomplete_row"][:SHOWN]
        return f"{self._first}: no row has flops, params and samples ({'; '.join(why)}): evaluate the runs again"

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


def _some(values: Iterable[str]) -> str:
    *first, last = [repr(value[:LONGEST]) for value in values][:SHOWN]
    return f"{', '.join(first)} or {last}" if first else last
