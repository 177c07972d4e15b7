"""Coverage of the intervals: studies are simulated by known laws, in the designs that people run, and fitted.

The estimand of every interval is what the same estimator gives on the rows of the same design without noise. The oracle
knows the estimator's standard deviation: its 95 % interval is 3.92 of them wide.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType

import numpy as np

from data.common.cli import UserError
from data.common.machine import cores
from data.common.progress import Bar
from data.common.rows import as_json, as_record
from data.common.workers import SPAWN
from eval.results import ResultRow
from laws.fitting.analysis import GameFit, fit
from laws.fitting.parametric import Surface

ORACLE = 3.92
"""Width of a 95 % interval in standard deviations of the estimator."""
SURFACE = Surface(E=0.0, A=60.0, B=120.0, alpha=0.30, beta=0.27)
"""The planted law: of the shape of the paper's games, with optima near 0.47 in N."""
RETURN_SCALE, RETURN_POWER = 3.0, -2.0
"""The planted return, 3 · L^-2."""

TYPICAL = float(SURFACE.optimum(np.float64(10**14.5)).loss)
"""The least loss in the middle of the budgets, nats."""


@dataclass(frozen=True)
class Design:
    """A study that people run."""

    sizes: int = 7
    budgets: int = 6
    seeds: int = 1
    """Trainings of each size."""
    own: bool = False
    """Whether each cell is a training of its own, and not a checkpoint of one that passes all budgets."""
    drift: bool = False
    """Whether sizes grow with the budget, about its optimum."""
    E: float = 0.0
    """Irreducible loss, nats."""
    noise: float = 0.01
    """Standard deviation of ln loss between trainings."""
    unequal: float = 0.0
    """Power of the loss by which that grows, from `noise` at `TYPICAL`."""
    game_noise: float = 0.03
    """Standard error of ln return by the games played."""
    loss_noise: float = 0.002
    """Standard error of ln loss by the held-out games."""

    @property
    def surface(self) -> Surface:
        """The planted law."""
        return Surface(self.E, SURFACE.A, SURFACE.B, SURFACE.alpha, SURFACE.beta)

    @property
    def places(self) -> Iterator[tuple[float, int, int, str]]:
        """C, N, D and run of every cell."""
        flops_B = np.geomspace(1e13, 1e16, self.budgets)
        best = self.surface.optimum(flops_B).params
        wide = np.geomspace(best[0] / 3, best[-1] * 3, self.sizes)
        for flops, centre in zip(flops_B.tolist(), best.tolist(), strict=True):
            sizes = np.geomspace(centre / 6, centre * 6, self.sizes) if self.drift else wide
            for place, size in enumerate(sizes.tolist()):
                for seed in range(self.seeds):
                    run = f"size {place} seed {seed}" + (f" at {flops:.3g}" if self.own or self.drift else "")
                    yield flops, round(size), max(1, round(flops / 6 / size)), run

    def rows(self, random: np.random.Generator | None = None) -> list[ResultRow]:
        """The rows of one study; without noise if there is no `random`."""
        found, of_run = [], {}
        for flops, params, samples, run in self.places:
            log_loss = math.log(float(self.surface.predict(params, samples)))
            log_return = math.log(RETURN_SCALE) + RETURN_POWER * log_loss
            if random is not None:
                if run not in of_run:
                    of_run[run] = self.noise * random.normal(), 3 * self.noise * random.normal()
                # A luckier training has a lower loss and a higher return, and each has luck of its own.
                loss_luck, return_luck = (luck * (math.exp(log_loss) / TYPICAL) ** self.unequal for luck in of_run[run])
                log_loss += loss_luck + self.loss_noise * random.normal()
                log_return += RETURN_POWER * loss_luck + return_luck + self.game_noise * random.normal()
            loss, returns = math.exp(log_loss), math.exp(log_return)
            known = loss, loss * self.loss_noise, returns, returns * self.game_noise
            found.append(ResultRow("planted", run, flops, params, samples, *known, episodes=100))
        return found


DESIGNS: Mapping[str, Design] = MappingProxyType(
    {
        "5x5": Design(5, 5),
        "5x5, 2 seeds": Design(5, 5, seeds=2),
        "7x6": Design(),
        "7x6, noise 0.3 %": Design(noise=0.003),
        "7x6, noise 3 %": Design(noise=0.03),
        "7x6, E = 0.3": Design(E=0.3),
        "12x9, E = 0.3": Design(12, 9, E=0.3),
        "5x4, 3 seeds": Design(5, 4, seeds=3),
        "5x5, 3 seeds": Design(5, 5, seeds=3),
        "4x4, 3 seeds": Design(4, 4, seeds=3),
        "8x5, 3 seeds, unequal noise": Design(8, 5, seeds=3, noise=0.05, unequal=1.7),
        "own runs, 7x6": Design(own=True),
        "own runs, 9x4, drifting": Design(9, 4, own=True, drift=True),
        "own runs, 7x6, drifting, E = 0.3": Design(own=True, drift=True, E=0.3),
        "own runs, 12x9, drifting, 3 %": Design(12, 9, own=True, drift=True, noise=0.03),
    }
)


