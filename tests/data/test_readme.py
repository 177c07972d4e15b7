"""What data/README.md says can be done can be done."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.data.store.test_store import write

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "data" / "README.md").read_text()
EXAMPLES = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
COMMANDS = sorted(set(re.findall(r"python -m data [a-z][^#`\n]*", README)))

PARSE = """
import sys, data.__main__ as command
command._add_collectors()
call = command.app.cli(prog="data")
assert callable(call)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("readme")
    write(folder / "store", (300, 700, 40, 513, 90))
    return folder


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: re.findall(r"import (\w+)", example)[0])
def test_examples_run(folder: Path, example: str) -> None:
    if "torch" in example:
        pytest.importorskip("torch")
    (folder / "example.py").write_text(example)
    command = [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(ROOT)!r}); exec(open('example.py').read())"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "(8, 32, 24, 80)" in done.stdout or "[8, 32, 24, 80]" in done.stdout


def test_there_are_examples_and_commands() -> None:
    assert len(EXAMPLES) == 3
    assert len(COMMANDS) > 9


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_are_understood(command: str) -> None:
    """Parsed, not called: other tests call them."""
    arguments = shlex.split(command)[3:]
    done = subprocess.run([sys.executable, "-c", PARSE, *arguments], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
