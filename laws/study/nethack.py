"""Studies of NetHack."""

from pathlib import Path

from data.collect.nethack import collect
from data.importers.nld import import_nld
from data.store.reader import TrajectoryStore
from laws.design.config import Shared, SweepConfig
from laws.study.preset import Preset, StageTimer
from train.config import Optimizer

PRESETS = {
    "quickstart": Preset(
        takes="about 10 minutes on 2 cores, under 3 GiB",
        expect="a dev loss that falls as a power of compute, and agents that outscore the random policy",
        games=240,
        game_steps=3000,
        dev_fraction=0.2,
        sweep=SweepConfig(
            family="nethack/lstm",
            budgets=(1e10, 2e10, 4e10, 8e10, 1.6e11),
            # Where the optimum of an earlier run was, with other networks, rates and budgets, on 160 of the games.
            prior="16",
            spread=4.0,
            seeds=3,
            min_steps=100,
            episodes=8,
            max_steps=1000,
        ),
        shared=Shared(lanes=8, window=32, optimizer=Optimizer(warmup_samples=20_000)),
        baseline_episodes=16,
    ),
    "smoke": Preset(
        takes="about a minute on 2 cores",
        expect="every stage on real games; too little compute for laws worth reading",
        games=10,
        game_steps=600,
        dev_fraction=0.4,
        sweep=SweepConfig(
            family="nethack/lstm",
            sizes=("16", "32"),
            budgets=(2e9, 4e9, 8e9),
            min_steps=1,
            max_epochs=100,
            episodes=4,
            max_steps=100,
        ),
        shared=Shared(lanes=8, window=16, optimizer=Optimizer(warmup_samples=2_000)),
        baseline_episodes=4,
    ),
}


def expert_games(stage: StageTimer, preset: Preset, game: str, folder: Path, store: Path, workers: int) -> None:
    """Record games of the embedded expert and import them into the store; finished ones are kept."""
    with stage("play games with the embedded expert"):
        collect(folder / "games", episodes=preset.games, max_steps=preset.game_steps, workers=workers)
    with stage("import them into a store"):
        import_nld(folder / "games", store, expert="embedded", dev_fraction=preset.dev_fraction, workers=workers)


def character_of(store: TrajectoryStore) -> str:
    """Return the character that all games of the store played, or `@` (random) if there are several."""
    roles = {episode.role or "@" for episode in store.episodes}
    return roles.pop() if len(roles) == 1 else "@"
