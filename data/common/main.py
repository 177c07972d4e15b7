"""The `isoplay` console script: `isoplay train bc ...` runs the same command as `python -m train bc ...`."""

import importlib
import sys
from collections.abc import Sequence
from pathlib import Path

from data.common.cli import printable
from data.common.help import nearest

PACKAGES = {
    "data": "collect, import, inspect and verify expert games",
    "agents": "list the agents with their parameters and FLOPs per sample",
    "train": "train agents by behavioural cloning, and experts by reinforcement learning",
    "eval": "measure the dev loss and the return of a run's checkpoints",
    "laws": "fit scaling laws, forecast, plan a budget, or reproduce the whole study",
}
"""Each package is a command; what it does, in one line."""

HELP = "\n".join(
    [
        "usage: isoplay PACKAGE ...",
        "",
        "Train imitation agents on expert game play in JAX and measure how they scale.",
        "",
        *(f"  isoplay {name:<8}{about}" for name, about in PACKAGES.items()),
        "",
        "`isoplay PACKAGE --help` explains each; `python -m PACKAGE` is the same command.",
    ]
)


def main() -> None:
    """Run the package named by the first command line argument with the arguments that follow it.

    Exits with 2 and one line on stderr if the name is missing or unknown, else as the package's command does.
    """
    name, *rest = sys.argv[1:] or [""]
    if name in ("-h", "--help"):
        print(HELP)
    elif name in PACKAGES:
        sys.path[:] = search_path(sys.path)
        sys.argv = [f"isoplay {name}", *rest]
        importlib.import_module(f"{name}.__main__").main(prog=sys.argv[0])
    else:
        known = ", ".join(PACKAGES)
        problem = f"unknown package {printable(name)!r}" if name else "no package named"
        meant = nearest(name, list(PACKAGES))
        print(f"error: {problem}: {meant}choose one of {known} (see isoplay --help)", file=sys.stderr)
        sys.exit(2)


def search_path(path: Sequence[str]) -> list[str]:
    """`path` with the working folder last, so that modules there are found but never in place of this project's.

    The folder of this project's packages is named before it. An editable install finds them by a hook that comes
    after all folders, and worker processes, which get a copy of this path, would import a `data.py` of the user's.
    """
    ours = str(Path(__file__).resolve().parents[2])
    return [*path, *([] if ours in path else [ours]), ""]
