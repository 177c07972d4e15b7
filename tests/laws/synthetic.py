"""Synthetic studies with known laws, and the command line."""

import math
import subprocess
import sys

import numpy as np

from eval.results import ResultRow
from laws.fitting.analysis import Fit, GameFit, fit
from laws.fitting.isoflop import Profile, profiles
from laws.fitting.parametric import HOFFMANN

BUDGETS = (1e12, 3e12, 1e13, 3e13)
SIZES = (10_000, 30_000, 100_000, 300_000, 1_000_000)


def sweep(game: str = "nethack") -> list[ResultRow]:
    """A sweep whose optima are exact power laws: N = 0.001·C^0.6, L = 50·C^-0.15, R = 3·L^-2."""
    rows = []
    for flops in BUDGETS:
        centre, least = math.log10(1e-3 * flops**0.6), 50 * flops**-0.15
        for size in SIZES:
            loss = least * math.exp(0.2 * (math.log10(size) - centre) ** 2)
            samples = round(flops / 6 / size)
            rows.append(ResultRow(game, f"r{size}", flops, size, samples, loss, 0.01, 3 * loss**-2, 0.1, 64, seed=0))
    return rows


def hoffmann_sweep(noise: float = 0.0, budgets: int = 8, seed: int = 0, sizes: int = 7) -> list[ResultRow]:
    """Hoffmann's law at sizes about the optimum of budgets half a decade apart, each cell a run of its own."""
    random = np.random.default_rng(seed)
    rows = []
    for flops in 10 ** (18 + np.arange(budgets) / 2):
        best = float(HOFFMANN.optimum(flops).params)
        for place, params in enumerate(np.geomspace(best / 4, best * 4, sizes)):
            samples = flops / 6 / params
            loss = float(HOFFMANN.predict(params, samples)) * math.exp(noise * random.normal())
            run = f"{flops:.3g}-{place}"
            rows.append(ResultRow("text", run, float(flops), round(params), round(samples), loss))
    return rows


def profiles_of(rows: list[ResultRow]) -> tuple[Profile, ...]:
    return profiles(rows[0].game, rows)[0]


def fitted(rows: list[ResultRow], draws: int = 0) -> GameFit:
    """The fit of one game without other choices; without intervals unless there are `draws`."""
    return only(fit(rows, draws=draws, choosing=False))


def only(found: Fit) -> GameFit:
    assert len(found.games) == 1
    return found.games[0]


def command(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "laws", *words], capture_output=True, text=True, check=False)
