"""Recordings for tests, written byte by byte or played by a short-lived NLE with its own recorder."""

import bz2
import os
import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from nle import nethack
from nle.env import NLE

KEYS = [int(action) for action in nethack.ACTIONS]


def frame(channel: int, payload: bytes) -> bytes:
    return struct.pack("<iiiB", 1, 2, len(payload), channel) + payload


def ttyrec3(keys: bytes, text: str = "screen") -> bytes:
    """A recording, uncompressed: a screen and a score before each key, and after the last."""
    parts = []
    for number, key in enumerate(keys):
        parts.append(frame(0, f"\x1b[{1 + number % 20};5H{text} {number}".encode()))
        parts.append(frame(2, struct.pack("<i", 10 * number)) + frame(1, bytes([key])))
    return b"".join(parts) + frame(0, b"\x1b[2Jthe end") + frame(2, struct.pack("<i", 0))


def ttyrec4(keys: bytes, labels: Sequence[int]) -> bytes:
    """The same with a label after each key, as HiHack has it."""
    steps, at = ttyrec3(keys), 0
    for key, label in zip(keys, labels, strict=False):
        press = frame(1, bytes([key]))
        at = steps.index(press, at) + len(press)
        strategy = frame(3, struct.pack("<i", label))
        steps = steps[:at] + strategy + steps[at:]
        at += len(strategy)
    return steps


def row(name: str, points: int = 77) -> str:
    """An xlogfile line as NLE writes it."""
    return (
        f"version=3.6.7\tpoints={points}\tdeathdnum=0\tdeathlev=2\tmaxlvl=3\thp=0\tmaxhp=20\tdeaths=1\t"
        "role=Mon\trace=Hum\tgender=Mal\talign=Neu\tname=Agent\tdeath=killed by a newt\t"
        f"while=praying\tturns=123\tgender0=Mal\talign0=Neu\tflags=0x4\tttyrecname={name}\n"
    )


def write(folder: Path, names: dict[str, bytes], points: int = 77) -> Path:
    """A folder of recordings, each with a row in the xlogfile."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in names.items():
        (folder / name).write_bytes(bz2.compress(content))
    (folder / "nle.1.xlogfile").write_text("".join(row(name, points) for name in names))
    return folder


def play(folder: Path, games: int, steps: int) -> Path:
    """A folder of games played at random and recorded by NLE; rows are added for those that don't end."""
    env = NLE(
        savedir=str(folder),
        save_ttyrec_every=1,
        character="mon-hum-neu-mal",
        actions=nethack.ACTIONS,
        allow_all_modes=True,
    )
    rng = np.random.default_rng(0)
    for game in range(games):
        env.seed(game, game, reseed=False)
        env.reset()
        for key in rng.choice(list(b"hjklyubnsi,\x1b  "), steps):
            # NetHack looks at the moon, so the same seeds and keys can kill on another day.
            if env.step(KEYS.index(int(key)))[2]:
                break
    env.close()
    names = sorted(path.name for path in folder.glob("*.bz2"))
    (folder / f"nle.{os.getpid()}.xlogfile").write_text("".join(map(row, names)))
    return folder
