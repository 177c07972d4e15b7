"""The network of README.md: its cost is right, and it trains, is evaluated and is loaded again by its name."""

import dataclasses
import re
import sys
from pathlib import Path

import jax
import pytest

from agents.ladder import find
from agents.xla import batch_of, train_flops
from data.common.cli import UserError
from eval.checkpoints import evaluate, load_checkpoint
from eval.config import EvalConfig
from tests.train.runs import config
from train.loop import train

README = Path(__file__).resolve().parents[2] / "agents/README.md"
NAME = "mine:agent+network.width=8"


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with `mine.py` as README has it, from which modules are imported."""
    (code,) = (text for text in re.findall(r"```python\n(.*?)```", README.read_text(), re.S) if "def agent(" in text)
    assert sum(line != "" for line in code.splitlines()) <= 40
    (tmp_path / "mine.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "mine", raising=False)
    return tmp_path


@pytest.mark.slow
def test_the_network_of_readme_trains_and_is_evaluated(
    mine: Path, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = find(NAME, 121)
    counted = train_flops(agent, batch_of(agent, 64, 8))
    assert agent.cost(8).train_flops("exact") == pytest.approx(counted, rel=0.05)
    step = agent.cost(8).train_flops("exact") * 64
    options = dataclasses.replace(config(store, mine / "run"), agent=NAME, order="windows", dev_every="never")
    with jax.numpy_dtype_promotion("standard"):
        train(dataclasses.replace(options, flops=(2.0 * step, 5.0 * step)), progress=False)
    rows = evaluate(EvalConfig((mine / "run",), episodes=2, max_steps=5, lanes=2, workers=1), progress=False)
    assert [(row.core, row.size, row.params) for row in rows] == [
        ("mine:agent", "network.width=8", agent.cost(8).counted_params)
    ] * 2
    assert load_checkpoint(mine / "run")[0].name == NAME
    monkeypatch.delitem(sys.modules, "mine")
    (mine / "mine.py").rename(mine / "other.py")
    with pytest.raises(UserError, match="no module 'mine' for mine:agent: run where it can be imported"):
        load_checkpoint(mine / "run")


@pytest.mark.parametrize(
    ("code", "named"),
    [
        ("agent = 3", "no function of"),
        ("def agent(actions): ...", "no function of"),
        ("def agent(actions, observation): ...", "gives None, which lacks name, kind"),
    ],
)
def test_what_is_no_agent_is_one_line(mine: Path, code: str, named: str) -> None:
    (mine / "mine.py").write_text(code)
    with pytest.raises(UserError, match=named):
        find("mine:agent")
