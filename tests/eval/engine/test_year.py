"""A game is the same in another year: its screens, as the agent sees them, and its row."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

CLOCK = Path(__file__).resolve().parents[2] / "data" / "collect" / "clock.c"
"""A library that moves the clock of a process by CLOCK_SHIFT seconds."""

PLAY = """
import datetime, hashlib
from data.experts.nethack.player import NetHackExpert
from eval.engine.game import ChallengeGame
print(datetime.date.today().year)
game = ChallengeGame("@")
for seed in (2, 3):
    player, row, seen = NetHackExpert(seed), None, hashlib.sha256()
    game.start(seed)
    while row is None:
        for array in game.observation.values():
            seen.update(array.tobytes())
        row = game.step(0 if game.opening else player.act(game.observation))
    print(seen.hexdigest(), row)
game.close()
"""


def test_games_are_the_same_in_another_year(tmp_path: Path) -> None:
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("needs a C compiler, for a library that shifts the clock")
    library = tmp_path / "clock.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, CLOCK], check=True)
    told = []
    for days in (0, 400, -1200):
        env = os.environ | {"LD_PRELOAD": str(library), "CLOCK_SHIFT": str(days * 86_400 + 40_000)}
        done = subprocess.run([sys.executable, "-c", PLAY], capture_output=True, text=True, check=True, env=env)
        told.append(done.stdout.splitlines())
    years, games = zip(*((lines[0], lines[1:]) for lines in told), strict=True)
    assert len(set(years)) == 3
    assert games[0] == games[1] == games[2]
    assert any("killed by" in line for line in games[0]), "no game ended with the player's death, and his tombstone"