Found = dict[str, tuple[float, tuple[float, float] | None]]
"""By quantity: the estimate and its 95 % interval."""


def estimates(game: GameFit) -> Found:
    """Every number of a fit that is printed with an interval."""
    found: Found = {}
    for law in game.laws:
        name = f"{law.method} {law.y}" + (" (offset)" if law.form == "offset" else "")
        found[name] = law.exponent, law.exponent_ci
        if law.form == "offset":
            found[f"{name}'s E"] = law.power.offset, law.offset_ci
    last = game.profiles[-1].flops
    for y in ("loss", "params"):
        law = game.found(y, "isoflop")
        if law is not None:
            ends = law.interval_at(10 * last)
            value = math.log(float(law.power.predict(10 * last)))
            found[f"isoflop {y} at 10 C"] = value, None if ends is None else (math.log(ends[0]), math.log(ends[1]))
    middle = game.profiles[len(game.profiles) // 2].vertex
    if middle is not None:
        ends = middle.params_ci
        found["vertex ln N"] = math.log(middle.params), None if ends is None else (math.log(ends[0]), math.log(ends[1]))
    if game.parametric is not None:
        values, intervals = game.parametric.values, game.parametric.intervals
        for name, value in values.items():
            found[f"parametric {name}"] = value, intervals[name]
    return found


@dataclass(frozen=True)
class Coverage:
    """How the intervals of one quantity did in one design."""

    design: str
    quantity: str
    given: float
    """Share of studies with an interval, of those with an estimate."""
    covered: float
    """Share of these intervals that hold the estimand; NaN without any."""
    width: float
    """Mean width over the oracle's; NaN without any."""
    bias: float
    """Mean of estimate - estimand in standard deviations of the estimator."""


def _one(design: Design, draws: int, seed: int) -> Found:
    [game] = fit(design.rows(np.random.default_rng([2023, seed])), draws=draws, choosing=False).games
    return estimates(game)


def simulated(name: str, one: Callable[[int], Found], studies: int, workers: int) -> list[Found]:
    """What `one` finds in each of so many studies, which it makes from their number, in processes."""
    # Forking a process in which JAX runs threads may deadlock.
    with ProcessPoolExecutor(workers, SPAWN) as pool:
        tasks = pool.map(one, range(studies), chunksize=max(1, min(20, studies // workers)))
        return list(Bar(tasks, name, studies, unit="study", leave=False))


def cover(name: str, design: Design, studies: int, draws: int, workers: int) -> list[Coverage]:
    """The coverage of every quantity over `studies` simulated studies."""
    [clean] = fit(design.rows(), draws=0, choosing=False).games
    truth = estimates(clean)
    found = simulated(name, partial(_one, design, draws), studies, workers)
    by_name: dict[str, list[tuple[float, tuple[float, float] | None]]] = defaultdict(list)
    for each in found:
        for quantity, value in each.items():
            by_name[quantity].append(value)
    return [_coverage(name, quantity, by_name[quantity], value) for quantity, (value, _) in truth.items()]


def _coverage(
    design: str, quantity: str, found: Sequence[tuple[float, tuple[float, float] | None]], truth: float
) -> Coverage:
    values = np.array([value for value, _ in found])
    ends = [each for _, each in found if each is not None]
    spread = float(np.std(values)) if len(values) > 1 else math.nan
    slack = 1e-9 + 1e-9 * abs(truth)
    return Coverage(
        design,
        quantity,
        len(ends) / max(len(found), 1),
        float(np.mean([low - slack <= truth <= high + slack for low, high in ends])) if ends else math.nan,
        float(np.mean([high - low for low, high in ends]) / (ORACLE * spread)) if ends and spread > 0 else math.nan,
        float((np.mean(values) - truth) / spread) if spread > 0 else math.nan,
    )


def coverage(
    *,
    studies: int = 1000,
    bootstraps: int = 400,
    design: str | None = None,
    workers: int | None = None,
    json: bool = False,
) -> None:
    """Simulate studies of known laws and print how often, and how tightly, the 95 % intervals hold the truth.

    Example: `python -m laws coverage --studies 1000`

    Args:
        studies: Simulated studies of each design.
        bootstraps: Bootstrap draws of each fit.
        design: Only the designs whose name has this in it.
        workers: Processes. Default: one a core.
        json: Print a JSON list instead.

    Raises:
        UserError: no design has such a name.
    """
    chosen = {name: each for name, each in DESIGNS.items() if design is None or design in name}
    if not chosen:
        raise UserError(f"--design {design}: there are {', '.join(DESIGNS)}")
    if json:
        found = (cover(name, each, studies, bootstraps, workers or cores()) for name, each in chosen.items())
        print(as_json([as_record(one) for of_design in found for one in of_design]))
        return
    head = f"{'design':36} {'quantity':27} {'given':>6} {'covered':>8} {'width':>6} {'bias':>6}"
    for name, each in chosen.items():
        print(head)
        for one in cover(name, each, studies, bootstraps, workers or cores()):
            print(
                f"{one.design:36} {one.quantity:27} {one.given:6.0%} {one.covered:8.1%} {one.width:6.2f}"
                f" {one.bias:+6.2f}",
                flush=True,
            )
