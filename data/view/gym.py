"""Gymnasium timesteps to look at: images as they are, other fields as numbers."""

from collections.abc import Mapping

import numpy as np

from data.codec.generic import GenericSteps, unpacked
from data.spec import Field
from data.view.glyphs import CELL_COLUMNS, LEVELS, codes_of, glyphs, tiled

LINES, COLUMNS = 12, 80
TERMINAL = LINES + 1, COLUMNS
"""Lines and columns that `text` needs."""
PALETTE = np.repeat(np.arange(256, dtype=np.uint8), 3).tobytes()
"""Red, green and blue of each colour number of `picture`: greys."""
_WIDTH = 320
"""Least width of a picture of an image, in pixels."""


def text(step: GenericSteps, caption: str, spec: Mapping[str, Field]) -> str:
    """Every field in numbers, as many as there is room for, and the caption."""
    return "\r\n".join(f"{line}\x1b[K" for line in _lines(step, caption, spec))


def picture(step: GenericSteps, caption: str, spec: Mapping[str, Field]) -> np.ndarray:
    """The first image among the fields, with the caption below it; without one, what `text` shows; uint8 greys."""
    for array in _fields(step, spec).values():
        if array.dtype == np.uint8 and array.ndim in (2, 3) and min(array.shape[:2]) > 1:
            grey = array if array.ndim == 2 else array.mean(axis=-1).astype(np.uint8)
            zoom = max(1, _WIDTH // grey.shape[1])
            image = np.kron(grey, np.ones((zoom, zoom), np.uint8))
            width = -(-image.shape[1] // CELL_COLUMNS)
            image = np.pad(image, ((0, 0), (0, width * CELL_COLUMNS - image.shape[1])))
            return np.vstack([image, _written([caption[:width], caption[width:]], width)])
    return _written(_lines(step, caption, spec), COLUMNS)


def _written(lines: list[str], columns: int) -> np.ndarray:
    return (tiled(glyphs()[codes_of(lines, columns)]) * (255 // (LEVELS - 1))).astype(np.uint8)


def _fields(step: GenericSteps, spec: Mapping[str, Field]) -> dict[str, np.ndarray]:
    return {name: array[0] for name, array in unpacked(spec, step.bytes_SxW[None]).items()}


def _lines(step: GenericSteps, caption: str, spec: Mapping[str, Field]) -> list[str]:
    lines: list[str] = []
    for name, array in _fields(step, spec).items():
        numbers = " ".join(f"{value:.4g}" for value in array.reshape(-1)[: LINES * COLUMNS])
        words = f"{name}: {numbers}"
        lines += [words[at : at + COLUMNS] for at in range(0, len(words), COLUMNS)]
    lines = lines[:LINES]
    return [*lines, *[""] * (LINES - len(lines)), caption[:COLUMNS]]
