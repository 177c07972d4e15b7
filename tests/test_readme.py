"""README.md and the packages' own: every command parses and is run, or is named here with why not; examples run."""

import contextlib
import importlib
import importlib.util
import io
import json
import re
import shlex
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import pytest

from data.common import cli
from data.common.main import PACKAGES
from tests.command_lines import parser_of

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *(path for name in PACKAGES if (path := ROOT / name / "README.md").exists())]

OTHERS = {
    "pip": "changes the environment; .ci/run installs",
    "pytest": "this test suite",
    "pre-commit": "needs the index for its hooks; .ci/run runs them",
    "tensorboard": "a server that runs until it is stopped",
    ".ci/run": "runs this test suite",
    "gcloud": "needs a TPU slice",
    "git clone": "needs the network",
    "srun": "needs a Slurm cluster",
    "sbatch": "needs a Slurm cluster",
}
"""Programs that are not ours, by how their commands begin, and why no command of theirs is run."""

NOT_RUN = {
    r"laws reproduce (quickstart|smoke)": "takes minutes; tests/laws/test_reproduce.py makes the smoke study",
    r"laws import-official": "needs the paper's files; run by tests/laws/test_official.py on files of their form",
    r"data import (parquet|minari)": "run by tests/data/importers/test_atari.py and test_minari_atari.py",
    r"data import katakomba": "run by tests/data/importers/test_katakomba.py on files that it makes",
    r"data import nld .*--allow-unfinished": "run by tests/data/importers/test_nld.py on recordings that it makes",
    r"data collect nethack .*autoascend": "needs the bot; run by tests/data/collect/test_autoascend.py with a stand-in",
    r"data import nld .*--allow-no-actions": "run by tests/data/importers/test_nao.py on recordings that it makes",
    r"data bench": "takes minutes; run by tests/data/test_command.py",
    r"data collect gym": "run by tests/data/collect/test_gym.py with experts that it writes",
    r"data collect atari .*--expert": "needs a trained policy; run by tests/train/test_rl.py with one that it trains",
    r"(agents|train bc) --?.*mine:agent": "run by tests/agents/test_own_agent.py, where mine.py is",
    r"train compile": "needs a TPU's compiler; run by tests/train/compile/test_command.py where it is",
    r"eval (summary|compare)": "needs games; run by tests/eval/test_episodes.py",
    r"eval RUN .*--watch": "needs a terminal; run in one by tests/eval/test_seen.py",
    r"eval RUNS": "run on two runs by tests/eval/test_evaluate.py",
    r"eval bench": "takes minutes; its parts are run by tests/eval/test_bench.py",
    r"train bench": "run by tests/laws/test_breakout.py",
    r"laws coverage": "takes half an hour; run on few studies by tests/laws/study/test_coverage.py",
    r"laws power": "takes a minute; run on few repetitions by tests/laws/study/test_power.py",
    r"train sweep": "run by tests/laws/sweep/test_sweep.py",
    r"laws report": "run by tests/laws/report/test_comparison.py",
    r"laws rate": "run by tests/laws/predict/test_hyperparameters.py",
    r"laws coordinates": "run by tests/laws/study/test_coordinates.py",
    r"train rl": "run by tests/train/rl/test_command.py",
    r"train bc .*gym/": "tests/laws/study/test_gym.py trains such agents",
    r"train bc .*--preset (atari|cpu|paper)": "takes minutes to days; tests/train/test_config.py expands every preset",
}
"""Our commands that are parsed but not run here: a pattern, and why or by which test instead."""

SMALL = {
    "agents": "",
    "data collect nethack": "--episodes 2 --max-steps 20 --workers 2",
    "data collect atari": "--episodes 2 --workers 2 --expert random",
    "data import nld": "--workers 1",
    "data info": "",
    "data verify": "",
    "data.experts": "--games 2 --max-steps 20 --workers 2 --json",
    "data play": "--from 10 --steps 2 --gif play.gif",
    "train bc": "--agent nethack/lstm/16 --flops 1e7 2e7 --lanes 8 --window 8",
    "train presets": "",
    "eval expert": "--episodes 2 --max-steps 20 --lanes 2 --workers 1",
    "eval": "--episodes 2 --max-steps 20 --lanes 2 --workers 1",
    "laws fit": "--bootstraps 100",
    "laws forecast": "",
    "laws plan": "",
}
"""Our commands that are run: what is appended so that they take seconds."""

MAKES = {"data collect": ("STORE", "DIR"), "data import": ("STORE",), "train": ("RUN",), "laws fit": ("DIR",)}
"""What a command makes: it is not there before. Everything else that a page names is, see `inputs`."""

MOST_LINES, MOST_BYTES = 160, 200_000


