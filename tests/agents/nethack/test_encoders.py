"""What NetHack encoders see around the cursor."""

import jax.numpy as jnp
import numpy as np
import pytest

from agents.nethack.sight import BLOCK, KINDS, wide_view


def test_the_wide_view_counts_kinds_in_blocks() -> None:
    chars, colors = np.full((1, 24, 80), ord(" "), np.uint8), np.full((1, 24, 80), 7, np.uint8)
    chars[0, 12, 40] = ord("@")
    chars[0, 13, 41] = ord(".")
    chars[0, 11:14, 43] = ord("|")
    colors[0, 12, 43] = 3
    chars[0, 0, 0] = ord("<")
    cursor = np.array([[12, 40]], np.uint8)
    view = wide_view({name: jnp.asarray(x) for name, x in (("chars", chars), ("colors", colors), ("cursor", cursor))})
    counts = np.asarray(view).reshape(9, len(KINDS), 27) * BLOCK
    wanted = {(4, 13): {None: 1, ".": 1}, (4, 14): {"|-": 2, "+": 1}, (0, 0): {"<>": 1}}
    for (row, column), kinds in wanted.items():
        for place, kind in enumerate(KINDS):
            assert counts[row, place, column] == pytest.approx(kinds.get(kind, 0)), (row, column, kind)
    assert counts.sum() == pytest.approx(6)
