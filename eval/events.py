"""TensorBoard events of an evaluated run: returns by FLOPs, their distribution, and how games ended."""

# Protocol buffers make their classes at import, where a type checker doesn't see them.
# pyright: reportAttributeAccessIssue=false

import shutil
import struct
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import HistogramProto, Summary, SummaryMetadata
from tensorboard.compat.proto.tensor_pb2 import TensorProto
from tensorboard.compat.proto.types_pb2 import DT_STRING
from tensorboard.summary.writer.event_file_writer import EventFileWriter

from data.common.lease import in_turn
from eval.play.records import as_folder
from eval.statistics import bootstrap, interquartile_mean, mean

FOLDER = "eval"
"""Folder of the events in that of a run: one folder below it per protocol."""
BINS, DEATHS = 30, 15
"""Bins of the histogram of returns, and causes of death that are listed."""


@dataclass(frozen=True)
class Shown:
    """What a checkpoint has played."""

    flops: float
    games: Sequence[Any]
    pictures: Mapping[str, bytes]
    """GIFs by name."""


def write_events(run: Path, protocol: str, checkpoints: Sequence[Shown]) -> Path:
    """Write the games of a protocol anew, one process after another; the folder of the events.

    The horizontal axis is the budget, rounded to a whole number (below 2^63).
    """
    folder = run / FOLDER / as_folder(protocol)
    in_turn(
        [folder],
        lambda folder: run / "claims" / FOLDER / folder.name,
        lambda folder: _write(folder, protocol, checkpoints),
    )
    return folder


def _write(folder: Path, protocol: str, checkpoints: Sequence[Shown]) -> None:
    if folder.exists():
        shutil.rmtree(folder)
    writer = EventFileWriter(str(folder))
    for shown in checkpoints:
        summary = Summary(value=[*_values(protocol, shown.games), *_pictures(shown.pictures)])
        writer.add_event(Event(wall_time=time.time(), step=min(round(shown.flops), 2**63 - 1), summary=summary))
    writer.close()


def _values(protocol: str, games: Sequence[Any]) -> Iterator[Any]:
    scores = np.array([game.score for game in games], np.float64)
    numbers = {"return/mean": mean(scores), "return/median": np.median(scores), "return/games": len(scores)}
    numbers |= {"return/interquartile mean": interquartile_mean(scores)}
    if len(scores) > 1:
        numbers |= dict(zip(("return/95 % low", "return/95 % high"), bootstrap(scores), strict=True))
    numbers |= {"games/steps": np.mean([game.steps for game in games])}
    for end, count in Counter(game.end for game in games).items():
        numbers[f"ends/{end}"] = count / len(games)
    for name, number in numbers.items():
        yield Summary.Value(tag=f"eval {name}", simple_value=float(number))
    yield Summary.Value(tag="eval returns", histo=_histogram(scores))
    deaths = Counter(getattr(game, "death", game.end) for game in games).most_common(DEATHS)
    table = [f"{protocol}\n", "| games | cause |", "|---|---|", *(f"| {count} | {death} |" for death, count in deaths)]
    plugin = SummaryMetadata(plugin_data=SummaryMetadata.PluginData(plugin_name="text"))
    text = TensorProto(dtype=DT_STRING, string_val=["\n".join(table).encode()])
    yield Summary.Value(tag="eval deaths", metadata=plugin, tensor=text)


def _pictures(pictures: Mapping[str, bytes]) -> Iterator[Any]:
    for name, gif in pictures.items():
        width, height = struct.unpack_from("<HH", gif, 6)
        image = Summary.Image(height=height, width=width, colorspace=3, encoded_image_string=gif)
        yield Summary.Value(tag=f"eval games/{name}", image=image)


def _histogram(values: np.ndarray) -> Any:
    counts, edges = np.histogram(values, BINS)
    return HistogramProto(
        min=values.min(),
        max=values.max(),
        num=values.size,
        sum=values.sum(),
        sum_squares=(values**2).sum(),
        bucket_limit=edges[1:].tolist(),
        bucket=counts.tolist(),
    )
