"""A run that diverged: the error that stops it, which names the batch at which it did."""

import json
from pathlib import Path

from data.common.files import replace_text
from data.sampling.sampler import LaneSampler, MixedSampler, Slice, WindowSampler
from data.sampling.stream import Store
from train.hosts.agree import first
from train.hosts.leave import AgreedError

FILE = "diverged.json"
_NAMED = 3
"""Slices of the batch that the message names; the file has all."""


class Diverged(AgreedError):
    """Too many steps in a row had a loss or gradient that was not finite."""

    exit_code = 1


def diverged(
    run: Path, store: Store, sampler: LaneSampler | WindowSampler | MixedSampler, step: int, skipped: int
) -> Diverged:
    """The error of a run whose last good state is that before `step`; writes what the batch holds to `diverged.json`.

    A slice is a lane's steps [start, stop) of an episode.
    """
    episodes = [(str(part.path), episode.id) for part in store.stores for episode in part.episodes]
    rows, slices = store.rows("train"), []
    for piece in map(Slice._make, sampler.at(step).tolist()):
        path, episode = episodes[rows[piece.row]]
        slices.append({"lane": piece.lane, "store": path, "episode": episode, "start": piece.start, "stop": piece.stop})
    if first():
        replace_text(run / FILE, json.dumps({"batch": step, "skipped": skipped, "slices": slices}, indent=1))
    words = "lane {lane}: {store} episode {episode} steps {start} to {stop}"
    named = "; ".join(words.format(**piece) for piece in slices[:_NAMED])
    return Diverged(
        f"{run} diverged: loss or gradient not finite in {skipped} steps in a row from batch {step} on"
        f" ({named}; all {len(slices)} in {FILE}); the state before them is kept, from which the same command repeats"
        f" them: choose another --run with a lower --lr, or a higher --max-skipped"
    )
