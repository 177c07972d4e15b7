"""Renders characters to pixels."""

from functools import cache
from pathlib import Path

import numpy as np

CELL_ROWS, CELL_COLUMNS = 16, 8
"""Size of a character, in pixels."""
LEVELS = 16
"""Shades of each colour, the first of them black: the 256 palette entries of a GIF allow 16 shades of 16 colours."""


@cache
def glyphs() -> np.ndarray:
    """Every Latin-1 character in Matplotlib's monospaced font, as shades below `LEVELS`, uint8 [256, 16, 8]."""
    import matplotlib
    from PIL import Image, ImageDraw, ImageFont

    font = ImageFont.truetype(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSansMono.ttf", 13)
    shades = np.zeros((256, CELL_ROWS, CELL_COLUMNS), np.uint8)
    for code in range(256):
        image = Image.new("L", (CELL_COLUMNS, CELL_ROWS))
        ImageDraw.Draw(image).text((0, 0), printable(code), fill=255, font=font)
        shades[code] = np.asarray(image) // (256 // LEVELS)
    return shades


def printable(code: int) -> str:
    """The character of a Latin-1 code; a space if it is not printable."""
    char = chr(code)
    return char if char.isprintable() else " "


def codes_of(lines: list[str], columns: int) -> np.ndarray:
    """Lines of text as Latin-1 codes, uint8 [lines, columns], truncated or padded with spaces."""
    padded = "".join(line[:columns].ljust(columns) for line in lines)
    return np.frombuffer(padded.encode("latin-1", "replace"), np.uint8).reshape(len(lines), columns)


def tiled(cells_RxCx16x8: np.ndarray) -> np.ndarray:
    """Arrange cells [R, C, 16, 8] in one image [16 R, 8 C]."""
    rows, columns = cells_RxCx16x8.shape[:2]
    return cells_RxCx16x8.transpose(0, 2, 1, 3).reshape(rows * CELL_ROWS, columns * CELL_COLUMNS)
