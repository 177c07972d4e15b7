"""Trained policies as experts: sampled actions, games into a store."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from data.collect.atari import collect_atari, play
from data.collect.base import ToPlay, episode_seed
from data.common.cli import UserError
from data.experts.registry import Expert
from data.experts.trained.policies import SampledPlayer, load, players
from data.games import atari
from data.store.reader import TrajectoryStore
from tests.data.experts.policies import STACKS, applied, by_torch, cleanrl, own, sb3, weights_of


def test_actions_are_sampled_from_the_softmax_by_the_seed() -> None:
    scores = np.log(np.array([0.5, 0.3, 0.15, 0.05], np.float32)) + 7
    seen: list[np.ndarray] = []

    def logits_of(stacks: np.ndarray) -> np.ndarray:
        seen.append(stacks)
        return scores[None]

    def actions(seed: int, count: int) -> list[int]:
        player = SampledPlayer(logits_of, seed)
        return [player.act(STACKS[0]) for _ in range(count)]

    shares = np.bincount(actions(0, 20_000), minlength=4) / 20_000
    np.testing.assert_allclose(shares, [0.5, 0.3, 0.15, 0.05], atol=0.015)
    assert actions(1, 50) == actions(1, 50) != actions(2, 50)
    np.testing.assert_array_equal(seen[0], STACKS[:1])


def test_players_share_a_network(tmp_path: Path) -> None:
    """Their actions are those sampled from its logits, one stack at a time."""
    body = weights_of()
    make = players(load(cleanrl(tmp_path / "model", body), "Breakout"))
    first, duplicate, other = make(1), make(1), make(2)
    actions = [[player.act(stack) for stack in STACKS.repeat(5, 0)] for player in (first, duplicate, other)]
    assert actions[0] == actions[1] != actions[2]
    sampled = SampledPlayer(lambda stacks: applied(body, stacks=stacks)[0], 1)
    assert actions[0] == [sampled.act(stack) for stack in STACKS.repeat(5, 0)]


def ids(store: Path) -> list[str]:
    return [episode.id for episode in TrajectoryStore.open(store).episodes]


def test_games_of_a_policy_go_into_a_store_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Workers play on the CPU wherever JAX would rather be.
    monkeypatch.setenv("JAX_PLATFORMS", "nowhere")
    path, store = own(tmp_path / "run", weights_of()), tmp_path / "store"
    report = collect_atari(store, game="Breakout", expert=str(path), episodes=2, workers=2)
    assert (report.games, report.known, report.skipped) == (2, 0, ())
    opened = TrajectoryStore.open(store)
    policy = load(path, "Breakout")
    assert opened.manifest["expert"] == policy.name == f"IsoPlay PPO nature {policy.digest[:12]}"
    assert opened.manifest["actions"] == ["NOOP", "FIRE", "RIGHT", "LEFT"]
    # What was played is what the seed's player plays on what was seen.
    for row, episode in enumerate(opened.episodes):
        steps = opened.read(row, 0, min(episode.length, 100))
        player = players(policy)(episode_seed(0, row))
        assert [player.act(stack) for stack in steps.frames_Sx84x84x4] == steps.action_S.tolist()
    # The weights identify the expert, wherever they are; games that are there aren't played again.
    moved = path.rename(tmp_path / "moved")
    again = collect_atari(store, game="Breakout", expert=str(moved), episodes=2, workers=1)
    assert (again.games, again.known) == (0, 2)
    other = own(tmp_path / "other", weights_of(seed=1))
    with pytest.raises(UserError, match="holds games with expert 'IsoPlay PPO nature"):
        collect_atari(store, game="Breakout", expert=str(other), episodes=1)
    collect_atari(tmp_path / "second", game="Breakout", expert=str(other), episodes=1, workers=1)
    assert len({*ids(store), *ids(tmp_path / "second")}) == 3


def test_games_by_the_full_action_set_are_stored_in_it(tmp_path: Path) -> None:
    path, store = cleanrl(tmp_path / "model", weights_of("impala", 18), "impala"), tmp_path / "store"
    collect_atari(store, game="Breakout", expert=str(path), episodes=1, workers=1)
    opened = TrajectoryStore.open(store)
    assert opened.manifest["actions"] == list(atari.content("Breakout", 18).actions)
    assert opened.manifest["expert"].startswith("CleanRL impala ")
    assert opened.read(0, 0, opened.episodes[0].length).action_S.max() > 3
    with pytest.raises(UserError, match="holds games with other actions"):
        collect_atari(store, game="Breakout", expert="random", episodes=1)


def test_a_policy_that_changes_while_it_plays_is_refused(tmp_path: Path) -> None:
    path = cleanrl(tmp_path / "model", weights_of())
    with pytest.raises(UserError, match="model changed while it played: start the same command again"):
        play(ToPlay(Expert("Breakout", str(path), "another digest", "another"), 0, "game-00000"))


def test_players_need_no_jax(tmp_path: Path) -> None:
    """Nor does reading the files of `train rl` and of Stable-Baselines3."""
    code = (
        "import sys, data.__main__, data.collect.atari, numpy\n"
        "from pathlib import Path\n"
        "from data.experts.trained.policies import load, players\n"
        "for path in sys.argv[1:]:\n"
        "    players(load(Path(path), 'Breakout'))(0).act(numpy.zeros((84, 84, 4), numpy.uint8))\n"
        "sys.exit(bool({'jax', 'flax', 'orbax', 'msgpack'} & {*sys.modules}))\n"
    )
    paths = own(tmp_path / "run", weights_of()), sb3(tmp_path / "policy.zip", by_torch(weights_of()))
    assert subprocess.run([sys.executable, "-c", code, *map(str, paths)], check=False).returncode == 0
