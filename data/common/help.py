"""Help of a command line for a screen of 80 columns, and one line for a mistake in it, from what tyro prints."""

import contextlib
import difflib
import io
import os
import re
import textwrap
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

WIDTH = 80
_INVOCATION = 26
"""Columns of an option's name and its values."""
_MOST_USED, _EXAMPLE = "Most used:", "Example:"
"""Beginnings of the paragraphs of a docstring that name options for `--help`, and that give a command line."""


@dataclass(frozen=True)
class Entry:
    """An option, a positional argument or a subcommand."""

    names: tuple[str, ...]
    """Of an option, for example ("--workers",); of a positional argument its values, of a subcommand its name."""
    values: str
    """What follows the name, for example INT; "" of a flag."""
    text: str

    @property
    def required(self) -> bool:
        """Whether a command line must have it."""
        return self.text.endswith("(required)")


@dataclass(frozen=True)
class Group:
    """Entries under one heading."""

    heading: str
    entries: tuple[Entry, ...]


@dataclass(frozen=True)
class Page:
    """The help of a command."""

    usage: str
    paragraphs: tuple[str, ...]
    """Its docstring."""
    groups: tuple[Group, ...]

    @property
    def command(self) -> str:
        """The words of the command, without its arguments."""
        words = self.usage.removeprefix("usage: ").split()
        return " ".join(takewhile(re.compile(r"[a-z.-]+").fullmatch, words))

    @property
    def options(self) -> dict[str, Entry]:
        """Options by each of their names."""
        found = (entry for group in self.groups for entry in group.entries)
        return {name: entry for entry in found for name in entry.names if name.startswith("-")}

    @property
    def subcommands(self) -> tuple[str, ...]:
        """Names of the subcommands."""
        return tuple(entry.names[0] for group in self.groups for entry in group.entries if group.heading == "commands")


def page_of(parse: Callable[[list[str]], Any], words: Sequence[str]) -> Page:
    """The help of the command that `words` name."""
    with captured() as (said, _), contextlib.suppress(SystemExit):
        parse([*words, "--help"])
    return read(text_of(said))


@contextlib.contextmanager
def captured() -> Iterator[tuple[io.TextIOWrapper, io.TextIOWrapper]]:
    """Capture what tyro prints on stdout and stderr: in boxes of 80 columns, without colours, on a terminal, too."""
    # It draws boxes if stdout is in this encoding, and colours if stdout is a terminal, on stderr as well.
    out, errors = (io.TextIOWrapper(io.BytesIO(), "utf-8") for _ in range(2))
    before = os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = str(WIDTH)
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(errors):
            yield out, errors
    finally:
        del os.environ["COLUMNS"]
        if before is not None:
            os.environ["COLUMNS"] = before


def text_of(stream: io.TextIOWrapper) -> str:
    """All that was written."""
    stream.seek(0)
    return stream.read()


def command_of(words: Sequence[str]) -> list[str]:
    """The words of a command line that may name the command: those before the first option or path."""
    found = []
    for word in words[:2]:
        if not re.fullmatch(r"[a-z][a-z-]*", word):
            break
        found.append(word)
    return found


def read(text: str) -> Page:
    """Read what tyro prints: paragraphs, then boxes of entries."""
    head, _, boxes = text.partition("╭")
    usage, *paragraphs = [_joined(part.splitlines()) for part in re.split(r"\n\s*\n", head.strip())]
    usage = re.sub(r"\[[\w ]*OPTIONS\]", "[OPTIONS]", usage.replace(" [-h]", ""))
    return Page(usage, tuple(part for part in paragraphs if part), tuple(_groups(boxes)))


def _groups(boxes: str) -> Iterator[Group]:
    for box in boxes.split("╭") if boxes else ():
        first, *lines = box.splitlines()
        title = first.strip("─╮ ")
        inside = [line.strip()[1:-1].removeprefix(" ").rstrip() for line in lines if line.strip().startswith("│")]
        rule = next((place for place, line in enumerate(inside) if set(line.strip()) == {"─"}), -1)
        about = _joined(inside[: max(rule, 0)])
        if title == "subcommands":
            entries = list(_subcommands(inside))
            title = "commands"
        else:
            entries = list(_entries(inside[rule + 1 :], option=title != "positional arguments"))
        entries = [entry for entry in entries if "--help" not in entry.names]
        if entries:
            yield Group(about.rstrip(".") or title, tuple(entries))


def _entries(lines: Sequence[str], option: bool) -> Iterator[Entry]:
    """Entries begin in the first column; their text is in columns to the right, or on the lines below."""
    starts = [place for place, line in enumerate(lines) if line[:1].strip() and (line.startswith("-") or not option)]
    for start, stop in zip(starts, [*starts[1:], len(lines)], strict=True):
        invocation, _, text = lines[start].partition("  ")
        rest = [line for line in lines[start + 1 : stop] if line[:1] == " "]
        # Choices of an option that are longer than a line.
        invocation += "".join(line for line in lines[start + 1 : stop] if line[:1] != " ")
        yield _entry(invocation, _joined([text, *rest]))


def _entry(invocation: str, text: str) -> Entry:
    text = re.sub(r"\s*\(default: (None|False|-|)\)$", "", text)
    if not invocation.startswith("-"):
        return Entry((invocation,), "", text)
    names, values = [], ""
    for part in invocation.split(", "):
        name, _, values = part.partition(" ")
        names.append(name)
    # "{None}|INT" is INT, and "[INT [INT ...]]" is INT….
    values = re.sub(r"\{None\}\|\[?|\|\{None\}|(?<=\{)None,", "", values)
    values = re.sub(r"^\[?(\S+) \[\1 \.\.\.\]\]?$", r"\1…", values)
    return Entry(tuple(names), values, text)


