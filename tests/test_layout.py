"""Imports point one way: experts and data, agents, train, eval, laws."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ORDER = ("data", "agents", "train", "eval", "laws")
FILES = [path for package in ORDER for path in sorted((ROOT / package).rglob("*.py"))]


def imported(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        if isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.split(".")[0])
    return names


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_left(path: Path) -> None:
    package = path.relative_to(ROOT).parts[0]
    allowed = set(ORDER[: ORDER.index(package) + 1])
    assert imported(path) & set(ORDER) <= allowed


@pytest.mark.parametrize(
    "path",
    [p for p in FILES if p.parent.name == "laws" and p.stem != "reproduce"],
    ids=lambda path: path.name,
)
def test_laws_need_no_training(path: Path) -> None:
    assert not imported(path) & {"jax", "flax", "optax", "orbax", "train"}
