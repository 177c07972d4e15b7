"""The NetHack ladder: LSTMs and transformers with thin encoders, and the paper's agents (`nethack/paper`)."""

from collections.abc import Mapping

from agents.cores.lstm import LSTM
from agents.cores.transformer import Transformer
from agents.nethack.agent import NetHackAgent
from agents.nethack.deep import Deep
from agents.nethack.thin import Thin
from agents.spec import Agent
from data.spec import Field

# By size: core width, core layers, features of each encoder, width of a cell's embedding, width of a character's
# embedding, wide view, channels of the screen ResNet. The screen ResNet costs 20 MFLOP and more per training sample: it
# is there in sizes whose core costs as much.
LSTM_SIZES = {
    "8": (8, 1, 4, 2, 2, False, 0),
    "12": (12, 1, 6, 2, 2, False, 0),
    "16": (16, 1, 8, 2, 2, False, 0),
    "20": (20, 1, 10, 3, 3, False, 0),
    "24": (24, 1, 12, 4, 4, False, 0),
    "32": (32, 1, 16, 4, 4, False, 0),
    "48": (48, 1, 24, 4, 4, False, 0),
    "64": (64, 1, 32, 4, 4, False, 0),
    "80": (80, 1, 40, 4, 4, False, 0),
    "96": (96, 1, 48, 4, 4, False, 0),
    "112": (112, 1, 56, 4, 4, False, 0),
    "128": (128, 1, 64, 8, 4, True, 0),
    "160": (160, 1, 80, 8, 8, True, 0),
    "192": (192, 1, 96, 8, 8, True, 0),
    "224": (224, 1, 112, 8, 8, True, 0),
    "256": (256, 1, 128, 8, 8, True, 0),
    "320": (320, 1, 160, 8, 8, True, 0),
    "384": (384, 1, 192, 8, 8, True, 0),
    "512": (512, 1, 256, 8, 8, True, 8),
    "768": (768, 1, 384, 8, 8, True, 8),
    "1024": (1024, 1, 512, 16, 8, True, 16),
    "1536": (1536, 2, 512, 16, 8, True, 16),
    "2048": (2048, 2, 512, 16, 8, True, 16),
    "3072": (3072, 2, 512, 16, 8, True, 16),
    "4096": (4096, 2, 512, 16, 8, True, 16),
    "6144": (6144, 2, 512, 16, 8, True, 16),
    "8192": (8192, 2, 512, 16, 8, True, 16),
}

# By size: core width, core layers, width of an attention head, then as above.
TRANSFORMER_SIZES = {
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
    "1536x16": (1536, 16, 64, 512, 16, 8, True, 16),
    "2048x16": (2048, 16, 64, 512, 16, 8, True, 16),
}

# The paper's ten sizes (Tuyls et al., arXiv 2307.09423), named by N with the inventory: core width, core layers. Each
# is in the ladder without the inventory and, as SIZE-inv, with it.
PAPER_SIZES = {
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

# The first version of the paper had an LSTM in the transformer's place, of sizes that were not published: widths with
# about the same N as the transformers.
PAPER_LSTM_SIZES = {
    "190k": 76,
    "520k": 160,
    "1.6M": 336,
    "2.6M": 448,
    "5.6M": 688,
    "10M": 960,
    "22M": 1472,
    "57M": 2432,
    "105M": 3328,
    "193M": 4544,
}


def entries(actions: int, observation: Mapping[str, Field] | None = None) -> list[Agent]:
    """Every NetHack agent. All choose among NLE's full action list and read the same arrays: arguments are ignored."""
    agents: list[Agent] = []
    for size, (width, layers, *encoders) in LSTM_SIZES.items():
        core = LSTM(width, layers)
        agents.append(NetHackAgent(f"nethack/lstm/{size}", _thin(*encoders), core, prompts=True))
    for size, (width, layers, head, *encoders) in TRANSFORMER_SIZES.items():
        core = Transformer(width, layers, head=head)
        agents.append(NetHackAgent(f"nethack/transformer/{size}", _thin(*encoders), core, prompts=True))
    for size, (width, layers) in PAPER_SIZES.items():
        core = Transformer(width, layers, spare_row=True)
        agents.append(NetHackAgent(f"nethack/paper/{size}", Deep(), core))
        agents.append(NetHackAgent(f"nethack/paper/{size}-inv", Deep(inventory=True), core))
    for size, width in PAPER_LSTM_SIZES.items():
        agents.append(NetHackAgent(f"nethack/paper-lstm/{size}", Deep(), LSTM(width)))
    return agents


def _thin(features: int, cell: int, text: int, view: int, screen: int) -> Thin:
    return Thin(features, cell, text, view=bool(view), screen=screen)
