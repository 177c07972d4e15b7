"""What every command shares: parsing, and how a person's mistake is told from a bug."""

import signal
import sys
from collections.abc import Callable
from typing import Any, NoReturn

import tyro


class UserError(Exception):
    """A person can mend this: the message names the thing and the remedy, in one line."""


def run(command: Callable[..., Any], prog: str) -> NoReturn:
    """Parse the command line by `command`'s signature, call it and exit.

    Exit codes: 0 done (or what `command` returns), 2 a `UserError` or a bad option, printed as one line on
    stderr, 130 interrupted. Anything else is a bug and keeps its traceback.
    """
    exit_with(lambda: tyro.cli(command, prog=prog, description=command.__doc__))


def exit_with(call: Callable[[], Any]) -> NoReturn:
    """Call `call` and exit as `run` says."""
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        code = call()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("interrupted: start the same command again to go on", file=sys.stderr)
        sys.exit(130)
    sys.exit(code if isinstance(code, int) else 0)


def _interrupt(signum: int, frame: object) -> NoReturn:
    raise KeyboardInterrupt
