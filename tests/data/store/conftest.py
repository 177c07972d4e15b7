from pathlib import Path

import pytest

from tests.data.store.stores import (
    write,
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write(tmp_path / "store")
