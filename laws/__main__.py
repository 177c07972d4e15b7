"""`python -m laws`: scaling laws, forecasts and plans from result rows, and whole studies."""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

import tyro

from data.common.cli import CONFIG, UserError, exit_with, lazy_command, use_huge_pages
from data.common.rows import as_json
from laws.fitting.analysis import FitOptions, GameFit, fit
from laws.fitting.bootstrap import DRAWS
from laws.fitting.choices import MIN_BUDGETS
from laws.predict.forecast import forecast_at_size, forecast_loss, forecast_return
from laws.predict.hyperparameters import NEAR, SCALES, Scale, tuned_law
from laws.predict.plan import plan
from laws.predict.text import forecast_lines, forecast_record, plan_lines, tuned_lines, tuned_record
from laws.report.screen import fit_lines
from laws.rows.official import import_official
from laws.rows.runs import TableOptions, read
from laws.study.coverage import coverage
from laws.study.power import power
from train.compile.cache import keep_programs

Flat = tyro.conf.OmitArgPrefixes
Tables = tyro.conf.Positional[tuple[Path, ...]]


def fit_command(
    runs: Tables,
    /,
    *,
    out: Path,
    game: str | None = None,
    beside: tuple[Path, ...] = (),
    expert_return: float | None = None,
    bootstraps: int = DRAWS,
    figures: bool = True,
    protocol: str | None = None,
    mixed_versions: bool = False,
    table: Flat[TableOptions] = TableOptions(),  # noqa: B008 frozen
    budgets: Flat[FitOptions] = FitOptions(),  # noqa: B008 frozen
) -> None:
    """Fit scaling laws to a table of results; write laws.json, figures and report.html.

    Example: `python -m laws fit RUN/runs.jsonl --out DIR`

    Args:
        runs: Tables of results, one row per evaluated checkpoint: csv, tsv, JSON, JSON lines or Parquet. Several are
            joined.
        out: Output folder.
        game: Fit the rows of this game only. Names the game of a table without such a column.
        beside: Result files of another study to compare with in the figures. Default: the paper's laws.
        expert_return: The expert's mean return, drawn as a line in the figures of the return.
        bootstraps: Simulated studies for the intervals, at least 100; 0 disables them.
        figures: Draw figures and add forecasts; --no-figures writes only laws.json and the tables, which is faster.
        protocol: Take the returns of this protocol, as rows name it, of checkpoints evaluated by several.
        mixed_versions: Accept rows whose exact FLOPs are counted by different versions of the convention.
        table: How to read the table.
        budgets: How budgets and parabolas are made.
    """
    from laws.report.outputs import fit_files  # Matplotlib takes a second to import

    _positive(expert_return=expert_return)
    found = fit_files(
        runs,
        out=out,
        game=game,
        beside=beside,
        expert=expert_return,
        draws=bootstraps,
        figures=figures,
        protocol=protocol,
        mixed_versions=mixed_versions,
        table=table,
        options=budgets,
    )
    print("\n".join(fit_lines(found)))
    print(f"wrote {out / 'report.html'}")


def report_command(
    studies: tyro.conf.Positional[tuple[str, ...]],
    /,
    *,
    out: Path,
    game: str | None = None,
    bootstraps: int = DRAWS,
    figures: bool = True,
    protocol: str | None = None,
    table: Flat[TableOptions] = TableOptions(),  # noqa: B008 frozen
    budgets: Flat[FitOptions] = FitOptions(),  # noqa: B008 frozen
) -> None:
    """Report several studies: laws side by side, whether exponents differ, compute for the same result.

    Writes report.html, comparison.json and figures.

    Example: `python -m laws report RUN OTHER --out DIR`

    Args:
        studies: Tables of results as for `fit`, or folders of runs, sweeps or studies; one each, NAME=PATH names it.
        out: Output folder.
        game: Take the rows of this game only.
        bootstraps: Simulated studies for the intervals and tests, at least 100; 0 disables them.
        figures: Also draw the figures of each study; --no-figures is faster.
        protocol: As for `fit`.
        table: How to read the tables.
        budgets: How budgets and parabolas are made.
    """
    from laws.report import comparison, matched
    from laws.report.studies import report_studies  # Matplotlib takes a second to import

    options = {"game": game, "draws": bootstraps, "figures": figures, "protocol": protocol}
    found = report_studies(studies, out, **options, table=table, options=budgets)
    lines = [*comparison.lines(found.differences), *matched.lines(found.matches)]
    print("\n".join(lines) or "no law that two studies share")
    print(f"wrote {out / 'report.html'}")


