"""The report: one HTML page that needs nothing beside it."""

import base64
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from laws.figures.axes import short as counted
from laws.figures.canvas import Picture
from laws.fit.analysis import Fit, GameFit
from laws.fit.bootstrap import METHODS, QUANTITIES, Method, Quantity
from laws.fit.diagnose import Diagnostic
from laws.fit.isoflop import Cell, cells_of
from laws.fit.power import Form, PowerLaw
from laws.predict.forecast import Outlook
from laws.report.page import NONE, Table, count, frame, grid, short, signed, span, text, titled
from laws.rows import published


@dataclass(frozen=True)
class Stage:
    """How long one stage of a reproduction took."""

    name: str
    seconds: float


@dataclass(frozen=True)
class Context:
    """What a report says beside the fit: where the rows come from and what to compare them with."""

    title: str
    summary: str = ""
    """A paragraph below the title."""
    configuration: str = ""
    """Commands and configuration, shown as they are."""
    tables: tuple[Table, ...] = ()
    """For example baselines: random policy, expert, best agent, with intervals."""
    stages: tuple[Stage, ...] = ()


QUANTITY_NAMES: dict[Quantity, str] = {
    "loss": "Dev loss L",
    "params": "Parameters N",
    "samples": "Samples D",
    "return": "Mean return R",
}
METHOD_NAMES: dict[Method, str] = {"envelope": "envelope", "isoflop": "isoFLOP"}


def render(
    fit: Fit,
    pictures: Mapping[str, Sequence[Picture]],
    context: Context | None = None,
    outlooks: Mapping[str, Outlook] | None = None,
) -> str:
    """The page for `fit`, with `pictures` and `outlooks` by game and the `context` that the fit does not know."""
    told = outlooks or {}
    context = context or Context("Scaling laws: " + ", ".join(game.game for game in fit.games))
    parts = [
        f"<h1>{text(context.title)}</h1>",
        f"<p>{text(context.summary)}</p>" if context.summary else "",
        *(_game(game, pictures[game.game], fit.diagnostics, told.get(game.game)) for game in fit.games),
        *(titled(table, "h2") for table in context.tables),
        _stages(context.stages),
        f"<h2>To repeat it</h2><pre>{text(context.configuration)}</pre>" if context.configuration else "",
        _METHOD,
    ]
    return frame(context.title, parts)


_METHOD = """<h2>How to read this</h2>
<p>Every law has the form <em>y</em> = coefficient · <em>C</em><sup>exponent</sup>, fitted by least squares in
logs with each budget weighing the same; one <em>above</em> a number has it as an offset. Intervals are 95 % intervals
of the exponent by Student's t; they take budgets to be independent, which budgets along one training are not.
Those <em>by run</em> draw whole trainings with replacement, and so say what other trainings might have given.</p>
<p>The <em>envelope</em> takes the trained cell of least dev loss at each budget. The <em>isoFLOP</em> method
fits a parabola of log loss against log N through the sizes within a factor of ten of the best one and reads N and
the loss at its vertex; D and the return are read off there between the cells. The envelope's return is the
greatest of each budget, as the paper has it, and so a little too good. Natural units: FLOPs, parameters, steps of
the expert, nats per step, game score.</p>"""


def _game(fit: GameFit, pictures: Sequence[Picture], diagnostics: Sequence[Diagnostic], told: Outlook | None) -> str:
    cells = cells_of(fit.profiles)
    sizes = sorted({cell.params for cell in cells})
    counts = f"{count(len(cells), 'trained cell')}"
    if cells:
        counts += f", {count(len(fit.profiles), 'budget')} from {fit.profiles[0].flops:.3g}"
        counts += f" to {fit.profiles[-1].flops:.3g} FLOPs, {count(len(sizes), 'size')}"
        counts += f" from {sizes[0]:,} to {sizes[-1]:,} parameters"
    return "\n".join(
        [
            f"<h2>{text(fit.game)}</h2>",
            _sentence(fit),
            _doubts([item for item in diagnostics if item.game == fit.game]),
            f'<p class="soft">{counts}.</p>',
            _law_table(fit),
            _surface(fit),
            _correlation(fit),
            '<div class="figures">',
            *(_figure(fit.game, picture) for picture in pictures),
            "</div>",
            "" if told is None else _outlook(told),
            _choices(fit),
            _said([item for item in diagnostics if item.game == fit.game]),
            _optima(fit),
            _cells(fit),
        ]
    )


