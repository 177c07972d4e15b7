"""All fits of all games: `fit` takes result rows and returns profiles, laws, correlations and diagnostics."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from eval.results import ResultRow
from laws.fitting.bootstrap import DRAWS, resampled, vertices
from laws.fitting.checks import check_intervals, check_methods, check_mixtures, check_single_run, check_span
from laws.fitting.choices import Choice, choices
from laws.fitting.frontier import ParametricLaw, fit_frontier
from laws.fitting.isoflop import Cell, Grid, Method, Profile, Quantity, cells_of, profiles
from laws.fitting.law import Correlation, Law, correlate, fit_laws
from laws.fitting.power import Form, PowerLaw
from laws.rows.diagnostic import Diagnostic
from laws.rows.runs import Runs, ordered


@dataclass(frozen=True)
class GameFit:
    """All fits of one game."""

    game: str
    profiles: tuple[Profile, ...]
    laws: tuple[Law, ...]
    correlation: Correlation | None
    parametric: ParametricLaw | None
    """L(N, D) through all cells; None with too few."""
    choices: tuple[Choice, ...]
    """The exponents under every combination of method, window, weights and FLOP convention."""
    rows: tuple[ResultRow, ...]
    """The rows that were fitted."""

    @property
    def envelope(self) -> tuple[Cell, ...]:
        """The cell of least loss of each budget, by budget."""
        return tuple(profile.best for profile in self.profiles)

    def law(self, y: Quantity, method: Method, form: Form = "power") -> PowerLaw | None:
        """The law of `y` against compute by `method`; None where there were too few budgets for it."""
        found = [law.power for law in self.laws if (law.y, law.method, law.form) == (y, method, form)]
        return found[0] if found else None


@dataclass(frozen=True)
class Fit:
    """The fits of all games, by name, and all diagnostics."""

    games: tuple[GameFit, ...]
    diagnostics: tuple[Diagnostic, ...]
    """Those of reading the rows first, then those of each game."""


def fit(rows: Runs | Sequence[ResultRow], *, draws: int = DRAWS) -> Fit:
    """Fit scaling laws to each game in `rows`; nothing is printed or written.

    A law that the rows don't support is left out, and `Fit.diagnostics` names it with the reason: no rows raise.

    Args:
        rows: What `laws.read` returns, or result rows of any origin.
        draws: Bootstrap draws of runs for the intervals by run; 0 for none.
    """
    given = rows if isinstance(rows, Runs) else Runs(tuple(rows))
    games: list[GameFit] = []
    diagnostics = list(given.diagnostics)
    for game in sorted({row.game for row in given.rows}):
        fitted, of_game = _fit_game(game, [row for row in ordered(given.rows) if row.game == game], draws)
        games.append(fitted)
        diagnostics.extend(of_game)
    return Fit(tuple(games), tuple(diagnostics))


def _fit_game(game: str, rows: Sequence[ResultRow], draws: int) -> tuple[GameFit, list[Diagnostic]]:
    found, of_profiles = profiles(game, rows)
    grid = Grid.of([profile.cells for profile in found]) if found else None
    drawn = resampled(grid, draws) if grid else []
    if grid:
        found = _with_intervals(found, vertices(grid, drawn))
    laws, of_laws = fit_laws(game, found, drawn)
    correlation, of_correlation = _correlation(game, [profile.best for profile in found])
    parametric, of_parametric = fit_frontier(game, cells_of(found), draws)
    chosen = choices(rows, found, parametric.fit.surface if parametric else None)
    diagnostics = [
        *check_mixtures(game, rows),
        *of_profiles,
        *check_span(game, found),
        *of_laws,
        *(check_single_run(game, grid, laws) if grid else []),
        *check_methods(game, laws),
        *check_intervals(game, laws),
        *of_correlation,
        *of_parametric,
    ]
    return GameFit(game, found, tuple(laws), correlation, parametric, chosen, tuple(rows)), diagnostics


def _with_intervals(
    found: Sequence[Profile], intervals: dict[float, tuple[float, float] | None]
) -> tuple[Profile, ...]:
    """The profiles with bootstrap intervals at their vertices."""
    return tuple(
        replace(profile, vertex=replace(profile.vertex, params_ci_runs=intervals[profile.flops]))
        if profile.vertex
        else profile
        for profile in found
    )


def _correlation(game: str, cells: Sequence[Cell]) -> tuple[Correlation | None, list[Diagnostic]]:
    try:
        return correlate(cells), []
    except ValueError as error:
        message = f"No correlation of loss and return: {error}."
        return None, [Diagnostic("unfittable", "info", game, None, message)]
