"""All fits of all games: `fit` takes result rows and returns profiles, laws, correlations and diagnostics."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from data.common.cli import UserError
from data.common.progress import BRIEF, Bar
from eval.results import ResultRow
from laws.fitting.bootstrap import DRAWS, MIN_DRAWS, Simulated, basic_of_log, simulate, without_each_run
from laws.fitting.checks import check_methods, check_mixtures, check_noise, check_single_run, check_span
from laws.fitting.choices import Choice, choices
from laws.fitting.frontier import ParabolaBias, ParametricLaw, fit_frontier, parabola_bias, with_draws
from laws.fitting.isoflop import (
    METHODS,
    Cell,
    Method,
    Profile,
    Quantity,
    cells_of,
    grid_of,
    profiles,
    scattered,
)
from laws.fitting.law import Correlation, Law, correlate, fit_laws
from laws.fitting.parabola import FEWEST, MIN_CELLS
from laws.fitting.power import Form, PowerLaw, single_threaded
from laws.rows.budgets import BIN
from laws.rows.diagnostic import Diagnostic
from laws.rows.runs import Runs, ordered
from laws.rows.tuning import check_training


@dataclass(frozen=True)
class FitOptions:
    """How to fit."""

    bin: float = BIN
    """Relative difference of FLOPs up to which cells are of one budget."""
    min_sizes: int = MIN_CELLS
    """Sizes that a parabola needs at a budget; 3 is the fewest."""


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
    simulated: Simulated | None = None
    """Studies simulated from this one, for the intervals; None where its noise can't be told."""
    parabola_bias: ParabolaBias | None = None
    """What the isoFLOP method makes of the parametric law itself."""

    @property
    def envelope(self) -> tuple[Cell, ...]:
        """The cell of least loss of each budget, by budget."""
        return tuple(profile.best for profile in self.profiles)

    def law(self, y: Quantity, method: Method, form: Form = "power") -> PowerLaw | None:
        """The law of `y` against compute by `method`; None where there were too few budgets for it."""
        found = self.found(y, method, form)
        return None if found is None else found.power

    def found(self, y: str, method: Method, form: Form = "power") -> Law | None:
        """The same with its intervals."""
        return next((law for law in self.laws if (law.y, law.method, law.form) == (y, method, form)), None)


@dataclass(frozen=True)
class Fit:
    """The fits of all games, by name, and all diagnostics."""

    games: tuple[GameFit, ...]
    diagnostics: tuple[Diagnostic, ...]
    """Those of reading the rows first, then those of each game."""
    columns: Mapping[str, str] = field(default_factory=dict)
    """The column of the table behind each field that has another name in it."""


@single_threaded
def fit(
    rows: Runs | Sequence[ResultRow],
    *,
    draws: int = DRAWS,
    options: FitOptions | None = None,
    choosing: bool = True,
) -> Fit:
    """Fit scaling laws to each game in `rows`; nothing is printed or written.

    A law that the rows don't support is left out, and `Fit.diagnostics` names it with the reason: no rows raise.

    Args:
        rows: What `laws.read` returns, or result rows of any origin.
        draws: Simulated studies for the intervals, at least 100; 0 for no intervals.
        options: How budgets and parabolas are made.
        choosing: Also fit every other choice of method, window, weights and FLOP convention.

    Raises:
        UserError: `draws` or an option is out of range.
    """
    options = options or FitOptions()
    _check(draws, options)
    given = rows if isinstance(rows, Runs) else Runs(tuple(rows))
    games: list[GameFit] = []
    diagnostics = list(given.diagnostics)
    names = sorted({row.game for row in given.rows})
    for game in Bar(names, "fit", unit="game", delay=BRIEF, leave=False):
        of_game = [row for row in ordered(given.rows) if row.game == game]
        fitted, found = _fit_game(game, of_game, draws, options, choosing)
        games.append(fitted)
        diagnostics.extend(found)
    return Fit(tuple(games), tuple(diagnostics), given.columns)


def _check(draws: int, options: FitOptions) -> None:
    if 0 < draws < MIN_DRAWS or draws < 0:
        raise UserError(f"{draws} simulated studies: an interval needs at least {MIN_DRAWS}, and 0 is for none")
    if not 0 < options.bin < math.inf:
        raise UserError(f"bin is {options.bin:g}: give a number greater than 0")
    if options.min_sizes < FEWEST:
        raise UserError(f"min-sizes is {options.min_sizes}: a parabola needs at least {FEWEST} sizes")


def _fit_game(
    game: str, rows: Sequence[ResultRow], draws: int, options: FitOptions, choosing: bool
) -> tuple[GameFit, list[Diagnostic]]:
    found, of_profiles = profiles(game, rows, options.bin, options.min_sizes)
    cells = cells_of(found)
    parametric, of_parametric = fit_frontier(game, cells, profiled=choosing)
    grid = grid_of([profile.cells for profile in found]) if found else None
    simulated = without = None
    if grid:
        surface = parametric.fit.surface if parametric else None
        simulated = simulate(grid, draws, surface, options.min_sizes)
        without = without_each_run(grid, options.min_sizes)
    if simulated:
        found = _with_intervals(found, simulated)
        parametric = with_draws(parametric, cells, simulated) if parametric else None
    methods = () if scattered(found) else METHODS
    laws, of_laws = fit_laws(game, found, simulated, without, methods=methods)
    correlation, of_correlation = _correlation(game, [profile.best for profile in found], simulated)
    chosen = choices(rows, found, parametric, simulated, options.min_sizes) if choosing else ()
    diagnostics = [
        *check_mixtures(game, rows),
        *check_training(game, rows),
        *of_profiles,
        *check_span(game, found),
        *(check_noise(game, grid, simulated, draws) if grid else []),
        *of_laws,
        *check_single_run(game, laws),
        *check_methods(game, laws),
        *of_correlation,
        *of_parametric,
    ]
    bias = parabola_bias(grid, parametric, options.min_sizes) if grid and parametric else None
    return GameFit(game, found, tuple(laws), correlation, parametric, chosen, tuple(rows), simulated, bias), diagnostics


def _with_intervals(found: Sequence[Profile], simulated: Simulated) -> tuple[Profile, ...]:
    """The profiles with bootstrap intervals of their vertices."""
    drawn_SxB, clean_B = simulated.draws["isoflop", "params"][1], simulated.clean["isoflop", "params"][1]
    changed = []
    for place, profile in enumerate(found):
        vertex = profile.vertex
        if vertex is not None:
            drawn, clean = drawn_SxB[:, place], float(clean_B[place])
            ends = basic_of_log(math.log(vertex.params), drawn, clean, simulated.noise[:1])
            vertex = replace(vertex, params_ci=ends)
        changed.append(replace(profile, vertex=vertex))
    return tuple(changed)


def _correlation(
    game: str, cells: Sequence[Cell], simulated: Simulated | None
) -> tuple[Correlation | None, list[Diagnostic]]:
    try:
        return correlate(cells, simulated), []
    except ValueError as error:
        message = f"No correlation of loss and return: {error}."
        return None, [Diagnostic("unfittable", "info", game, None, message)]