def _sentence(fit: GameFit) -> str:
    """The loss law in one sentence."""
    law = fit.law("loss", "envelope")
    if law is None:
        return "<p>There are too few budgets for a law of loss against compute.</p>"
    change = (10**law.exponent - 1) * 100
    way = "lowers" if change < 0 else "raises"
    ends = "" if law.exponent_ci is None else f" (95&nbsp;% interval {span(law.exponent_ci)})"
    runs = _by_run(fit, "loss", "envelope")
    wider = "" if runs is None else f"; had other trainings been made, {span(runs)}"
    return (
        f'<p class="headline">Ten times the compute {way} the least dev loss by {abs(change):.0f}&nbsp;%: '
        f"L ∝ C<sup>{signed(law.exponent)}</sup>{ends}{wider}.</p>"
    )


def _doubts(diagnostics: Sequence[Diagnostic]) -> str:
    """How many warnings there are, by kind, beside the headline that they are about."""
    kinds = Counter(item.code for item in diagnostics if item.severity == "warning")
    if not kinds:
        return "<p>Nothing is in doubt by the checks below.</p>"
    told = ", ".join(
        f'<span class="code warning">{text(code)}</span>' + (f" &times; {count}" if count > 1 else "")
        for code, count in kinds.items()
    )
    return f'<p>In doubt: {told}; <a href="#diagnostics">in words below</a>.</p>'


def _by_run(fit: GameFit, y: Quantity, method: Method, form: Form = "power") -> tuple[float, float] | None:
    return next((law.runs_ci for law in fit.laws if (law.y, law.method, law.form) == (y, method, form)), None)


def _law_table(fit: GameFit) -> str:
    header = ("Quantity", "Method", "Exponent", "95 % interval", "95 % by run", "Paper", "Coefficient", "Budgets")
    rows = []
    for y in QUANTITIES:
        for method in METHODS:
            law = fit.law(y, method)
            line = published.law(fit.game, y) if method == "envelope" else None
            paper = None if line is None else line.exponent
            rows.append((QUANTITY_NAMES[y], METHOD_NAMES[method], *_law_cells(law, _by_run(fit, y, method), paper)))
            offset = fit.law(y, method, "offset")
            if offset is not None:
                name = f"{METHOD_NAMES[method]}, above {offset.offset:.3g}"
                rows.append((QUANTITY_NAMES[y], name, *_law_cells(offset, _by_run(fit, y, method, "offset"), None)))
    note = ""
    if published.law(fit.game, "loss") is not None:
        note = (
            f"Paper: the same fit on the measurements of {published.PAPER}. Its budgets, networks and expert"
            " data are its own, so the exponents need not agree."
        )
    return titled(Table("Laws against training compute", header, tuple(rows), note), "h3")


def _law_cells(law: PowerLaw | None, runs: tuple[float, float] | None, paper: float | None) -> tuple[str, ...]:
    reference = NONE if paper is None else signed(paper)
    if law is None:
        return "no law", NONE, NONE, reference, NONE, NONE
    wider = NONE if runs is None else span(runs)
    interval = "none (two budgets)" if law.exponent_ci is None else span(law.exponent_ci)
    return signed(law.exponent), interval, wider, reference, f"{law.coefficient:.4g}", str(len(law.points))


