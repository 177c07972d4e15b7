"""Presets of `python -m train sweep`: the grids of the paper (Tuyls et al., arXiv 2307.09423).

Sizes and budgets are those of its published measurements. Its batches are 262,144 samples of NetHack; of Atari 4,096,
of which all published counts of samples are multiples.
"""

from train.presets import PRESETS as TRAINING
from train.presets import Preset

PRESETS = {
    "paper-nethack": Preset(
        f"{TRAINING['paper'].options} --family nethack/paper --sizes 190k,520k,1.6M,2.6M,5.6M,10M,22M,57M,105M,193M"
        " --budgets 1e14,2e14,5e14,1e15,2e15,5e15,1e16,2e16,5e16,1e17,2e17,5e17,1e18,2e18,3e18,4e18,5e18,6e18,7e18,"
        "8e18,9e18,1e19 --min-steps 1 --max-epochs 1000 --episodes 1000 --protocol paper",
        "Its NetHack study with transformers, without the inventory, which a ttyrec does not hold. All sizes at all"
        " budgets; the paper stopped its smaller ones earlier.",
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
