"""How actions are chosen from a policy's logits."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Sampling:
    """Sampling from a softmax, or the likeliest action."""

    temperature: float = 1.0
    """Softmax temperature; 0 selects the most probable action."""
    top_k: int | None = None
    """Sample among so many of the most probable actions."""
    top_p: float | None = None
    """Nucleus sampling: among the fewest most probable actions whose probabilities sum to at least this."""

    def __post_init__(self) -> None:
        """Raise `ValueError` if a value is out of range; the message names it."""
        if not self.temperature >= 0:
            raise ValueError(f"temperature must not be negative, not {self.temperature}")
        if self.top_k is not None and self.top_k < 1:
            raise ValueError(f"top-k must be at least 1, not {self.top_k}")
        if self.top_p is not None and not 0 < self.top_p <= 1:
            raise ValueError(f"top-p must be more than 0 and at most 1, not {self.top_p}")

    def __str__(self) -> str:
        if self.temperature == 0:
            return "likeliest action"
        among = [f"top {self.top_k}"] if self.top_k else []
        among += [f"nucleus {self.top_p:g}"] if self.top_p else []
        return ", ".join([f"sampled at {self.temperature:g}", *among])