def _surface(fit: GameFit) -> str:
    """The parametric law as a table of its parameters."""
    if fit.parametric is None:
        return ""
    names = {
        "E": "irreducible loss E",
        "A": "A",
        "B": "B",
        "alpha": "exponent of 1/N",
        "beta": "exponent of 1/D",
        "params": "N* against C",
        "samples": "D* against C",
        "loss": "L* - E against C",
    }
    values, ends = fit.parametric.values, fit.parametric.intervals
    rows = []
    for name, words in names.items():
        interval = ends[name]
        told = NONE if interval is None else f"{short(interval[0])} to {short(interval[1])}"
        rows.append((words, short(values[name]), told))
    note = (
        f"Least Huber loss of ln L; {fit.parametric.fit.share_reaching_best:.0%} of {fit.parametric.fit.starts} starts"
        f" end there. ln N and ln D of the cells correlate by {signed(fit.parametric.fit.correlation, 2)}."
    )
    title = "Parametric law L = E + A/N^a + B/D^b, all cells"
    return titled(Table(title, ("Parameter", "Value", "95 % by run"), tuple(rows), note), "h3")


def _outlook(told: Outlook) -> str:
    """What a larger budget will give, by every form and window, and together."""
    header = ("Quantity", "Form", "Fitted from (FLOPs)", "Value", "95 % interval", "Past error", "Held")
    rows, sentences = [], []
    for forecast in (told.loss, told.returns):
        for entry in forecast.entries:
            ends = f"{short(entry.interval[0])} to {short(entry.interval[1])}"
            score = NONE if entry.score is None else f"{entry.score:.1%}"
            held = NONE if entry.held is None else f"{entry.held:.0%}"
            window = f"{entry.window[0]:.3g}"
            rows.append((QUANTITY_NAMES[forecast.y], entry.form, window, short(entry.value), ends, score, held))
        if forecast.combined is not None:
            value, (low, high) = forecast.combined
            name = "dev loss" if forecast.y == "loss" else "mean return"
            sentences.append(f"a {name} of {short(value)} ({short(low)} to {short(high)})")
    if not sentences:
        return ""
    return (
        f"<h3>Ten times the compute</h3><p>At {told.loss.flops:.3g} FLOPs all forms and windows together, each weighed"
        f" by how well it foretold what came before, say {' and '.join(sentences)}.</p>"
        f"<details><summary>All {count(len(rows), 'forecast')}</summary>"
        f"{grid(header, rows, [False] * len(rows), sortable=True)}"
        '<p class="note">Past error: the form fitted to the first budgets foretells the later ones, over every cut.'
        " Held: how often its interval held what came. Intervals are those of the fits; python -m laws forecast adds"
        " draws of runs.</p></details>"
    )


def _choices(fit: GameFit) -> str:
    """The exponents under every choice, since one number hides it."""
    header = ("Quantity", "Method", "Form", "From (FLOPs)", "Weights", "FLOPs", "Exponent", "95 % interval", "Budgets")
    rows = [
        (
            QUANTITY_NAMES[choice.y],
            choice.method,
            choice.form,
            f"{choice.window[0]:.3g}",
            choice.weights,
            choice.convention,
            signed(choice.exponent),
            NONE if choice.exponent_ci is None else span(choice.exponent_ci),
            str(choice.budgets),
        )
        for choice in fit.choices
    ]
    if not rows:
        return ""
    spread = ", ".join(
        f"{QUANTITY_NAMES[y]} {signed(min(found))} to {signed(max(found))}"
        for y in QUANTITIES
        if (found := [choice.exponent for choice in fit.choices if choice.y == y])
    )
    return (
        f"<h3>What the exponents hang on</h3><p>Under every defensible choice: {spread}.</p>"
        f"<details><summary>All {count(len(rows), 'choice')}</summary>"
        f"{grid(header, rows, [False] * len(rows), sortable=True)}</details>"
    )


def _correlation(fit: GameFit) -> str:
    found = fit.correlation
    if found is None:
        return "<p>Loss and return can't be compared: fewer than three budgets have both.</p>"
    power = found.power
    interval = "" if power.exponent_ci is None else f" (95 % interval {span(power.exponent_ci)})"
    return (
        f"<p>Over the {len(power.points)} cells of least loss, return goes as"
        f" L<sup>{signed(power.exponent)}</sup>{interval}; Pearson's r is {signed(found.r)} in logs and"
        f" {signed(found.r_linear)} in natural units.</p>"
    )


