"""The paper's Atari networks in plain PyTorch, with the parameters of `agents.atari`."""

from itertools import pairwise
from typing import Any

import numpy as np
import torch  # pyright: ignore[reportMissingImports]  # an extra
from torch import Tensor, nn  # pyright: ignore[reportMissingImports]

from agents.atari.agent import AtariAgent
from agents.atari.cnn import CNN, LAYERS
from agents.spec import Params
from data.spec import STACK, Batch
from train.bench.parameters import state_dict


class AtariPolicy(nn.ModuleDict):
    """Three convolutions over stacks of frames, and a linear layer."""

    def __init__(self, config: CNN) -> None:
        super().__init__()
        for number, ((_, side, stride), (inputs, outputs)) in enumerate(
            zip(LAYERS, pairwise(config.channels), strict=True)
        ):
            self[f"conv{number}"] = nn.Conv2d(inputs, outputs, side, stride)
        self["head"] = nn.Linear(config.channels[-1] * config.sides[-1] ** 2, config.actions)

    def forward(self, inputs: dict[str, Tensor], carry: None) -> tuple[Tensor, None]:
        """Logits [B, T, A] of `stacks` uint8 [B, T, 4, 84, 84]; there is no carry."""
        stacks = inputs["stacks"]
        x = stacks.flatten(0, 1).float() / 255
        for number in range(len(LAYERS)):
            x = self[f"conv{number}"](x).relu()
        # Flattened with the channels last, as ours is.
        return self["head"](x.permute(0, 2, 3, 1).flatten(1)).unflatten(0, stacks.shape[:2]), None


def module_of(agent: AtariAgent, params: Params) -> AtariPolicy:
    """The module of an agent's network, with its parameters."""
    assert isinstance(agent.network, CNN), "only the paper's networks are compared"
    policy = AtariPolicy(agent.network)
    policy.load_state_dict(state_dict(params))
    return policy


def inputs_of(agent: AtariAgent, batch: Batch) -> dict[str, Any]:
    """What the module reads of a batch."""
    frames, oldest = batch.observation["frames"], batch.observation["oldest"]
    stacked = [of_lane[at[:, None] + np.arange(STACK)] for of_lane, at in zip(frames, oldest, strict=True)]
    return {"stacks": torch.from_numpy(np.stack(stacked))}
