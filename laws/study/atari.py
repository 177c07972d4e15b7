"""Studies of Atari games."""

from pathlib import Path

from data.collect.atari import collect_atari
from data.store.reader import TrajectoryStore
from laws.design.config import Shared, SweepConfig
from laws.study.preset import Preset, StageTimer
from train.config import Optimizer

PRESETS = {
    "quickstart": Preset(
        takes="about 8 minutes on 2 cores",
        expect="a dev loss that falls as a power of compute",
        games=60,
        dev_fraction=0.15,
        sweep=SweepConfig(
            family="atari/cnn",
            sizes=("3", "5", "8", "13", "23"),
            budgets=(8e10, 1.6e11, 3.2e11, 6.4e11, 1.28e12),
            min_steps=50,
            max_epochs=10,
            episodes=16,
            max_steps=800,
        ),
        shared=Shared(lanes=16, window=8, order="windows", optimizer=Optimizer(lr=6e-3, warmup_samples=20_000)),
        baseline_episodes=16,
    ),
    "smoke": Preset(
        takes="about a minute on 2 cores",
        expect="every stage on real games; too little compute for laws worth reading",
        games=8,
        dev_fraction=0.4,
        sweep=SweepConfig(
            family="atari/cnn",
            sizes=("1", "3"),
            budgets=(1e9, 3e9, 9e9),
            min_steps=1,
            max_epochs=100,
            episodes=4,
            max_steps=100,
        ),
        shared=Shared(lanes=16, window=8, order="windows", optimizer=Optimizer(lr=6e-3, warmup_samples=2_000)),
        baseline_episodes=4,
    ),
}


def expert_games(stage: StageTimer, preset: Preset, game: str, folder: Path, store: Path, workers: int) -> None:
    """Play games with the embedded expert into the store; those already there are kept."""
    with stage("play games with the embedded expert into a store"):
        collect_atari(store, game=game, episodes=preset.games, dev_fraction=preset.dev_fraction, workers=workers)


def character_of(store: TrajectoryStore) -> None:
    """Return None: these games have no characters."""
