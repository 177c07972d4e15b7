"""What an HTML page is made of: its frame and style, tables, and numbers as words."""

import html
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Table:
    """A table for the report, its cells already in words."""

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""
    """One sentence below the table."""


NONE = "\u2013"
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


def frame(title: str, parts: Sequence[str]) -> str:
    """The whole page around its parts."""
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{text(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<main>\n"
        + "\n".join(part for part in parts if part)
        + f"\n</main>\n<script>{_SORT}</script>\n</body>\n</html>\n"
    )


def titled(table: Table, level: str) -> str:
    """A table below its title, a heading of `level` (h2, h3)."""
    note = f'<p class="note">{text(table.note)}</p>' if table.note else ""
    heading = f"<{level}>{text(table.title)}</{level}>"
    return heading + grid(table.header, table.rows, [False] * len(table.rows)) + note


def grid(header: Sequence[str], rows: Sequence[Sequence[str]], best: Sequence[bool], *, sortable: bool = False) -> str:
    """A table whose columns of numbers stand to the right."""
    right = [all(_numeric(row[column]) for row in rows) for column in range(len(header))]
    kinds = [' class="number"' if each else "" for each in right]
    head = "".join(f"<th{kind}>{text(name)}</th>" for name, kind in zip(header, kinds, strict=True))
    body = "".join(
        ('<tr class="best">' if bold else "<tr>")
        + "".join(f"<td{kind}>{text(cell)}</td>" for cell, kind in zip(row, kinds, strict=True))
        + "</tr>"
        for row, bold in zip(rows, best, strict=True)
    )
    kind = ' class="sortable"' if sortable else ""
    return f'<div class="scroll"><table{kind}><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _numeric(cell: str) -> bool:
    return cell == NONE or cell[:1].isdigit() or (cell[:1] in "-\u2212[" and cell[1:2].isdigit())


def signed(value: float, digits: int = 3) -> str:
    """To so many digits, with a true minus sign."""
    return f"{value:.{digits}f}".replace("-", "\u2212")


def span(ends: tuple[float, float]) -> str:
    """An interval in words."""
    return f"{signed(ends[0])} to {signed(ends[1])}"


def count(number: int, noun: str) -> str:
    """12 cells, 1 cell."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def text(value: str) -> str:
    """As HTML holds it."""
    return html.escape(value, quote=True)


def short(value: float) -> str:
    """To four digits."""
    return f"{value:.4g}".replace("-", "\u2212")
