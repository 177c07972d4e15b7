"""Evaluation of an expert: its mean return under the protocol of the checkpoints."""

from data.experts import registry as experts
from data.games import registry
from eval.config import ExpertConfig
from eval.play.options import play_of, protocol
from eval.play.records import write_games
from eval.statistics import mean_interval


def evaluate_expert(config: ExpertConfig, *, progress: bool = True) -> str:
    """Play games with an expert, and write them to `config.out` if it is set.

    Args:
        config: The game, the expert, and how to play.
        progress: Whether to show a progress bar on stderr.

    Returns:
        One line of text with the mean return, its standard error and its 95 % confidence interval.

    Raises:
        UserError: There is no such game or expert, or the game does not support an option.
    """
    expert = experts.find(registry.find(config.game), config.expert)
    play = play_of(config.game)
    options = config.options(config.game)
    play.check(config.game, options, config.seeds)
    rows = play.play_expert(expert, config.seeds, options, progress=progress)
    if config.out is not None:
        write_games(config.out, rows)
    interval = mean_interval([row.score for row in rows])
    played_by = protocol(config.game, options, config.seed).replace(", sampled at 1", "")
    return (
        f"{expert.title}: mean return {interval.mean:.1f} ± {interval.se:.1f} (95 % interval {interval.low:.1f} to"
        f" {interval.high:.1f}) in {len(rows)} games of {played_by}"
    )
