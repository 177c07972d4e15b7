"""Presets of `python -m train sweep`: the grids of the paper (Tuyls et al., arXiv 2307.09423).

Sizes and budgets are those of its published measurements. Its batches are 262,144 samples of NetHack; of Atari 4,096,
of which all published counts of samples are multiples. The batches of its side studies follow from their counts in the
same way, the shapes of its networks from their N; the values of its learning rates and contexts were not published.
"""

from train.presets import PRESETS as TRAINING
from train.presets import Preset

_PAPER = TRAINING["paper"].options
_NETHACK = (
    "--sizes 190k,520k,1.6M,2.6M,5.6M,10M,22M,57M,105M,193M"
    " --budgets 1e14,2e14,5e14,1e15,2e15,5e15,1e16,2e16,5e16,1e17,2e17,5e17,1e18,2e18,3e18,4e18,5e18,6e18,7e18,8e18,"
    "9e18,1e19 --min-steps 1 --max-epochs 1000 --episodes 1000 --protocol paper"
)
_SIDE = f"{_PAPER} --family nethack/paper --min-steps 1 --max-epochs 1000"
_DEPTHS = {384: (17, 28, 44, 61), 512: (9, 16, 25, 34), 640: (6, 10, 16, 22), 768: (4, 7, 11, 15)}
_DEPTHS |= {896: (3, 5, 8, 11), 1024: (6,), 1216: (6,)}
"""Layers of the cores of each width, of about 40, 67, 105 and 144 million parameters."""
_SHAPES = ",".join(
    f"22M+core.layers={layers}+core.width={width}" for width, depths in _DEPTHS.items() for layers in depths
)

PRESETS = {
    "paper-nethack": Preset(
        f"{_PAPER} --family nethack/paper {_NETHACK}",
        "Its NetHack study with transformers, without the inventory, which a ttyrec does not hold. All sizes at all"
        " budgets; the paper stopped its smaller ones earlier.",
    ),
    "paper-nethack-lstm": Preset(
        f"{_PAPER} --order lanes --family nethack/paper-lstm {_NETHACK}",
        "The same with LSTMs, as in its first version, whose sizes were not published: theirs have the same N.",
    ),
    "paper-nethack-lr": Preset(
        f"{_SIDE} --sizes 22M+core.layers=6 --samples 1e9 --lanes 1024"
        " --vary lr=1e-5,2e-5,5e-5,1e-4,2e-4,5e-4,1e-3,2e-3,5e-3,1e-2",
        "Its study of the learning rate: 26 million parameters, a billion samples in batches of 32,768.",
    ),
    "paper-nethack-context": Preset(
        f"{_SIDE} --sizes 22M+core.context=256+core.layers=8 --samples 1e9,2e9,3e9,4e9,5e9 --lanes 6144"
        " --vary window=4,8,16,32,64,128,256",
        "Its study of the context: 35 million parameters, seven windows, up to five billion samples in batches of"
        " 196,608.",
    ),
    "paper-nethack-depth": Preset(
        f"{_SIDE} --sizes {_SHAPES} --samples 1e9 --lanes 1024",
        "Its study of depth against width: 22 shapes of about 40, 67, 105 and 144 million parameters, a billion samples"
        " in batches of 32,768.",
    ),
    "paper-nethack-inventory": Preset(
        f"{_SIDE} --sizes 22M,22M-inv --samples 1e9,2e9,3e9,4e9,5e9 --lanes 1024",
        "Its study of the inventory: with and without, up to five billion samples in batches of 32,768. It needs a"
        " store of games with their inventory.",
    ),
    "paper-atari": Preset(
        "--convention paper --order windows --lanes 512 --window 8 --schedule constant --warmup-samples 0 --average 0"
        " --family atari/cnn --sizes 1,3,5,8,13,23,34,50,81,117,167,266"
        " --budgets 1e13,2e13,5e13,1e14,2e14,5e14,1e15,2e15,5e15,1e16,2e16,5e16,1e17,2e17,5e17,1e18"
        " --min-steps 1 --max-epochs 1000 --episodes 100 --protocol paper",
        "Its Atari study: add --game BankHeist, BattleZone, Breakout or NameThisGame. Learning rates are by our rule,"
        " as the paper states none.",
    ),
}
