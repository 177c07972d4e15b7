"""The size table of the networks for Gymnasium environments."""

from collections.abc import Mapping

from agents.gym.agent import GymAgent
from agents.gym.networks import CNN, MLP, image_of
from agents.spec import Agent
from data.spec import Field

MLP_WIDTHS = (4, 8, 16, 32, 64, 128, 256, 512, 1024)
CNN_WIDTHS = (2, 4, 8, 16, 32, 64)

SHOWN = {"observation": Field((64, 64, 3), "uint8"), "numbers": Field((4,), "float32")}
"""The observation for which the ladder is shown where no environment is named."""


def entries(actions: int, observation: Mapping[str, Field] | None = None) -> list[Agent]:
    """The agents for an environment of so many actions and these fields; convolutions only where it has an image."""
    seen = SHOWN if observation is None else observation
    fields = tuple(sorted(seen.items()))
    agents: list[Agent] = [GymAgent(f"gym/mlp/{width}", MLP(width, actions, fields)) for width in MLP_WIDTHS]
    if image_of(seen) is not None:
        agents += [GymAgent(f"gym/cnn/{width}", CNN(width, actions, fields)) for width in CNN_WIDTHS]
    return agents
