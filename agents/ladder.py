"""The size tables: one literal table per family, smallest first. Names are `game/family/size`."""

import dataclasses
import difflib

import jax

from agents.atari import cnn, impala
from agents.atari.agent import AtariAgent
from agents.cores.lstm import LSTM
from agents.cores.transformer import Transformer
from agents.gym.ladder import entries as gym_entries
from agents.nethack.agent import NetHackAgent
from agents.nethack.encoders import Deep, Thin
from data.common.cli import UserError

# Size: core width, core layers, features of each encoder, cell embedding, text embedding, wide view, screen
# channels. The screen ResNet costs 20 MFLOP and more a sample in training: it joins where the core costs as much.
NETHACK_LSTM = {
    "16": (16, 1, 8, 2, 2, False, 0),
    "32": (32, 1, 16, 4, 4, False, 0),
    "48": (48, 1, 24, 4, 4, False, 0),
    "64": (64, 1, 32, 4, 4, False, 0),
    "96": (96, 1, 48, 4, 4, False, 0),
    "128": (128, 1, 64, 8, 4, True, 0),
    "192": (192, 1, 96, 8, 8, True, 0),
    "256": (256, 1, 128, 8, 8, True, 0),
    "384": (384, 1, 192, 8, 8, True, 0),
    "512": (512, 1, 256, 8, 8, True, 8),
    "768": (768, 1, 384, 8, 8, True, 8),
    "1024": (1024, 1, 512, 16, 8, True, 16),
    "1536": (1536, 2, 512, 16, 8, True, 16),
    "2048": (2048, 2, 512, 16, 8, True, 16),
    "3072": (3072, 2, 512, 16, 8, True, 16),
    "4096": (4096, 2, 512, 16, 8, True, 16),
}

# Size: core width, core layers, width of a head, features of each encoder, cell embedding, text embedding,
# wide view, screen channels.
NETHACK_TRANSFORMER = {
    "32": (32, 1, 16, 16, 4, 4, False, 0),
    "64": (64, 1, 32, 32, 4, 4, False, 0),
    "64x2": (64, 2, 32, 32, 4, 4, False, 0),
    "96x2": (96, 2, 32, 48, 4, 4, False, 0),
    "128x2": (128, 2, 32, 64, 8, 4, True, 0),
    "192x3": (192, 3, 64, 96, 8, 8, True, 0),
    "256x4": (256, 4, 64, 128, 8, 8, True, 0),
    "384x5": (384, 5, 64, 192, 8, 8, True, 8),
    "512x6": (512, 6, 64, 256, 8, 8, True, 8),
    "768x8": (768, 8, 64, 384, 16, 8, True, 16),
    "1024x12": (1024, 12, 64, 512, 16, 8, True, 16),
    "1280x16": (1280, 16, 64, 512, 16, 8, True, 16),
}

# The paper's ten sizes, by N of the agent with inventory (Tuyls et al., arXiv 2307.09423): core width, core
# layers. Each with its encoders; the entry that ends in `-inv` also reads the inventory.
NETHACK_PAPER = {
    "190k": (64, 1),
    "520k": (128, 1),
    "1.6M": (192, 2),
    "2.6M": (256, 2),
    "5.6M": (320, 3),
    "10M": (384, 4),
    "22M": (512, 5),
    "57M": (704, 7),
    "105M": (896, 8),
    "193M": (1088, 10),
}


MOST_ACTIONS = 18
"""Of an Atari game."""

LadderAgent = NetHackAgent | AtariAgent


def ladder(actions: int = MOST_ACTIONS, observation=None) -> dict[str, LadderAgent]:
    """Every entry by name; those of Atari choose among so many actions."""
    agents: list[LadderAgent] = []
    for size, (width, layers, *thin) in NETHACK_LSTM.items():
        features, cell, text, view, screen = thin
        encoders = Thin(features, cell, text, view=bool(view), screen=screen)
        agents.append(NetHackAgent(f"nethack/lstm/{size}", encoders, LSTM(width, layers), prompts=True))
    for size, (width, layers, head, *thin) in NETHACK_TRANSFORMER.items():
        features, cell, text, view, screen = thin
        encoders = Thin(features, cell, text, view=bool(view), screen=screen)
        core = Transformer(width, layers, head=head)
        agents.append(NetHackAgent(f"nethack/transformer/{size}", encoders, core, prompts=True))
    for size, (width, layers) in NETHACK_PAPER.items():
        core = Transformer(width, layers, spare_row=True)
        agents.append(NetHackAgent(f"nethack/paper/{size}", Deep(), core))
        agents.append(NetHackAgent(f"nethack/paper/{size}-inv", Deep(inventory=True), core))
    agents += [AtariAgent(f"atari/cnn/{width}", cnn.CNN(width, actions)) for width in cnn.WIDTHS]
    agents += [AtariAgent(f"atari/impala/{width}", impala.IMPALA(width, actions)) for width in impala.WIDTHS]
    agents += gym_entries(actions, observation)
    return {agent.name: agent for agent in agents}


def find(name: str, actions: int = MOST_ACTIONS, observation=None) -> LadderAgent:
    """The entry of that name, which of Atari's has so many actions; `UserError` if there is none."""
    agents = ladder(actions, observation)
    if name not in agents:
        near = ", ".join(difflib.get_close_matches(name, agents, cutoff=0.4)) or ", ".join(list(agents)[:3])
        raise UserError(f"no agent {name!r} in the ladder; near it: {near} (`python -m agents` lists all)")
    return agents[name]


def computing(agent: LadderAgent, dtype: str) -> LadderAgent:
    """The agent as this machine's devices best compute it: in `dtype`, auto is bfloat16 on accelerators."""
    on_cpu = jax.default_backend() == "cpu"
    if dtype == "auto":
        dtype = "float32" if on_cpu else "bfloat16"
    if isinstance(agent, AtariAgent):
        return dataclasses.replace(agent, dtype=dtype, im2col=on_cpu)
    return dataclasses.replace(agent, dtype=dtype)
