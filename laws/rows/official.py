"""Converts the paper's published measurements, the `experiment_data` folder of its public code, to result rows.

The folder is untrusted: its PyTorch files are read by `data.common.torchfile`, which executes nothing in them.
"""

import math
import os
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import tyro

from agents.atari.cnn import of_params
from agents.cost import CONVENTIONS, EXACT_VERSION, Cost
from data.common.cli import UserError, printable
from data.common.torchfile import Refused, load
from eval.results import ResultRow, write_rows
from laws.rows.runs import ordered

LARGEST_FILE = 1 << 20
"""Bytes; the largest published file has 46,600."""

_REMEDY = "clone github.com/princeton-nlp/il-scaling-in-games and name its folder experiment_data"
_LARGEST = 1e100  # the variance of larger numbers overflows
_BUDGET = r"[1-9]e[0-9][0-9]"
_NETHACK = re.compile(rf"eval_(?:loss_overlap_0|returns|dlvls|lens)_model_({_BUDGET})\.(?:tar|txt)")
_ATARI = re.compile(r"(eval_loss|flop_params_to_samples|eval_return)_([A-Za-z0-9]+)(_[0-9]+)?\.tar")


@dataclass(frozen=True)
class _Source:
    """The folder, and a note on each file in it that was skipped."""

    root: Path
    notes: list[str] = field(default_factory=list)

    def skip(self, path: Path, why: str) -> None:
        """Note that `path` is skipped."""
        self.notes.append(f"skipped {path.relative_to(self.root)}: {why}")

    def inside(self, folder: Path) -> list[Path]:
        """The entries of `folder`, sorted."""
        try:
            return sorted(folder.iterdir())
        except OSError as error:
            self.skip(folder, f"can't be listed ({error.strerror})")
            return []

    def read(self, path: Path, parse: Callable[[bytes], Any]) -> Any:
        """The parsed content of `path`; None, with a note, where it can't be read."""
        try:
            return parse(_bytes(path))
        except OSError as error:
            self.skip(path, f"can't be read ({error.strerror})")
        except Refused as error:
            self.skip(path, str(error))
        return None


def _bytes(path: Path) -> bytes:
    if not path.is_file():
        raise Refused("not a plain file")  # reading a pipe or a device might never end
    with path.open("rb") as file:
        data = file.read(LARGEST_FILE + 1)
    if not data:
        raise Refused("empty")
    if len(data) > LARGEST_FILE:
        raise Refused(f"more than {LARGEST_FILE:,} bytes, which no published file has")
    return data


def _number(value: Any, low: float = -_LARGEST) -> float | None:
    """`value`; None for one that is missing or not finite, as a diverged training leaves it."""
    if value is None or (type(value) is float and not math.isfinite(value)):
        return None
    if type(value) not in (int, float) or not low <= value <= _LARGEST:
        raise Refused("unknown content: something else where a measured number belongs")
    return float(value)


def _count(value: Any) -> int:
    if type(value) is not int or not 1 <= value < 1 << 63:
        raise Refused("unknown content: something else where a count belongs")
    return value


def _scores(data: bytes) -> list[float]:
    """The scores of a NetHack checkpoint's games, one a line."""
    try:
        scores = [float(line) for line in data.decode("ascii").split()]
    except ValueError as error:
        raise Refused("damaged: something else where a score belongs") from error
    if not scores or any(not abs(score) <= _LARGEST for score in scores):
        raise Refused("damaged: a score that isn't finite" if scores else "empty")
    return scores


def _checkpoint(data: bytes) -> dict[str, Any]:
    """The columns of a result row from the loss file of a NetHack checkpoint."""
    found = load(data)
    if not isinstance(found, dict) or set(found) - {"eval_loss", "eval_se", "params", "samples"}:
        raise Refused("unknown content: not the loss of a checkpoint")
    return {
        "params": _count(found.get("params")),
        "samples": _count(found["samples"]) if "samples" in found else None,
        "loss": _number(found.get("eval_loss"), 0),
        "loss_se": _number(found.get("eval_se"), 0),
    }


def _table(data: bytes, check: Callable[[Any], Any]) -> dict[tuple[float, int], Any]:
    """The values of an Atari file, each checked by `check`, by budget and parameters."""
    found = load(data)
    if not isinstance(found, dict) or not all(isinstance(cells, dict) for cells in found.values()):
        raise Refused("unknown content: not a table by budget and parameters")
    if not any(found.values()):
        raise Refused("empty: a table without cells")
    if not all(re.fullmatch(_BUDGET, str(budget)) for budget in found):
        raise Refused("unknown content: a budget that isn't written like 1e15")
    return {(float(budget), _count(size)): check(cells[size]) for budget, cells in found.items() for size in cells}


_Cells = dict[tuple[float, int], Any]
_CHECKS = {"eval_loss": partial(_number, low=0), "eval_return": _number, "flop_params_to_samples": _count}


def _row(game: str, run: str, flops: float, scores: list[float] | None, **known: Any) -> ResultRow:
    """A result row; `scores` of its games, if known, give the columns of the return."""
    if scores is not None:
        known["episodes"] = len(scores)
    if scores:
        known["return_mean"] = float(np.mean(scores))
    if scores and len(scores) > 1:
        known["return_se"] = float(np.std(scores, ddof=1) / np.sqrt(len(scores)))
    return ResultRow(game=game, run=run, flops=flops, flop_convention="paper", **known)


