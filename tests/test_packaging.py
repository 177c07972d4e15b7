"""What a person installs: the console script, and the wheel in an environment of its own."""

import importlib
import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Sequence
from pathlib import Path

import pytest

from data.common.main import PACKAGES, main, search_path

ROOT = Path(__file__).resolve().parents[1]


def command(words: Sequence[object], folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command in `folder`, without what this process tells Python and JAX."""
    kept = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "XLA_FLAGS")}
    everything = kept | environment
    return subprocess.run([*map(str, words)], cwd=folder, env=everything, capture_output=True, text=True, check=False)


@pytest.fixture
def shadows(tmp_path: Path) -> Path:
    """A folder of the user's, with modules named like this project's packages."""
    folder = tmp_path / "mine"
    folder.mkdir()
    for name in PACKAGES:
        (folder / f"{name}.py").write_text(f"raise RuntimeError('the {name}.py of the user')\n")
    return folder


# As an installed console script behaves in an editable install: the packages are found at first, but by none of the
# folders of sys.path. Worker processes run the script up to the condition.
SCRIPT = """
import sys
if __name__ == "__main__":
    sys.path.insert(1, {root!r})
    from data.common.main import main
    sys.path.remove({root!r})
    main()
"""


def isoplay(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    script = folder.parent / "bin" / "isoplay"
    script.parent.mkdir(exist_ok=True)
    script.write_text(SCRIPT.format(root=str(ROOT)))
    return command([sys.executable, script, *words], folder)


def test_console_script_is_declared() -> None:
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    assert scripts == {"isoplay": f"{main.__module__}:{main.__name__}"}


def test_packages_are_those_of_the_checkout() -> None:
    assert set(PACKAGES) == {path.parent.name for path in ROOT.glob("*/__main__.py")}


def test_help_lists_every_package(shadows: Path) -> None:
    done = isoplay(shadows, "--help")
    assert done.returncode == 0
    for name, about in PACKAGES.items():
        assert any(name in line and about in line for line in done.stdout.splitlines())


@pytest.mark.parametrize("words", [(), ("trian",), ("x\x1b[2Jx",)])
def test_unknown_package_is_one_line_and_exit_code_2(shadows: Path, words: tuple[str, ...]) -> None:
    done = isoplay(shadows, *words)
    assert done.returncode == 2
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ")
    assert line.isprintable()


@pytest.mark.parametrize("package", PACKAGES)
@pytest.mark.parametrize("program", ["isoplay", "python -m"])
def test_help_names_the_program_as_it_was_started(
    program: str, package: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GLIBC_TUNABLES", "")  # else the command would start again, in place of this process
    monkeypatch.setattr("signal.signal", lambda *_: None)
    monkeypatch.setattr("sys.path", [*sys.path])
    monkeypatch.setattr("sys.argv", ["program", *([package] if program == "isoplay" else []), "--help"])
    run = main if program == "isoplay" else importlib.import_module(f"{package}.__main__").main
    with pytest.raises(SystemExit) as ended:
        run()
    assert ended.value.code == 0
    assert capsys.readouterr().out.startswith(f"usage: {program} {package} ")


def test_workers_do_not_import_modules_of_the_working_folder(shadows: Path) -> None:
    words = ("collect", "nethack", "games", "--episodes", "2", "--max-steps", "20", "--workers", "2")
    done = isoplay(shadows, "data", *words)
    assert done.returncode == 0, done.stderr
    assert len(list(shadows.glob("games/*/*.ttyrec3.bz2"))) == 2


def test_working_folder_comes_last_and_ours_before_it() -> None:
    assert search_path(["/elsewhere"]) == ["/elsewhere", str(ROOT), ""]
    assert search_path([str(ROOT), "/elsewhere"]) == [str(ROOT), "/elsewhere", ""]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built without network from a copy of what makes it."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    source.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    for name in PACKAGES:
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    build = ("wheel", ".", "--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", "..")
    done = command([sys.executable, "-m", "pip", *build], source)
    assert done.returncode == 0, done.stdout + done.stderr
    (built,) = folder.glob("*.whl")
    return built


@pytest.mark.slow
def test_wheel_holds_the_packages_and_nothing_else(wheel: Path) -> None:
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    files = {path.relative_to(ROOT) for package in PACKAGES for path in (ROOT / package).rglob("*") if path.is_file()}
    shown = (".md", ".png", ".jsonl")  # pages, and the studies that they show
    needed = {path for path in files if path.suffix not in shown and "__pycache__" not in path.parts}
    assert names == set(map(str, needed))


@pytest.mark.slow
def test_wheel_plays_in_a_folder_of_the_users(wheel: Path, shadows: Path, tmp_path: Path) -> None:
    environment = tmp_path / "environment"
    done = command([sys.executable, "-m", "venv", "--without-pip", environment], tmp_path)
    assert done.returncode == 0, done.stderr
    python = environment / "bin" / "python"
    install = ("install", "--no-deps", "--no-index", "--quiet", wheel)
    done = command([sys.executable, "-m", "pip", "--python", python, *install], tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    # The dependencies are those of this environment. The hook of an editable install is not read from there.
    (packages,) = environment.glob("lib/python*/site-packages")
    outside = [path for path in sys.path if Path(path).name in ("site-packages", "dist-packages")]
    (packages / "dependencies.pth").write_text("\n".join(outside))
    origin = command([python, "-c", "import laws; print(laws.__file__)"], tmp_path)
    assert Path(origin.stdout.strip()).is_relative_to(packages), origin.stdout + origin.stderr

    # Modules of the user's own are found all the same, in worker processes too.
    (shadows / "mine.py").write_text("def push(observation):\n    return int(observation[2] > 0)\n")
    collect = ("data", "collect", "gym", "store", "--env", "CartPole-v1", "--expert", "mine:push", "--episodes", "2")
    done = command([environment / "bin" / "isoplay", *collect], shadows)
    assert done.returncode == 0, done.stderr
    assert "imported 2 games" in done.stdout
