"""`python -m agents`: the ladder, with parameters and FLOPs of every size by group."""

from functools import cache

from agents.cost import TRAIN_FACTOR
from agents.ladder import ladder
from agents.nethack import NetHackAgent
from data.command import run


@cache
def groups() -> tuple[str, ...]:
    """Names of the groups of all agents: the encoders' first, then what follows them."""
    agents = ladder().values()
    encoders = [name for agent in agents for name in agent.encoders.parts()]
    return tuple(dict.fromkeys([*encoders, *(group.name for agent in agents for group in agent.cost(1).groups)]))


def show(filter: str = "", window: int = 32) -> None:
    """Print every agent of the ladder: parameters, and training FLOPs per sample, in total and by group.

    `N` is the parameters that count, `exact` and `paper` the FLOPs by either convention.

    Args:
        filter: Show only names that contain this.
        window: Steps per training window; matters to attention alone.
    """
    print(_line("agent", "", ("all", "N", "", *groups())))
    print(_line("", "", ("exact", "paper", "", *("" for _ in groups()))))
    for name, agent in ladder().items():
        if filter in name:
            print("\n".join(_rows(name, agent, window)))


def _rows(name: str, agent: NetHackAgent, window: int) -> tuple[str, str]:
    cost = agent.cost(window)
    parts = {group.name: group.part for group in cost.groups}
    params = [short(parts[group].params) if group in parts else "-" for group in groups()]
    flops = [short(TRAIN_FACTOR * parts[group].flops) if group in parts else "-" for group in groups()]
    exact, paper = (short(cost.train_flops(convention)) for convention in ("exact", "paper"))
    return (
        _line(name, "params", (short(cost.params), short(cost.counted_params), "|", *params)),
        _line("", "FLOPs", (exact, paper, "|", *flops)),
    )


def _line(name: str, label: str, cells: tuple[str, ...]) -> str:
    return f"{name:28}{label:7}" + "".join(f"{cell:>10}" if cell != "|" and cell else f"{cell:>3}" for cell in cells)


def short(count: float) -> str:
    """A count with three digits and a unit: 40585 is 40.6k."""
    for unit in ("", "k", "M", "G"):
        if count < 999.5 or unit == "G":
            return f"{count:.3g}{unit}"
        count /= 1000
    raise AssertionError("unreachable")


if __name__ == "__main__":
    run(show, prog="python -m agents")