def _nethack(source: _Source, folder: Path) -> Iterator[ResultRow]:
    """The isoFLOP sweep: a folder per training with a loss file and a file of scores for each budget."""
    for study in source.inside(folder):
        if study.name != "llama_iso_flop":
            source.skip(study, "no part of the isoFLOP sweep")
            continue
        for run in source.inside(study):
            if re.fullmatch("[A-Za-z0-9_.-]+", run.name):
                yield from _training(source, run)
            else:
                source.skip(run, "out of place: not the name of a training")


def _training(source: _Source, run: Path) -> Iterator[ResultRow]:
    """A row for each budget that has a loss. Episode lengths and dungeon levels have no column."""
    paths = source.inside(run)
    for path in paths:
        named = _NETHACK.fullmatch(path.name)
        if not named or (path.suffix == ".tar") != path.name.startswith("eval_loss"):
            source.skip(path, "out of place")
            continue
        budget = named[1]
        loss, returns = run / f"eval_loss_overlap_0_model_{budget}.tar", run / f"eval_returns_model_{budget}.txt"
        if path == loss and (checkpoint := source.read(path, _checkpoint)):
            scores = source.read(returns, _scores) if returns in paths else None
            yield _row("nethack", run.name, float(budget), scores, **checkpoint)
        elif path == returns and loss not in paths:
            source.skip(path, "no loss file beside it, which would say the parameters")


def _atari(source: _Source, folder: Path) -> Iterator[ResultRow]:
    """Three kinds of table for each game: losses, samples, and mean returns (one table per seed)."""
    games: dict[str, dict[str, list[_Cells]]] = {}
    for path in [path for kind in source.inside(folder) for path in source.inside(kind)]:
        kind, named = path.parent.name, _ATARI.fullmatch(path.name)
        if not named or named[1] != kind or (named[3] and kind != "eval_return"):
            source.skip(path, "out of place")
            continue
        table = source.read(path, partial(_table, check=_CHECKS[kind]))
        if table is not None:
            games.setdefault(named[2], {name: [] for name in _CHECKS})[kind].append(table)
    for game, tables in games.items():
        yield from _game(source, game, tables)


def _game(source: _Source, game: str, tables: dict[str, list[_Cells]]) -> Iterator[ResultRow]:
    losses, samples = ((tables[kind] or [{}])[0] for kind in ("eval_loss", "flop_params_to_samples"))
    left: Counter[str] = Counter()
    for cell in set(samples).union(losses, *tables["eval_return"]):
        flops, params = cell
        loss, seen = losses.get(cell), samples.get(cell)
        scores = [seed[cell] for seed in tables["eval_return"] if seed.get(cell) is not None]
        if loss is None and not scores:
            left["with neither loss nor return: left out"] += 1
            continue
        left["of unknown samples, which a fit leaves out"] += seen is None
        known = {} if (network := of_params(params)) is None or seen is None else _spent(network.cost(), seen)
        yield _row(game, f"n{params}", flops, scores, params=params, samples=seen, loss=loss, **known)
    source.notes.extend(f"{game}: {count} cells {what}" for what, count in sorted(left.items()) if count)


def _spent(cost: Cost, samples: int) -> dict[str, float]:
    """Training FLOPs by both conventions; the published budgets count convolutions at their input resolution."""
    flops = {f"flops_{name}": float(cost.train_flops(name) * samples) for name in CONVENTIONS}
    return {**flops, "flop_version": EXACT_VERSION}


def read_official(folder: Path) -> tuple[list[ResultRow], list[str]]:
    """The measurements in `folder` as sorted rows, and a note on each file or cell that was left out.

    Raises:
        UserError: `folder` has neither an `atari` nor a `nethack` folder.
    """
    parts = {"atari": _atari, "nethack": _nethack}
    root = folder / "experiment_data" if os.path.isdir(folder / "experiment_data") else folder
    if not any(os.path.isdir(root / part) for part in parts):
        raise UserError(f"{folder}: holds no atari and no nethack folder; {_REMEDY}")
    source = _Source(root)
    rows: list[ResultRow] = []
    for path in source.inside(root):
        if path.name in parts:
            rows += parts[path.name](source, path)
        else:
            source.skip(path, "out of place")
    return ordered(rows), source.notes


def import_official(folder: tyro.conf.Positional[Path], *, out: Path = Path("official.jsonl")) -> None:
    """Convert the measurements published with the paper to result rows, for `python -m laws fit`.

    Files that are skipped are listed on stderr.

    Example: `python -m laws import-official experiment_data --out paper.jsonl`

    Args:
        folder: experiment_data in a clone of github.com/princeton-nlp/il-scaling-in-games, or the clone.
        out: File to write (.jsonl); the same rows are also written as .csv.

    Raises:
        UserError: `out` is not a .jsonl file, or nothing in `folder` can be read.
    """
    if out.suffix != ".jsonl":
        raise UserError(f"{out}: give --out a name that ends in .jsonl; a .csv is written beside it")
    rows, notes = read_official(folder)
    for note in notes:
        print(printable(note), file=sys.stderr)
    if not rows:
        raise UserError(f"{folder}: none of the paper's measurements in it can be read; {_REMEDY}")
    write_rows(out, rows)
    print(f"wrote {out}: {len(rows)} rows of {len({row.game for row in rows})} games ({len(notes)} notes on stderr)")
