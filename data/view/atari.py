"""Atari steps to look at: the newest frame, with a caption below it."""

from collections.abc import Mapping

import numpy as np

from data.spec import AtariSteps, Field
from data.view.glyphs import CELL_COLUMNS, LEVELS, codes_of, glyphs, tiled

TERMINAL = None
"""Frames can't be shown as text."""
PALETTE = np.repeat(np.arange(256, dtype=np.uint8), 3).tobytes()
"""Red, green and blue of each colour number of `picture`: greys."""
_ZOOM = 4
"""Pixels of a picture for one of a frame, each way."""


def picture(step: AtariSteps, caption: str, spec: Mapping[str, Field]) -> np.ndarray:
    """One step in greys, uint8 [336 + 32, 336]."""
    frame = np.kron(step.frames_Sx84x84x4[:, :, -1], np.ones((_ZOOM, _ZOOM), np.uint8))
    columns = frame.shape[1] // CELL_COLUMNS
    codes_2xC = codes_of([caption[:columns], caption[columns:]], columns)
    written = tiled(glyphs()[codes_2xC]) * (255 // (LEVELS - 1))
    return np.vstack([frame, written.astype(np.uint8)])
