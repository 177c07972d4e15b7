"""`python -m agents`: the ladder, with parameters and FLOPs of every size by group."""

from agents.ladder import ladder
from data.command import run


def show(filter: str = "", window: int = 32) -> None:
    """Print every agent of the ladder: parameters, and training FLOPs per sample, in total and by group.

    Args:
        filter: Show only names that contain this.
        window: Steps per training window; matters to attention alone.
    """
    header = ("agent", "params", "N", "exact", "paper")
    print(f"{header[0]:28}{header[1]:>10}{header[2]:>10}{header[3]:>10}{header[4]:>10}  params | exact FLOPs by group")
    print(f"{'':28}{'':>10}{'counted':>10}{'FLOPs per sample':>20}")
    for name, agent in ladder().items():
        if filter not in name:
            continue
        cost = agent.cost(window)
        totals = (cost.params, cost.counted_params, cost.train_flops("exact"), cost.train_flops("paper"))
        groups = "  ".join(
            f"{group.name} {short(group.part.params)}|{short(3 * group.part.flops)}" for group in cost.groups
        )
        print(f"{name:28}" + "".join(f"{short(total):>10}" for total in totals) + f"  {groups}")


def short(count: float) -> str:
    """A count with three digits and a unit: 40585 is 40.6k."""
    for unit in ("", "k", "M", "G"):
        if count < 999.5 or unit == "G":
            return f"{count:.3g}{unit}"
        count /= 1000
    raise AssertionError("unreachable")


if __name__ == "__main__":
    run(show, prog="python -m agents")
