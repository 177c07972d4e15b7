"""Studies of Atari games."""

from pathlib import Path

from data.collect.atari import collect_atari
from data.store.reader import TrajectoryStore
from laws.design.config import Shared, SweepConfig
from laws.study.preset import Preset, StageTimer
from train.config import Optimizer

PRESETS = {
    "quickstart": Preset(
        takes="about 9 minutes on 2 cores",
        expect="a dev loss that falls as a power of compute",
        games=100,
        dev_fraction=0.1,
        # Of earlier runs of the sizes 1 to 23 the best had 25 to 29 samples per parameter.
        sweep=SweepConfig(
            family="atari/cnn",
            budgets=(5e10, 1e11, 2e11, 4e11, 8e11),
            prior="25",
            spread=2.5,
            seeds=2,
            min_steps=100,
            episodes=8,
            max_steps=500,
        ),
        shared=Shared(lanes=16, window=8, order="windows", optimizer=Optimizer(warmup_samples=20_000)),
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
