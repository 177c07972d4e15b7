"""The report: one HTML page that needs nothing beside it."""

import base64
import html
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from laws import published
from laws.analysis import Fit, GameFit
from laws.canvas import Picture
from laws.diagnose import Diagnostic
from laws.isoflop import Cell, cells_of
from laws.power import PowerLaw
from laws.resample import METHODS, QUANTITIES, Method, Quantity


@dataclass(frozen=True)
class Table:
    """A table for the report, its cells already in words."""

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""
    """One sentence below the table."""


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

_NONE = "\u2013"
"""What a cell without a value shows: an en dash."""

_STYLE = """
:root { color-scheme: light dark; --ink: #1d2329; --soft: #5b6670; --line: #dde2e7; --paper: #ffffff;
  --tint: #f4f6f8; --accent: #0072b2; --warn: #b45309; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ec; --soft: #a2acb5; --line: #353c43;
  --paper: #15191d; --tint: #1e242a; --accent: #6bb8e8; --warn: #f0a95b; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
main { max-width: 68rem; margin: 0 auto; padding: 2.5rem 1.25rem 4rem; }
a { color: var(--accent); }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0 0 .5rem; }
h2 { font-size: 1.4rem; margin: 3rem 0 .75rem; padding-top: .75rem; border-top: 1px solid var(--line); }
h3 { font-size: 1.08rem; margin: 2rem 0 .5rem; }
p { max-width: 46rem; margin: .5rem 0; }
.soft, figcaption, .note { color: var(--soft); font-size: .92rem; }
.scroll { overflow-x: auto; margin: .75rem 0; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .92rem; }
th, td { padding: .38rem .8rem; border-bottom: 1px solid var(--line); text-align: left; white-space: nowrap; }
th { font-weight: 600; color: var(--soft); background: var(--tint); }
table.sortable th { cursor: pointer; } th[aria-sort=ascending]::after { content: " \25b4"; }
th[aria-sort=descending]::after { content: " \25be"; }
.headline { font-size: 1.15rem; }
td.number, th.number { text-align: right; }
tr.best td { font-weight: 600; }
.figures { display: grid; gap: 1.5rem 1.25rem; margin-top: 1.25rem;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 26rem), 1fr)); }
figure { margin: 0; } figure.wide { grid-column: 1 / -1; }
figure.profiles { max-width: 52rem; }
figure img { display: block; width: 100%; height: auto; background: #fff; border: 1px solid var(--line);
  border-radius: 6px; padding: .4rem; }
figcaption { margin-top: .4rem; }
ul.said { padding-left: 1.1rem; max-width: 52rem; } ul.said li { margin: .3rem 0; }
.code { font: .82rem ui-monospace, "SF Mono", Menlo, Consolas, monospace; }
.warning { color: var(--warn); } .info { color: var(--accent); }
details { margin: .75rem 0; } summary { cursor: pointer; font-weight: 600; }
details .scroll { max-height: 32rem; overflow-y: auto; }
pre { background: var(--tint); padding: .9rem 1rem; border-radius: 6px; overflow-x: auto;
  font: .82rem/1.45 ui-monospace, "SF Mono", Menlo, Consolas, monospace; }
@media print { details .scroll { max-height: none; } }
"""


