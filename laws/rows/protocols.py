"""One run name per training, and one protocol of evaluation per law."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace

from data.common.cli import UserError
from eval.results import ResultRow
from laws.rows.budgets import binned

SEEDS = ("seed", "init_seed", "data_seed", "population")
"""Columns by which two rows of one run name are of different trainings."""
SETTINGS = (
    *("core", "size", "width", "depth", "context"),
    *("lr", "lr_rule", "batch", "schedule", "store", "config_hash"),
)
"""Columns by which two rows of one run name, size and budget are. Along one training the learning rate may differ."""
IDENTITY = (*SEEDS, *SETTINGS)


def of_protocol(rows: Sequence[ResultRow], protocol: str | None) -> list[ResultRow]:
    """One row per checkpoint (game, run, flops, params): that of the protocol, or its loss without a return.

    Without a protocol, each checkpoint has its only row.

    Raises:
        UserError: There is no such protocol, or a checkpoint has rows of several protocols and none is chosen.
    """
    by_checkpoint: dict[tuple[str, str, float, int], list[ResultRow]] = {}
    for row in rows:
        by_checkpoint.setdefault((row.game, row.run, row.flops, row.params), []).append(row)
    names = sorted({str(row.protocol) for row in rows if row.protocol is not None})
    if protocol is not None and protocol not in names:
        raise UserError(f"no row has the protocol {protocol!r}: there are {_listed(names)}")
    if protocol is None:
        several = sorted({str(row.protocol) for found in by_checkpoint.values() if len(found) > 1 for row in found})
        if several:
            raise UserError(
                f"checkpoints were evaluated by several protocols: choose one with --protocol {_listed(several)}"
            )
        return list(rows)
    return [_chosen(found, protocol) for found in by_checkpoint.values()]


def _chosen(rows: Sequence[ResultRow], protocol: str) -> ResultRow:
    for row in rows:
        if row.protocol == protocol:
            return row
    return replace(rows[0], return_mean=None, return_se=None, episodes=None)


def _listed(names: Sequence[str]) -> str:
    return ", or ".join(f"'{name}'" for name in names)


def distinct(rows: Sequence[ResultRow]) -> list[ResultRow]:
    """`rows` renamed where one run name stands for several trainings, or where there are no run names.

    A training has one size, and at one budget one row; its checkpoints at other budgets keep its name.
    """
    by_name: dict[tuple[str, str], list[ResultRow]] = defaultdict(list)
    for row in rows:
        by_name[row.game, row.run].append(row)
    found: list[ResultRow] = []
    for (_, run), same in by_name.items():
        if not run:
            found += _numbered(same)
            continue
        differ = [name for name in ("params", *IDENTITY) if len({getattr(row, name) for row in same}) > 1]
        settings = [name for name in differ if name in SETTINGS]
        if settings and not _has_several(same, settings):
            differ = [name for name in differ if name not in settings]
        found += [replace(row, run=f"{run} ({_settings(row, differ)})") for row in same] if differ else same
    return found


def _has_several(rows: Sequence[ResultRow], settings: Sequence[str]) -> bool:
    """Whether the rows of one run name are of trainings with several settings, rather than along one training.

    They are if a budget has two rows of one size, or rows of several settings that come back at other budgets: measured
    FLOPs differ a little from training to training, and a decaying learning rate has each value once.
    """
    trainings: dict[tuple[object, ...], list[ResultRow]] = defaultdict(list)
    for row in rows:
        trainings[(row.params, row.protocol, *(getattr(row, name) for name in SEEDS))].append(row)
    for same in trainings.values():
        if len({row.flops for row in same}) < len(same):
            return True
        budgets: dict[tuple[object, ...], set[int]] = defaultdict(set)
        bins = binned([row.flops for row in same])
        for number, places in enumerate(bins):
            for place in places:
                budgets[tuple(getattr(same[place], name) for name in settings)].add(number)
        together = sum(map(len, budgets.values()))
        if together > len(bins) and together / len(budgets) > len(bins) / 2:
            return True
    return False


def _settings(row: ResultRow, names: Sequence[str]) -> str:
    return ", ".join(f"{name} {getattr(row, name)}" for name in names)


def _numbered(rows: Sequence[ResultRow]) -> Iterator[ResultRow]:
    """Rows without a run name, named by budget and size. Rows of several protocols may be of one checkpoint."""
    numbers: dict[str, dict[tuple[object, ...], int]] = defaultdict(dict)
    times: dict[tuple[object, ...], int] = defaultdict(int)
    for row in sorted(rows, key=lambda row: (row.flops, row.params, row.samples, row.loss or 0.0)):
        name = f"C {row.flops:g} N {row.params}"
        like = (row.samples, row.loss, *(getattr(row, each) for each in IDENTITY))
        times[name, like, row.protocol] += 1
        of_name = numbers[name]
        number = of_name.setdefault((like, times[name, like, row.protocol]), len(of_name) + 1)
        yield replace(row, run=name + (f" #{number}" if number > 1 else ""))
