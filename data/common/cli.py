"""Command lines: parsing, exit codes, and errors that the user can fix, apart from bugs."""

import errno
import functools
import io
import os
import shlex
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, NoReturn

import tyro
from tqdm import tqdm

from data.common import help
from data.common.progress import BRIEF

CONFIG = (tyro.conf.PositionalMetavarFromFieldName,)
"""Positional arguments are called by their name, not by their type."""
_SHOWN = 120
"""Characters of a path that is too long, at most."""


def printable(text: str) -> str:
    """Escape everything that is not printable, so that text from any source is one harmless line on a terminal."""
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)


def quoted(path: object) -> str:
    """A path as a word of a command line."""
    return shlex.quote(str(path))


class UserError(Exception):
    """An error that the user can fix. The message, one line, names the problem and the remedy."""

    exit_code = 2


class Signalled(KeyboardInterrupt):
    """The interrupt by a signal, whose number is the argument."""


def lazy_command(command: Callable[..., Any]) -> Callable[..., Callable[[], Any]]:
    """A function with the same signature that returns the call, to be made later, instead of making it."""

    @functools.wraps(command)
    def parsed(*arguments: Any, **options: Any) -> Callable[[], Any]:
        return functools.partial(command, *arguments, **options)

    return parsed


def run(command: Callable[..., Any], prog: str) -> NoReturn:
    """Parse the command line with the signature of `command`, call it, and exit; see `exit_with`."""
    exit_with(lambda words: call_of(command, prog, words), sys.argv[1:])


def call_of(command: Callable[..., Any], prog: str, words: list[str]) -> Callable[[], Any]:
    """The call of `command` that a command line stands for, by its signature."""
    return tyro.cli(lazy_command(command), prog=prog, args=words, config=CONFIG)


def exit_with(parse: Callable[[list[str]], Callable[[], Any]], words: list[str]) -> NoReturn:
    """Parse the command line into a call, make the call, and exit.

    `--help` prints the help for one screen, `--help-all` all of it.

    Args:
        parse: Parses words by tyro.
        words: The command line.

    Exit codes: 0 on success, or the integer that the call returns; 2 for a `UserError` (unless its class has another),
    a full disk or an invalid option, each reported in one line on stderr; 130 after SIGINT and 143 after SIGTERM; 141
    if stdout is a closed pipe. Any other exception is a bug and propagates with its traceback.
    """
    raise_interrupts()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # file names can hold any bytes
    try:
        call, start = _parsed(parse, words), time.monotonic()
        code = call()
        sys.stdout.flush()
        seconds = time.monotonic() - start
        if seconds > BRIEF and sys.stderr.isatty():
            print(f"done in {tqdm.format_interval(seconds)}", file=sys.stderr)
    except UserError as error:
        print(f"error: {printable(str(error))}", file=sys.stderr)
        sys.exit(error.exit_code)
    except BrokenPipeError:
        # The reader of a pipe (`| head`) has closed it. Python flushes its buffer at exit: to /dev/null.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(128 + signal.SIGPIPE)
    except OSError as error:
        if error.errno == errno.ENOSPC:
            said = f"no space left for {error.filename or 'output'}: free space and start again"
        elif error.errno == errno.ENAMETOOLONG:
            said = f"a path is longer than the file system allows: {_cut(str(error.filename))}"
        else:
            raise
        print(f"error: {printable(said)}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt as error:
        print("interrupted: start the same command again to go on", file=sys.stderr)
        sys.exit(128 + (error.args[0] if isinstance(error, Signalled) else signal.SIGINT))
    sys.exit(code if isinstance(code, int) else 0)


def _cut(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN // 2]}…{text[-_SHOWN // 2 :]}"


def _parsed(parse: Callable[[list[str]], Callable[[], Any]], words: list[str]) -> Callable[[], Any]:
    """Parse, or raise what tyro says of an invalid command line, a box of many lines, as a one-line `UserError`."""
    for word in ("--help-all", "--help", "-h"):
        if word in words:
            before = words[: words.index(word)]
            return lambda: print(help.render(_page(parse, before), whole=word == "--help-all"))
    with help.captured() as (out, errors):
        try:
            return parse(words)
        except SystemExit as error:
            code = error.code
    if code != 2:  # A shell's completion.
        return lambda: print(help.text_of(out), end="")
    told = " ".join(" ".join(line.strip("╭╮╰╯│─ \n") for line in help.text_of(errors).splitlines()).split())
    page = _page(parse, words)
    raise UserError(f"{help.mistake(told, page)} (see {page.command} --help)")


def _page(parse: Callable[[list[str]], Any], words: list[str]) -> help.Page:
    """The help of the command that the first of `words` name, as many as do."""
    commands = help.command_of(words)
    while True:
        page = help.page_of(parse, commands)
        if page.usage or not commands:
            return page
        del commands[-1]


def use_huge_pages() -> None:
    """Restart the process with glibc allocating huge pages, unless GLIBC_TUNABLES is set.

    Training on a CPU then has fewer TLB misses: 1.5 times the samples per second on 2 cores. glibc reads the setting
    only when a process starts.
    """
    if sys.platform == "linux" and "GLIBC_TUNABLES" not in os.environ:
        os.environ["GLIBC_TUNABLES"] = "glibc.malloc.hugetlb=1"
        os.execv(sys.executable, sys.orig_argv)


class DelayedInterrupt:
    """A context manager in which SIGINT and SIGTERM set `requested`; the interrupt is raised at the end of the block.

    A second signal raises KeyboardInterrupt at once. Outside the main thread, where Python delivers no signals, it does
    nothing.
    """

    def __init__(self) -> None:
        self.signal = 0
        """Number of the signal that was received; 0 if none was."""
        self._before: dict[int, Any] = {}

    @property
    def requested(self) -> bool:
        """Whether a signal was received."""
        return self.signal != 0

    def __enter__(self) -> "DelayedInterrupt":
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._note)
        return self

    def raise_if_requested(self) -> None:
        """Raise the interrupt that was delayed, if any.

        Raises:
            Signalled: A signal was received in the block.
        """
        if self.signal:
            raise Signalled(self.signal)

    def _note(self, signum: int, frame: object) -> None:
        # The second signal: do not wait any longer.
        self.raise_if_requested()
        self.signal = signum

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        if error is None:
            self.raise_if_requested()


def raise_interrupts() -> None:
    """Let SIGTERM raise `Signalled`, as SIGINT raises KeyboardInterrupt, and either be raised until it gets through.

    A handler may run inside a callback, such as the one that JAX adds to the garbage collector, whose exceptions Python
    reports and drops: the signal is then sent again.
    """
    signal.signal(signal.SIGTERM, _interrupt)
    sys.unraisablehook = _sent_again


def _interrupt(signum: int, frame: object) -> NoReturn:
    raise Signalled(signum)


def _sent_again(dropped: "sys.UnraisableHookArgs") -> None:
    """Send the signal again whose exception was dropped; report other exceptions."""
    if dropped.exc_type not in (KeyboardInterrupt, Signalled):
        sys.__unraisablehook__(dropped)
        return
    number = dropped.exc_value.args[0] if isinstance(dropped.exc_value, Signalled) else signal.SIGINT
    # Later, from outside: an exception in this function would be dropped, too.
    threading.Timer(0.01, os.kill, (os.getpid(), number)).start()
