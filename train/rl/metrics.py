"""Metrics of reinforcement learning."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from train.log import Window
from train.rl.config import RlConfig
from train.rl.ppo import PpoMetrics
from train.rl.rollout import FinishedGame

Record = tuple[PpoMetrics, list[FinishedGame]]
"""What is logged of an update: its metrics, and the games that ended while it was played for."""


@dataclass(frozen=True)
class RlRow:
    """A row of `metrics.jsonl`: means over the updates since the row before that were not skipped, unless a field says
    otherwise. A number that is not finite is null in the file."""

    step: int
    """Environment steps of all lanes together, each of four frames."""
    update: int
    """Updates done."""
    episodes: int
    """Number of episodes that ended."""
    episode_return: float | None
    """Mean undiscounted, unclipped return of these episodes; None if none ended."""
    episode_length: float | None
    """Mean number of steps of these episodes; None if none ended."""
    policy_loss: float
    """The clipped surrogate objective, negated."""
    value_loss: float
    """Half of the critic's mean squared error."""
    entropy: float
    """Entropy of the policy, nats."""
    approx_kl: float
    """KL divergence from the policy that played to the updated one, nats."""
    clip_fraction: float
    """Fraction of samples whose probability ratio was clipped."""
    grad_norm: float
    """Global norm of the gradient before clipping."""
    explained_variance: float
    """Fraction of the returns' variance that the critic explains."""
    lr: float
    """Learning rate now."""
    steps_per_s: float
    """Environment steps per second of wall time."""
    playing: float
    """Fraction of the time spent on playing; the rest is learning."""
    skipped: int
    """Updates since the row before that were skipped, as their losses or gradient were not finite."""

    @property
    def summary(self) -> str:
        """Return and speed, for the progress bar."""
        played = "no game over" if self.episode_return is None else f"return {self.episode_return:.1f}"
        return f"{played}, {self.steps_per_s:,.0f} steps/s"


def rows_of(config: RlConfig) -> Callable[[Window[Record]], RlRow]:
    """A function from the records of several updates to a row."""

    def row_of(window: Window[Record]) -> RlRow:
        update = window.step // config.batch
        games = [game for _, finished in window.records for game in finished]
        values = np.array([metrics for metrics, _ in window.records], np.float64)
        applied = np.isfinite(values).all(axis=1)
        means = values[applied].mean(axis=0) if applied.any() else np.full(len(PpoMetrics._fields), np.nan)
        return RlRow(
            step=window.step,
            update=update,
            episodes=len(games),
            episode_return=float(np.mean([game.score for game in games])) if games else None,
            episode_length=float(np.mean([game.length for game in games])) if games else None,
            lr=config.ppo.lr * (1 - update / config.updates),
            steps_per_s=(window.step - window.after) / window.seconds,
            playing=window.timed / window.seconds,
            skipped=int((~applied).sum()),
            **dict(zip(PpoMetrics._fields, means.tolist(), strict=True)),
        )

    return row_of
