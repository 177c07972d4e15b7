"""Renders NetHack steps: the terminal, as text and as pixels."""

from collections.abc import Mapping

import numpy as np

from data.spec import COLUMNS, ROWS, Field, NetHackSteps
from data.view.glyphs import LEVELS, codes_of, glyphs, printable, tiled

TERMINAL = ROWS + 1, COLUMNS
"""Size of the terminal that `text` needs: lines, columns."""

_COLORS = (
    (170, 170, 170), (170, 0, 0), (0, 170, 0), (170, 85, 0), (85, 85, 255), (170, 0, 170), (0, 170, 170),
    (200, 200, 200), (120, 120, 120), (255, 85, 85), (85, 255, 85), (255, 255, 85), (128, 128, 255), (255, 85, 255),
    (85, 255, 255), (255, 255, 255),
)  # fmt: skip
"""RGB of NLE's tty colours; 0 is the default colour."""
_WHITE = 15
PALETTE = (
    (np.array(_COLORS, np.float64)[:, None] * (np.arange(LEVELS) / (LEVELS - 1))[None, :, None])
    .round()
    .astype(np.uint8)
    .tobytes()
)
"""RGB of each palette index of `picture`: `LEVELS` shades of each colour."""


def text(step: NetHackSteps, caption: str, spec: Mapping[str, Field]) -> str:
    """Render one step as 25 lines with ANSI colours; the cell of the cursor is inverted."""
    lines = []
    for row in range(ROWS):
        line, shown = [], -1
        for column in range(COLUMNS):
            color = int(step.colors_Sx24x80[row, column]) % len(_COLORS)
            char = printable(int(step.chars_Sx24x80[row, column]))
            if color != shown:
                line.append("\x1b[0m" if color == 0 else f"\x1b[0;{30 + color if color < 8 else 82 + color}m")
                shown = color
            if (row, column) == tuple(step.cursor_Sx2):
                char = f"\x1b[7m{char}\x1b[27m"
            line.append(char)
        lines.append("".join(line) + "\x1b[0m")
    return "\r\n".join([*lines, f"{caption}\x1b[K"])


def picture(step: NetHackSteps, caption: str, spec: Mapping[str, Field]) -> np.ndarray:
    """Render one step as palette indices, uint8 [25 * 16, 80 * 8]."""
    chars_25x80 = np.vstack([step.chars_Sx24x80, codes_of([caption], COLUMNS)])
    white = np.full(COLUMNS, _WHITE, np.uint8)
    colors_25x80 = np.vstack([step.colors_Sx24x80, white]) % len(_COLORS)
    shade = glyphs()[chars_25x80]
    row, column = (int(place) for place in step.cursor_Sx2)
    if row < ROWS and column < COLUMNS:
        shade[row, column] = LEVELS - 1 - shade[row, column]
    return tiled(colors_25x80[:, :, None, None] * np.uint8(LEVELS) + shade)
