"""Presets of `python -m train bc`: sets of options that `--preset NAME` stands for."""

from collections.abc import Mapping
from dataclasses import dataclass

from data.common.cli import UserError


@dataclass(frozen=True)
class Preset:
    """Options and their purpose. Options on the command line override them."""

    options: str
    about: str
    """What it trains, how long that takes, and what to expect."""


PRESETS = {
    "cpu": Preset(
        "--agent nethack/lstm/256 --dropout 0.15 --lr 3e-3 --schedule cosine"
        " --flops 1e13 2e13 4e13 6e13 9e13 1.2e14 1.8e14",
        "The best agent after 20 minutes on 2 cores: about 23 million samples of a store of millions.",
    ),
    "atari": Preset(
        "--order windows --window 8 --lanes 16 --lr 6e-3",
        "Atari networks on a CPU: batches of 128 shuffled samples. Add --agent atari/cnn/... and --flops.",
    ),
    "paper": Preset(
        "--convention paper --order windows --lanes 8192 --window 32 --lr 1e-4 --warmup-samples 0 --schedule constant"
        " --b2 0.999 --average 0",
        "The paper's batch of 262,144 samples and 6 N FLOPs per sample; for accelerators. Of the authors' code, its"
        " defaults for NetHack: Adam at a constant 1e-4 without warm-up, betas of 0.9 and 0.999. Ours: shuffled windows"
        " of 32 steps without a carried cache, a clipping norm of 1, no average. Add --agent nethack/paper/... and"
        " --flops. For their Mamba the code has 2e-4, 2,000 steps of warm-up and a cosine decay to a tenth: --lr 2e-4"
        " --warmup-samples 524288000 --schedule cosine --final-lr 2e-5 (warm-up is at most a tenth of the run here).",
    ),
}


def expand(words: list[str], presets: Mapping[str, Preset] = PRESETS) -> list[str]:
    """Replace `--preset NAME` by its options, put before all others so that those override them.

    Raises: UserError: there is no such preset.
    """
    if "--preset" not in words:
        return words
    place = words.index("--preset")
    name = words[place + 1] if place + 1 < len(words) else ""
    if name not in presets:
        raise UserError(f"no preset {name!r}: choose from {', '.join(presets)} (`python -m train presets`)")
    rest = words[:place] + words[place + 2 :]
    return [*rest[:1], *presets[name].options.split(), *rest[1:]]
