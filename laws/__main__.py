"""`python -m laws`: fit result rows, or reproduce the paper's figures from nothing."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import tyro

from data.command import deferred, exit_with, use_huge_pages
from laws.fit import fit


def fit_command(
    runs: tyro.conf.Positional[tuple[Path, ...]],
    /,
    *,
    out: Path,
    game: str | None = None,
) -> None:
    """Fit scaling laws to result rows and write laws.json, four figures per game and report.html.

    Args:
        runs: Result files: runs.jsonl of a sweep, or .csv with the same columns. Several are joined.
        out: Folder to write into; made if need be.
        game: Fit the rows of this game only.
    """
    found = fit(runs, out=out, game=game)
    for each in found.games:
        for law in each.laws:
            interval = law.power.exponent_ci
            spread = "no interval" if interval is None else f"95 % {interval[0]:+.3f} to {interval[1]:+.3f}"
            print(f"{each.game}  {law.y} ~ C^{law.power.exponent:+.3f}  ({law.method}, {spread})")
    warnings = sum(item.severity == "warning" for item in found.diagnostics)
    print(f"wrote {out / 'report.html'} ({warnings} warnings in it)")


def reproduce_command() -> None:
    """Collect, train, evaluate and fit in one go, and write the report."""


def _commands(words: list[str]) -> dict[str, Callable[..., Any]]:
    """The subcommands. Reproducing drives JAX, whose import would cost every other command seconds."""
    if words[:1] != ["reproduce"]:
        return {"fit": deferred(fit_command), "reproduce": deferred(reproduce_command)}
    use_huge_pages()
    from laws.reproduce import reproduce

    return {"fit": deferred(fit_command), "reproduce": deferred(reproduce)}


def main() -> None:
    """Parse the command line and call one function."""
    exit_with(
        lambda: tyro.extras.subcommand_cli_from_dict(
            _commands(sys.argv[1:]), prog="python -m laws", description=__doc__
        )
    )


if __name__ == "__main__":
    main()
