from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from agents.cost import Cost
from agents.spec import Dropout
from data.spec import NETHACK, NO_ACTION, Batch
from train.dev.loss import LossRow
from train.dev.loss import dev_loss as dev_loss_on
from train.mesh import make_mesh

ACTIONS = 5


@dataclass(frozen=True)
class Counter:
    """Logits from the previous action, the cursor's row and how long ago the episode began (at most 7)."""

    name: str = "test/counter"
    kind: str = "counter"
    dtype: str = "float32"
    width: int = 1
    depth: int = 1
    actions: int = ACTIONS

    inputs = ("prev_action", "cursor")
    recurrent = True
    microbatch = None

    def for_backend(self, dtype: str = "auto") -> "Counter":
        return self

    def of_width(self, width: int) -> None:
        return

    def rematerialised(self) -> None:
        return None

    def init(self, key: jax.Array) -> dict[str, jax.Array]:
        a, b, c = jax.random.split(key, 3)
        shapes = {"action": (NO_ACTION + 1, ACTIONS), "row": (24, ACTIONS), "age": (8, ACTIONS)}
        return {
            name: jax.random.normal(key, shape) for key, (name, shape) in zip((a, b, c), shapes.items(), strict=True)
        }

    def on_host(self, observation: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
        return observation

    def initial_carry(self, lanes: int) -> jax.Array:
        return jnp.zeros(lanes, jnp.int32)

    def apply(
        self,
        params: dict[str, jax.Array],
        observation: Mapping[str, jax.Array],
        first: jax.Array,
        carry: jax.Array,
        dropout: Dropout | None = None,
    ) -> tuple[jax.Array, jax.Array]:
        def step(age_B: jax.Array, first_B: jax.Array) -> tuple[jax.Array, jax.Array]:
            age_B = jnp.where(first_B, 0, jnp.minimum(age_B + 1, 7))
            return age_B, age_B

        age_B, age_TxB = jax.lax.scan(step, carry, first.T)
        logits = (
            params["action"][observation["prev_action"]]
            + params["row"][observation["cursor"][..., 0]]
            + params["age"][age_TxB.T]
        )
        return logits, age_B

    def cost(self, window: int) -> Cost:
        return Cost(())


def dev_loss(agent: Counter, params: dict[str, jax.Array], batches: Iterable[Batch], lanes: int) -> LossRow:
    return dev_loss_on(agent, params, batches, lanes, make_mesh(1))


AGENT = Counter()
PARAMS = AGENT.init(jax.random.key(0))

Episode = tuple[int, np.ndarray, np.ndarray]
"""Row of the episode table, cursor rows, actions."""


def episodes(lengths: list[int], seed: int = 0) -> list[Episode]:
    random = np.random.default_rng(seed)
    return [
        (3 + 2 * index, random.integers(24, size=length), random.integers(ACTIONS, size=length))
        for index, length in enumerate(lengths)
    ]


def batches(games: list[Episode], lanes: int, window: int) -> Iterator[Batch]:
    """Each lane reads its episodes one after another; zeros pad the end."""
    total = max(sum(len(game[2]) for game in games[lane::lanes]) for lane in range(lanes))
    shape = lanes, -(-total // window) * window
    observation = {name: np.zeros((*shape, *field.shape), field.dtype) for name, field in NETHACK.items()}
    action, episode = np.zeros(shape, np.int32), np.full(shape, -1, np.int32)
    first, mask = np.zeros(shape, bool), np.zeros(shape, bool)
    for lane in range(lanes):
        start = 0
        for row, cursor, taken in games[lane::lanes]:
            part = lane, slice(start, start + len(taken))
            observation["cursor"][part] = cursor[:, None]
            observation["prev_action"][part] = np.concatenate([[NO_ACTION], taken[:-1]])
            action[part], episode[part], mask[part] = taken, row, True
            first[lane, start] = True
            start += len(taken)
    for start in range(0, shape[1], window):
        cut = np.s_[:, start : start + window]
        views = {name: array[cut] for name, array in observation.items()}
        yield Batch(views, action[cut], first[cut], mask[cut], episode[cut])


def by_hand(games: list[Episode]) -> list[tuple[np.ndarray, np.ndarray]]:
    """Per episode, its steps' losses and ranks of the expert's action, in float64 numpy."""
    action, row, age = (np.asarray(PARAMS[name], np.float64) for name in ("action", "row", "age"))
    results = []
    for _, cursor, taken in games:
        before = np.concatenate([[NO_ACTION], taken[:-1]])
        logits = action[before] + row[cursor] + age[np.minimum(np.arange(len(taken)), 7)]
        right = logits[np.arange(len(taken)), taken]
        loss = np.log(np.exp(logits).sum(-1)) - right
        results.append((loss, (logits > right[:, None]).sum(-1)))
    return results


GAMES = episodes([13, 1, 40, 22, 9, 31, 5])


@pytest.mark.parametrize(("lanes", "window"), [(1, 1), (3, 8), (7, 64)])
def test_loss_is_the_mean_over_steps_and_its_error_the_spread_over_episodes(lanes: int, window: int) -> None:
    row = dev_loss(AGENT, PARAMS, batches(GAMES, lanes, window), lanes)
    results = by_hand(GAMES)
    losses = np.concatenate([loss for loss, _ in results])
    ranks = np.concatenate([rank for _, rank in results])
    assert (row.steps, row.episodes) == (len(losses), len(GAMES))
    assert row.loss == pytest.approx(losses.mean(), rel=1e-5)
    assert row.top1 == pytest.approx((ranks == 0).mean(), abs=1e-9)
    assert row.top3 == pytest.approx((ranks < 3).mean(), abs=1e-9)
    mean, count = losses.mean(), len(results)
    spread = sum((loss.sum() - mean * len(loss)) ** 2 for loss, _ in results)
    assert row.loss_se == pytest.approx(np.sqrt(count / (count - 1) * spread) / len(losses), rel=1e-4)


def test_the_error_is_that_of_repeated_draws_of_episodes() -> None:
    """Many dev sets from the same source: their losses spread as one set's standard error says."""
    random = np.random.default_rng(7)
    rows = []
    for draw in range(60):
        games = episodes([int(length) for length in random.integers(2, 30, size=40)], seed=100 + draw)
        rows.append(dev_loss(AGENT, PARAMS, batches(games, 8, 256), 8))
    spread = np.std([row.loss for row in rows], ddof=1)
    claimed = np.mean([row.loss_se for row in rows if row.loss_se is not None])
    assert spread == pytest.approx(claimed, rel=0.3)


def test_a_single_episode_has_no_error() -> None:
    row = dev_loss(AGENT, PARAMS, batches(GAMES[:1], 1, 4), 1)
    assert row.loss_se is None
    assert row.episodes == 1


def test_equal_logits_predict_one_action_and_not_all() -> None:
    flat = jax.tree.map(jnp.zeros_like, PARAMS)
    row = dev_loss(AGENT, flat, batches(GAMES, 2, 16), 2)
    taken = np.concatenate([game[2] for game in GAMES])
    assert row.loss == pytest.approx(np.log(ACTIONS), rel=1e-6)
    assert row.top1 == pytest.approx((taken == 0).mean(), abs=1e-9)
    assert row.top3 == pytest.approx((taken < 3).mean(), abs=1e-9)


def test_a_diverged_network_predicts_nothing() -> None:
    broken = jax.tree.map(lambda leaf: leaf * jnp.nan, PARAMS)
    row = dev_loss(AGENT, broken, batches(GAMES, 2, 16), 2)
    assert np.isnan(row.loss)
    assert row.top1 == row.top3 == 0


def test_small_losses_add_up_over_many_steps() -> None:
    """A million steps of loss 1e-4 after one of 20: float32 sums would lose them."""
    sure = {name: jnp.zeros_like(leaf) for name, leaf in PARAMS.items()}
    sure["row"] = sure["row"].at[:, 0].set(float(np.log(4 / np.expm1(1e-4))))
    steps = 1 << 20
    games: list[Episode] = [(0, np.zeros(steps, int), np.zeros(steps, int))]
    row = dev_loss(AGENT, sure, _thin(games, 1 << 14), 1)
    assert row.steps == steps
    assert row.loss == pytest.approx(1e-4, rel=1e-3)


def _thin(games: list[Episode], window: int) -> Iterator[Batch]:
    """As `batches` for one lane and one game, without screens: the agent reads the cursor alone."""
    row, cursor, taken = games[0]
    for start in range(0, len(taken), window):
        part = slice(start, start + window)
        count = len(taken[part])
        observation = {
            "cursor": np.repeat(cursor[None, part, None], 2, -1).astype(np.uint8),
            "prev_action": np.zeros((1, count), np.uint8),
        }
        first = np.zeros((1, count), bool)
        first[0, 0] = start == 0
        action = taken[None, part].astype(np.int32)
        yield Batch(observation, action, first, np.ones((1, count), bool), np.full((1, count), row, np.int32))


def test_no_steps_are_an_error() -> None:
    with pytest.raises(ValueError, match="no steps"):
        dev_loss(AGENT, PARAMS, [], 1)
    (empty,) = batches([(0, np.zeros(1, int), np.zeros(1, int))], 1, 1)
    with pytest.raises(ValueError, match="no steps"):
        dev_loss(AGENT, PARAMS, [empty._replace(mask=np.zeros((1, 1), bool))], 1)
