"""How long a sweep takes, and what that costs: rough estimates by kind of machine, before anything is run.

A step takes `step` seconds and, on a CPU, `SAMPLE` a sample whatever the network, and its FLOPs at `rate` besides. For
`cpu-core` and `h100` these are fitted to the speeds in train/README.md (`train bench`, `train bc`), within a factor of
two of them. No TPU was measured: theirs are the H100's seconds of a step, and the share of its peak that it reached.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from data.common.cli import UserError
from train.mesh import PEAK_FLOPS


@dataclass(frozen=True)
class Machine:
    """One device: a CPU core, a GPU or a TPU chip."""

    rate: float
    """FLOPs per second of large networks."""
    step: float = 0.0
    """Seconds of a step besides."""


SAMPLE: Mapping[str, float] = MappingProxyType({"nethack": 11e-6, "atari": 97e-6, "gym": 5e-6})
"""Seconds of a sample on a CPU core besides its FLOPs, by family of games (of others as of NetHack): of frames most."""
CPU = "cpu-core"
H100 = Machine(rate=4e13, step=1.2e-3)


MACHINES: Mapping[str, Machine] = MappingProxyType(
    {
        CPU: Machine(rate=6.5e10),
        "h100": H100,
        **{
            kind: Machine(rate=H100.rate * PEAK_FLOPS[name] / PEAK_FLOPS["NVIDIA H100"], step=H100.step)
            for kind, name in (("v4", "TPU v4"), ("v5e", "TPU v5e"), ("v5p", "TPU v5p"), ("v6e", "TPU v6e"))
        },
    }
)


def seconds_on(kind: str, agent: str, flops: float, samples: float, batch: int) -> float:
    """Seconds that one device of a kind takes to train an agent on so many samples."""
    machine = MACHINES[kind]
    besides = SAMPLE.get(agent.partition("/")[0], SAMPLE["nethack"]) if kind == CPU else machine.step / batch
    return flops / machine.rate + samples * besides


def prices_of(words: Iterable[str]) -> dict[str, float]:
    """Prices per device and hour, as `--price h100=2.5,v5e=1.2` states them.

    Raises: UserError: a word is not of that form, or there is no such machine.
    """
    prices = {}
    for word in words:
        name, _, price = word.partition("=")
        if name not in MACHINES:
            raise UserError(f"--price {word}: there are {', '.join(MACHINES)}")
        try:
            prices[name] = float(price)
        except ValueError:
            raise UserError(f"--price {word}: write it as {name}=2.5, per device and hour") from None
    return prices
