"""Games of experts: collected, imported, stored, and read as batches.

The public names below are imported on first use, so that `import data` alone imports nothing else:

    TrajectoryStore, open_stores, EpisodeFilter: open a store, or several as one.
    batches, dev_batches: iterate over batches of NumPy arrays.
    WindowSource: windows by index, a `RandomAccessDataSource` for Grain.
    TorchWindows: windows as an `IterableDataset` for PyTorch.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from data.sampling.sources import WindowSource
    from data.sampling.stream import batches, dev_batches
    from data.sampling.torchwindows import TorchWindows
    from data.store.episodes import EpisodeFilter
    from data.store.mixture import open_stores
    from data.store.reader import TrajectoryStore

__all__ = [
    "EpisodeFilter",
    "TorchWindows",
    "TrajectoryStore",
    "WindowSource",
    "batches",
    "dev_batches",
    "open_stores",
]

_MODULES = {
    "EpisodeFilter": "data.store.episodes",
    "TorchWindows": "data.sampling.torchwindows",
    "TrajectoryStore": "data.store.reader",
    "WindowSource": "data.sampling.sources",
    "batches": "data.sampling.stream",
    "dev_batches": "data.sampling.stream",
    "open_stores": "data.store.mixture",
}


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return getattr(importlib.import_module(_MODULES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
