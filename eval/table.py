"""Terminal table of result rows."""

from collections.abc import Iterable

from eval.results import ResultRow


def print_rows(rows: Iterable[ResultRow]) -> None:
    """Print one line per checkpoint: budget, N, D, dev loss and mean return, each with its standard error."""
    print(f"{'run':24}{'FLOPs':>9}{'N':>12}{'D':>13}{'dev loss':>18}{'return':>18}{'games':>7}")
    for row in rows:
        loss = _plus_minus(row.loss, row.loss_se, ".4f")
        score = _plus_minus(row.return_mean, row.return_se, ".1f")
        size = f"{row.flops:>9.3g}{row.params:>12,}{row.samples:>13,}"
        print(f"{row.run[:23]:24}{size}{loss:>18}{score:>18}{row.episodes or 0:>7}")


def _plus_minus(value: float | None, error: float | None, digits: str) -> str:
    if value is None:
        return "-"
    return f"{value:{digits}}" + ("" if error is None else f" ± {error:{digits}}")
