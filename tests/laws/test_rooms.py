"""Sub-packages import in one direction, and files and folders stay small."""

import ast
from pathlib import Path

import pytest

import laws
from tests.test_layout import DRIVERS
from tests.test_layout import ORDER as LAYOUT

ROOT = Path(laws.__file__).parent
ORDER = tuple(room for room in LAYOUT["laws"] if room != "*")
FILES = [path for room in ORDER for path in sorted((ROOT / room).glob("*.py"))]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_rooms_import_only_from_those_before_them(path: Path) -> None:
    allowed = ORDER[: ORDER.index(path.parent.name) + 1]
    for node in ast.walk(ast.parse(path.read_text())):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        for name in names:
            if path.parent.name not in DRIVERS:
                assert name.split(".")[0] not in ("jax", "flax", "optax", "orbax", "train"), "fitting needs no training"
            if name.split(".")[0] == "laws":
                assert name.split(".")[1] in allowed, name


def test_every_folder_is_a_room_and_every_file_short() -> None:
    folders = {path.parent.name for path in ROOT.rglob("*.py")} - {ROOT.name}
    assert folders == set(ORDER)
    assert all(len(path.read_text().splitlines()) <= 400 for path in FILES)
    assert all(len([path for path in FILES if path.parent.name == room]) <= 14 for room in ORDER)
