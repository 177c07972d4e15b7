"""IsoFLOP profiles: what the loss is against size at one budget, and where it is least.

Two readings of the optimum, both of Hoffmann et al. (arXiv 2203.15556) and Tuyls et al. (arXiv 2307.09423):
the *envelope* takes the trained cell of least loss at each budget (the definition behind the paper's NetHack
exponents); the *vertex* of a parabola through loss against log10 N looks between the sizes that were trained.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from eval.results import ResultRow
from laws.diagnose import Code, Diagnostic

WINDOW = 1.0
"""Sizes within this many decades of the best one enter the parabola."""
MIN_SIZES = 3


@dataclass(frozen=True)
class Cell:
    """One trained size at one budget."""

    flops: float
    params: int
    samples: int
    loss: float
    """Nats per step."""
    run: str
    return_mean: float | None = None
    return_se: float | None = None
    episodes: int | None = None


@dataclass(frozen=True)
class Vertex:
    """The least loss of a profile as its parabola has it."""

    params: float
    samples: float
    """D read off at `params`: log10 D, linear in log10 N between the cells' own samples."""
    loss: float
    return_mean: float | None
    """Return at `params`, linear in log10 N between the cells that were played; None without such cells."""


@dataclass(frozen=True)
class Profile:
    """All cells of one budget with the parabola through the best of them."""

    flops: float
    cells: tuple[Cell, ...]
    window: tuple[float, float]
    """Smallest and largest N that entered the parabola."""
    parabola: tuple[float, float, float] | None
    """Loss = a·u² + b·u + c with u = log10 N, as (a, b, c); None with fewer than three sizes."""
    vertex: Vertex | None
    """None where the parabola has no least loss to trust; a diagnostic says why."""

    @property
    def best(self) -> Cell:
        """The cell of least loss, of equal ones the smallest."""
        return min(self.cells, key=lambda cell: (cell.loss, cell.params, cell.samples, cell.run))


def profiles(game: str, rows: Sequence[ResultRow]) -> tuple[tuple[Profile, ...], list[Diagnostic]]:
    """The profiles of `game`'s rows, one per budget, by budget, and what is wrong with them."""
    cells: dict[float, list[Cell]] = defaultdict(list)
    diagnostics: list[Diagnostic] = []
    for row in rows:
        if row.loss is None or row.loss <= 0:
            lack = "no loss" if row.loss is None else "a loss of 0"
            message = f"Run {row.run} with {row.params} parameters has {lack}: the cell was left out."
            diagnostics.append(Diagnostic("no_loss", "warning", game, row.flops, message))
            continue
        cells[row.flops].append(_cell(row, row.loss))
    found: list[Profile] = []
    for flops in sorted(cells):
        profile, said = _profile(game, tuple(cells[flops]))
        found.append(profile)
        diagnostics.extend(said)
    return tuple(found), diagnostics


def _cell(row: ResultRow, loss: float) -> Cell:
    return Cell(row.flops, row.params, row.samples, loss, row.run, row.return_mean, row.return_se, row.episodes)


def _profile(game: str, cells: tuple[Cell, ...]) -> tuple[Profile, list[Diagnostic]]:
    flops, sizes = cells[0].flops, sorted({cell.params for cell in cells})
    chosen = Profile(flops, cells, (sizes[0], sizes[-1]), None, None)
    near = _window(sizes, chosen.best.params)

    def note(code: Code, message: str) -> Diagnostic:
        return Diagnostic(code, "warning", game, flops, message)

    if len(sizes) < MIN_SIZES:
        message = f"Only {len(sizes)} of the {MIN_SIZES} sizes that a parabola needs: no vertex at this budget."
        return chosen, [note("few_sizes", message)]
    said: list[Diagnostic] = []
    if chosen.best.params in (sizes[0], sizes[-1]):
        which, way = ("smallest", "smaller") if chosen.best.params == sizes[0] else ("largest", "larger")
        message = f"The least loss is at the {which} size tried: the optimum may lie beyond it; train {way} sizes."
        said.append(note("edge_optimum", message))
    curve = _parabola([cell for cell in cells if cell.params in near])
    profile = Profile(flops, cells, (near[0], near[-1]), curve, None)
    problem = _problem(curve, near)
    if problem is not None:
        return profile, [*said, note(*problem)]
    return Profile(flops, cells, profile.window, curve, _vertex(curve, cells)), said


def _window(sizes: Sequence[int], best: int) -> list[int]:
    """Sizes within `WINDOW` decades of `best`, or the nearest `MIN_SIZES` where these are fewer.

    A parabola is the start of the series of any smooth loss about its least value in log N; far sizes, whose
    losses can be twenty times the best, would decide the fit and not the optimum.
    """
    by_distance = sorted(sizes, key=lambda size: (abs(np.log10(size / best)), size))
    inside = [size for size in by_distance if abs(np.log10(size / best)) <= WINDOW]
    return sorted(inside if len(inside) >= MIN_SIZES else by_distance[:MIN_SIZES])


def _parabola(cells: Sequence[Cell]) -> tuple[float, float, float]:
    """Least squares of loss on log10 N, centred while solving so that the columns stay independent."""
    u = np.log10([cell.params for cell in cells])
    centre = float(u.mean())
    columns = np.stack([(u - centre) ** 2, u - centre, np.ones_like(u)], axis=1)
    solved = np.linalg.lstsq(columns, np.array([cell.loss for cell in cells]), rcond=None)[0]
    a, b, c = (float(value) for value in solved)
    return a, b - 2 * a * centre, a * centre**2 - b * centre + c


def _lowest(curve: tuple[float, float, float]) -> tuple[float, float]:
    """log10 N and loss at the vertex."""
    a, b, c = curve
    return -b / (2 * a), c - b * b / (4 * a)


def _problem(curve: tuple[float, float, float], sizes: Sequence[int]) -> tuple[Code, str] | None:
    if curve[0] <= 0:
        return "opens_downwards", "The parabola opens downwards: no vertex at this budget; train more sizes."
    u, loss = _lowest(curve)
    low, high = np.log10(sizes[0]), np.log10(sizes[-1])
    if not low <= u <= high:
        side = "smaller" if u < low else "larger"
        return (
            "vertex_outside",
            f"The vertex lies outside the sizes tried and is not used; train {side} sizes.",
        )
    if loss <= 0:
        return (
            "vertex_nonpositive",
            "The loss at the vertex is not positive and is not used; train more sizes.",
        )
    return None


def _vertex(curve: tuple[float, float, float], cells: Sequence[Cell]) -> Vertex:
    u, loss = _lowest(curve)
    log_samples = _read_off(u, [(cell.params, np.log10(cell.samples)) for cell in cells])
    played = [(cell.params, cell.return_mean) for cell in cells if cell.return_mean is not None]
    sizes = [np.log10(params) for params, _ in played]
    between = bool(sizes) and min(sizes) <= u <= max(sizes)
    return Vertex(float(10**u), float(10**log_samples), loss, _read_off(u, played) if between else None)


def _read_off(u: float, pairs: Sequence[tuple[int, float]]) -> float:
    """Value at log10 N = `u`, linear between sizes, the mean at a size that stands twice."""
    by_size: dict[int, list[float]] = defaultdict(list)
    for size, value in pairs:
        by_size[size].append(value)
    sizes = sorted(by_size)
    return float(np.interp(u, np.log10(sizes), [float(np.mean(by_size[size])) for size in sizes]))
