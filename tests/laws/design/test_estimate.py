"""Estimates of training time are within a factor of about two of what was measured."""

import pytest

from agents.ladder import find
from data.games.registry import FAMILIES
from laws.design.estimate import MACHINES, SAMPLE, prices_of, seconds_on

MEASURED = [
    # Samples per second of two cores by `train bench`, of one H100 by `train bc` (train/README.md).
    ("cpu-core", "nethack/lstm/16", 149_000 / 2, 2048),
    ("cpu-core", "nethack/lstm/64", 83_000 / 2, 2048),
    ("cpu-core", "nethack/lstm/256", 16_800 / 2, 2048),
    ("cpu-core", "atari/cnn/3", 16_600 / 2, 256),
    ("cpu-core", "atari/cnn/13", 6_940 / 2, 256),
    ("cpu-core", "atari/cnn/50", 1_930 / 2, 256),
    ("h100", "nethack/lstm/16", 1_476_000, 2048),
    ("h100", "nethack/lstm/64", 1_662_000, 2048),
    ("h100", "nethack/transformer/256x4", 586_000, 2048),
]


@pytest.mark.parametrize(("kind", "agent", "rate", "batch"), MEASURED)
def test_speeds_that_were_measured(kind: str, agent: str, rate: float, batch: int) -> None:
    flops = find(agent, 4).cost(32).train_flops("exact")
    estimate = seconds_on(kind, agent, 1e6 * flops, 1e6, batch)
    assert 0.45 < estimate / (1e6 / rate) < 2.2


def test_every_family_and_machine_has_an_estimate() -> None:
    assert set(SAMPLE) == set(FAMILIES)
    for kind in MACHINES:
        for family in FAMILIES:
            assert seconds_on(kind, f"{family}/x/1", 1e12, 1e6, 512) > 0


def test_prices_are_per_device_and_hour() -> None:
    assert prices_of(["h100=2.5", "v5e=1.2"]) == {"h100": 2.5, "v5e": 1.2}
