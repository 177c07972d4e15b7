"""Stacks of four Atari frames from recordings of stacks, single frames or screens.

Recorded stacks are kept as they are. If a recording has single frames, the first stack of an episode is three black
frames and the first frame, as in ALE's vector environment and in Stable-Baselines3.
"""

from collections.abc import Iterable, Iterator

import numpy as np

from data.importers.base import DAMAGED, Unusable
from data.spec import FRAME_COLUMNS, FRAME_ROWS, STACK, AtariSteps

_SHAPE = (FRAME_ROWS, FRAME_COLUMNS)
_SAMPLE = 64
"""Number of steps from which the axis of the frames is detected."""


def axis_of_frames(states: np.ndarray) -> int:
    """Detect the frame axis of flattened stacks [S, 28224]: 0 for [4, 84, 84], -1 for [84, 84, 4].

    Stacks usually advance by one frame per step: only along the right axis do the frames of one reappear in the next.

    Raises:
        Unusable: Neither axis fits better than the other.
    """
    some = states[:_SAMPLE]
    kept = {
        0: (some.reshape(-1, STACK, *_SHAPE)[:, 1:], some.reshape(-1, STACK, *_SHAPE)[:, :-1]),
        -1: (some.reshape(-1, *_SHAPE, STACK)[..., 1:], some.reshape(-1, *_SHAPE, STACK)[..., :-1]),
    }
    share = {
        axis: np.mean([np.array_equal(a, b) for a, b in zip(now[:-1], later[1:], strict=True)]) if len(some) > 1 else 0
        for axis, (now, later) in kept.items()
    }
    if share[0] == share[-1]:
        raise Unusable(DAMAGED, "its frames do not follow one another as stacks do")
    return max(share, key=share.__getitem__)


def stacks(states: np.ndarray, axis: int) -> np.ndarray:
    """Convert flattened stacks of integers [S, 28224], with this frame axis, to uint8 [S, 84, 84, 4].

    Raises:
        Unusable: A pixel is not in [0, 255].
    """
    if states.dtype != np.uint8:
        if states.size and not 0 <= states.min() <= states.max() <= 255:
            raise Unusable(DAMAGED, f"pixels from {states.min()} to {states.max()}")
        states = states.astype(np.uint8)
    if axis == -1:
        return states.reshape(-1, *_SHAPE, STACK)
    return np.moveaxis(states.reshape(-1, STACK, *_SHAPE), 1, -1)


def stacked(frames: np.ndarray) -> np.ndarray:
    """Convert the single frames of an episode, uint8 [S, 84, 84], to stacks [S, 84, 84, 4], black before the first."""
    padded = np.concatenate([np.zeros((STACK - 1, *_SHAPE), np.uint8), frames])
    return np.lib.stride_tricks.sliding_window_view(padded, STACK, axis=0)


def check_consecutive(pieces: Iterable[AtariSteps]) -> Iterator[AtariSteps]:
    """Yield the pieces of an episode, and check that its stacks advance by one frame per step.

    Batches hold each frame once, so that other stacks could be stored but not batched.

    Raises:
        Unusable: They do not.
    """
    seen, last = 0, None
    for piece in pieces:
        stacks = piece.frames_Sx84x84x4
        before = stacks[:-1] if last is None else np.concatenate([last, stacks[:-1]])
        after = stacks[len(stacks) - len(before) :]
        wrong = np.flatnonzero((after[..., :-1] != before[..., 1:]).any((1, 2, 3)))
        if len(wrong):
            step = seen + len(stacks) - len(before) + int(wrong[0])
            raise Unusable(DAMAGED, f"at step {step} its stacks do not advance by one frame")
        yield piece
        seen, last = seen + len(stacks), stacks[-1:]


def downsampled(screens: np.ndarray) -> np.ndarray:
    """Convert screens, uint8 [S, 210, 160, 3] or [S, 210, 160], to frames [S, 84, 84].

    Greyscale is the luma of Rec. 601; downsampling averages areas (box filter).
    """
    from PIL import Image

    return np.stack(
        [
            np.asarray(Image.fromarray(screen).convert("L").resize((FRAME_COLUMNS, FRAME_ROWS), Image.Resampling.BOX))
            for screen in screens
        ]
    )