def forecast_command(
    runs: Tables,
    /,
    *,
    flops: float,
    params: float | None = None,
    samples: float | None = None,
    game: str | None = None,
    expert_return: float | None = None,
    protocol: str | None = None,
    mixed_versions: bool = False,
    json: bool = False,
    table: Flat[TableOptions] = TableOptions(),  # noqa: B008 frozen
    budgets: Flat[FitOptions] = FitOptions(),  # noqa: B008 frozen
) -> None:
    """Forecast loss and return at a larger budget by every form and window, with their error in rolling validation.

    Example: `python -m laws forecast RUN/runs.jsonl --flops 1e20`

    Args:
        runs: Tables of results, as for `fit`.
        flops: Budget in FLOPs, counted as in the rows.
        params: With --samples: also forecast the loss of a network of this many parameters.
        samples: With --params: the number of training samples.
        game: The game, if the rows are of several.
        expert_return: The expert's mean return; adds forms of the return that are bounded by it.
        protocol: As for `fit`.
        mixed_versions: As for `fit`.
        json: Print one JSON object.
        table: How to read the table.
        budgets: How budgets and parabolas are made.
    """
    _positive(flops=flops, params=params, samples=samples, expert_return=expert_return)
    if (params is None) != (samples is None):
        raise UserError("--params and --samples belong together: give both or neither")
    found = _one_game(runs, game, protocol, mixed_versions, table, budgets, DRAWS)
    loss = forecast_loss(found, flops)
    returns = forecast_return(found, flops, expert_return)
    sized = None if params is None or samples is None else forecast_at_size(found, params, samples)
    if not loss.entries:
        raise UserError(f"{len(found.profiles)} budgets with a loss are too few: a forecast needs {MIN_BUDGETS}")
    print(as_json(forecast_record(loss, returns, sized)) if json else "\n".join(forecast_lines(loss, returns, sized)))


def plan_command(
    runs: Tables,
    /,
    *,
    flops: float,
    game: str | None = None,
    flops_per_second: float | None = None,
    protocol: str | None = None,
    mixed_versions: bool = False,
    table: Flat[TableOptions] = TableOptions(),  # noqa: B008 frozen
    budgets: Flat[FitOptions] = FitOptions(),  # noqa: B008 frozen
) -> None:
    """Split a budget into parameters and samples, and name the runs that would narrow the prediction most.

    Example: `python -m laws plan RUN/runs.jsonl --flops 1e20 --flops-per-second 1e14`

    Args:
        runs: Tables of results, as for `fit`.
        flops: Budget in FLOPs, counted as in the rows.
        game: The game, if the rows are of several.
        flops_per_second: Training throughput, counted as in the rows; gives the training time.
        protocol: As for `fit`.
        mixed_versions: As for `fit`.
        table: How to read the table.
        budgets: How budgets and parabolas are made.
    """
    _positive(flops=flops, flops_per_second=flops_per_second)
    found = _one_game(runs, game, protocol, mixed_versions, table, budgets, DRAWS)
    planned = plan(found, flops, flops_per_second)
    if not planned.splits:
        need = "at least two budgets" if len(found.profiles) < 2 else "several sizes at each budget"
        raise UserError(f"no law of the size against compute: train {need}")
    print("\n".join(plan_lines(planned)))


