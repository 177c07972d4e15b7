"""Configuration of an evaluation: frozen dataclasses whose field docstrings are the command line help."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tyro.conf import Positional

from data.common.cli import UserError
from data.common.machine import cores
from data.games import registry
from eval.play.options import PlayOptions
from eval.play.protocols import resolved
from eval.play.sampling import Sampling


@dataclass(frozen=True, kw_only=True)
class GamesConfig:
    """Configuration of evaluation games."""

    episodes: int = 100
    """Number of games; for each checkpoint of a run, where 0 measures the dev loss only."""
    seed: int = 0
    """Seed of the first game, later games use the next integers; also seeds the sampling of actions."""
    character: str | None = None
    """NetHack: role, race, alignment and gender as NLE spells them, default mon-hum-neu-mal; @ is random."""
    max_steps: int | None = None
    """Truncate games after this many timesteps; None sets no limit."""
    lanes: int | None = None
    """Number of games played in parallel; by default as many as keep the workers busy. Does not change the results;
    neither does `workers`."""
    workers: int = cores()
    """Number of processes that step NetHack's games, or of threads that start other games."""

    fewest = 2
    """Fewest games, for an interval."""
    protocol = temperature = top_k = top_p = None

    def __post_init__(self) -> None:
        """Validate the fields.

        Raises:
            UserError: A field is out of range; the message names it.
        """
        if self.episodes < self.fewest or self.episodes == 1:
            fewest = "2 or more" if self.fewest else "0, or 2 and more"
            raise UserError(f"episodes must be {fewest} for an interval, not {self.episodes}")
        try:
            self.sampling(self.temperature)
        except ValueError as error:
            raise UserError(str(error)) from None
        limits = {"lanes": self.lanes, "workers": self.workers, "max-steps": self.max_steps}
        for name, value in limits.items():
            if value is not None and value < 1:
                raise UserError(f"{name} must be at least 1, not {value}")
        if not 0 <= self.seed < 2**32 - self.episodes:
            raise UserError(f"seed must lie between 0 and 2^32 - episodes, not {self.seed}")

    @property
    def seeds(self) -> range:
        """Seeds of the games."""
        return range(self.seed, self.seed + self.episodes)

    def sampling(self, temperature: float | None) -> Sampling:
        """How actions are chosen."""
        return Sampling(1.0 if temperature is None else temperature, self.top_k, self.top_p)

    def options(self, game: str) -> PlayOptions:
        """The options with which a game is played.

        Raises:
            UserError: There is no such protocol of the game.
        """
        given = {"character": self.character, "max_steps": self.max_steps, "temperature": self.temperature}
        among = {"top_k": self.top_k, "top_p": self.top_p}
        values, name = (given, "")
        if self.protocol is not None:
            values, name = resolved(registry.find(game).family, self.protocol, given | among)
        sampling = self.sampling(values["temperature"])
        character, steps = values.get("character"), values.get("max_steps")
        setting = values.get("setting", "paper")
        return PlayOptions(self.seed, sampling, steps, character, setting, self.lanes, self.workers, name)


@dataclass(frozen=True)
class EvalConfig(GamesConfig):
    """Configuration of the evaluation of the checkpoints of runs."""

    runs: Positional[tuple[Path, ...]]
    """Folders of runs."""
    budgets: tuple[float, ...] = ()
    """Budgets (FLOPs) of the checkpoints to evaluate; empty selects all."""
    protocol: str | None = None
    """A protocol by its name: paper, paper-roles, nle-challenge or greedy; of Atari paper, sb3, machado or greedy.
    Options override it, and its name in the rows says so."""
    temperature: float | None = None
    """Softmax temperature at which actions are sampled, default 1; 0 selects the most probable action."""
    top_k: int | None = None
    """Sample among so many of the most probable actions."""
    top_p: float | None = None
    """Nucleus sampling: sample among the fewest most probable actions whose probabilities sum to at least this."""
    compute: Literal["float32", "bfloat16"] | None = None
    """Dtype of the computation; None is the dtype that the run was trained in."""

    dev_steps: int | None = None
    """Measure the dev loss on so many held-out timesteps at most, the same for every run on the store, and not on all;
    checkpoints that were measured on all keep that loss."""

    store: tuple[Path, ...] = ()
    """Where the stores that the runs were trained on are now; empty: where they were."""
    shard: str | None = None
    """i/n: play only every n-th game, from the i-th on (1 to n); other machines play the rest. The rows are written
    once all games are in the runs' folders."""

    work: bool = False
    """Share the games with the same command on other machines that see the runs and their stores."""
    executor: Literal["local", "ray"] = "local"
    """Where games are played: on this machine, or as tasks of the Ray cluster that it belongs to."""
    record: Path | None = None
    """NetHack: record the games in this folder, in DIR/RUN/BUDGET/PROTOCOL; `python -m data import nld` reads them.
    Games that were played before are played again for it."""
    training_time: bool = False
    """Add the measured training time to the rows, by which `laws` can count compute; rows of equal runs differ then."""
    film: bool = True
    """Keep moving pictures of the best, the median and the worst game of each run's largest budget."""
    watch: bool = False
    """NetHack: show the game of `seed` in the terminal, with the policy's probabilities beside it; nothing is kept."""
    json: bool = False
    """Print the result rows as a JSON list instead of a table."""

    fewest = 0

    def __post_init__(self) -> None:
        """Validate the fields.

        Raises:
            UserError: A field is out of range; the message names it.
        """
        super().__post_init__()
        if not self.runs:
            raise UserError("name the folder of a run")
        if self.dev_steps is not None and self.dev_steps < 1:
            raise UserError(f"dev-steps must be at least 1, not {self.dev_steps}")
        shard, shards = self.part
        if not 0 <= shard < shards:
            raise UserError(f"shard is {self.shard}: give i/n with i from 1 to n, for example 1/4")

    @property
    def shared(self) -> bool:
        """Whether several processes evaluate together."""
        return self.work or self.executor == "ray"

    @property
    def part(self) -> tuple[int, int]:
        """The shard, from 0, and the number of shards; (-1, 0) if they are not numbers."""
        shard, slash, shards = (self.shard or "1/1").partition("/")
        return (int(shard) - 1, int(shards)) if slash and shard.isdecimal() and shards.isdecimal() else (-1, 0)


