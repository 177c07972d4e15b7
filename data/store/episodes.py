"""Which games of a store are read: by role, score, length and depth."""

from dataclasses import dataclass
from typing import Protocol

from data.common.cli import UserError


class EpisodeFacts(Protocol):
    """What a choice of games looks at."""

    @property
    def role(self) -> str | None:
        """Character; None if not recorded."""
        ...

    @property
    def score(self) -> float:
        """Final score or return."""
        ...

    @property
    def length(self) -> int:
        """Steps."""
        ...

    @property
    def depth(self) -> int | None:
        """Deepest level reached; None if not recorded."""
        ...


@dataclass(frozen=True)
class EpisodeFilter:
    """A choice among a store's games, on both sides of its split. Limits are included."""

    roles: tuple[str, ...] = ()
    """Only these characters, by the beginning of their names: mon, or val-dwa; none means all."""
    min_score: float | None = None
    """Least final score (NetHack) or return (Atari)."""
    max_score: float | None = None
    """Greatest final score or return."""
    min_length: int | None = None
    """Least number of steps."""
    max_length: int | None = None
    """Greatest number of steps."""
    min_depth: int | None = None
    """Least depth of the deepest level reached."""
    max_depth: int | None = None
    """Greatest depth of the deepest level reached."""

    def __post_init__(self) -> None:
        """Refuse limits that no game can meet."""
        for name in ("score", "length", "depth"):
            low, high = getattr(self, f"min_{name}"), getattr(self, f"max_{name}")
            if low is not None and high is not None and low > high:
                raise UserError(f"no game has a {name} of at least {low} and at most {high}: mend min- or max-{name}")

    def keep(self, game: EpisodeFacts) -> bool:
        """Whether a game is among them; where a role or depth is not recorded, a limit on it leaves the game out."""
        limits = (
            (game.score, self.min_score, self.max_score),
            (game.length, self.min_length, self.max_length),
            (game.depth, self.min_depth, self.max_depth),
        )
        return (not self.roles or (game.role or "").startswith(self.roles)) and all(
            (low is None and high is None)
            or (value is not None and (low is None or low <= value) and (high is None or value <= high))
            for value, low, high in limits
        )

    def __str__(self) -> str:
        """The limits that are set, as options."""
        fields = {name.replace("_", "-"): value for name, value in vars(self).items() if value not in (None, ())}
        named = (f"--{name} {' '.join(value) if isinstance(value, tuple) else value}" for name, value in fields.items())
        return " ".join(named) or "all games"


ALL_EPISODES = EpisodeFilter()
