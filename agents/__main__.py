"""`python -m agents`: the ladder, with parameters and training FLOPs per sample of every agent."""

import sys
from typing import NoReturn

from agents import table
from agents.ladder import MOST_ACTIONS, find, ladder
from agents.overrides import fold, settings
from agents.table import Row
from agents.xla import batch_of, train_flops
from data.common.cli import UserError, call_of, exit_with

LANES = 64
"""Lanes of the batch whose FLOPs XLA counts."""


def show(
    filter: str = "",
    agent: str | None = None,
    window: int = 32,
    actions: int = MOST_ACTIONS,
    *,
    xla: bool = False,
    wide: bool = False,
    json: bool = False,
    csv: bool = False,
) -> None:
    """Print the number of parameters and the training FLOPs per sample of every agent.

    N are the counted parameters, against which laws are fitted. FLOPs are counted exactly; --agent NAME, --wide, --json
    and --csv also have those that the paper counts.

    Example: `python -m agents --filter nethack/lstm`

    Args:
        filter: Show only agents whose name contains this.
        agent: Show one agent, of the ladder or module:function, by groups of layers, and its fields, which
            --core.layers 2 and the like set.
        window: Steps per training window; changes the cost of attention and of recurrence.
        actions: Number of actions of the Atari game, for example 4 in Breakout and 18 in BankHeist.
        xla: Instead compare the exact count with XLA's, of the gradient over an unrolled window (a second per agent).
        wide: Show the groups of layers of each agent, on lines of up to 230 characters.
        json: Print a JSON list instead, with the groups of layers.
        csv: Print comma-separated values instead.
    """
    if window < 1 or actions < 1:
        raise UserError(f"--window {window} and --actions {actions}: give at least 1")
    if wide + json + csv > 1:
        raise UserError("give one of --wide, --json and --csv")
    chosen = ladder(actions).values() if agent is None else [find(agent, actions)]
    agents = [one for one in chosen if filter in one.name]
    if not agents:
        raise UserError(f"no agent whose name contains {filter!r}: leave --filter out to see all")
    form: table.Format = "wide" if wide else "json" if json else "csv" if csv else "text"
    if xla:
        counted = (Row(one.name, one.cost(window), train_flops(one, batch_of(one, LANES, window))) for one in agents)
        lines = table.xla_lines(counted, form)
    else:
        rows = [Row(one.name, one.cost(window)) for one in agents]
        lines = table.group_lines(rows[0]) if agent is not None and form == "text" else table.lines(rows, form)
    for line in lines:
        print(line, flush=True)
    if agent is not None and form in ("text", "wide"):
        print("fields:", ", ".join(f"{path}={value}" for path, (value, _) in settings(agents[0]).items()))


def main(prog: str = "python -m agents") -> NoReturn:
    """Parse the command line, run the command and exit; `prog` is the program's name in help and errors."""
    exit_with(lambda words: call_of(show, prog, fold(words)), sys.argv[1:])


if __name__ == "__main__":
    main()
