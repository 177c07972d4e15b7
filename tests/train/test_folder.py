"""The folder of a run."""

import json
from pathlib import Path

import pytest

from data.common.cli import UserError
from train.folder import claim

DEFAULTS = {"rate": 0.1, "optimizer": {"lr": 1e-3, "clip": 1.0}}


def test_a_run_of_an_earlier_version_goes_on_with_the_defaults_of_new_fields(tmp_path: Path) -> None:
    earlier = {"config": {"optimizer": {"lr": 1e-3}}}
    (tmp_path / "config.json").write_text(json.dumps(earlier))
    claim(tmp_path, earlier, DEFAULTS, DEFAULTS)
    with pytest.raises(UserError, match="another rate"):
        claim(tmp_path, earlier, DEFAULTS | {"rate": 0.2}, DEFAULTS)
    with pytest.raises(UserError, match="another optimizer"):
        claim(tmp_path, earlier, DEFAULTS | {"optimizer": {"lr": 1e-3, "clip": 2.0}}, DEFAULTS)
