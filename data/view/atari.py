"""Renders Atari steps: the newest frame with a caption below it."""

from collections.abc import Mapping

import numpy as np

from data.spec import AtariSteps, Field
from data.view.glyphs import CELL_COLUMNS, LEVELS, codes_of, glyphs, tiled

TERMINAL = None
"""Frames cannot be shown as text."""
PALETTE = np.repeat(np.arange(256, dtype=np.uint8), 3).tobytes()
"""RGB of each palette index of `picture`: 256 shades of grey."""
_ZOOM = 4
"""Scale factor from a frame to a picture."""


def picture(step: AtariSteps, caption: str, spec: Mapping[str, Field]) -> np.ndarray:
    """Render one step as palette indices, uint8 [336 + 32, 336]."""
    frame = np.kron(step.frames_Sx84x84x4[:, :, -1], np.ones((_ZOOM, _ZOOM), np.uint8))
    columns = frame.shape[1] // CELL_COLUMNS
    codes_2xC = codes_of([caption[:columns], caption[columns:]], columns)
    written = tiled(glyphs()[codes_2xC]) * (255 // (LEVELS - 1))
    return np.vstack([frame, written.astype(np.uint8)])