@dataclass(frozen=True)
class Command:
    """One command of a page."""

    page: str
    words: tuple[str, ...]
    whole: bool
    """It stands in a block; one in running text may be a mention without all of its arguments."""

    @property
    def ours(self) -> tuple[str, ...] | None:
        """Package and arguments, if it is a command of this project."""
        for start in (("python", "-m"), ("python3", "-m"), ("isoplay",)):
            words = self.words[len(start) :]
            if self.words[: len(start)] == start and words and words[0].split(".")[0] in PACKAGES:
                return words
        return None

    @property
    def text(self) -> str:
        return shlex.join(self.ours or self.words)

    @property
    def kind(self) -> str:
        """The sub-command that it runs, among those of SMALL."""
        return next((kind for kind in SMALL if f"{self.text} ".startswith(f"{kind} ")), "")


def blocks(page: Path) -> list[tuple[str, int, str]]:
    """Language, line and text of each fenced block of a page."""
    text = page.read_text()
    found = re.finditer(r"^```([^\n`]*)\n(.*?)^```$", text, re.M | re.S)
    return [(match[1].strip(), text.count("\n", 0, match.start()) + 2, match[2]) for match in found]


def running_text(page: Path) -> list[str]:
    """What stands between backticks outside of blocks."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.M | re.S)
    return [" ".join(code.split()) for part in re.split(r"\n\s*\n", text) for code in re.findall(r"`([^`]+)`", part)]


def split(line: str) -> Iterator[tuple[str, ...]]:
    """The commands of one line of a shell: without comment, prompt and variables, cut at && and |."""
    words: list[str] = []
    for word in [*shlex.split(line.removeprefix("$ "), comments=True), "&&"]:
        if word not in ("&&", "|", ";"):
            words.append(word)
            continue
        while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
            words.pop(0)
        if words:
            yield tuple(words)
        words = []


def is_command(text: str) -> bool:
    """Whether the first of several words is a program that pages name."""
    start = text.split()[:2]
    return len(start) == 2 and start[0] in {"python", "python3", "isoplay", *(name.split()[0] for name in OTHERS)}


def commands() -> list[Command]:
    found: dict[tuple[str, ...], Command] = {}
    for page in PAGES:
        name = str(page.relative_to(ROOT))
        lines = [(line, lang) for lang, _, text in blocks(page) for line in text.replace("\\\n", " ").splitlines()]
        for line, language in lines:
            if language in ("sh", "bash", "console") or (language == "" and is_command(line)):
                for words in split(line):
                    found[words] = Command(name, words, whole=True)
        for code in running_text(page):
            if is_command(code):
                for words in split(code):
                    found.setdefault(words, Command(name, words, whole=False))
    return list(found.values())


COMMANDS = commands()
OURS = [command for command in COMMANDS if command.ours]


def parse(words: tuple[str, ...]) -> Callable[[], Any]:
    """The call that a command line of ours stands for. Raises `SystemExit` as the command does."""
    parser, rest = parser_of(words)
    return parser(rest)


def problem(words: tuple[str, ...]) -> str:
    """What is wrong with a command line of ours; empty if nothing is."""
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
            parse(words)
    except SystemExit as error:
        return said.getvalue() if error.code else ""
    except cli.UserError as error:
        return str(error)
    return ""


def problem_of_mention(words: tuple[str, ...]) -> str:
    """As `problem`, of a command that lacks arguments: only its sub-command and its options must exist."""
    before = [index for index, word in enumerate(words) if word.startswith("-") or word in ("...", "…")]
    named = words[: before[0]] if before else words
    page = io.StringIO()
    with contextlib.redirect_stdout(page), contextlib.redirect_stderr(page):
        try:
            parse((*named, "--help"))
        except SystemExit as error:
            if error.code:
                return page.getvalue()
    unknown = [word for word in words if word.startswith("--") and not re.search(rf"{word}\b", page.getvalue())]
    return f"no option {', '.join(unknown)}" if unknown else ""


@pytest.mark.parametrize("command", OURS, ids=lambda command: f"{command.page}: {command.text}")
def test_command_exists(command: Command) -> None:
    words = command.ours
    assert words is not None
    wrong = problem(words)
    if wrong and (not command.whole or {"...", "…"} & set(words)):
        wrong = problem_of_mention(words)
    assert not wrong, f"{command.page}: {shlex.join(command.words)}\n{wrong}"


def rows(game: str) -> str:
    """Result rows, jsonl, of trainings whose loss is 0.2 + 30 / N^0.5 + 30 / D^0.5, each through five budgets."""
    lines = []
    for size in (3e4, 1e5, 3e5, 1e6, 3e6, 1e7):
        for flops in (6e10, 6e11, 6e12, 6e13, 6e14):
            samples = flops / 6 / size
            loss = 0.2 + 30 / size**0.5 + 30 / samples**0.5
            row = {"game": game, "run": f"{size:g}", "flops": flops, "params": int(size), "samples": int(samples)}
            lines.append(json.dumps(row | {"loss": loss, "return_mean": 10 / loss, "episodes": 100}))
    return "\n".join(lines) + "\n"


def run(words: tuple[str, ...]) -> None:
    """Run a command line of ours in this process and in the working folder, in JAX as it is for people."""
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        code = parse(words)()
    assert not isinstance(code, int) or code == 0


@pytest.fixture(scope="module")
def trained(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two budgets on `store`."""
    folder = tmp_path_factory.mktemp("trained") / "RUN"
    run(("train", "bc", "--store", str(store), "--run", str(folder), *SMALL["train bc"].split()))
    return folder


