"""NetHack: what hierarchical experts call the strategy that chose an action, as recordings number it."""

from collections.abc import Mapping

HIHACK: Mapping[int, str] = {
    -1: "error",
    0: "explore",
    1: "fight",
    2: "ground_eat",
    3: "wait_out",
    4: "emergency",
    5: "inventory_eat",
    6: "offer_corpses",
    7: "init",
    8: "solve_sokoban",
    9: "engulfed_fight",
    10: "follow_guard",
    11: "cure_disease",
}
"""AutoAscend's strategies in HiHack's recordings (Piterbarg et al., arXiv 2305.19240; its published code)."""


def name_of(label: int) -> str:
    """The name of a strategy, or its number."""
    return HIHACK.get(label, f"strategy {label}")
