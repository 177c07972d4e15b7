"""Recordings of games in NLE's format: a folder per game with ttyrec and xlogfile, as of `data collect nethack`."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from data.collect.nethack import PART, folder_of, keep


@dataclass(frozen=True)
class Recording:
    """The recording of a game that is under way."""

    part: Path
    """Where NLE writes it."""

    @classmethod
    def begin(cls, folder: Path, seed: int) -> Self:
        """Prepare to record a game. What is left of one that was interrupted is removed."""
        final = folder_of(folder, seed)
        recording = cls(final.with_name(final.name + PART))
        for path in (final, recording.part):
            shutil.rmtree(path, ignore_errors=True)
        return recording

    @property
    def xlogfile(self) -> Path:
        """The file with the result of the game."""
        (path,) = self.part.glob("nle.*.xlogfile")
        return path

    def keep(self) -> None:
        """Give the folder of a game that is over its final name."""
        keep(self.part, self.part.with_suffix(""))
