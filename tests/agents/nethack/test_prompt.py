"""Prompts: the letters that the message line offers, and which of them answered before."""

import re
import string

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.nethack.prompt import ACTIONS, RATE, PromptHead, no_prompts, offered_keys, remember
from data.games.keys import KEYS, action_of_key
from data.spec import COLUMNS, NO_ACTION

ACTION = action_of_key()
LETTERS = st.text(string.ascii_letters, min_size=1, max_size=52)


def line(text: str) -> np.ndarray:
    return np.frombuffer(text.encode().ljust(COLUMNS)[:COLUMNS], np.uint8)


def offered(text: str) -> str:
    (found,) = np.asarray(jax.jit(offered_keys)(line(text)[None]))
    return "".join(sorted(chr(KEYS[action]) for action in np.flatnonzero(found)))


def compact(letters: set[str]) -> str:
    """As NetHack writes them: three and more in a row as a range."""
    text = "".join(c for c in string.ascii_letters if c in letters)
    for run in sorted(re.findall(r"(?=(\w{3,}))", text), key=len, reverse=True):
        for size in range(len(run), 2, -1):
            if run[:size] in string.ascii_lowercase or run[:size] in string.ascii_uppercase:
                text = text.replace(run[:size], f"{run[0]}-{run[size - 1]}")
    return text


@pytest.mark.parametrize(
    ("text", "letters"),
    [
        ("What do you want to throw? [$a-cf or ?*]", "abcf"),
        ("What do you want to use or apply? [fjqryACFGIRV or ?*]", "ACFGIRVfjqry"),
        ("What do you want to write with? [- cfhm-puX-Z or ?*]", "XYZcfhmnopu"),
        ("What do you want to write with? [- or ?*]", ""),
        ("There is a newt corpse here; eat it? [ynq] (n)", "nqy"),
        ("You see here a chest (no brackets).", ""),
        ("What do you want to eat? [", ""),
        ("", ""),
    ],
)
def test_offered_letters_of_prompts(text: str, letters: str) -> None:
    assert offered(text) == letters


@given(LETTERS)
def test_every_set_of_letters_is_read_back(letters: str) -> None:
    chosen = set(letters)
    assert offered(f"What? [{compact(chosen)} or ?*]"[:COLUMNS]) == "".join(sorted(chosen))


@given(st.binary(min_size=COLUMNS, max_size=COLUMNS))
def test_no_line_offers_what_is_no_letter_or_what_another_action_sends(text: bytes) -> None:
    (found,) = np.asarray(jax.jit(offered_keys)(np.frombuffer(text, np.uint8)[None]))
    for action in np.flatnonzero(found):
        assert chr(KEYS[action]) in string.ascii_letters
        assert ACTION[KEYS[action]] == action


def played(*turns: tuple[str, str]) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Messages and the key pressed at each, as offered [1, T, A], previous actions and first [1, T]."""
    found = jax.jit(offered_keys)(np.stack([line(text) for text, _ in turns]))
    keys = [NO_ACTION, *(int(ACTION[ord(key)]) for _, key in turns[:-1])]
    first = np.arange(len(turns))[None] == 0
    return found[None], jnp.asarray([keys], jnp.uint8), jnp.asarray(first)


def test_what_answered_is_remembered_per_letter_until_it_answers_no_more() -> None:
    apply, throw = "Apply? [Hkt or ?*]", "Throw? [kp or ?*]"
    turns = [(apply, "H"), ("", "s"), (throw, "p"), ("", "H"), (apply, "H"), (apply, "k"), (apply, "k")]
    answers, _ = remember(*played(*turns), no_prompts(1))
    h, k, p, s = (np.asarray(answers[0, :, ACTION[ord(key)]]) for key in "Hkps")
    # The key pressed with no prompt open (H, fourth) is no answer, and a letter not offered keeps its record.
    np.testing.assert_allclose(h, [0, RATE, RATE, RATE, RATE, RATE * 1.5, RATE * 0.75])
    np.testing.assert_allclose(p, [0, 0, 0, RATE, RATE, RATE, RATE])
    np.testing.assert_allclose(k, [0, 0, 0, 0, 0, 0, RATE])
    assert not s.any()


def test_a_start_forgets_what_answered_and_what_was_offered() -> None:
    found, keys, first = played(("Apply? [Hk]", "H"), ("Apply? [Hk]", "H"), ("Apply? [Hk]", "H"))
    answers, memory = remember(found, keys, first.at[0, 2].set(True), no_prompts(1))
    assert answers[0, 1].any()
    assert not answers[0, 2].any()
    assert np.array_equal(memory["offered"], found[:, 2])


def test_the_head_points_at_the_offered_letter_that_answered_before_and_at_nothing_else() -> None:
    head = PromptHead()
    turns = [("Apply? [ZHk or ?*]", "H"), ("Apply? [ZHk or ?*]", "H"), ("It is quiet.", "s")]
    _, keys, first = played(*turns)
    message = jnp.asarray(np.stack([line(text) for text, _ in turns])[None])
    params = {"score": {"kernel": jnp.zeros((4, 2)), "bias": jnp.asarray([3.0, 4.0])}}
    logits, _ = head.apply({"params": params}, jnp.zeros((1, 3, 4)), message, keys, first, no_prompts(1))
    assert {chr(KEYS[a]): float(logits[0, 1, a]) for a in np.flatnonzero(logits[0, 1])} == {
        "Z": 3.0, "k": 3.0, "H": 3.0 + 4.0 * RATE,
    }  # fmt: skip
    assert logits.shape == (1, 3, ACTIONS)
    assert not logits[0, 2].any()
