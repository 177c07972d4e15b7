"""A process counts the cores that it may use."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs Linux")
@pytest.mark.parametrize(
    "workers",
    [
        "from data.common.cores import cores; print(cores())",
        "from eval.config import EvalConfig; print(EvalConfig.workers)",
        "from laws.study.reproduce import WORKERS; print(WORKERS)",
    ],
)
def test_it_uses_no_more_cores_than_it_may(workers: str) -> None:
    one = f"import os; os.sched_setaffinity(0, {{min(os.sched_getaffinity(0))}}); {workers}"
    done = subprocess.run([sys.executable, "-c", one], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "1\n"
