"""What the thin encoders see of a screen: the cells around the cursor, the message line and the status lines.

To an agent that sees no more of a screen, the host sends only this: 403 bytes a sample instead of 3,843.

Shapes: S samples, 24x80 the terminal, K the crop's side.
"""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numba import njit

from data.spec import COLUMNS, ROWS

CROP_CHARS, CROP_COLORS, LINES = "crop_chars", "crop_colors", "lines"
"""Arrays cut out on the host: uint8 [..., K, K] twice, and [..., 3, 80]: message line, then status lines."""
STATUS_ROWS = 2


def cut_out(observation: Mapping[str, np.ndarray], side: int) -> dict[str, Any]:
    """Of an observation [..., 24, 80] the crop and the lines, on the host; what `crop` and `lines` would find in it."""
    chars, colors = (observation[name] for name in ("chars", "colors"))
    leading = chars.shape[:-2]
    samples = int(np.prod(leading))
    crops = np.empty((2, samples, side, side), np.uint8)
    text = np.empty((samples, 1 + STATUS_ROWS, COLUMNS), np.uint8)
    chars, colors = (x.reshape(samples, ROWS, COLUMNS) for x in (chars, colors))
    _cut_out(chars, colors, observation["cursor"].reshape(samples, 2), crops[0], crops[1], text)
    return {
        CROP_CHARS: crops[0].reshape(*leading, side, side),
        CROP_COLORS: crops[1].reshape(*leading, side, side),
        LINES: text.reshape(*leading, 1 + STATUS_ROWS, COLUMNS),
        "prev_action": observation["prev_action"],
    }


@njit(cache=True, nogil=True)
def _cut_out(chars_Sx24x80, colors_Sx24x80, cursor_Sx2, crop_chars_SxKxK, crop_colors_SxKxK, lines_Sx3x80):
    samples, side, _ = crop_chars_SxKxK.shape
    for sample in range(samples):
        for row in range(side):
            y = np.int64(cursor_Sx2[sample, 0]) + row - side // 2
            for column in range(side):
                x = np.int64(cursor_Sx2[sample, 1]) + column - side // 2
                inside = 0 <= y < ROWS and 0 <= x < COLUMNS
                crop_chars_SxKxK[sample, row, column] = chars_Sx24x80[sample, y, x] if inside else 0
                crop_colors_SxKxK[sample, row, column] = colors_Sx24x80[sample, y, x] if inside else 0
        lines_Sx3x80[sample, 0] = chars_Sx24x80[sample, 0]
        lines_Sx3x80[sample, 1:] = chars_Sx24x80[sample, ROWS - STATUS_ROWS :]


def crop(inputs: Mapping[str, jax.Array], side: int) -> tuple[jax.Array, jax.Array]:
    """Characters and colours, uint8 [S, side, side], around the cursor; 0 beyond the terminal's edge."""
    if CROP_CHARS in inputs:
        return inputs[CROP_CHARS], inputs[CROP_COLORS]
    offsets = np.arange(side) - side // 2
    chars, colors = (pick(inputs[name], inputs["cursor"], offsets, offsets) for name in ("chars", "colors"))
    return chars, colors


def lines(inputs: Mapping[str, jax.Array]) -> tuple[jax.Array, jax.Array]:
    """The message line [..., 80] and the status lines, one after the other, [..., 160]."""
    text = inputs[LINES] if LINES in inputs else inputs["chars"]
    status = text[..., -STATUS_ROWS:, :]
    return text[..., 0, :], status.reshape(*status.shape[:-2], STATUS_ROWS * COLUMNS)


def pick(cells_SxRxC: jax.Array, cursor_Sx2: jax.Array, rows: np.ndarray, columns: np.ndarray) -> jax.Array:
    """The cells [S, rows, columns] at these offsets from the cursor; 0 beyond the terminal's edge."""

    def places(axis: int, offsets: np.ndarray, size: int) -> tuple[jax.Array, jax.Array]:
        place_SxP = cursor_Sx2[:, axis, None].astype(jnp.int32) + jnp.asarray(offsets, jnp.int32)[None]
        inside_SxP = (place_SxP >= 0) & (place_SxP < size)
        return jnp.where(inside_SxP, place_SxP, jnp.int32(0)), inside_SxP

    row_SxR, row_inside = places(0, rows, ROWS)
    column_SxC, column_inside = places(1, columns, COLUMNS)
    place = row_SxR[:, :, None] * jnp.int32(COLUMNS) + column_SxC[:, None, :]
    flat = cells_SxRxC.reshape(-1, ROWS * COLUMNS)
    found = jnp.take_along_axis(flat, place.reshape(len(flat), -1), axis=1, mode="promise_in_bounds")
    inside = row_inside[:, :, None] & column_inside[:, None, :]
    return jnp.where(inside, found.reshape(place.shape), jnp.zeros((), found.dtype))
