"""The fit of every game: profiles, laws against compute, correlation and what is in doubt."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from eval.results import ResultRow
from laws.correlation import Correlation, correlate
from laws.diagnose import Diagnostic
from laws.isoflop import Cell, Profile, profiles
from laws.power import PowerLaw, fit_power
from laws.runs import ordered

Quantity = Literal["loss", "params", "samples", "return"]
Method = Literal["envelope", "isoflop"]
QUANTITIES: tuple[Quantity, ...] = get_args(Quantity)
METHODS: tuple[Method, ...] = get_args(Method)


@dataclass(frozen=True)
class Law:
    """A power law of one quantity against training compute C in FLOPs.

    `envelope` reads the quantity at the trained cell of least loss of each budget, `isoflop` at the vertex of
    the budget's parabola. The return is that of the agent of least loss in both, never the greatest return:
    the greatest of several noisy means is too high.
    """

    y: Quantity
    """`loss` in nats per step, `params` N, `samples` D, `return` in points of the game."""
    method: Method
    power: PowerLaw


@dataclass(frozen=True)
class GameFit:
    """Everything that one game's rows say."""

    game: str
    profiles: tuple[Profile, ...]
    laws: tuple[Law, ...]
    correlation: Correlation | None

    @property
    def envelope(self) -> tuple[Cell, ...]:
        """The cell of least loss of each budget, by budget."""
        return tuple(profile.best for profile in self.profiles)

    def law(self, y: Quantity, method: Method) -> PowerLaw | None:
        """The law of `y` by `method`, None where there were too few budgets for it."""
        found = [law.power for law in self.laws if (law.y, law.method) == (y, method)]
        return found[0] if found else None


@dataclass(frozen=True)
class Fit:
    """The fits of all games, by name, and what is in doubt."""

    games: tuple[GameFit, ...]
    diagnostics: tuple[Diagnostic, ...]


def analyse(rows: Sequence[ResultRow], diagnostics: Sequence[Diagnostic] = ()) -> Fit:
    """Fit each game in `rows`; `diagnostics` are those of reading the rows and come first."""
    games: list[GameFit] = []
    said = list(diagnostics)
    for game in sorted({row.game for row in rows}):
        fit, of_game = _analyse_game(game, [row for row in ordered(rows) if row.game == game])
        games.append(fit)
        said.extend(of_game)
    return Fit(tuple(games), tuple(said))


def _analyse_game(game: str, rows: Sequence[ResultRow]) -> tuple[GameFit, list[Diagnostic]]:
    said = _mixtures(game, rows)
    found, of_profiles = profiles(game, rows)
    said.extend(of_profiles)
    laws: list[Law] = []
    for method in METHODS:
        for y in QUANTITIES:
            points, left_out = _points(game, found, y, method)
            law, doubts = _law(game, y, method, points)
            said.extend([*left_out, *doubts])
            laws.extend(law)
    correlation, doubts = _correlation(game, [profile.best for profile in found])
    return GameFit(game, found, tuple(laws), correlation), [*said, *doubts]


def _mixtures(game: str, rows: Sequence[ResultRow]) -> list[Diagnostic]:
    """Budgets counted in two ways, or returns measured in two ways, don't belong in one law."""
    said: list[Diagnostic] = []
    conventions = sorted({str(row.flop_convention) for row in rows})
    if len(conventions) > 1:
        message = f"Rows count FLOPs in different ways ({', '.join(conventions)}): budgets don't compare."
        said.append(Diagnostic("mixed_convention", "warning", game, None, message))
    protocols = sorted({str(row.protocol) for row in rows if row.return_mean is not None})
    if len(protocols) > 1:
        message = f"Returns were measured in different ways ({'; '.join(protocols)}): they don't compare."
        said.append(Diagnostic("mixed_protocol", "warning", game, None, message))
    return said


def _points(
    game: str, found: Sequence[Profile], y: Quantity, method: Method
) -> tuple[list[tuple[float, float]], list[Diagnostic]]:
    """(C, y) of every budget that has one, and which returns had to be left out."""
    points: list[tuple[float, float]] = []
    said: list[Diagnostic] = []
    for profile in found:
        optimum = profile.best if method == "envelope" else profile.vertex
        if optimum is None:
            continue
        value = optimum.return_mean if y == "return" else getattr(optimum, y)
        if value is None:
            message = f"No return at the optimum: the budget is not in the return law ({method})."
            said.append(Diagnostic("no_return", "info", game, profile.flops, message))
        elif value <= 0:
            message = f"Return {value:.6g} is not positive: the budget is not in the return law ({method})."
            said.append(Diagnostic("nonpositive_return", "warning", game, profile.flops, message))
        else:
            points.append((profile.flops, float(value)))
    return points, said


def _law(
    game: str, y: Quantity, method: Method, points: Sequence[tuple[float, float]]
) -> tuple[list[Law], list[Diagnostic]]:
    name = f"{y} against compute ({method})"
    if len(points) < 2:
        message = f"{len(points)} usable budgets, 2 are needed: no law of {name}."
        return [], [Diagnostic("few_budgets", "warning", game, None, message)]
    try:
        power = fit_power(points)
    except ValueError as error:
        return [], [Diagnostic("unfittable", "warning", game, None, f"No law of {name}: {error}.")]
    if power.exponent_ci is not None:
        return [Law(y, method, power)], []
    message = f"2 usable budgets: the law of {name} passes through both and has no interval; add budgets."
    return [Law(y, method, power)], [Diagnostic("no_interval", "warning", game, None, message)]


def _correlation(game: str, cells: Sequence[Cell]) -> tuple[Correlation | None, list[Diagnostic]]:
    try:
        return correlate(cells), []
    except ValueError as error:
        message = f"No correlation of loss and return: {error}."
        return None, [Diagnostic("unfittable", "info", game, None, message)]


def document(fit: Fit) -> dict[str, Any]:
    """`fit` as laws.json holds it: natural units, full double precision, y = coefficient · x^exponent."""
    return {
        "laws": [_law_record(game.game, law) for game in fit.games for law in game.laws],
        "parametric": [],
        "correlation": [
            _correlation_record(game.game, game.correlation) for game in fit.games if game.correlation is not None
        ],
        "diagnostics": [
            {
                "code": item.code,
                "severity": item.severity,
                "game": item.game,
                "flops": item.flops,
                "message": item.message,
            }
            for item in fit.diagnostics
        ],
    }


def _law_record(game: str, law: Law) -> dict[str, Any]:
    return {
        "game": game,
        "y": law.y,
        "x": "flops",
        "method": law.method,
        "form": "power",
        **_power_record(law.power),
    }


def _correlation_record(game: str, correlation: Correlation) -> dict[str, Any]:
    return {
        "game": game,
        "y": "return",
        "x": "loss",
        "method": "envelope",
        "r": correlation.r,
        "r_linear": correlation.r_linear,
        **_power_record(correlation.power),
    }


def _power_record(power: PowerLaw) -> dict[str, Any]:
    return {
        "coefficient": power.coefficient,
        "exponent": power.exponent,
        "offset": 0.0,
        "exponent_ci": None if power.exponent_ci is None else list(power.exponent_ci),
        "exponent_ci_method": "none" if power.exponent_ci is None else "ols-t",
        "points": [list(point) for point in power.points],
    }
