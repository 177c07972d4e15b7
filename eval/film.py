"""Moving pictures of games."""

import io
from collections import deque
from collections.abc import Iterator
from typing import Any

from data.games import registry
from data.view.play import write_gif

EVEN, LAST = 60, 40
"""Most frames that are spread over a game, and consecutive frames at its end."""
SPEED = 8.0
"""Frames per second."""


class Film:
    """Frames of a game to show, given one after the other: evenly spaced ones, and the last."""

    def __init__(self) -> None:
        self._even: list[tuple[int, Any]] = []
        self._last: deque[tuple[int, Any]] = deque(maxlen=LAST)
        self._stride, self.length = 1, 0

    def add(self, step: Any) -> None:
        """Add the next step of the game: of the game's own steps type, without the leading axis."""
        if self.length % self._stride == 0:
            self._even.append((self.length, step))
        if len(self._even) > EVEN:
            self._even, self._stride = self._even[::2], 2 * self._stride
        self._last.append((self.length, step))
        self.length += 1

    @property
    def frames(self) -> Iterator[tuple[int, Any]]:
        """Timesteps and steps to show."""
        end = self._last[0][0] if self._last else 0
        yield from ((number, step) for number, step in self._even if number < end)
        yield from self._last


def gif(film: Film, game: str, actions: int | None, title: str) -> bytes:
    """A film as a GIF.

    Args:
        film: The film, of at least one step.
        game: Name of the game.
        actions: Length of the action table; None: the usual one.
        title: What to write below each frame, beside the timestep and the action.
    """
    found = registry.find(game)
    view, content = registry.module("data.view", found.family), found.content(actions)
    names = found.action_names(content.actions)

    def caption(number: int, step: Any) -> str:
        return f"{title}   step {number + 1:,} of {film.length:,}   {names[int(step.action_S)]}"

    pictures = (view.picture(step, caption(number, step), content.codec.observation) for number, step in film.frames)
    file = io.BytesIO()
    write_gif(file, pictures, view.PALETTE, SPEED)
    return file.getvalue()
