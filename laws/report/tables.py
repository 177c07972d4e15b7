"""The tables of the report, from fits and forecasts."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from laws.fitting.analysis import GameFit
from laws.fitting.isoflop import METHODS, QUANTITIES, Cell, Method, Quantity
from laws.fitting.law import Law
from laws.predict import published
from laws.predict.forecast import Extrapolation
from laws.predict.intrinsic import reaches
from laws.report.number import MISSING, abbreviated, interval, of_loss, signed, significant, span

QUANTITY_NAMES: dict[Quantity, str] = {
    "loss": "Dev loss L",
    "params": "Parameters N",
    "samples": "Samples D",
    "return": "Mean return R",
}
MOST_CELLS = 5_000
"""Most cells that the report lists."""
METHOD_NAMES: dict[Method, str] = {"envelope": "envelope", "isoflop": "isoFLOP"}


@dataclass(frozen=True)
class ReportTable:
    """A table of the report, its cells already formatted."""

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""
    """A sentence below the table."""
    bold: frozenset[int] = frozenset()
    """Indices of rows in bold type."""
    sortable: bool = False
    wrapped: bool = False
    """Whether cells are sentences, which break into lines."""

    @property
    def numeric(self) -> tuple[bool, ...]:
        """Which columns hold numbers only; they are aligned to the right."""
        return tuple(all(_is_number(row[place]) for row in self.rows) for place in range(len(self.header)))


def _is_number(cell: str) -> bool:
    cell = cell.removeprefix("< ")
    return cell == MISSING or cell[:1].isdigit() or (cell[:1] in "-\u2212[" and cell[1:2].isdigit())


def laws(fit: GameFit) -> ReportTable:
    """The laws against compute beside the paper's."""
    header = ("Quantity", "Method", "Exponent", "95 % interval", "One training less", "Paper", "Coefficient", "Budgets")
    rows = []
    for y in QUANTITIES:
        for method in METHODS:
            line = published.law(fit.game, y) if method == "envelope" else None
            paper = None if line is None else line.exponent
            rows.append((QUANTITY_NAMES[y], METHOD_NAMES[method], *_law_cells(fit.found(y, method), paper)))
            offset = fit.found(y, method, "offset")
            if offset is not None:
                name = f"{METHOD_NAMES[method]}, offset {offset.power.offset:.3g}"
                rows.append((QUANTITY_NAMES[y], name, *_law_cells(offset, None)))
    note = (
        "The interval is what the noise of trainings and measurements does to the exponent; one training less is how"
        " far it moves without any single one, which is not noise. Where N and D jump between the sizes trained"
        " (envelope), so does their exponent."
    )
    if published.law(fit.game, "loss") is not None:
        note += (
            f" Paper: the same fit to the measurements of {published.PAPER}. Its budgets, networks and expert data"
            " differ, so the exponents need not agree."
        )
    return ReportTable("Laws against training compute", header, tuple(rows), note)


def _law_cells(law: Law | None, paper: float | None) -> tuple[str, ...]:
    reference = MISSING if paper is None else signed(paper)
    if law is None:
        return "no law", MISSING, MISSING, reference, MISSING, MISSING
    power = law.power
    reach = MISSING if law.sensitivity is None else span(law.sensitivity)
    interval = "none" if law.exponent_ci is None else span(law.exponent_ci)
    return signed(power.exponent), interval, reach, reference, f"{power.coefficient:.4g}", str(len(power.points))


def parametric(fit: GameFit) -> ReportTable | None:
    """The parameters of L(N, D); None without a parametric law."""
    if fit.parametric is None:
        return None
    names = {
        "E": "irreducible loss E",
        "A": "A",
        "B": "B",
        "alpha": "exponent of 1/N",
        "beta": "exponent of 1/D",
        "params": "N* against C",
        "samples": "D* against C",
        "loss": "L* \u2212 E against C",
    }
    values, intervals, found = fit.parametric.values, fit.parametric.intervals, fit.parametric.fit
    rows = tuple((words, significant(values[name]), _interval(intervals[name])) for name, words in names.items())
    note = (
        f"Fitted with the Huber loss of ln L; {found.share_reaching_best:.0%} of {found.starts} starts reach the"
        f" minimum. Pearson's r of ln N and ln D over the cells is {signed(found.correlation, 2)}."
    )
    title, header = "Parametric law L = E + A/N^a + B/D^b, all cells", ("Parameter", "Value", "95 % interval")
    return ReportTable(title, header, rows, note)


def forecasts(found: Extrapolation) -> ReportTable:
    """Every forecast at ten times the largest budget."""
    header = ("Quantity", "Form", "Fitted from (FLOPs)", "Value", "95 % interval", "Past error", "Coverage", "AICc")
    rows = [
        (
            QUANTITY_NAMES[forecast.y],
            entry.form,
            f"{entry.window[0]:.3g}",
            significant(entry.value),
            _interval(entry.interval),
            MISSING if entry.score is None else f"{entry.score:.1%}",
            MISSING if entry.coverage is None else f"{entry.coverage:.0%}",
            MISSING if entry.aicc is None else signed(entry.aicc, 1),
        )
        for forecast in (found.loss, found.returns)
        for entry in forecast.entries
    ]
    note = (
        "Past error: root mean squared error where the form is fitted to the first budgets and predicts one as far"
        " ahead as this forecast, over the cuts that all scored forms share. Coverage: fraction of these that lay in"
        " its 95 % interval. AICc compares forms of one method and window; lower is better. Bold: the forms that enter"
        " the combined forecast, power laws and those that were better than the power law."
    )
    every = [entry for forecast in (found.loss, found.returns) for entry in forecast.entries]
    bold = frozenset(place for place, entry in enumerate(every) if entry.preferred)
    return ReportTable("Forecasts", header, tuple(rows), note, bold, sortable=True)