@pytest.fixture
def inputs(store: Path, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with what the pages call STORE, STORE2, DIR (games), RUN, FOLDER, RUNS, OTHER and tables."""
    for name, target in (("STORE", store), ("STORE2", store), ("DIR", store.parent / "games")):
        (tmp_path / name).symlink_to(target)
    (tmp_path / "RUN").mkdir()
    for path in trained.iterdir():
        (tmp_path / "RUN" / path.name).symlink_to(path)
    (tmp_path / "FOLDER").mkdir()
    for name in ("runs.jsonl", "other.jsonl", "paper.jsonl", "RUN/runs.jsonl", "FOLDER/runs.jsonl"):
        (tmp_path / name).unlink(missing_ok=True)
        (tmp_path / name).write_text(rows("nethack"))
    names = {"flops": "C", "params": "N", "samples": "D", "loss": "eval loss"}
    table = [{names[name]: row[name] for name in names} for row in map(json.loads, rows("text").splitlines())]
    lines = [",".join((*names.values(), "optimizer")), *(",".join(map(str, (*row.values(), "adamw"))) for row in table)]
    (tmp_path / "table.csv").write_text("\n".join(lines) + "\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def reason(command: Command) -> str:
    """Why a command of ours is not run here; empty if it is run."""
    return next((why for pattern, why in NOT_RUN.items() if re.match(pattern, command.text)), "")


def is_mention(command: Command) -> bool:
    return command.ours is not None and not command.whole and bool(problem(command.ours))


NOT_WHOLE = {"...", "…", "--help"}
RUN_HERE = [command for command in OURS if not reason(command) and not NOT_WHOLE & set(command.words)]


@pytest.mark.slow
@pytest.mark.parametrize("command", RUN_HERE, ids=lambda command: f"{command.page}: {command.text}")
def test_command_runs(command: Command, inputs: Path) -> None:
    if is_mention(command):
        pytest.skip("a mention, without all arguments")
    assert command.kind, f"{command.page}: {command.text}: list it in NOT_RUN with why, or in SMALL to be run"
    for prefix, names in MAKES.items():
        if command.text.startswith(prefix):
            for name in names:
                (inputs / name).rename(inputs / f"{name}-elsewhere")
    words = [{"RUNS": "runs.jsonl", "OTHER": "other.jsonl"}.get(word, word) for word in command.ours or ()]
    if words[0] == "laws" and "--game" in words:
        for path in inputs.glob("*.jsonl"):
            path.write_text(rows(words[words.index("--game") + 1]))
    run((*words, *SMALL[command.kind].split()))


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: f"{command.page}: {command.text}")
def test_command_of_others_is_known(command: Command) -> None:
    start = shlex.join(command.words)
    assert command.ours or any(start.startswith(other) for other in OTHERS), f"{command.page}: {start}"


def test_reasons_are_those_of_commands() -> None:
    unused = [pattern for pattern in NOT_RUN if not any(re.match(pattern, command.text) for command in OURS)]
    assert unused == []


EXAMPLES = [page for page in PAGES if any(language == "python" for language, _, _ in blocks(page))]


@pytest.mark.slow
@pytest.mark.parametrize("page", EXAMPLES, ids=lambda page: str(page.relative_to(ROOT)))
def test_python_examples_run_one_after_another(page: Path, inputs: Path) -> None:
    names: dict[str, Any] = {"__name__": "example"}
    for language, line, text in blocks(page):
        needs = re.findall(r"^\s*(?:import|from) (torch|grain)\b", text, re.M)
        if language != "python" or any(importlib.util.find_spec(name) is None for name in needs):
            continue
        with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
            exec(compile("\n" * (line - 1) + text, str(page), "exec"), names)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere_and_pictures_are_small(page: Path) -> None:
    links = [link for link in re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text()) if ":" not in link]
    assert [link for link in links if not (page.parent / link).exists()] == []
    pictures = [page.parent / link for link in links if link.endswith(".png")]
    assert [picture for picture in pictures if picture.stat().st_size > MOST_BYTES] == []


def test_first_page_is_short_and_finished() -> None:
    text = (ROOT / "README.md").read_text()
    assert len(text.splitlines()) <= MOST_LINES
    assert "TODO" not in text
