"""A game is the same in another year: its screens, as the agent sees them, and its row."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

CLOCK = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>

static time_t shifted(time_t seconds) { return seconds + atol(getenv("SHIFT")); }

int clock_gettime(clockid_t clock, struct timespec *now) {
    int (*real)(clockid_t, struct timespec *) = dlsym(RTLD_NEXT, "clock_gettime");
    int failed = real(clock, now);
    if (!failed && clock == CLOCK_REALTIME) now->tv_sec = shifted(now->tv_sec);
    return failed;
}

int gettimeofday(struct timeval *now, void *zone) {
    int (*real)(struct timeval *, void *) = dlsym(RTLD_NEXT, "gettimeofday");
    int failed = real(now, zone);
    if (!failed) now->tv_sec = shifted(now->tv_sec);
    return failed;
}

time_t time(time_t *now) {
    struct timespec found;
    clock_gettime(CLOCK_REALTIME, &found);
    if (now) *now = found.tv_sec;
    return found.tv_sec;
}
"""
"""A library that shifts the clock of a process by so many seconds."""

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
    subprocess.run(
        [compiler, "-shared", "-fPIC", "-o", library, "-xc", "-", "-ldl"], input=CLOCK, text=True, check=True
    )
    told = []
    for days in (0, 400, -1200):
        env = os.environ | {"LD_PRELOAD": str(library), "SHIFT": str(days * 86_400 + 40_000)}
        done = subprocess.run([sys.executable, "-c", PLAY], capture_output=True, text=True, check=True, env=env)
        told.append(done.stdout.splitlines())
    years, games = zip(*((lines[0], lines[1:]) for lines in told), strict=True)
    assert len(set(years)) == 3
    assert games[0] == games[1] == games[2]
    assert any("killed by" in line for line in games[0]), "no game ended with the player's death, and his tombstone"
