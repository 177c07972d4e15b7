"""The reporting checklist of scaling-law papers, filled in from the rows and the fit.

Its questions are those on which studies of the same data come to differ (Li et al., arXiv 2502.18969): what was fitted
to what and how, how N, D and C were counted, and how the runs were trained.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from data.common.progress import count
from eval.results import ResultRow
from laws.fitting.analysis import GameFit
from laws.fitting.isoflop import cells_of
from laws.fitting.noise import NoiseModel
from laws.fitting.parametric import DELTA
from laws.report.number import signed
from laws.report.tables import ReportTable
from laws.rows.budgets import binned
from laws.rows.tuning import TUNED

SHOWN = 4
"""Different values that an answer lists."""


def checklist(fit: GameFit, columns: Mapping[str, str]) -> ReportTable:
    """Questions and answers; `columns` are the columns of the table behind fields of other names."""
    answers = (
        (
            "What was fitted",
            "y = a·C^b, for the loss also a·C^b + E, to the optimum of each budget; L(N, D) to all cells",
        ),
        ("To what", _cells(fit)),
        (
            "How",
            "least squares of ln y on ln C; parabolas of ln L in log N by least squares; L(N, D) by the Huber loss of"
            f" ln L, delta {DELTA:g}, the best of many starts",
        ),
        ("Intervals", _intervals(fit)),
        ("Data", _of(fit.rows, "store", "not stated in the rows") + _games(fit.rows)),
        ("N counted as", _column(columns, "params", "parameters that count towards model size, as the rows give them")),
        ("L measured as", _column(columns, "loss", "dev loss in nats a step, as the rows give it")),
        ("D counted as", _column(columns, "samples", "samples, timesteps of the expert, as the rows give them")),
        ("C counted as", _convention(fit.rows, columns)),
        ("Seeds", _seeds(fit)),
        ("Learning rate schedules", _of(fit.rows, "schedule", "not stated in the rows")),
        ("Hyperparameters", _tuned(fit.rows)),
        ("Returns", _of(fit.rows, "protocol", "protocol not stated in the rows") if _played(fit.rows) else "none"),
    )
    return ReportTable("Reporting checklist", ("Question", "Answer"), answers, wrapped=True)


def _cells(fit: GameFit) -> str:
    cells = cells_of(fit.profiles)
    sizes, runs = len({cell.params for cell in cells}), len({cell.run for cell in cells})
    vertices = sum(profile.vertex is not None for profile in fit.profiles)
    return (
        f"{count(len(cells), 'cell')} of {count(runs, 'training')}: {count(sizes, 'size')} at"
        f" {count(len(fit.profiles), 'budget')}, {vertices} of these with a vertex inside the sizes tried"
    )


def _intervals(fit: GameFit) -> str:
    if fit.simulated is None:
        return "none: the study doesn't tell its noise, or none were asked for"
    draws = len(fit.simulated.log_loss)
    losses = fit.simulated.losses
    parts = [f"95 % basic intervals over {draws:,} simulated studies; ln loss: {_noise(losses)}"]
    if fit.simulated.returns is not None:
        parts.append(f"return: {_noise(fit.simulated.returns)}")
    return "; ".join(parts)


def _noise(model: NoiseModel) -> str:
    source = "replicated sizes" if model.replicated else f"residuals about a mean of form {model.mean}"
    within = f", {model.within:.2g} within" if model.freedom_within else ""
    return (
        f"standard deviation {model.between:.2g} between trainings{within}, from {source},"
        f" {model.freedom:.1f} degrees of freedom"
    )


def _of(rows: Sequence[ResultRow], name: str, missing: str) -> str:
    found = list(dict.fromkeys(str(value) for row in rows if (value := getattr(row, name)) is not None))
    more = f" and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
    return ", ".join(found[:SHOWN]) + more if found else missing


def _games(rows: Sequence[ResultRow]) -> str:
    held_out = {row.loss_episodes for row in rows if row.loss_episodes}
    return f"; loss on {max(held_out):,} held-out episodes" if held_out else ""


def _column(columns: Mapping[str, str], field: str, default: str) -> str:
    return f"column {columns[field]}" if field in columns else default


def _convention(rows: Sequence[ResultRow], columns: Mapping[str, str]) -> str:
    stated = _of(rows, "flop_convention", "")
    given = _column(columns, "flops", "as the rows give it")
    return f"{given}, convention {stated}" if stated else given


def _seeds(fit: GameFit) -> str:
    cells: dict[tuple[int, float], set[str]] = defaultdict(set)
    for profile in fit.profiles:
        for cell in profile.cells:
            cells[cell.params, profile.flops].add(cell.run)
    most = max((len(each) for each in cells.values()), default=0)
    shared = any(row.population for row in fit.rows)
    populations = " of one population, which shares the order of its data" if shared else ""
    if most <= 1:
        return "one training of each size and budget"
    several = sum(len(each) > 1 for each in cells.values())
    return f"up to {most} trainings{populations} at {several} of {len(cells)} sizes and budgets"


def _tuned(rows: Sequence[ResultRow]) -> str:
    by_cell: dict[tuple[int, int], set[tuple[object, ...]]] = defaultdict(set)
    for number, places in enumerate(binned([row.flops for row in rows])):
        for row in (rows[place] for place in places):
            by_cell[row.params, number].add(tuple(getattr(row, name) for name in TUNED))
    tuned = sum(len(each) > 1 for each in by_cell.values())
    if tuned:
        return f"the best of several settings at {tuned} of {len(by_cell)} sizes and budgets"
    if all(row.lr is None for row in rows):
        return "not stated in the rows"
    rates = sorted({row.lr for row in rows if row.lr is not None})
    span = f"{rates[0]:g}" if len(rates) == 1 else f"{rates[0]:g} to {rates[-1]:g}"
    rule = _of(rows, "lr_rule", "")
    return f"not tuned: learning rate {span}" + (f" by the rule {rule}" if rule else "")


def _played(rows: Sequence[ResultRow]) -> bool:
    return any(row.return_mean is not None for row in rows)


def bias_sentence(fit: GameFit) -> Iterator[str]:
    """What parabolas make of L(N, D) itself, where that was fitted."""
    bias = fit.parabola_bias
    if bias is None:
        return
    low, high = (100 * (end - 1) for end in bias.ratio)
    yield (
        f"Parabolas of L(N, D) itself, at these sizes and without noise, have vertices {signed(low, 0)} to"
        f" {signed(high, 0)} % off its true optima, and an exponent of N that is {signed(bias.exponent)} off."
    )
