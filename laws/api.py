"""`laws.fit`: from a table to one law, its interval, predictions and plot; the same numbers as `python -m laws fit`."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from data.common.cli import UserError
from eval.results import ResultRow
from laws.fitting import analysis
from laws.fitting.analysis import Fit, FitOptions, GameFit
from laws.fitting.bootstrap import DRAWS
from laws.fitting.frontier import ParametricLaw
from laws.fitting.isoflop import METHODS, QUANTITIES, Method
from laws.fitting.law import Interval, Law, law_at_best
from laws.fitting.parabola import MIN_CELLS
from laws.fitting.power import FORMS, Form
from laws.rows.budgets import BIN
from laws.rows.diagnostic import Diagnostic
from laws.rows.runs import Runs, TableOptions, read, read_records

if TYPE_CHECKING:
    from matplotlib.axes import Axes

OWN = "return_mean"
"""The field that a column of the user's own takes the place of."""


@dataclass(frozen=True)
class Scaling:
    """What `laws.fit` returns: the fits of a table, and the law of one quantity against training compute in FLOPs."""

    found: Fit
    """The fits of all games; what the report is made of."""
    game: str | None = None
    y: str = "loss"
    """`loss`, `params`, `samples`, `return`, or a column of the table."""
    method: Method = "envelope"
    form: Form = "power"

    @property
    def games(self) -> tuple[GameFit, ...]:
        """All fits of each game."""
        return self.found.games

    @property
    def diagnostics(self) -> tuple[Diagnostic, ...]:
        """What was left out, and which laws may not be trusted."""
        return self.found.diagnostics

    @property
    def fitted(self) -> GameFit:
        """All fits of the game.

        Raises:
            UserError: there are several games and none was chosen, or there is no such game.
        """
        names = [each.game for each in self.games]
        if self.game is None and len(names) != 1:
            raise UserError(f"the rows are of {', '.join(names) or 'no game'}: choose one with game=")
        chosen = [each for each in self.games if self.game in (None, each.game)]
        if not chosen:
            raise UserError(f"no rows of game {self.game!r}: there are {', '.join(names)}")
        return chosen[0]

    @property
    def law(self) -> Law:
        """The law with its points, covariance, sensitivity and bootstrap.

        Raises:
            UserError: the rows don't support it; the message says why.
        """
        fitted = self.fitted
        found = fitted.found(self.y, self.method, self.form)
        if self.y not in QUANTITIES:
            found = law_at_best(fitted.profiles, fitted.simulated)
        if found is None:
            reasons = [item.message for item in self.diagnostics if item.severity == "warning"]
            raise UserError(f"no law of {self.y} ({self.method}, {self.form}): {' '.join(reasons[:2]) or 'no values'}")
        return found

    @property
    def parametric(self) -> ParametricLaw | None:
        """L(N, D) with its intervals; None where the cells don't determine it."""
        return self.fitted.parametric

    @property
    def exponent(self) -> float:
        """The exponent of C."""
        return self.law.exponent

    @property
    def coefficient(self) -> float:
        """In units of y at C = 1."""
        return self.law.power.coefficient

    @property
    def offset(self) -> float:
        """Limit of y for large C; 0 of a form without one."""
        return self.law.power.offset

    def interval(self, at: float | None = None) -> Interval | None:
        """95 % interval of the exponent, or of the value at C = `at`; None where the study doesn't tell its noise."""
        return self.law.exponent_ci if at is None else self.law.interval_at(at)

    def predict(self, flops: ArrayLike) -> np.ndarray:
        """y at C = `flops`, of its shape."""
        return self.law.power.predict(flops)

    def of(self, y: str, method: Method | None = None, form: Form | None = None) -> "Scaling":
        """Another law of the same fits: of `y` (not of another column of the table), by `method`, in `form`.

        Raises:
            UserError: there is no such quantity, method or form.
        """
        chosen = replace(self, y=y, method=method or self.method, form=form or self.form)
        _check(chosen.y, chosen.method, chosen.form)
        return chosen

    def plot(self, axes: "Axes | None" = None) -> "Axes":
        """Draw the points, the law and its 95 % band on `axes`, or on those of a new figure; returns the axes."""
        from laws.figures.laws import draw_alone  # Matplotlib takes a second to import

        return draw_alone(self.law, self.fitted.game, self.y, axes)


