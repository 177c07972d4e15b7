"""One protocol of evaluation per law."""

from collections.abc import Sequence
from dataclasses import replace

from data.common.cli import UserError
from eval.results import ResultRow


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
