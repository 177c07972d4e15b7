"""Parses command lines of ours without running them."""

import importlib
import importlib.util
import runpy
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest

from data.common import cli

Parser = Callable[[list[str]], Callable[[], Any]]


def parser_of(words: Sequence[str]) -> tuple[Parser, list[str]]:
    """The parser of a command line PACKAGE …, and the words that it is for."""
    calls: list[tuple[Parser, list[str]]] = []
    if importlib.util.find_spec(f"{words[0]}.__main__") is None:
        raise AssertionError(f"{words[0]} is no command")
    with _as_if_started(words) as patch:
        # Before anything is patched, which a module that is imported now would keep.
        module = importlib.import_module(f"{words[0]}.__main__")
        patch.setattr(cli, "exit_with", lambda parse, words: calls.append((parse, words)))
        patch.setattr(module, "exit_with", cli.exit_with, raising=False)
        if hasattr(module, "main"):
            module.main()
        else:
            patch.delitem(sys.modules, module.__name__)
            runpy.run_module(words[0], run_name="__main__")
    ((parse, rest),) = calls

    def parsed(these: list[str]) -> Callable[[], Any]:
        with _as_if_started(words):
            return parse(these)

    return parsed, rest


@contextmanager
def _as_if_started(words: Sequence[str]) -> Iterator[pytest.MonkeyPatch]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GLIBC_TUNABLES", "")  # else the command would start again, in place of this process
        patch.setattr("sys.argv", ["program", *words[1:]])
        yield patch
