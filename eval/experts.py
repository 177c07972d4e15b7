"""What an expert is worth: its mean return in the games that checkpoints play."""

from data.experts import registry as experts
from data.games import registry
from eval.config import ExpertConfig
from eval.play.options import play_of, protocol
from eval.play.records import write_games
from eval.statistics import mean_interval


def evaluate_expert(config: ExpertConfig, *, progress: bool = True) -> str:
    """Play the games, write them to `config.out` if given, and return the mean return with its 95 % interval in words.

    Raises:
        UserError: There is no such game or expert, or it has no such option.
    """
    expert = experts.find(registry.find(config.game), config.expert)
    play = play_of(config.game)
    play.check(config.game, config.options, config.seeds)
    rows = play.play_expert(expert, config.seeds, config.options, progress=progress)
    if config.out is not None:
        write_games(config.out, rows)
    found = mean_interval([row.score for row in rows])
    told = protocol(config.game, config.options, config.seed).replace(", sampled at 1", "")
    return (
        f"{expert.title}: mean return {found.mean:.1f} ± {found.se:.1f} (95 % interval {found.low:.1f} to"
        f" {found.high:.1f}) in {len(rows)} games of {told}"
    )
