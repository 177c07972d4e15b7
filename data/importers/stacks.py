"""Four stacked Atari frames from whatever a recording holds.

A recorded stack is kept as it is. Where a recording holds single frames, an episode's first stack is three black
frames and the first, as ALE's vector environment and Stable-Baselines3 have it.
"""

from collections.abc import Iterable, Iterator

import numpy as np

from data.importers.base import DAMAGED, Unusable
from data.spec import FRAME_COLUMNS, FRAME_ROWS, STACK, AtariSteps

_SHAPE = (FRAME_ROWS, FRAME_COLUMNS)
_TELLING = 64
"""Steps that tell how frames lie in a stack."""


def axis_of_frames(states: np.ndarray) -> int:
    """The axis of flattened stacks [S, 28224] that counts frames: 0 in [4, 84, 84], -1 in [84, 84, 4].

    A stack moves on by a frame a step as a rule: only along the right axis do its frames reappear in the next.
    """
    some = states[:_TELLING]
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
    """Flattened stacks [S, 28224] of integers as uint8 [S, 84, 84, 4]."""
    if states.dtype != np.uint8:
        if states.size and not 0 <= states.min() <= states.max() <= 255:
            raise Unusable(DAMAGED, f"pixels from {states.min()} to {states.max()}")
        states = states.astype(np.uint8)
    if axis == -1:
        return states.reshape(-1, *_SHAPE, STACK)
    return np.moveaxis(states.reshape(-1, STACK, *_SHAPE), 1, -1)


def stacked(frames: np.ndarray) -> np.ndarray:
    """An episode's single frames uint8 [S, 84, 84] as stacks [S, 84, 84, 4]; black before the first."""
    padded = np.concatenate([np.zeros((STACK - 1, *_SHAPE), np.uint8), frames])
    return np.lib.stride_tricks.sliding_window_view(padded, STACK, axis=0)


def moving(pieces: Iterable[AtariSteps]) -> Iterator[AtariSteps]:
    """The pieces of an episode, refused where its stacks do not move on by a frame a step.

    A batch holds each frame once, so that such an episode could be stored but not learned from.
    """
    seen, last = 0, None
    for piece in pieces:
        stacks = piece.frames_Sx84x84x4
        before = stacks[:-1] if last is None else np.concatenate([last, stacks[:-1]])
        after = stacks[len(stacks) - len(before) :]
        wrong = np.flatnonzero((after[..., :-1] != before[..., 1:]).any((1, 2, 3)))
        if len(wrong):
            step = seen + len(stacks) - len(before) + int(wrong[0])
            raise Unusable(DAMAGED, f"at step {step} its stacks do not move on by a frame")
        yield piece
        seen, last = seen + len(stacks), stacks[-1:]


def small_and_grey(screens: np.ndarray) -> np.ndarray:
    """Screens uint8 [S, 210, 160, 3], or grey ones [S, 210, 160], as frames [S, 84, 84].

    Grey is the luma of Rec. 601; a small pixel is the mean of what it covers.
    """
    from PIL import Image

    return np.stack(
        [
            np.asarray(Image.fromarray(screen).convert("L").resize((FRAME_COLUMNS, FRAME_ROWS), Image.Resampling.BOX))
            for screen in screens
        ]
    )
