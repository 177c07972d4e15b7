"""Evaluation of an expert: its mean return under the protocol of the checkpoints."""

from dataclasses import dataclass

from data.common.files import check_replaceable
from data.common.progress import count
from data.experts import registry as experts
from data.games import registry
from eval.config import ExpertConfig
from eval.play.options import play_of, protocol
from eval.play.records import write_games
from eval.statistics import mean_interval


@dataclass(frozen=True)
class ExpertReturn:
    """The mean return of an expert."""

    game: str
    expert: str
    return_mean: float
    return_se: float
    """Standard error of the mean."""
    return_low: float
    return_high: float
    """95 % bootstrap interval of the mean."""
    episodes: int
    protocol: str
    """How the games were played, in words."""

    def __str__(self) -> str:
        """One line."""
        return (
            f"{self.expert}: mean return {self.return_mean:.1f} ± {self.return_se:.1f} (95 % interval"
            f" {self.return_low:.1f} to {self.return_high:.1f}) in {count(self.episodes, 'game')} of {self.protocol}"
        )


def evaluate_expert(config: ExpertConfig, *, progress: bool = True) -> ExpertReturn:
    """Play games with an expert, and write them to `config.out` if it is set.

    Args:
        config: The game, the expert, and how to play.
        progress: Whether to show a progress bar on stderr.

    Raises:
        UserError: There is no such game or expert, the game does not support an option, or `config.out` can't be
            written.
    """
    if config.out is not None:
        check_replaceable(config.out)
    expert = experts.find(registry.find(config.game), config.expert)
    play = play_of(config.game)
    options = config.options(config.game)
    play.check(config.game, options, config.seeds)
    rows = play.play_expert(expert, config.seeds, options, progress=progress)
    if config.out is not None:
        write_games(config.out, rows)
    interval = mean_interval([row.score for row in rows])
    played_by = protocol(config.game, options, config.seed).replace(", sampled at 1", "")
    measured = (interval.mean, interval.se, interval.low, interval.high)
    return ExpertReturn(config.game, expert.title, *measured, len(rows), played_by)