def fit(
    table: Any,
    *,
    y: str = "loss",
    method: Method = "envelope",
    form: Form = "power",
    game: str | None = None,
    columns: Mapping[str, str] | None = None,
    filter: Sequence[str] | str = (),
    group: str | None = None,
    flops_from_6nd: bool = False,
    bin: float = BIN,
    min_sizes: int = MIN_CELLS,
    draws: int = DRAWS,
) -> Scaling:
    """Fit scaling laws to a table; the result is the law of `y` against compute, and holds all others.

    Args:
        table: A DataFrame of pandas or Polars, an Arrow table, a mapping from column names to values, or one for each
            row, `ResultRow`, what `laws.read` returns, or the path of a file (several: a list of them).
        y: `loss`, `params`, `samples`, `return`, or a column of the table, taken at the cell of least loss.
        method: `envelope` (the best cell of each budget) or `isoflop` (the vertex of its parabola).
        form: `power`, or `offset` (with an irreducible loss).
        game: Of several games the one whose law is meant.
        columns: Names of columns by field: {"flops": "C", "loss": "eval loss"}. Common names are known.
        filter: Conditions that rows must meet, such as "optimizer=adamw".
        group: Fit the rows of each value of this column apart, as games of their own.
        flops_from_6nd: Count FLOPs as 6·N·D.
        bin: Relative difference of FLOPs up to which cells are of one budget.
        min_sizes: Sizes that a parabola needs at a budget, 3 at least.
        draws: Simulated studies for the intervals; 0 for no intervals.

    Raises:
        UserError: the table can't be read, or lacks a column.
    """
    own = y not in QUANTITIES
    _check("loss" if own else y, method, form)
    if own and (method, form) != ("envelope", "power"):
        raise UserError(
            f"y={y!r}: a column has one law, a power law at the cell of least loss; leave out method and form"
        )
    renamed = {**(columns or {}), **({OWN: y} if own else {})}
    words = tuple(f"{field}={name}" for field, name in renamed.items())
    conditions = (filter,) if isinstance(filter, str) else tuple(filter)
    options = TableOptions(words, conditions, group, flops_from_6nd)
    found = analysis.fit(_rows(table, options), draws=draws, options=FitOptions(bin, min_sizes))
    return Scaling(found, game, y, method, form)


def _check(y: str, method: str, form: str) -> None:
    for name, value, known in (("y", y, QUANTITIES), ("method", method, METHODS), ("form", form, FORMS)):
        if value not in known:
            raise UserError(f"{name}={value!r}: choose {', '.join(known)}")


def _rows(table: Any, options: TableOptions) -> Runs:
    if isinstance(table, Runs):
        if options != TableOptions():
            raise UserError(
                "columns, filter, group, flops_from_6nd and a column as y are of tables, not of what laws.read returns:"
                " give them the file, or options to laws.read"
            )
        return table
    if isinstance(table, str | os.PathLike):
        return read([Path(table)], options=options)
    if (records := _records(table)) is not None:
        return read_records(records, options=options)
    if isinstance(table, Mapping):
        table = _by_row(table)
    rows = list(table)
    if rows and all(isinstance(row, str | os.PathLike) for row in rows):
        return read([Path(row) for row in rows], options=options)
    if rows and all(isinstance(row, ResultRow) for row in rows) and options == TableOptions():
        return Runs(tuple(rows))
    records = [vars(row) if isinstance(row, ResultRow) else row for row in rows]
    if not records or not all(isinstance(row, Mapping) for row in records):
        raise UserError("a table of nothing: give a DataFrame, mappings by column, result rows, or a file")
    return read_records(records, options=options)


def _by_row(columns: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """The rows of columns by name, of equal length.

    Raises:
        UserError: they aren't.
    """
    lengths = {name: len(values) if hasattr(values, "__len__") else 0 for name, values in columns.items()}
    if len(set(lengths.values())) != 1 or any(isinstance(values, str) for values in columns.values()):
        raise UserError("columns of different lengths, or no columns: give each name as many values as the others")
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _records(table: Any) -> Sequence[Mapping[str, Any]] | None:
    """The rows of a DataFrame of Polars or pandas, or of an Arrow table; None for something else."""
    if hasattr(table, "to_dicts"):
        return table.to_dicts()
    if hasattr(table, "to_pylist"):
        return table.to_pylist()
    return table.to_dict("records") if hasattr(table, "to_dict") and hasattr(table, "columns") else None
