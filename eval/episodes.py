"""The games of evaluated checkpoints: a table, a summary, and the comparison of two runs."""

import csv
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from data.common.cli import UserError, quoted
from data.common.files import replacing
from data.common.progress import count
from data.common.rows import as_json
from eval.checkpoints import chosen, games_of
from eval.config import CompareConfig, EpisodesConfig
from eval.play.records import protocols_of
from eval.statistics import bootstrap, interquartile_mean, mean, mean_interval, ratio_interval
from train.checkpoint import budget_name


@dataclass(frozen=True)
class Played:
    """The games of one checkpoint by one protocol."""

    run: str
    flops: float
    protocol: str
    games: Sequence[Any]

    @property
    def records(self) -> Iterator[dict[str, Any]]:
        """A record per game: its result row, what it is of, and why it ended."""
        for game in self.games:
            yield {"run": self.run, "flops": self.flops, "protocol": self.protocol, **asdict(game), "end": game.end}


def played(
    run: Path, budgets: Sequence[float] = (), protocol: str | None = None, store: Sequence[Path] = ()
) -> list[Played]:
    """The games of a run's checkpoints, by budget and protocol; `store` as of `eval.checkpoints.load_checkpoint`.

    Raises:
        UserError: There is no such run or budget, or no game by the protocol.
    """
    found = []
    for budget in chosen(run, budgets):
        names = protocols_of(run / "budgets" / budget_name(budget.flops), budget.digest)
        for name in [name for name in names if protocol in (None, name)]:
            found.append(Played(run.name, budget.flops, name, games_of(run, budget.flops, name, store)))
    if not found:
        by = "" if protocol is None else f" by the protocol {protocol!r}"
        raise UserError(f"{run} has no games{by}: play some with `python -m eval {quoted(run)}`")
    return found


def summary(config: EpisodesConfig) -> Iterator[str]:
    """Lines, or JSON, about the games of each checkpoint; writes the games to `config.out` if it is set."""
    expert = np.array([config.expert_return]) if config.expert_return else _scores_of(config.expert)
    groups = [group for run in config.runs for group in played(run, config.budgets, config.protocol, config.store)]
    if config.out is not None:
        write_table(config.out, [record for group in groups for record in group.records])
        if not config.json:
            yield f"wrote {count(sum(len(group.games) for group in groups), 'game')} to {config.out}"
    found = [_described(group, expert) for group in groups]
    if config.json:
        yield as_json(found)
        return
    for facts in found:
        yield from _lines(facts)


def _scores_of(path: Path | None) -> np.ndarray | None:
    """The scores of the games in a file.

    Raises:
        UserError: There is no such file, no game in it, or the mean is not greater than 0.
    """
    if path is None:
        return None
    try:
        scores = np.array([json.loads(line)["score"] for line in path.read_text().splitlines()], np.float64)
    except (OSError, ValueError, KeyError, TypeError):
        scores = np.zeros(0)
    if not scores.size:
        raise UserError(f"{path} has no games: write some with `python -m eval expert --out {quoted(path)}`")
    if scores.mean() <= 0:
        raise UserError(f"{path}: the expert's mean return is {scores.mean():g}, of which there is no share")
    return scores


def _described(group: Played, expert: np.ndarray | None) -> dict[str, Any]:
    """What the games of a checkpoint were like. Values with an interval are [value, low, high], or [value] alone."""
    games = group.games
    scores, steps = (np.array([getattr(game, name) for game in games], np.float64) for name in ("score", "steps"))
    roles: dict[str, list[float]] = {}
    for game in games:
        roles.setdefault(getattr(game, "role", ""), []).append(game.score)
    return {
        "run": group.run,
        "flops": group.flops,
        "protocol": group.protocol,
        "games": len(games),
        "mean": _with_interval(scores, mean),
        "median": float(np.median(scores)),
        "interquartile_mean": _with_interval(scores, interquartile_mean),
        "share": None if expert is None else [scores.mean() / expert.mean(), *ratio_interval(scores, expert)],
        "expert": None if expert is None else float(expert.mean()),
        "roles": {role: {"mean": float(np.mean(of)), "games": len(of)} for role, of in sorted(roles.items())},
        "ends": dict(Counter(game.end for game in games).most_common()),
        "deaths": dict(Counter(game.death for game in games if game.end == "died").most_common()),
        "steps": int(steps.sum()),
    }