def _subcommands(lines: Sequence[str]) -> Iterator[Entry]:
    for part in "\n".join(lines).split("•")[1:]:
        name, _, text = part.strip().partition(" ")
        yield Entry((name,), "", _joined(re.split(r"\n\s*\n", text)[0].splitlines()))


def _joined(lines: Sequence[str]) -> str:
    return " ".join(" ".join(lines).split())


def render(page: Page, *, whole: bool) -> str:
    """The page in lines of at most 80 columns.

    Args:
        page: The help.
        whole: With every option; else those that are required or that the docstring names as most used, if it does.
    """
    told = [part for part in page.paragraphs if not part.startswith((_MOST_USED, _EXAMPLE))]
    examples = [part.removeprefix(_EXAMPLE).strip(" `") for part in page.paragraphs if part.startswith(_EXAMPLE)]
    used = [part for part in page.paragraphs if part.startswith(_MOST_USED)]
    whole = whole or not used
    shown = None if whole else set(re.findall(r"--[\w-]+(?:\.[\w-]+)*", used[0]))
    blocks = [textwrap.fill(block, WIDTH) for block in (page.usage, *told)]
    blocks += ["example:\n" + "\n".join(_command_lines(example)) for example in examples]
    for group in page.groups:
        entries = [
            entry for entry in group.entries if shown is None or entry.required or not shown.isdisjoint(entry.names)
            or not entry.names[0].startswith("-")
        ]  # fmt: skip
        if entries:
            lines = [line for entry in entries for line in _lines(entry)]
            blocks.append("\n".join([*textwrap.wrap(f"{group.heading}:", WIDTH), *lines]))
    if not whole:
        count = len({id(entry) for entry in page.options.values()})
        blocks.append(f"--help-all explains all {count} options.")
    return "\n\n".join(blocks)


def _command_lines(example: str) -> list[str]:
    """A command line, continued by backslashes."""
    lines = textwrap.wrap(
        example,
        WIDTH - 2,
        initial_indent="  ",
        subsequent_indent="    ",
        break_long_words=False,
        break_on_hyphens=False,
    )
    return [*(f"{line} \\" for line in lines[:-1]), *lines[-1:]]


def _lines(entry: Entry) -> list[str]:
    name = entry.names[0]
    if len(entry.names) == 2 and entry.names[1] == "--no-" + name.removeprefix("--"):
        name = f"--[no-]{name.removeprefix('--')}"
    invocation = f"  {name} {entry.values}".rstrip()
    room = WIDTH - _INVOCATION - 1
    texts = textwrap.wrap(entry.text, room, break_on_hyphens=False) or [""]
    if len(invocation) > _INVOCATION:
        wrapped = textwrap.wrap(invocation.replace(",", ", "), WIDTH, initial_indent="  ", subsequent_indent="      ")
        return [*(line.replace(", ", ",") for line in wrapped), *(" " * (_INVOCATION + 1) + text for text in texts)]
    return [f"{invocation:<{_INVOCATION}} {texts[0]}".rstrip(), *(" " * (_INVOCATION + 1) + text for text in texts[1:])]


def mistake(said: str, page: Page) -> str:
    """What is wrong with a command line, and what would be right, in one line.

    Args:
        said: What tyro says of it, as one line without boxes.
        page: The help of its command.
    """
    # If an option is unknown, report that rather than the required options that are then missing.
    said = said[max(0, said.rfind("Unrecognized options")) :]
    problem = re.split("For full helptext,", said)[0].strip()
    if found := re.match(r"Unrecognized options: ([^\s,]+)", problem):
        return _unknown(found[1], page)
    if found := re.search(r"invalid choice '(.*?)' for argument '(\S+)'\. Expected one of \((.*?),?\)", problem):
        choices = re.findall(r"'([^']*)'", found[3])
        return f"{found[2]} {found[1]}: {nearest(found[1], choices)}choose from {', '.join(choices)}"
    if found := re.search(r"Error parsing (\S+): (.*?)(?: Argument helptext: .*)?$", problem):
        given = re.findall(r"'([^']*)'", found[2])
        entry = page.options.get(found[1])
        if entry is not None and given:
            return f"{found[1]} {' '.join(given)}: give {entry.values or 'no value'}"
        return f"{found[1]}: {found[2]}"
    if found := re.search(r"Missing value for argument '(\S+)'", problem):
        entry = page.options.get(found[1])
        return f"{found[1]}: give {entry.values if entry else 'a value'}"
    if problem.startswith("Missing subcommand"):
        return f"name a command: {', '.join(page.subcommands)}"
    if problem.startswith("Required options"):
        entries = [entry for group in page.groups for entry in group.entries if entry.required]
        words = [f"{entry.names[0]} {entry.values}".strip() for entry in entries]
        named = set(re.findall(r"(?<![\w`-])[\w.-]+", problem))
        return "give " + ", ".join(word for word in words if word.split()[0] in named)
    return problem


def _unknown(word: str, page: Page) -> str:
    name = word.partition("=")[0]
    if name.startswith("-"):
        return f"no option {name}: {nearest(name, list(page.options))}".rstrip(" :")
    if page.subcommands:
        return f"no command {word!r}: {nearest(word, page.subcommands)}choose from {', '.join(page.subcommands)}"
    return f"one argument too many: {word!r}"


def nearest(word: str, choices: Sequence[str]) -> str:
    """A question whether the choice that is most like a word was meant; empty if none is like it."""
    found = difflib.get_close_matches(word, choices, 1, 0.5)
    return f"did you mean {found[0]}? " if found else ""