WIDE = {"profiles", "laws", "residuals", "windows", "forecast", "scores", "settings"}
"""Figures that need the page's whole width."""


def _figure(game: str, picture: Picture) -> str:
    data = base64.b64encode(picture.png).decode("ascii")
    caption = text(picture.caption)
    wide = " wide" if picture.name in WIDE else ""
    return (
        f'<figure class="{picture.name}{wide}"><img alt="{text(game)}: {caption}"'
        f' src="data:image/png;base64,{data}">'
        f"<figcaption>{caption}</figcaption></figure>"
    )


def _said(diagnostics: Sequence[Diagnostic]) -> str:
    if not diagnostics:
        return "<h3>Diagnostics</h3><p>Nothing was left out and nothing is in doubt.</p>"
    items = [
        f'<li><span class="code {item.severity}">{text(item.code)}</span> '
        + ("" if item.flops is None else f"<strong>{item.flops:.3g} FLOPs</strong>: ")
        + f"{text(item.message)}</li>"
        for item in diagnostics
    ]
    warnings = sum(item.severity == "warning" for item in diagnostics)
    summary = f"{count(warnings, 'warning')}, {count(len(diagnostics) - warnings, 'remark')}"
    opened = " open" if len(items) <= 8 else ""
    return (
        f'<h3 id="diagnostics">Diagnostics</h3><details{opened}><summary>{summary}</summary>'
        f'<ul class="said">{"".join(items)}</ul></details>'
    )


def _optima(fit: GameFit) -> str:
    header = ("Budget (FLOPs)", "Least-loss N", "D", "Loss", "Return", "Vertex N", "95 %", "by run", "D", "Loss")
    rows = []
    for profile in fit.profiles:
        best, vertex = profile.best, profile.vertex
        at_vertex = (NONE,) * 5
        if vertex is not None:
            ends = [
                NONE if each is None else f"{counted(each[0])} to {counted(each[1])}"
                for each in (vertex.params_ci, vertex.params_ci_runs)
            ]
            at_vertex = f"{vertex.params:,.0f}", *ends, f"{vertex.samples:,.0f}", f"{vertex.loss:.4f}"
        rows.append(
            (
                f"{profile.flops:.3g}",
                f"{best.params:,}",
                f"{best.samples:,}",
                f"{best.loss:.4f}",
                _return(best),
                *at_vertex,
            )
        )
    note = "Intervals of the vertex: by the scatter of the cells about the parabola, and by draws of runs."
    return titled(Table("Optimum of each budget", header, tuple(rows), note), "h3")


def _cells(fit: GameFit) -> str:
    header = ("Budget (FLOPs)", "Run", "N", "D", "Loss", "Return", "Games")
    rows, best = [], []
    for profile in fit.profiles:
        for cell in profile.cells:
            rows.append(
                (
                    f"{cell.flops:.3g}",
                    cell.run,
                    f"{cell.params:,}",
                    f"{cell.samples:,}",
                    f"{cell.loss:.4f}",
                    _return(cell),
                    NONE if cell.episodes is None else f"{cell.episodes:,}",
                )
            )
            best.append(cell is profile.best)
    table = grid(header, rows, best, sortable=True)
    return (
        f"<details><summary>All {count(len(rows), 'cell')}</summary>{table}"
        '<p class="note">Bold: least loss of its budget. A click on a column sorts by it.</p></details>'
    )


def _return(cell: Cell) -> str:
    if cell.return_mean is None:
        return NONE
    error = "" if cell.return_se is None else f" ± {cell.return_se:.3g}"
    return f"{signed(cell.return_mean, 2)}{error}"


def _stages(stages: Sequence[Stage]) -> str:
    if not stages:
        return ""
    rows = [(stage.name, _duration(stage.seconds)) for stage in stages]
    rows.append(("all", _duration(sum(stage.seconds for stage in stages))))
    return titled(Table("Time", ("Stage", "Duration"), tuple(rows)), "h2")


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"
