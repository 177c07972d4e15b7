"""The shape of the code: imports point one way, folders and files stay small, every folder says what is in it."""

import ast
from collections import Counter
from collections.abc import Iterable, Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

PACKAGES = ("data", "agents", "train", "eval", "laws")
"""A package imports those before it, never those after it."""

ORDER = {
    "data": ("common", "spec", "codec", "games", "store", "sampling", "importers", "experts", "collect", "view", "*"),
    "agents": ("overrides", "cost", "spec", "cpu", "layers memoryless", "cores", "nethack atari gym", "*"),
    "train": (
        "hosts",
        "mesh",
        "input",
        "state",
        "schedule",
        "failure",
        "scaling",
        "dev",
        "*",
        "memory",
        "population",
        "bench",
        "compile",
        "loop",
        "bc rl",
    ),
    "eval": ("statistics results progress film", "engine", "play", "*", "bench"),
    "laws": ("rows", "fitting", "predict", "figures", "report", "design", "sweep", "study", "*"),
}
"""The rooms (sub-packages and files) of each package: a room imports those before it. Names in one string stand side
by side and do not import each other; `*` stands for all files of the package's own folder that are not named.
`__init__` and `__main__` of a package come last.
"""

MOST_FILES, MOST_LINES, MOST_CLASS_LINES = 13, 400, 200
TRAINING = {"jax", "flax", "optax", "orbax", "train"}
"""What `laws` does without, but for `DRIVERS`."""
DRIVERS = ("design", "sweep", "study")
"""The rooms of `laws` that drive all stages."""
FROM_COMMANDS = {"train": ("laws.sweep", "laws.design.presets")}
"""What the command of a package may start although it comes later: `python -m train sweep` plans by laws."""

FOLDERS = (*PACKAGES, "tests")
FILES = [path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.py"))]
TREES = {path: ast.parse(path.read_text()) for path in FILES}


def module(path: Path) -> str:
    """`data/store/reader.py` is data.store.reader, `data/store/__init__.py` data.store."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


OURS = {module(path): path for path in FILES if path.parts[len(ROOT.parts)] in PACKAGES}


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """Line and full name of each module that a file imports, at whatever depth."""
    for node in ast.walk(TREES[path]):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import"
            base = node.module or ""
            for alias in node.names:
                inner = f"{base}.{alias.name}"
                yield node.lineno, inner if inner in OURS else base


def ours(path: Path) -> Iterator[tuple[int, str]]:
    """The imports of modules of this project."""
    yield from ((line, name) for line, name in imports(path) if name.split(".")[0] in PACKAGES)


def room(name: str) -> str:
    """The room of a module: data.store.reader is in `store`, data.spec is `spec`; of data itself `__init__`."""
    return (*name.split("."), "__init__")[1]


def level(name: str) -> tuple[int, str] | None:
    """Where a module's room stands in its package's order, and under which name; None for a folder in no list."""
    package, own = name.split(".")[0], room(name)
    order = ORDER[package]
    if own in ("__init__", "__main__"):
        return len(order), own
    listed = next((index for index, names in enumerate(order) if own in names.split()), None)
    if listed is not None:
        return listed, own
    return None if (ROOT / package / own).is_dir() else (order.index("*"), "*")


def expect_none(wrong: Iterable[str]) -> None:
    """Fail with one line for each thing that is wrong."""
    lines = sorted(set(wrong))
    assert not lines, "\n".join(["", *lines])


def place(path: Path, line: int | None = None) -> str:
    return str(path.relative_to(ROOT)) + ("" if line is None else f":{line}")


def test_every_room_has_its_place_in_the_order() -> None:
    rooms = {(package, path.parent.name) for package in PACKAGES for path in (ROOT / package).glob("*/__init__.py")}
    named = {(package, name) for package, order in ORDER.items() for names in order for name in names.split()}
    expect_none(f"{package}/{name} is in no list of ORDER" for package, name in rooms - named)


def test_packages_import_one_way() -> None:
    wrong = [
        f"{place(path, line)} imports {name}"
        for package in PACKAGES
        for path in sorted((ROOT / package).rglob("*.py"))
        for line, name in ours(path)
        if PACKAGES.index(name.split(".")[0]) > PACKAGES.index(package)
        if path.name != "__main__.py" or not name.startswith(FROM_COMMANDS.get(package, ()))
    ]
    expect_none(wrong)


def test_rooms_of_a_package_import_one_way() -> None:
    wrong = []
    for own, path in OURS.items():
        for line, name in ours(path):
            if name.split(".")[0] != own.split(".")[0] or room(name) == room(own):
                continue
            to, at = level(name), level(own)
            if to and at and (to[0] > at[0] or (to[0] == at[0] and to[1] != at[1])):
                wrong.append(f"{place(path, line)} imports {name}: {at[1]} may not import {to[1]}")
    expect_none(wrong)


def test_no_module_imports_itself_by_way_of_others() -> None:
    graph = {own: {name for _, name in ours(path) if name in OURS} - {own} for own, path in OURS.items()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        raise AssertionError(" <- ".join(error.args[1])) from None


def test_laws_need_no_training() -> None:
    wrong = [
        f"{place(path, line)} imports {name}"
        for own, path in OURS.items()
        if own.startswith("laws.") and room(own) not in (*DRIVERS, "__main__")
        for line, name in imports(path)
        if name.split(".")[0] in TRAINING
    ]
    expect_none(wrong)


def folders() -> set[Path]:
    return {path.parent for path in FILES}


def test_a_folder_shows_about_a_dozen_files() -> None:
    shown = Counter(path.parent for path in FILES if path.name not in ("__init__.py", "__main__.py"))
    expect_none(f"{place(folder)}: {count} files" for folder, count in shown.items() if count > MOST_FILES)


def test_files_are_short() -> None:
    sizes = {path: len(path.read_text().splitlines()) for path in FILES}
    expect_none(f"{place(path)}: {size} lines" for path, size in sizes.items() if size > MOST_LINES)


def test_classes_are_short() -> None:
    long = []
    for path in FILES:
        for node in ast.walk(TREES[path]):
            if isinstance(node, ast.ClassDef) and node.end_lineno:
                size = node.end_lineno - node.lineno + 1
                if size > MOST_CLASS_LINES:
                    long.append(f"{place(path, node.lineno)}: {node.name} has {size} lines")
    expect_none(long)


def test_every_folder_says_what_is_in_it() -> None:
    silent = []
    for folder in sorted(folders()):
        start = folder / "__init__.py"
        if folder.relative_to(ROOT).parts[0] == "tests":
            continue
        if start not in TREES or not ast.get_docstring(TREES[start]):
            silent.append(f"{place(folder)}: no docstring in __init__.py")
    expect_none(silent)


def test_top_level_is_fixed() -> None:
    assert {path.parent.name for path in ROOT.glob("*/__init__.py")} == set(FOLDERS)
