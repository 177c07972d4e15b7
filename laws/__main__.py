"""`python -m laws`: fit result rows, or reproduce the paper's figures from nothing."""

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

import tyro

from data.common.cli import UserError, exit_with, lazy_command, use_huge_pages
from eval.results import ResultRow
from laws.fit.bootstrap import DRAWS
from laws.fit.isoflop import Profile, profiles
from laws.predict import forecast, plan
from laws.report.outputs import fit
from laws.rows.official import import_official
from laws.rows.runs import read


def fit_command(
    runs: tyro.conf.Positional[tuple[Path, ...]],
    /,
    *,
    out: Path,
    game: str | None = None,
    beside: tuple[Path, ...] = (),
    expert_return: float | None = None,
    bootstraps: int = DRAWS,
    figures: bool = True,
) -> None:
    """Fit scaling laws to result rows and write laws.json, figures and report.html.

    Args:
        runs: Result files: runs.jsonl of a sweep, or .csv with the same columns. Several are joined.
        out: Folder to write into; made if need be.
        game: Fit the rows of this game only.
        beside: Result files of another study, drawn beside; without any, the paper's laws are where it has the game.
        expert_return: The expert's mean return: a line in the figures of the return.
        bootstraps: Draws of runs behind the wider intervals; 0 for none.
        figures: Draw figures and forecast; without, laws.json and the report's tables alone, sooner.
    """
    _positive(expert_return=expert_return)
    if bootstraps < 0:
        raise UserError(f"--bootstraps {bootstraps} is negative: 0 is for none")
    found = fit(runs, out=out, game=game, beside=beside, expert=expert_return, draws=bootstraps, drawn=figures)
    for each in found.games:
        for law in each.laws:
            interval = law.power.exponent_ci
            spread = "no interval" if interval is None else f"95 % {interval[0]:+.3f} to {interval[1]:+.3f}"
            if law.runs_ci:
                spread += f"; by run {law.runs_ci[0]:+.3f} to {law.runs_ci[1]:+.3f}"
            offset = "" if law.form == "power" else f"{law.power.offset:.4g} + "
            print(f"{each.game}  {law.y} ~ {offset}C^{law.power.exponent:+.3f}  ({law.method}, {spread})")
    warnings = sum(item.severity == "warning" for item in found.diagnostics)
    print(f"wrote {out / 'report.html'} ({warnings} warnings in it)")


def forecast_command(
    runs: tyro.conf.Positional[tuple[Path, ...]],
    /,
    *,
    flops: float,
    params: float | None = None,
    samples: float | None = None,
    game: str | None = None,
    expert_return: float | None = None,
    json: bool = False,
) -> None:
    """Foretell loss and return at a larger budget, by every form and window, each scored on the past.

    Args:
        runs: Result files, as for `fit`.
        flops: The budget, FLOPs, as the rows count them.
        params: With --samples: also the loss of a network of this size.
        samples: With --params: after this many samples.
        game: Which game, if the rows are of several.
        expert_return: The expert's mean return: adds forms of the return that end there.
        json: Print everything as one JSON object.
    """
    _positive(flops=flops, params=params, samples=samples, expert_return=expert_return)
    if (params is None) != (samples is None):
        raise UserError("--params and --samples belong together: give both or neither")
    _, found = _one_game(runs, game)
    loss = forecast.forecast_loss(found, flops)
    returns = forecast.forecast_return(found, flops, expert=expert_return)
    sized = None if params is None or samples is None else forecast.at_size(found, params, samples)
    if not loss.entries:
        raise UserError(f"{len(found)} budgets with a loss are too few: a forecast needs {forecast.MIN_BUDGETS}")
    print(_as_json(loss, returns, sized) if json else "\n".join(forecast.lines(loss, returns, sized)))


def _as_json(loss: forecast.Forecast, returns: forecast.Forecast, sized: forecast.Entry | None) -> str:
    told = forecast.document(loss)
    if sized is not None:
        told["forms"].append(vars(sized))
    if returns.entries:
        told["return"] = forecast.document(returns)
    return json.dumps(told, indent=1, allow_nan=False)


def plan_command(
    runs: tyro.conf.Positional[tuple[Path, ...]],
    /,
    *,
    flops: float,
    game: str | None = None,
    flops_per_second: float | None = None,
) -> None:
    """Say how to spend a budget: size, samples, ladder entry, batch, time, and which further runs would tell more.

    Args:
        runs: Result files, as for `fit`.
        flops: The budget, FLOPs, as the rows count them.
        game: Which game, if the rows are of several.
        flops_per_second: What your machine reaches, as the rows count FLOPs: gives the time.
    """
    _positive(flops=flops, flops_per_second=flops_per_second)
    rows, found = _one_game(runs, game)
    planned = plan.plan(rows, found, flops, flops_per_second)
    if not planned.splits:
        raise UserError("no law of the size against compute: train at least two budgets")
    print("\n".join(plan.lines(planned)))


def _one_game(runs: Sequence[Path], game: str | None) -> tuple[tuple[ResultRow, ...], tuple[Profile, ...]]:
    rows = read(runs, game).rows
    names = sorted({row.game for row in rows})
    if len(names) > 1:
        raise UserError(f"the rows are of {', '.join(names)}: choose one with --game")
    found = profiles(names[0], rows)[0]
    if not found:
        raise UserError("no row has a loss: evaluate the runs first")
    return rows, found


def _positive(**numbers: float | None) -> None:
    for name, number in numbers.items():
        if number is not None and not 0 < number < float("inf"):
            raise UserError(f"--{name.replace('_', '-')} {number:g} must be a number greater than 0")


def reproduce_command() -> None:
    """Collect, train, evaluate and fit in one go, and write the report."""


def _commands(words: list[str]) -> dict[str, Callable[..., Any]]:
    """The subcommands. Reproducing drives JAX, whose import would cost every other command seconds."""
    commands: dict[str, Callable[..., Any]] = {
        "fit": fit_command,
        "forecast": forecast_command,
        "plan": plan_command,
        "import-official": import_official,
        "reproduce": reproduce_command,
    }
    if words[:1] == ["reproduce"]:
        use_huge_pages()
        from laws.study.reproduce import reproduce

        commands["reproduce"] = reproduce
    return {name: lazy_command(command) for name, command in commands.items()}


def main(prog: str = "python -m laws") -> NoReturn:
    """Parse the command line, run the command and exit; `prog` is the program's name in help and errors."""
    exit_with(lambda: tyro.extras.subcommand_cli_from_dict(_commands(sys.argv[1:]), prog=prog, description=__doc__))


if __name__ == "__main__":
    main()