def reaching(fit: GameFit) -> ReportTable:
    """The least compute for shares of the greatest return."""
    rows = tuple(
        (
            significant(each.returns),
            f"{each.measured:.3g}",
            MISSING if each.law is None else f"{each.law:.3g}",
            MISSING if each.interval is None else interval(each.interval),
        )
        for each in reaches(fit)
    )
    header = ("Mean return", "Least compute measured (FLOPs)", "by the law", "95 % interval")
    note = "Intrinsic performance: the least compute that reaches a return, with a network of any size trained."
    return ReportTable("Least compute to reach a return", header, rows, note)


def choices(fit: GameFit) -> ReportTable:
    """The exponents under every choice of method, form, window, weights and FLOP convention."""
    counted = "Weights", "C counted", "N counted"
    header = ("Quantity", "Method", "Form", "From (FLOPs)", *counted, "Exponent", "95 % interval", "Budgets")
    rows = [
        (
            QUANTITY_NAMES[choice.y],
            choice.method,
            choice.form,
            f"{choice.window[0]:.3g}",
            choice.weights,
            choice.convention,
            choice.params,
            signed(choice.exponent),
            MISSING if choice.exponent_ci is None else span(choice.exponent_ci),
            str(choice.budgets),
        )
        for choice in fit.choices
    ]
    return ReportTable("Choices", header, tuple(rows), sortable=True)


def optima(fit: GameFit) -> ReportTable:
    """The best cell and the vertex of each budget."""
    at_best, at_vertex = ("Least-loss N", "D", "Loss", "Return"), ("Vertex N", "95 % interval", "D", "Loss")
    rows = []
    for profile in fit.profiles:
        best, vertex = profile.best, profile.vertex
        found = (MISSING,) * len(at_vertex)
        if vertex is not None:
            ends = vertex.params_ci
            interval = MISSING if ends is None else f"{abbreviated(ends[0])} to {abbreviated(ends[1])}"
            found = f"{vertex.params:,.0f}", interval, f"{vertex.samples:,.0f}", of_loss(vertex.loss)
        trained = f"{best.params:,}", f"{best.samples:,}", of_loss(best.loss), _return(best)
        rows.append((f"{profile.flops:.3g}", *trained, *found, _optimum(fit, profile.flops)))
    note = "Intervals of the vertex are by bootstrap of the study. L(N, D) N: the optimum by the parametric law."
    header = ("Budget (FLOPs)", *at_best, *at_vertex, "L(N, D) N")
    return ReportTable("Optimum of each budget", header, tuple(rows), note)


def _optimum(fit: GameFit, flops: float) -> str:
    if fit.parametric is None:
        return MISSING
    params = float(fit.parametric.fit.surface.optimum(flops, fit.parametric.price).params)
    return f"{params:,.0f}" if 0 < params < math.inf else MISSING


def cells(fit: GameFit) -> ReportTable:
    """Every trained cell, the best of each budget in bold."""
    header = ("Budget (FLOPs)", "Run", "N", "D", "Loss", "Return", "Games")
    every = [(cell, cell is profile.best) for profile in fit.profiles for cell in profile.cells]
    left_out = len(every) - MOST_CELLS
    every = every if left_out <= 0 else [each for each in every if each[1]][:MOST_CELLS]
    rows = [
        (
            f"{cell.flops:.3g}",
            cell.run,
            f"{cell.params:,}",
            f"{cell.samples:,}",
            of_loss(cell.loss),
            _return(cell),
            MISSING if cell.episodes is None else f"{cell.episodes:,}",
        )
        for cell, _ in every
    ]
    bold = frozenset(place for place, (_, best) in enumerate(every) if best)
    note = "Bold: the least loss of its budget. Click a column header to sort."
    if left_out > 0:
        note = f"Of more than {MOST_CELLS:,} cells, the least loss of each budget."
    return ReportTable("Cells", header, tuple(rows), note, bold, sortable=True)


def spread(fit: GameFit) -> Sequence[str]:
    """The range of each quantity's exponent over all choices."""
    return [
        f"{QUANTITY_NAMES[y]} {signed(min(found))} to {signed(max(found))}"
        for y in QUANTITIES
        if (found := [choice.exponent for choice in fit.choices if choice.y == y])
    ]


def _interval(ends: tuple[float, float] | None) -> str:
    return MISSING if ends is None else f"{significant(ends[0])} to {significant(ends[1])}"


def _return(cell: Cell) -> str:
    if cell.return_mean is None:
        return MISSING
    error = "" if cell.return_se is None else f" ± {cell.return_se:.3g}"
    return f"{signed(cell.return_mean, 2)}{error}"