def render(fit: Fit, pictures: Mapping[str, Sequence[Picture]], context: Context | None = None) -> str:
    """The page for `fit`, with `pictures` by game and, after a reproduction, its `context`."""
    context = context or Context("Scaling laws: " + ", ".join(game.game for game in fit.games))
    parts = [
        f"<h1>{_text(context.title)}</h1>",
        f"<p>{_text(context.summary)}</p>" if context.summary else "",
        *(_game(game, pictures[game.game], fit.diagnostics) for game in fit.games),
        *(_plain_table(table, "h2") for table in context.tables),
        _stages(context.stages),
        f"<h2>Configuration</h2><pre>{_text(context.configuration)}</pre>" if context.configuration else "",
        _METHOD,
    ]
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{_text(context.title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<main>\n"
        + "\n".join(part for part in parts if part)
        + f"\n</main>\n<script>{_SORT}</script>\n</body>\n</html>\n"
    )


_SORT = """
for (const head of document.querySelectorAll('table.sortable th')) {
  const column = [...head.parentNode.children].indexOf(head);
  const body = head.closest('table').tBodies[0];
  const value = row => {
    const text = row.cells[column].textContent.replaceAll('\u2212', '-').replaceAll(',', '').trim();
    const number = parseFloat(text);
    return Number.isNaN(number) ? text : number;
  };
  const sort = () => {
    const up = head.getAttribute('aria-sort') !== 'ascending';
    for (const other of head.parentNode.children) other.removeAttribute('aria-sort');
    head.setAttribute('aria-sort', up ? 'ascending' : 'descending');
    const order = (a, b) => {
      const [x, y] = [value(a), value(b)];
      if (typeof x !== typeof y) return typeof x === 'number' ? -1 : 1;
      return (x < y ? -1 : x > y ? 1 : 0) * (up ? 1 : -1);
    };
    body.append(...[...body.rows].sort(order));
  };
  head.tabIndex = 0;
  head.addEventListener('click', sort);
  head.addEventListener('keydown', event => { if (event.key === 'Enter') sort(); });
}
"""
"""Click on a column's head, or press Enter there, and its table is sorted by it."""

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


def _game(fit: GameFit, pictures: Sequence[Picture], diagnostics: Sequence[Diagnostic]) -> str:
    cells = cells_of(fit.profiles)
    sizes = sorted({cell.params for cell in cells})
    counts = f"{_count(len(cells), 'trained cell')}"
    if cells:
        counts += f", {_count(len(fit.profiles), 'budget')} from {fit.profiles[0].flops:.3g}"
        counts += f" to {fit.profiles[-1].flops:.3g} FLOPs, {_count(len(sizes), 'size')}"
        counts += f" from {sizes[0]:,} to {sizes[-1]:,} parameters"
    return "\n".join(
        [
            f"<h2>{_text(fit.game)}</h2>",
            _sentence(fit),
            _doubts([item for item in diagnostics if item.game == fit.game]),
            f'<p class="soft">{counts}.</p>',
            _law_table(fit),
            _surface(fit),
            _correlation(fit),
            '<div class="figures">',
            *(_figure(fit.game, picture) for picture in pictures),
            "</div>",
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
    ends = "" if law.exponent_ci is None else f" (95&nbsp;% interval {_interval(law.exponent_ci)})"
    runs = _by_run(fit, "loss", "envelope")
    wider = "" if runs is None else f"; had other trainings been made, {_interval(runs)}"
    return (
        f'<p class="headline">Ten times the compute {way} the least dev loss by {abs(change):.0f}&nbsp;%: '
        f"L ∝ C<sup>{_signed(law.exponent)}</sup>{ends}{wider}.</p>"
    )


def _doubts(diagnostics: Sequence[Diagnostic]) -> str:
    """How many warnings there are, by kind, beside the headline that they are about."""
    kinds = Counter(item.code for item in diagnostics if item.severity == "warning")
    if not kinds:
        return "<p>Nothing is in doubt by the checks below.</p>"
    told = ", ".join(
        f'<span class="code warning">{_text(code)}</span>' + (f" &times; {count}" if count > 1 else "")
        for code, count in kinds.items()
    )
    return f'<p>In doubt: {told}; <a href="#diagnostics">in words below</a>.</p>'


def _by_run(fit: GameFit, y: Quantity, method: Method) -> tuple[float, float] | None:
    return next((law.runs_ci for law in fit.laws if (law.y, law.method, law.form) == (y, method, "power")), None)


def _law_table(fit: GameFit) -> str:
    header = ("Quantity", "Method", "Exponent", "95 % interval", "95 % by run", "Paper", "Coefficient", "Budgets")
    rows = []
    for y in QUANTITIES:
        for method in METHODS:
            law = fit.law(y, method)
            paper = published.exponent(fit.game, y) if method == "envelope" else None
            rows.append((QUANTITY_NAMES[y], METHOD_NAMES[method], *_law_cells(law, _by_run(fit, y, method), paper)))
            offset = fit.law(y, method, "offset")
            if offset is not None:
                name = f"{METHOD_NAMES[method]}, above {offset.offset:.3g}"
                rows.append((QUANTITY_NAMES[y], name, *_law_cells(offset, None, None)))
    note = ""
    if published.exponent(fit.game, "loss") is not None:
        note = (
            f"Paper: the same fit on the measurements of {published.PAPER}. Its budgets, networks and expert"
            " data are its own, so the exponents need not agree."
        )
    return _plain_table(Table("Laws against training compute", header, tuple(rows), note), "h3")


def _law_cells(law: PowerLaw | None, runs: tuple[float, float] | None, paper: float | None) -> tuple[str, ...]:
    reference = _NONE if paper is None else _signed(paper)
    if law is None:
        return "no law", _NONE, _NONE, reference, _NONE, _NONE
    wider = _NONE if runs is None else _interval(runs)
    interval = "none (two budgets)" if law.exponent_ci is None else _interval(law.exponent_ci)
    return _signed(law.exponent), interval, wider, reference, f"{law.coefficient:.4g}", str(len(law.points))


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
        told = _NONE if interval is None else f"{_short(interval[0])} to {_short(interval[1])}"
        rows.append((words, _short(values[name]), told))
    note = (
        f"Least Huber loss of ln L; {fit.parametric.fit.share_reaching_best:.0%} of {fit.parametric.fit.starts} starts"
        f" end there. ln N and ln D of the cells correlate by {_signed(fit.parametric.fit.correlation, 2)}."
    )
    title = "Parametric law L = E + A/N^a + B/D^b, all cells"
    return _plain_table(Table(title, ("Parameter", "Value", "95 % by run"), tuple(rows), note), "h3")


def _short(value: float) -> str:
    return f"{value:.4g}".replace("-", "\u2212")


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
            _signed(choice.exponent),
            _NONE if choice.exponent_ci is None else _interval(choice.exponent_ci),
            str(choice.budgets),
        )
        for choice in fit.choices
    ]
    if not rows:
        return ""
    spread = ", ".join(
        f"{QUANTITY_NAMES[y]} {_signed(min(found))} to {_signed(max(found))}"
        for y in QUANTITIES
        if (found := [choice.exponent for choice in fit.choices if choice.y == y])
    )
    return (
        f"<h3>What the exponents hang on</h3><p>Under every defensible choice: {spread}.</p>"
        f"<details><summary>All {_count(len(rows), 'choice')}</summary>"
        f"{_grid(header, rows, [False] * len(rows), sortable=True)}</details>"
    )


def _correlation(fit: GameFit) -> str:
    found = fit.correlation
    if found is None:
        return "<p>Loss and return can't be compared: fewer than three budgets have both.</p>"
    power = found.power
    interval = "" if power.exponent_ci is None else f" (95 % interval {_interval(power.exponent_ci)})"
    return (
        f"<p>Over the {len(power.points)} cells of least loss, return goes as"
        f" L<sup>{_signed(power.exponent)}</sup>{interval}; Pearson's r is {_signed(found.r)} in logs and"
        f" {_signed(found.r_linear)} in natural units.</p>"
    )


def _figure(game: str, picture: Picture) -> str:
    data = base64.b64encode(picture.png).decode("ascii")
    caption = _text(picture.caption)
    wide = " wide" if picture.name in ("profiles", "laws") else ""
    return (
        f'<figure class="{picture.name}{wide}"><img alt="{_text(game)}: {caption}"'
        f' src="data:image/png;base64,{data}">'
        f"<figcaption>{caption}</figcaption></figure>"
    )


def _said(diagnostics: Sequence[Diagnostic]) -> str:
    if not diagnostics:
        return "<h3>Diagnostics</h3><p>Nothing was left out and nothing is in doubt.</p>"
    items = [
        f'<li><span class="code {item.severity}">{_text(item.code)}</span> '
        + ("" if item.flops is None else f"<strong>{item.flops:.3g} FLOPs</strong>: ")
        + f"{_text(item.message)}</li>"
        for item in diagnostics
    ]
    warnings = sum(item.severity == "warning" for item in diagnostics)
    summary = f"{_count(warnings, 'warning')}, {_count(len(diagnostics) - warnings, 'remark')}"
    opened = " open" if len(items) <= 8 else ""
    return (
        f'<h3 id="diagnostics">Diagnostics</h3><details{opened}><summary>{summary}</summary>'
        f'<ul class="said">{"".join(items)}</ul></details>'
    )


def _optima(fit: GameFit) -> str:
    header = ("Budget (FLOPs)", "Least-loss N", "D", "Loss", "Return", "Vertex N", "Vertex D", "Vertex loss")
    rows = []
    for profile in fit.profiles:
        best, vertex = profile.best, profile.vertex
        at_vertex = (_NONE,) * 3
        if vertex is not None:
            at_vertex = f"{vertex.params:,.0f}", f"{vertex.samples:,.0f}", f"{vertex.loss:.4f}"
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
    return _plain_table(Table("Optimum of each budget", header, tuple(rows)), "h3")


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
                    _NONE if cell.episodes is None else f"{cell.episodes:,}",
                )
            )
            best.append(cell is profile.best)
    table = _grid(header, rows, best, sortable=True)
    return (
        f"<details><summary>All {_count(len(rows), 'cell')}</summary>{table}"
        '<p class="note">Bold: least loss of its budget. A click on a column sorts by it.</p></details>'
    )