def rate_command(
    runs: Tables,
    /,
    *,
    game: str | None = None,
    near: float = NEAR,
    against: tuple[Scale, ...] = SCALES,
    params: float | None = None,
    samples: float | None = None,
    protocol: str | None = None,
    mixed_versions: bool = False,
    json: bool = False,
    table: Flat[TableOptions] = TableOptions(),  # noqa: B008 frozen
) -> None:
    """Fit the best learning rate and batch size against the number of parameters and samples, from a sweep.

    Example: `python -m laws rate FOLDER/tuning.jsonl`

    Args:
        runs: Tables of results, as for `fit`; of some sizes at least three learning rates or batch sizes, the best
            inside.
        game: The game, if the rows are of several.
        near: Fit the runs whose ln loss is at most this much above the least of their size and number of samples.
        against: What the best settings may depend on, as far as the sweep varies it by itself.
        params: Also predict the best settings at so many parameters.
        samples: Also predict the best settings at so many samples.
        protocol: As for `fit`.
        mixed_versions: As for `fit`.
        json: Print one JSON object.
        table: How to read the table.
    """
    _positive(near=near, params=params, samples=samples)
    rows = _one_game(runs, game, protocol, mixed_versions, table, FitOptions(), 0).rows
    try:
        law = tuned_law(rows, near, against)
    except ValueError as error:
        raise UserError(str(error)) from None
    asked = {"params": params, "samples": samples}
    missing = [scale for scale in law.scales if asked[scale] is None]
    if missing and len(missing) < len(law.scales):
        other = {"params": "samples", "samples": "params"}[missing[0]]
        raise UserError(f"the best settings depend on N and D: give --{missing[0]}, too, or --against {other}")
    at = None if missing or not law.scales else (params or 1.0, samples or 1.0)
    print(as_json(tuned_record(law, at)) if json else "\n".join(tuned_lines(law, at)))


def _one_game(
    runs: Sequence[Path],
    game: str | None,
    protocol: str | None,
    mixed_versions: bool,
    table: TableOptions,
    budgets: FitOptions,
    draws: int,
) -> GameFit:
    """The fit of the only game in the tables."""
    rows = read(runs, game, protocol=protocol, mixed_versions=mixed_versions, options=table)
    names = sorted({row.game for row in rows.rows})
    if len(names) > 1:
        raise UserError(f"the rows are of {', '.join(names)}: choose one with --game")
    [found] = fit(rows, draws=draws, options=budgets).games
    if not found.profiles:
        raise UserError("no row has a loss: evaluate the runs first")
    return found


def _positive(**numbers: float | None) -> None:
    for name, number in numbers.items():
        if number is not None and not 0 < number < float("inf"):
            raise UserError(f"--{name.replace('_', '-')} {number:g} must be a number greater than 0")


def reproduce_command() -> None:
    """Run a whole study: collect expert games, train, evaluate, fit, and write the report."""


def coordinates_command() -> None:
    """Draw the coordinate check of µP: how far the outputs of layers move in the first steps, against width."""


def _commands(words: list[str]) -> dict[str, Callable[..., Any]]:
    """The subcommands. Only `reproduce` and `coordinates` import JAX, which takes seconds."""
    commands: dict[str, Callable[..., Any]] = {
        "fit": fit_command,
        "report": report_command,
        "forecast": forecast_command,
        "plan": plan_command,
        "rate": rate_command,
        "import-official": import_official,
        "coverage": coverage,
        "power": power,
        "reproduce": reproduce_command,
        "coordinates": coordinates_command,
    }
    if words[:1] == ["coordinates"]:
        from laws.study.coordinates import coordinates

        commands["coordinates"] = coordinates
    if words[:1] == ["reproduce"]:
        use_huge_pages()
        keep_programs()
        from laws.study.reproduce import reproduce

        commands["reproduce"] = reproduce
    return {name: lazy_command(command) for name, command in commands.items()}


def _parsed(words: list[str], prog: str) -> Callable[[], Any]:
    return tyro.extras.subcommand_cli_from_dict(
        _commands(words), prog=prog, description=__doc__, args=words, config=CONFIG
    )


def main(prog: str = "python -m laws") -> NoReturn:
    """Parse the command line, run the command and exit; `prog` is the program's name in help and errors."""
    exit_with(lambda words: _parsed(words, prog), sys.argv[1:])


if __name__ == "__main__":
    main()
