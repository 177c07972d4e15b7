"""Prompts: the keys that the message line offers, and a head that scores them.

NetHack asks `What do you want to throw? [$a-cf or ?*]`, and which letter an item has differs from game to game. A
linear head learns the letters of its training games and is sure of a wrong one in others. This head is the same for
every letter: it scores what is offered, and what answered such prompts before.

Shapes: B lanes, T steps, S samples, C columns, A actions, D the core's width.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from agents.cost import Part, dense, of_data
from agents.layers import Dense
from data.games.keys import KEYS
from data.spec import COLUMNS

ACTIONS = len(KEYS)
"""NLE's full action list."""

_UPPER, _LOWER = ord("A"), ord("a")
_KEYS = np.array(KEYS, np.uint32)
_IS_LETTER = np.array([chr(key).isalpha() and key < 128 for key in KEYS])

RATE = 0.5
"""Decay rate of the moving average `answers`: the weight of the newest prompt."""

Memory = dict[str, jax.Array]
"""`offered`, bool [B, A]: whether the last screen offered the key. `answers`, float32 [B, A]: moving average, over the
prompts that offered the key, of whether it was the answer."""


class PromptHead(nn.Module):
    """Adds to the logits of offered keys one score that they share, and another times the key's `answers`."""

    @nn.compact
    def __call__(
        self,
        y_BxTxD: jax.Array,
        message_BxTxC: jax.Array,
        prev_action_BxT: jax.Array,
        first_BxT: jax.Array,
        memory: Memory,
    ) -> tuple[jax.Array, Memory]:
        """Logits [B, T, A] to add, float32, and the memory after the window."""
        offered_SxA = offered_keys(message_BxTxC.reshape(-1, COLUMNS))
        offered_BxTxA = offered_SxA.reshape(*first_BxT.shape, ACTIONS)
        answers_BxTxA, memory = remember(offered_BxTxA, prev_action_BxT, first_BxT, memory)
        score_BxTx2 = Dense(2, y_BxTxD.dtype, out=jnp.float32, name="score")(y_BxTxD)
        score_BxTxA = score_BxTx2[:, :, :1] + score_BxTx2[:, :, 1:] * answers_BxTxA
        return jnp.where(offered_BxTxA, score_BxTxA, jnp.float32(0)), memory


def prompt_cost(width: int) -> Part:
    """A linear layer with two outputs; besides, operations for every column of the line and every action's memory."""
    return dense(width, 2) + of_data(43 * COLUMNS + 16 * ACTIONS) + Part(0, 3 * ACTIONS, 4 * ACTIONS)


def no_prompts(lanes: int) -> Memory:
    """The memory at the start of an episode."""
    return {"offered": jnp.zeros((lanes, ACTIONS), bool), "answers": jnp.zeros((lanes, ACTIONS), jnp.float32)}


def remember(
    offered_BxTxA: jax.Array, prev_action_BxT: jax.Array, first_BxT: jax.Array, memory: Memory
) -> tuple[jax.Array, Memory]:
    """`answers` at each step, float32 [B, T, A], and the memory after the window."""
    first_BxTx1 = first_BxT[:, :, None]
    before_BxTxA = jnp.concatenate([memory["offered"][:, None], offered_BxTxA[:, :-1]], axis=1) & ~first_BxTx1
    chosen_BxTxA = prev_action_BxT[:, :, None] == jnp.arange(ACTIONS, dtype=prev_action_BxT.dtype)[None, None]
    rate_BxTxA = jnp.float32(RATE) * before_BxTxA.astype(jnp.float32)
    # answers = kept * the answers before + added: a linear recurrence, computed for all steps at once.
    kept_BxTxA = jnp.where(first_BxTx1, jnp.float32(0), jnp.float32(1) - rate_BxTxA)
    added_BxTxA = rate_BxTxA * chosen_BxTxA.astype(jnp.float32)
    added_BxTxA = added_BxTxA.at[:, 0].add(kept_BxTxA[:, 0] * memory["answers"])

    def compose(one: tuple[jax.Array, jax.Array], two: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        return one[0] * two[0], two[0] * one[1] + two[1]

    _, answers_BxTxA = jax.lax.associative_scan(compose, (kept_BxTxA, added_BxTxA), axis=1)
    return answers_BxTxA, {"offered": offered_BxTxA[:, -1], "answers": answers_BxTxA[:, -1]}


def offered_keys(message_SxC: jax.Array) -> jax.Array:
    """Which actions [S, A], bool, are letters that the last brackets of a message line, uint8 [S, 80], offer.

    `[$a-cf or ?*]` offers a, b, c and f. Keys that aren't letters mean the same in all games and are left out.
    """
    line = message_SxC.astype(jnp.uint32)
    column = jnp.arange(COLUMNS, dtype=jnp.int32)[None]

    def at(columns: int) -> jax.Array:
        return jnp.roll(line, -columns, axis=1)

    start = jnp.where(line == ord("["), column, jnp.int32(-1)).max(axis=1, keepdims=True)
    help_begins = (line == ord(" ")) & (at(1) == ord("o")) & (at(2) == ord("r")) & (at(3) == ord(" "))
    ends = (column > start) & ((line == ord("]")) | help_begins)
    stop = jnp.where(ends, column, jnp.int32(COLUMNS)).min(axis=1, keepdims=True)
    inside = (start >= 0) & (column > start) & (column < stop)
    # A dash between two letters is a range.
    before, after = at(-1), at(1)
    spans = (line == ord("-")) & (before >> 5 == after >> 5) & (before < after)
    low, high = jnp.where(spans, before, line), jnp.where(spans, after, line)
    # One bit per letter: the lowest five bits of a letter are its index in the alphabet.
    bits_SxC = (jnp.uint32(2) << (high & 31)) - (jnp.uint32(1) << (low & 31))

    def found(case: int) -> jax.Array:
        bits = jnp.where(inside & (low >> 5 == case), bits_SxC, jnp.uint32(0))
        return jax.lax.reduce(bits, np.uint32(0), jax.lax.bitwise_or, (1,))[:, None]

    upper_Sx1, lower_Sx1 = found(_UPPER >> 5), found(_LOWER >> 5)
    bits_SxA = jnp.where(jnp.asarray(_KEYS >> 5 == _LOWER >> 5)[None], lower_Sx1, upper_Sx1)
    return ((bits_SxA >> jnp.asarray(_KEYS & 31)[None]) & 1 == 1) & jnp.asarray(_IS_LETTER)[None]