def _return(cell: Cell) -> str:
    if cell.return_mean is None:
        return _NONE
    error = "" if cell.return_se is None else f" ± {cell.return_se:.3g}"
    return f"{_signed(cell.return_mean, 2)}{error}"


def _stages(stages: Sequence[Stage]) -> str:
    if not stages:
        return ""
    rows = [(stage.name, _duration(stage.seconds)) for stage in stages]
    rows.append(("all", _duration(sum(stage.seconds for stage in stages))))
    return _plain_table(Table("Time", ("Stage", "Duration"), tuple(rows)), "h2")


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"


def _plain_table(table: Table, level: str) -> str:
    note = f'<p class="note">{_text(table.note)}</p>' if table.note else ""
    heading = f"<{level}>{_text(table.title)}</{level}>"
    return heading + _grid(table.header, table.rows, [False] * len(table.rows)) + note


def _grid(header: Sequence[str], rows: Sequence[Sequence[str]], best: Sequence[bool], *, sortable: bool = False) -> str:
    """A table whose columns of numbers stand to the right."""
    right = [all(_numeric(row[column]) for row in rows) for column in range(len(header))]
    kinds = [' class="number"' if each else "" for each in right]
    head = "".join(f"<th{kind}>{_text(name)}</th>" for name, kind in zip(header, kinds, strict=True))
    body = "".join(
        ('<tr class="best">' if bold else "<tr>")
        + "".join(f"<td{kind}>{_text(cell)}</td>" for cell, kind in zip(row, kinds, strict=True))
        + "</tr>"
        for row, bold in zip(rows, best, strict=True)
    )
    kind = ' class="sortable"' if sortable else ""
    return f'<div class="scroll"><table{kind}><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _numeric(cell: str) -> bool:
    return cell == _NONE or cell[:1].isdigit() or (cell[:1] in "-\u2212[" and cell[1:2].isdigit())


def _signed(value: float, digits: int = 3) -> str:
    return f"{value:.{digits}f}".replace("-", "\u2212")


def _interval(ends: tuple[float, float]) -> str:
    return f"{_signed(ends[0])} to {_signed(ends[1])}"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _text(value: str) -> str:
    return html.escape(value, quote=True)
