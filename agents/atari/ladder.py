"""The Atari ladder: the paper's networks (`atari/cnn`) and residual networks (`atari/impala`), by width."""

from collections.abc import Mapping

from agents.atari.agent import AtariAgent
from agents.atari.cnn import CNN
from agents.atari.cnn import WIDTHS as CNN_WIDTHS
from agents.atari.impala import IMPALA
from agents.atari.impala import WIDTHS as IMPALA_WIDTHS
from agents.spec import Agent
from data.spec import Field

BETWEEN = (2, 4, 6, 10, 18)
"""Widths between the smallest ones of the paper, for studies on a CPU."""


def entries(actions: int, observation: Mapping[str, Field] | None = None) -> list[Agent]:
    """Every Atari agent, for a game of so many actions; the observation is the same in all games."""
    return [
        *(AtariAgent(f"atari/cnn/{width}", CNN(width, actions)) for width in sorted((*CNN_WIDTHS, *BETWEEN))),
        *(AtariAgent(f"atari/impala/{width}", IMPALA(width, actions)) for width in IMPALA_WIDTHS),
    ]
