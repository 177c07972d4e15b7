"""What `reproduce` runs: one literal record per preset."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Preset:
    """Games to learn from, sizes to train, budgets to stop at, games to play."""

    takes: str
    """How long it takes and where that was measured."""
    expect: str
    """What comes out."""
    games: int
    """Games that the embedded expert plays."""
    dev_fraction: float
    """Share of the games held out."""
    family: str
    """Of the ladder."""
    sizes: tuple[str, ...]
    """Of the family; each is trained once, through all budgets."""
    budgets: tuple[float, ...]
    """Training FLOPs, counted exactly."""
    episodes: int
    """Games that each checkpoint plays."""
    play_steps: int
    """Steps after which one of those is stopped."""
    baseline_episodes: int
    """Games of the random policy and of the expert, on the first of the checkpoints' seeds."""
    lanes: int
    window: int
    order: Literal["lanes", "windows"] = "lanes"
    game_steps: int = 5000
    """NetHack: steps after which a game of the expert is quit."""
    lr: float = 3e-3
    """Learning rate after the warmup: constant, because each training passes every budget."""
    average: float = 0.15
    """Fraction of the run that the kept average of the parameters spans, in place of a falling learning rate."""
    warmup_samples: int = 20_000
    """Samples over which the learning rate rises."""


NETHACK = {
    "quickstart": Preset(
        takes="about 5 minutes on 2 cores, under 3 GiB",
        expect="a dev loss that falls as a power of compute, and agents that outscore the random policy",
        games=160,
        game_steps=3000,
        dev_fraction=0.2,
        family="nethack/lstm",
        sizes=("16", "32", "64", "96", "128"),
        budgets=(2e10, 5e10, 1.25e11, 3.2e11, 8e11),
        episodes=16,
        play_steps=1000,
        baseline_episodes=16,
        lanes=16,
        window=32,
    ),
    "smoke": Preset(
        takes="about a minute on 2 cores",
        expect="every stage on real games; too little compute for laws worth reading",
        games=10,
        game_steps=600,
        dev_fraction=0.4,
        family="nethack/lstm",
        sizes=("16", "32"),
        budgets=(2e9, 4e9, 8e9),
        episodes=4,
        play_steps=100,
        baseline_episodes=4,
        lanes=8,
        window=16,
    ),
}

ATARI = {
    "quickstart": Preset(
        takes="about 7 minutes on 2 cores",
        expect="a dev loss that falls as a power of compute",
        games=60,
        dev_fraction=0.15,
        family="atari/cnn",
        sizes=("3", "5", "8", "13", "23"),
        budgets=(1e11, 2e11, 4e11, 8e11, 1.6e12),
        episodes=16,
        play_steps=800,
        baseline_episodes=16,
        lanes=16,
        window=8,
        order="windows",
        lr=6e-3,
    ),
    "smoke": Preset(
        takes="about a minute on 2 cores",
        expect="every stage on real games; too little compute for laws worth reading",
        games=8,
        dev_fraction=0.4,
        family="atari/cnn",
        sizes=("1", "3"),
        budgets=(1e9, 3e9, 9e9),
        episodes=4,
        play_steps=100,
        baseline_episodes=4,
        lanes=16,
        window=8,
        order="windows",
        lr=6e-3,
    ),
}


def preset_of(game: str, name: str) -> Preset:
    """What a preset stands for in NetHack, or in an Atari game."""
    return (NETHACK if game == "nethack" else ATARI)[name]