@dataclass(frozen=True)
class ExpertConfig(GamesConfig):
    """Configuration of the evaluation of an expert."""

    game: str = "nethack"
    """nethack, an Atari game such as Breakout, or gym/ENV."""
    expert: str = "embedded"
    """Policy: embedded, random, module:function, or the path of a trained policy or of a JSON list of actions."""
    protocol: str | None = None
    """A protocol by its name, whose character and limit of steps are taken."""
    lanes: int | None = 16
    """Number of games that a vector environment plays in parallel."""
    out: Path | None = None
    """Write the games to this file, one JSON object per line."""
    json: bool = False
    """Print one JSON object."""


@dataclass(frozen=True)
class BenchConfig:
    """Options of `python -m eval bench`."""

    game: str = "nethack"
    """nethack, or an Atari game such as Breakout."""
    seconds: float = 3.0
    """Seconds of each measurement."""
    games: tuple[int, ...] = (2, 8, 32, 128)
    """NetHack: numbers of games per core that are stepped in turn."""
    gymnasium: tuple[int, ...] = (8, 32)
    """Numbers of games for Gymnasium's AsyncVectorEnv, which starts a process for each; of Atari for ALE's vector
    environment and, where it is installed, EnvPool."""
    agent: str | None = None
    """Agent with random parameters that plays, by default nethack/lstm/64 or atari/cnn/13."""
    run: Path | None = None
    """NetHack: folder of a run, whose last checkpoint plays instead."""
    lanes: int | None = None
    """Games that the agent plays in parallel; by default four tiles."""
    json: bool = False
    """Print one JSON object."""

    def __post_init__(self) -> None:
        """Raise `UserError` if a value is out of range."""
        if not 0 < self.seconds < math.inf:
            raise UserError(f"--seconds {self.seconds:g}: give more than 0")
        if any(count < 1 for count in (*self.games, *self.gymnasium, self.lanes or 1)):
            raise UserError("--games, --gymnasium and --lanes: give 1 or more")
        family = registry.find(self.game).family
        of = (self.agent or "").partition("/")[0]
        if of in registry.FAMILIES and of != family:
            raise UserError(f"--agent {self.agent} does not play {self.game}: name one that does")
        if self.run is not None and family != "nethack":
            raise UserError(f"--run is of nethack's benchmark alone, not of {self.game}'s: leave it out")
        if family not in ("nethack", "atari"):
            raise UserError(f"--game {self.game}: there is a benchmark of nethack and of Atari games")


@dataclass(frozen=True)
class EpisodesConfig:
    """Which games of evaluated runs to read."""

    runs: Positional[tuple[Path, ...]]
    """Folders of runs."""
    budgets: tuple[float, ...] = ()
    """Budgets (FLOPs) of the checkpoints; empty selects all."""
    protocol: str | None = None
    """Games of this protocol alone, as rows name it."""
    store: tuple[Path, ...] = ()
    """Where the stores that the runs were trained on are now; empty: where they were."""
    expert_return: float | None = None
    """The expert's mean return, of which to give shares."""
    expert: Path | None = None
    """In its place, the expert's games, as `python -m eval expert --out FILE` writes them."""
    out: Path | None = None
    """Write the games to this file, one row each: .parquet, .csv or .jsonl."""
    json: bool = False
    """Print a JSON list instead, an object for each checkpoint."""

    def __post_init__(self) -> None:
        """Raise `UserError` if a value is out of range."""
        if not self.runs:
            raise UserError("name the folder of a run")
        if self.expert_return is not None and not 0 < self.expert_return < math.inf:
            raise UserError(f"--expert-return {self.expert_return:g}: give a number greater than 0")
        if self.expert_return is not None and self.expert is not None:
            raise UserError("--expert-return and --expert say the same: give one")
        if self.out is not None and self.out.suffix not in (".parquet", ".csv", ".jsonl"):
            raise UserError(f"--out {self.out}: name a .parquet, .csv or .jsonl file")


@dataclass(frozen=True)
class CompareConfig:
    """Which checkpoints of two runs to compare."""

    first: Positional[Path]
    """Folder of a run."""
    second: Positional[Path]
    """Folder of the other run."""
    budget: float | None = None
    """Budget (FLOPs) of the checkpoints; by default the largest of each run that has games."""
    protocol: str | None = None
    """The protocol, as rows name it, if the checkpoints played by several."""
    store: tuple[Path, ...] = ()
    """Where the stores that the runs were trained on are now; empty: where they were."""
    json: bool = False
    """Print one JSON object instead."""
