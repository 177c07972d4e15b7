"""Rollouts hold what was played."""

import functools
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from agents.atari.actor_critic import actor_critic, make_network
from data.spec import STACK
from tests.train.rl.runs import config, mesh_of, random_params
from train.rl.loop import make_actors
from train.rl.ppo import stacked
from train.rl.rollout import VectorActor, collect_rollout, make_act


def actors_of(lanes: int, game: str = "Breakout", *, life_loss: bool = True) -> list[VectorActor]:
    mesh = mesh_of(1)
    act = make_act(make_network(mesh), mesh)
    return [VectorActor(game, np.array([lane]), act, threads=1, life_loss=life_loss) for lane in range(lanes)]


def test_a_rollout_is_what_was_played() -> None:
    params, actors = random_params(), actors_of(2)
    look = jax.jit(functools.partial(actor_critic, im2col=True))
    rollouts = [collect_rollout(actors, params, jax.random.key(number), 60)[0] for number in range(2)]
    for rollout in rollouts:
        assert rollout.frames.shape == (2, STACK - 1 + 60, 84, 84)
        assert not np.array_equal(*rollout.action)
        # The critic and the policy say of the rebuilt stacks what they said as they saw them.
        blocks = stacked(jnp.asarray(rollout.frames), jnp.asarray(rollout.first))
        logits, value = look(params, blocks)
        np.testing.assert_allclose(value.reshape(2, 60), rollout.value[:, :-1], rtol=1e-3, atol=1e-4)
        log_probs = jax.nn.log_softmax(logits).reshape(2, 60, -1)
        chosen = jnp.take_along_axis(log_probs, jnp.asarray(rollout.action)[:, :, None], axis=-1)[..., 0]
        np.testing.assert_allclose(chosen, rollout.log_prob, rtol=1e-3, atol=1e-4)
    one, other = rollouts
    np.testing.assert_array_equal(one.frames[:, -2:], other.frames[:, 1:3])
    np.testing.assert_allclose(one.value[:, -1], other.value[:, 0], rtol=1e-6)
    assert one.first[:, 0].all()
    assert not other.first[:, 0].any()


@pytest.mark.parametrize("life_loss", [True, False])
def test_a_lost_life_is_an_end_where_that_is_asked_for(life_loss: bool) -> None:
    """Games of Q*bert, whose rewards are 25 points and more, of four lives each."""
    steps = 1000
    [actor] = actors_of(1, "Qbert", life_loss=life_loss)
    rollout, finished = collect_rollout([actor], random_params(6), jax.random.key(0), steps)
    lengths = np.array([game.length for game in finished])
    assert len(lengths) >= 2
    ends = np.cumsum(lengths) - 1
    np.testing.assert_array_equal(np.flatnonzero(rollout.first[0]), [0, *ends[ends < steps - 1] + 1])
    assert rollout.terminated[0, ends].all()
    assert rollout.terminated[0, : ends[-1] + 1].sum() == (4 if life_loss else 1) * len(ends)
    assert set(np.unique(rollout.reward)) == {0.0, 1.0}
    for game, clipped in zip(finished, np.split(rollout.reward[0], ends + 1), strict=False):
        assert game.score >= 25 * clipped.sum() > 0
        assert game.score % 25 == 0


def test_games_are_a_function_of_the_seed_and_of_the_update_that_they_begin_at(tmp_path: Path) -> None:
    params, mesh = random_params(), mesh_of(1)
    act = make_act(make_network(mesh), mesh)

    def shown(seed: int, start: int) -> bytes:
        actors = make_actors(config(tmp_path, seed=seed), start, act)
        return collect_rollout(actors, params, jax.random.key(0), 30)[0].frames.tobytes()

    assert shown(0, 0) == shown(0, 0)
    assert len({shown(0, 0), shown(0, 1), shown(1, 0)}) == 3
