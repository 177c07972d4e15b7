"""Studies of Gymnasium environments."""

from pathlib import Path

from data.collect.gym import collect_gym
from data.store.reader import TrajectoryStore
from laws.design.config import Shared, SweepConfig
from laws.study.preset import Preset, StageTimer
from train.config import Optimizer

PRESETS = {
    "quickstart": Preset(
        takes="about 3 minutes on 2 cores",
        expect="a dev loss that falls to the share of the expert's actions that are random",
        games=200,
        dev_fraction=0.15,
        sweep=SweepConfig(
            family="gym/mlp",
            sizes=("4", "8", "16", "32", "64"),
            budgets=(3e7, 1e8, 3e8, 1e9, 3e9),
            min_steps=50,
            max_epochs=1000,
            episodes=32,
            max_steps=500,
        ),
        shared=Shared(lanes=16, window=8, order="windows", optimizer=Optimizer(lr=3e-3, warmup_samples=20_000)),
        baseline_episodes=32,
    ),
    "smoke": Preset(
        takes="less than a minute on 2 cores",
        expect="every stage on real episodes; too little compute for laws worth reading",
        games=20,
        dev_fraction=0.3,
        sweep=SweepConfig(
            family="gym/mlp",
            sizes=("4", "8"),
            budgets=(1e6, 3e6, 1e7),
            min_steps=1,
            max_epochs=1000,
            episodes=4,
            max_steps=100,
        ),
        shared=Shared(lanes=16, window=8, order="windows", optimizer=Optimizer(lr=3e-3, warmup_samples=2_000)),
        baseline_episodes=4,
    ),
}


def expert_games(stage: StageTimer, preset: Preset, game: str, folder: Path, store: Path, workers: int) -> None:
    """Play episodes with the embedded expert into the store; those already there are kept."""
    with stage("play episodes with the embedded expert into a store"):
        collect_gym(store, env=game, episodes=preset.games, dev_fraction=preset.dev_fraction, workers=workers)


def character_of(store: TrajectoryStore) -> None:
    """Return None: these games have no characters."""
