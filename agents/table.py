"""The table of agents: parameters and training FLOPs per sample, as text, JSON or CSV."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Literal

from agents.cost import Cost
from data.common.rows import as_csv, as_json

Format = Literal["text", "wide", "json", "csv"]


@dataclass(frozen=True)
class Row:
    """An agent."""

    name: str
    cost: Cost
    xla: float | None = None
    """XLA's count of the training FLOPs per sample, if it was asked for."""

    @property
    def record(self) -> dict[str, Any]:
        """Counts by name, in total and by group of layers; numbers as they are."""
        cost = self.cost
        counts: dict[str, Any] = {
            "agent": self.name,
            "params": cost.counted_params,
            "params_all": cost.params,
            "flops_exact": cost.train_flops("exact"),
            "flops_paper": cost.train_flops("paper"),
        }
        return counts | ({} if self.xla is None else {"flops_xla": self.xla})

    @property
    def groups(self) -> dict[str, dict[str, int]]:
        """Parameters and exact training FLOPs per sample of each group of layers."""
        return {group.name: {"params": group.part.params, "flops": group.part.train} for group in self.cost.groups}


def lines(rows: Iterable[Row], form: Format) -> Iterator[str]:
    """The table in a form, line by line."""
    if form == "json":
        yield as_json([row.record | {"groups": row.groups} for row in rows])
    elif form == "csv":
        records = [row.record for row in rows]
        yield as_csv(list(records[0]), records, end="\n").rstrip("\n")
    elif form == "wide":
        for _, of_family in groupby(rows, key=lambda row: row.name.split("/")[0]):
            yield from _wide(list(of_family))
    else:
        yield f"{'agent':27} {'N':>15} {'all parameters':>15} {'FLOPs/sample':>15}"
        for row in rows:
            yield "{agent:27} {params:15,} {params_all:15,} {flops_exact:15,}".format(**row.record)


def group_lines(row: Row) -> Iterator[str]:
    """The groups of layers of an agent, a line each, and its totals."""
    yield f"{row.name:27} {'parameters':>15} {'FLOPs/sample':>15}"
    for name, counts in row.groups.items():
        yield f"  {name:25} {counts['params']:15,} {counts['flops']:15,}"
    counts = row.record
    yield f"  {'all':25} {counts['params_all']:15,} {counts['flops_exact']:15,}"
    yield f"  {'counted (N), by the paper':25} {counts['params']:15,} {counts['flops_paper']:15,}"


def xla_lines(rows: Iterable[Row], form: Format) -> Iterator[str]:
    """`exact`, XLA's count and their ratio, line by line as they come."""
    if form in ("json", "csv"):
        yield from lines(rows, form)
        return
    yield f"{'agent':27} {'exact':>15} {'XLA':>15} {'ratio':>7}"
    for row in rows:
        exact, counted = row.record["flops_exact"], row.xla or float("nan")
        yield f"{row.name:27} {exact:15,} {counted:15,.0f} {exact / counted:7.3f}"


def merged(lists: Iterable[list[str]]) -> list[str]:
    """The union of several lists; a new name is put after its predecessor in its own list."""
    names: list[str] = []
    for one in lists:
        place = 0
        for name in one:
            if name not in names:
                names.insert(place, name)
            place = names.index(name) + 1
    return names


def _wide(rows: list[Row]) -> Iterator[str]:
    """Two lines an agent, parameters and FLOPs: all, as the laws and the paper count them, and by group of layers."""
    groups = merged(list(row.groups) for row in rows)
    heads = ("all", "N, paper", *groups)
    yield f"{'agent':27} {'':10}" + "".join(f"{head:>14}" for head in heads)
    for row in rows:
        counts = row.record
        for key, label, totals in (
            ("params", "parameters", (counts["params_all"], counts["params"])),
            ("flops", "FLOPs", (counts["flops_exact"], counts["flops_paper"])),
        ):
            cells = [f"{total:,}" for total in totals]
            cells += [f"{row.groups[name][key]:,}" if name in row.groups else "-" for name in groups]
            name = row.name if key == "params" else ""
            yield f"{name:27} {label:10}" + "".join(f"{cell:>14}" for cell in cells)
