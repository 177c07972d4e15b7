"""What every command shares: parsing, and how a person's mistake is told from a bug."""

import contextlib
import errno
import functools
import io
import os
import re
import signal
import sys
import threading
from collections.abc import Callable
from typing import Any, NoReturn

import tyro


def printable(text: str) -> str:
    """Text from anywhere, as one line that does nothing to a terminal."""
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)


class UserError(Exception):
    """A person can mend this: the message names the thing and the remedy, in one line."""


def lazy_command(command: Callable[..., Any]) -> Callable[..., Callable[[], Any]]:
    """The same command line, but parsing it gives the call instead of making it."""

    @functools.wraps(command)
    def parsed(*arguments: Any, **options: Any) -> Callable[[], Any]:
        return functools.partial(command, *arguments, **options)

    return parsed


def run(command: Callable[..., Any], prog: str) -> NoReturn:
    """Parse the command line by `command`'s signature, call it and exit as `exit_with` says."""
    exit_with(lambda: tyro.cli(lazy_command(command), prog=prog, description=command.__doc__))


def exit_with(parse: Callable[[], Callable[[], Any]]) -> NoReturn:
    """Parse the command line into a call, make the call and exit.

    Exit codes: 0 done (or what the call returns); 2 a `UserError`, a full disk or a bad option, each one line on
    stderr; 130 interrupted, 141 a closed pipe. Anything else is a bug and keeps its traceback.
    """
    signal.signal(signal.SIGTERM, _interrupt)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # names of files are any bytes
    try:
        code = _in_one_line(parse)()
        sys.stdout.flush()
    except UserError as error:
        print(f"error: {printable(str(error))}", file=sys.stderr)
        sys.exit(2)
    except BrokenPipeError:
        # The reader of a pipe (`| head`) has seen enough. Python writes what it still holds as it ends: to nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(128 + signal.SIGPIPE)
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        print(f"error: no space left for {error.filename or 'output'}: make room and start again", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("interrupted: start the same command again to go on", file=sys.stderr)
        sys.exit(130)
    sys.exit(code if isinstance(code, int) else 0)


def _in_one_line(parse: Callable[[], Callable[[], Any]]) -> Callable[[], Any]:
    """Parse; what tyro says of a bad command line, a box of many lines, becomes one."""
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            return parse()
    except SystemExit as error:
        if error.code != 2:
            raise
    words = " ".join(" ".join(line.strip("╭╮╰╯│─ \n") for line in said.getvalue().splitlines()).split())
    # An option that does not exist explains itself better than the required ones that are then missing.
    words = words[max(0, words.rfind("Unrecognized options")) :]
    problem, *remedy = re.split("For full helptext, run:? ", words)
    raise UserError(problem.strip() + "".join(f" (see {command.strip()})" for command in remedy))


def use_huge_pages() -> None:
    """Start this command again with glibc's memory in huge pages, if it is not so yet.

    A CPU's training step then spends a third less time on address look-ups (1.5 times the samples per second
    on 2 cores). glibc reads the setting only as a process starts; GLIBC_TUNABLES of one's own is left alone.
    """
    if sys.platform == "linux" and "GLIBC_TUNABLES" not in os.environ:
        os.environ["GLIBC_TUNABLES"] = "glibc.malloc.hugetlb=1"
        os.execv(sys.executable, sys.orig_argv)


class DelayedInterrupt:
    """While it is entered, Ctrl-C and SIGTERM are noted instead of raised: a loop asks at a safe point.

    Outside the main thread, where Python delivers no signals, it does nothing.
    """

    def __init__(self) -> None:
        self.requested = False
        """Whether a signal has come."""
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "DelayedInterrupt":
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._note)
        return self

    def raise_if_requested(self) -> None:
        """After it was left: interrupt now, if that was asked for meanwhile."""
        if self.requested:
            raise KeyboardInterrupt

    def _note(self, signum: int, frame: object) -> None:
        if self.requested:
            # Asked twice: the person won't wait.
            raise KeyboardInterrupt
        self.requested = True

    def __exit__(self, *error: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)


def _interrupt(signum: int, frame: object) -> NoReturn:
    raise KeyboardInterrupt
