"""Prompts: the keys that the message line offers, and a head that points at them.

NetHack asks `What do you want to throw? [$a-cf or ?*]`, and an item's letter is the luck of one game: weights
for every letter learn the letters of the games they saw, and are sure of a wrong one in others. To point at
what is offered, and at what answered such a prompt before, holds for any letter.

Shapes: B lanes, T steps, S samples, C columns, A actions, D the core's width.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from agents.cost import Part, dense
from data.games.keys import KEYS
from data.spec import COLUMNS

ACTIONS = len(KEYS)
"""NLE's full action list."""

_UPPER, _LOWER = ord("A"), ord("a")
_KEYS = np.array(KEYS, np.uint32)
_IS_LETTER = np.array([chr(key).isalpha() and key < 128 for key in KEYS])

RATE = 0.5
"""Weight of the newest prompt in how often a key answered when it was offered."""

Memory = dict[str, jax.Array]
"""`offered`, bool [B, A]: the last screen offered this key. `answers`, float32 [B, A], 0 to 1: how often, of
late, the key was the answer when it was offered."""


class PromptHead(nn.Module):
    """What to add to the logits of offered keys: one score for all of them, one by how often each answered."""

    @nn.compact
    def __call__(
        self,
        y_BxTxD: jax.Array,
        message_BxTxC: jax.Array,
        prev_action_BxT: jax.Array,
        first_BxT: jax.Array,
        memory: Memory,
    ) -> tuple[jax.Array, Memory]:
        """Logits [B, T, A] to add, and the memory after the window."""
        offered_SxA = offered_keys(message_BxTxC.reshape(-1, COLUMNS))
        offered_BxTxA = offered_SxA.reshape(*first_BxT.shape, ACTIONS)
        answers_BxTxA, memory = remember(offered_BxTxA, prev_action_BxT, first_BxT, memory)
        score_BxTx2 = nn.Dense(2, dtype=y_BxTxD.dtype, name="score")(y_BxTxD)
        score_BxTxA = score_BxTx2[:, :, :1] + score_BxTx2[:, :, 1:] * answers_BxTxA.astype(y_BxTxD.dtype)
        return jnp.where(offered_BxTxA, score_BxTxA, jnp.zeros((), y_BxTxD.dtype)), memory


def prompt_cost(width: int) -> Part:
    """Two scores of the core's output; besides, every column is read and every action's memory kept."""
    return dense(width, 2) + Part(0, 43 * COLUMNS + 19 * ACTIONS)


def no_prompts(lanes: int) -> Memory:
    """The memory before any prompt."""
    return {"offered": jnp.zeros((lanes, ACTIONS), bool), "answers": jnp.zeros((lanes, ACTIONS), jnp.float32)}


def remember(
    offered_BxTxA: jax.Array, prev_action_BxT: jax.Array, first_BxT: jax.Array, memory: Memory
) -> tuple[jax.Array, Memory]:
    """How often each key answered, as known at each step, float32 [B, T, A]; and the memory after the window."""
    first_BxTx1 = first_BxT[:, :, None]
    before_BxTxA = jnp.concatenate([memory["offered"][:, None], offered_BxTxA[:, :-1]], axis=1) & ~first_BxTx1
    chosen_BxTxA = prev_action_BxT[:, :, None] == jnp.arange(ACTIONS, dtype=prev_action_BxT.dtype)[None, None]
    rate_BxTxA = jnp.float32(RATE) * before_BxTxA.astype(jnp.float32)

    def step(answers_BxA: jax.Array, inputs: tuple[jax.Array, jax.Array, jax.Array]):
        first_Bx1, rate_BxA, chosen_BxA = inputs
        answers_BxA = jnp.where(first_Bx1, jnp.float32(0), answers_BxA)
        answers_BxA += rate_BxA * (chosen_BxA.astype(jnp.float32) - answers_BxA)
        return answers_BxA, answers_BxA

    inputs = jnp.swapaxes(first_BxTx1, 0, 1), jnp.swapaxes(rate_BxTxA, 0, 1), jnp.swapaxes(chosen_BxTxA, 0, 1)
    answers_BxA, answers_TxBxA = jax.lax.scan(step, memory["answers"], inputs)
    return jnp.swapaxes(answers_TxBxA, 0, 1), {"offered": offered_BxTxA[:, -1], "answers": answers_BxA}


def offered_keys(message_SxC: jax.Array) -> jax.Array:
    """The actions [S, A], bool, whose letters the last brackets of a message line, uint8 [S, 80], offer.

    `[$a-cf or ?*]` offers a, b, c and f: "or ?*" is help, and keys that are no letters mean the same in all games.
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
    # A dash between two letters stands for all from one to the other.
    before, after = at(-1), at(1)
    spans = (line == ord("-")) & (before >> 5 == after >> 5) & (before < after)
    low, high = jnp.where(spans, before, line), jnp.where(spans, after, line)
    # One bit for each place in the alphabet: that is what the lowest five bits of a letter count.
    bits_SxC = (jnp.uint32(2) << (high & 31)) - (jnp.uint32(1) << (low & 31))

    def found(case: int) -> jax.Array:
        bits = jnp.where(inside & (low >> 5 == case), bits_SxC, jnp.uint32(0))
        return jax.lax.reduce(bits, np.uint32(0), jax.lax.bitwise_or, (1,))[:, None]

    upper_Sx1, lower_Sx1 = found(_UPPER >> 5), found(_LOWER >> 5)
    bits_SxA = jnp.where(jnp.asarray(_KEYS >> 5 == _LOWER >> 5)[None], lower_Sx1, upper_Sx1)
    return ((bits_SxA >> jnp.asarray(_KEYS & 31)[None]) & 1 == 1) & jnp.asarray(_IS_LETTER)[None]
