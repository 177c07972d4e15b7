"""`python -m agents`: the ladder, with parameters and training FLOPs per sample of every agent."""

import sys
from collections.abc import Iterable
from itertools import groupby
from typing import NoReturn

import tyro

from agents.cost import Cost
from agents.ladder import MOST_ACTIONS, find, ladder
from agents.overrides import fold, settings
from agents.spec import Agent
from agents.xla import batch_of, train_flops
from data.common.cli import CONFIG, UserError, exit_with, lazy_command

LANES = 64
"""Lanes of the batch whose FLOPs XLA counts."""


def show(
    filter: str = "", agent: str | None = None, window: int = 32, actions: int = MOST_ACTIONS, *, xla: bool = False
) -> None:
    """Print parameters and training FLOPs per sample of every agent, in total and by group.

    `all` are all parameters and `N` the counted ones; `exact` and `paper` are the two conventions of counting FLOPs.

    Example: `python -m agents --filter nethack/lstm`

    Args:
        filter: Show only agents whose name contains this.
        agent: Show one agent, of the ladder or module:function, and its fields, which --core.layers 2 and the like set.
        window: Steps per training window; changes the cost of attention and of recurrence.
        actions: Number of actions of the Atari game, for example 4 in Breakout and 18 in BankHeist.
        xla: Instead compare the exact count with XLA's, of the gradient over an unrolled window (a second per agent).
    """
    if window < 1 or actions < 1:
        raise UserError(f"--window {window} and --actions {actions}: give at least 1")
    chosen = ladder(actions).values() if agent is None else [find(agent, actions)]
    agents = [one for one in chosen if filter in one.name]
    if not agents:
        raise UserError(f"no agent whose name contains {filter!r}: leave --filter out to see all")
    if xla:
        compare(agents, window)
        return
    shown = [(one.name, one.cost(window)) for one in agents]
    for _, entries in groupby(shown, key=lambda entry: entry[0].split("/")[0]):
        table = list(entries)
        groups = merged([group.name for group in cost.groups] for _, cost in table)
        print(_line("agent", "", ("all", "N", "", *groups)))
        print(_line("", "", ("exact", "paper", "", *("" for _ in groups))))
        for name, cost in table:
            print("\n".join(_rows(name, cost, groups)))
    if agent is not None:
        print("fields:", ", ".join(f"{path}={value}" for path, (value, _) in settings(agents[0]).items()))


def compare(agents: list[Agent], window: int) -> None:
    """Print `exact`, XLA's count and their ratio for each agent."""
    print(f"{'agent':28}{'exact':>15}{'XLA':>15}{'ratio':>8}")
    for agent in agents:
        exact, counted = agent.cost(window).train_flops("exact"), train_flops(agent, batch_of(agent, LANES, window))
        print(f"{agent.name:27} {exact:15,d}{counted:15,.0f}{exact / counted:8.3f}", flush=True)


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


def _rows(name: str, cost: Cost, groups: list[str]) -> tuple[str, str]:
    parts = {group.name: group.part for group in cost.groups}
    params = [short(parts[group].params) if group in parts else "-" for group in groups]
    flops = [short(parts[group].train) if group in parts else "-" for group in groups]
    exact, paper = (short(cost.train_flops(convention)) for convention in ("exact", "paper"))
    return (
        _line(name, "params", (short(cost.params), short(cost.counted_params), "|", *params)),
        _line("", "FLOPs", (exact, paper, "|", *flops)),
    )


def _line(name: str, label: str, cells: tuple[str, ...]) -> str:
    return f"{name:27} {label:7}" + "".join(f"{cell:>10}" if cell != "|" and cell else f"{cell:>3}" for cell in cells)


def short(count: float) -> str:
    """A count with three digits and a unit: 40585 is 40.6k."""
    for unit in ("", "k", "M", "G"):
        if count < 999.5 or unit == "G":
            return f"{count:.3g}{unit}"
        count /= 1000
    raise AssertionError("unreachable")


def main(prog: str = "python -m agents") -> NoReturn:
    """Parse the command line, run the command and exit; `prog` is the program's name in help and errors."""
    parser = lazy_command(show)
    exit_with(
        lambda words: tyro.cli(parser, prog=prog, description=show.__doc__, args=fold(words), config=CONFIG),
        sys.argv[1:],
    )


if __name__ == "__main__":
    main()
