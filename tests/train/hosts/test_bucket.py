"""A run's files in a bucket, for which a folder stands in: fsspec reads gs:// addresses from it."""

import dataclasses
import json
from pathlib import Path

import fsspec
import pytest
from fsspec.implementations.local import LocalFileSystem
from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

from data.common.cli import UserError
from data.common.files import create, replace_text
from data.common.lease import held
from data.common.paths import absolute, location
from tests.train.runs import config
from train.config import from_json, to_json
from train.metrics import MetricsRow, MetricsWriter, read_metrics

ROW = dataclasses.replace(MetricsRow(**{field.name: 1 for field in dataclasses.fields(MetricsRow)}), branch=None)


class Bucket(LocalFileSystem):
    """gs://NAME/PATH is ROOT/NAME/PATH."""

    root = ""

    @classmethod
    def _strip_protocol(cls, path):  # pyright: ignore[reportIncompatibleMethodOverride]
        return super()._strip_protocol(str(path).replace("gs://", f"{cls.root}/"))


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """The folder of a run in a bucket."""
    Bucket.root = str(tmp_path)
    (tmp_path / "bucket").mkdir()
    for name in ("gs", "gcs"):
        fsspec.register_implementation(name, Bucket, clobber=True)
    return location("gs://bucket/run")


def test_an_address_stays_as_it_is(run: Path, tmp_path: Path) -> None:
    assert str(run / "checkpoints") == absolute(run / "checkpoints") == "gs://bucket/run/checkpoints"
    assert location(str(tmp_path)) == tmp_path
    there = config(tmp_path / "store", run)
    assert from_json(to_json(there)) == there
    assert to_json(there)["run"] == "gs://bucket/run"


def test_a_run_in_a_bucket_is_held_by_one(run: Path, tmp_path: Path) -> None:
    with held(run):
        assert json.loads((tmp_path / "bucket/run/lock/1").read_text())["pid"]
        with pytest.raises(UserError, match="gs://bucket/run is being trained"), held(run):
            pass
    with held(run):
        assert [path.name for path in (run / "lock").iterdir()] == ["2"]


def test_what_exists_is_not_created_again(run: Path) -> None:
    run.mkdir()
    assert create(run / "new", "one")
    assert not create(run / "new", "two")
    replace_text(run / "new", "three")
    assert (run / "new").read_text() == "three"


def test_metrics_go_on_in_a_bucket(run: Path, tmp_path: Path) -> None:
    run.mkdir()
    for step in (0, 1):
        writer = MetricsWriter(run, step)
        writer.write(MetricsRow(**{**vars(ROW), "step": step + 1}))
        assert [row["step"] for row in read_metrics(run)] == list(range(1, step + 2))
        writer.close()
    events = [e for path in (tmp_path / "bucket/run").glob("events*") for e in EventFileLoader(str(path)).Load()]
    assert {event.step for event in events if event.HasField("summary")} == {1, 2}
