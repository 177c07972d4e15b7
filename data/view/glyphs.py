"""Characters as pixels, for pictures of text."""

from functools import cache
from pathlib import Path

import numpy as np

CELL_ROWS, CELL_COLUMNS = 16, 8
"""Pixels of a character in a picture."""
LEVELS = 16
"""Shades of each colour, from the black background up: 256 palette entries of a GIF are 16 colours."""


@cache
def glyphs() -> np.ndarray:
    """Shades below `LEVELS`, uint8 [256, 16, 8], of every Latin-1 character in Matplotlib's monospaced font."""
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
    """The character of a Latin-1 code; a space where it has no shape."""
    char = chr(code)
    return char if char.isprintable() else " "


def codes_of(lines: list[str], columns: int) -> np.ndarray:
    """Lines of text as Latin-1 codes, uint8 [lines, columns], cut or filled with spaces."""
    padded = "".join(line[:columns].ljust(columns) for line in lines)
    return np.frombuffer(padded.encode("latin-1", "replace"), np.uint8).reshape(len(lines), columns)


def tiled(cells_RxCx16x8: np.ndarray) -> np.ndarray:
    """Cells [R, C, 16, 8] side by side: [16 R, 8 C]."""
    rows, columns = cells_RxCx16x8.shape[:2]
    return cells_RxCx16x8.transpose(0, 2, 1, 3).reshape(rows * CELL_ROWS, columns * CELL_COLUMNS)