def _lines(facts: dict[str, Any]) -> Iterator[str]:
    yield f"{facts['run']} at {facts['flops']:.3g} FLOPs, {facts['protocol']}: {count(facts['games'], 'game')}"
    yield f"  mean {_between(facts['mean'])}, median {facts['median']:,.1f}"
    yield f"  interquartile mean {_between(facts['interquartile_mean'])}"
    if facts["share"] is not None:
        share, low, high = facts["share"]
        yield f"  {share:.1%} of the expert's {facts['expert']:,.1f} (95 % {low:.1%} to {high:.1%})"
    if len(facts["roles"]) > 1:
        roles = facts["roles"].items()
        yield "  by role: " + ", ".join(f"{role} {of['mean']:,.0f} ({of['games']})" for role, of in roles)
    yield "  ends: " + _counted(facts["ends"])
    if facts["deaths"]:
        yield "  deaths: " + _counted(facts["deaths"], most=5)
    yield f"  steps: {facts['steps']:,}, {facts['steps'] / facts['games']:,.0f} a game"


def _counted(counts: dict[str, int], most: int | None = None) -> str:
    return ", ".join(f"{word} {times}" for word, times in list(counts.items())[:most])


def _with_interval(values: np.ndarray, statistic: Any) -> list[float]:
    """A statistic, and its 95 % interval if there is more than one value."""
    ends = bootstrap(values, statistic) if len(values) > 1 else ()
    return [float(value) for value in (statistic(values), *ends)]


def _between(value: list[float]) -> str:
    first, *ends = value
    return f"{first:,.1f}" + (" (95 % {:,.1f} to {:,.1f})".format(*ends) if ends else "")


def write_table(path: Path, records: Sequence[dict[str, Any]]) -> None:
    """Write records as a Parquet, CSV or JSON lines file, by its suffix. The file is replaced atomically.

    Raises:
        UserError: PyArrow is needed and not installed.
    """
    names = list(dict.fromkeys(name for record in records for name in record))
    if path.suffix == ".parquet" and find_spec("pyarrow") is None:
        raise UserError("PyArrow is not installed, which writes Parquet: pip install -e '.[parquet]'")
    with replacing(path) as scratch:
        if path.suffix == ".parquet":
            import pyarrow
            import pyarrow.parquet

            pyarrow.parquet.write_table(pyarrow.Table.from_pylist(list(records)), scratch)
        elif path.suffix == ".csv":
            with scratch.open("w", newline="") as file:
                writer = csv.DictWriter(file, names)
                writer.writeheader()
                writer.writerows(records)
        else:
            scratch.write_text("".join(json.dumps(record) + "\n" for record in records))


def compare(config: CompareConfig) -> Iterator[str]:
    """Lines, or JSON, that compare two runs on the seeds that both have played.

    Raises:
        UserError: The runs share no protocol, several, or fewer than two seeds.
    """
    first, second = (_of_largest(run, config) for run in (config.first, config.second))
    shared = sorted(first.keys() & second.keys())
    if len(shared) != 1:
        ways = " and ".join(f"'{name}'" for name in (shared or sorted({*first, *second})))
        raise UserError(f"the runs share {len(shared)} protocols ({ways}): choose one that both have with --protocol")
    one, other = first[shared[0]], second[shared[0]]
    scores = [{game.seed: float(game.score) for game in group.games} for group in (one, other)]
    seeds = sorted(scores[0].keys() & scores[1].keys())
    if len(seeds) < 2:
        raise UserError(f"the runs share {len(seeds)} seeds of {shared[0]!r}: evaluate them with the same --seed")
    a, b = (np.array([of[seed] for seed in seeds]) for of in scores)
    difference = mean_interval(b - a)
    facts: dict[str, Any] = {
        "protocol": shared[0],
        "seeds": len(seeds),
        "runs": [
            {"run": group.run, "flops": group.flops, "mean": _with_interval(values, mean)}
            for group, values in ((one, a), (other, b))
        ],
        "difference": asdict(difference),
        "more": float(np.mean(b > a)),
        "same": float(np.mean(b == a)),
    }
    if config.json:
        yield as_json(facts)
        return
    yield f"{shared[0]}, {len(seeds)} shared seeds"
    for run in facts["runs"]:
        yield f"  {run['run']} at {run['flops']:.3g} FLOPs: mean {_between(run['mean'])}"
    sign = "more" if difference.low > 0 else "less" if difference.high < 0 else "not told apart"
    yield (
        f"  difference {difference.mean:+,.1f} ± {difference.se:,.1f}"
        f" (95 % {difference.low:+,.1f} to {difference.high:+,.1f}): {sign}"
    )
    yield f"  {other.run} scores more in {facts['more']:.0%} of the games, the same in {facts['same']:.0%}"


def _of_largest(run: Path, config: CompareConfig) -> dict[str, Played]:
    groups = played(run, () if config.budget is None else (config.budget,), config.protocol, config.store)
    largest = max(group.flops for group in groups)
    return {group.protocol: group for group in groups if group.flops == largest}
