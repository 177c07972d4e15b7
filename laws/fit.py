"""From result files to laws.json, figures and report, written all together or not at all."""

import json
import re
from collections.abc import Sequence
from pathlib import Path

from data.command import UserError
from eval.results import ResultRow
from laws import report
from laws.analysis import Fit, analyse
from laws.diagnose import Diagnostic
from laws.document import document
from laws.figures import pictures
from laws.resample import DRAWS
from laws.runs import read


def fit(runs: Sequence[Path], *, out: Path, game: str | None = None, draws: int = DRAWS) -> Fit:
    """Fit the result rows in the files `runs` (of `game` only, if given) and write everything into `out`."""
    found = read(runs, game)
    return write_outputs(found.rows, out, diagnostics=found.diagnostics, draws=draws)


def write_outputs(
    rows: Sequence[ResultRow],
    out: Path,
    context: report.Context | None = None,
    *,
    diagnostics: Sequence[Diagnostic] = (),
    draws: int = DRAWS,
) -> Fit:
    """Fit `rows` and write `laws.json`, `report.html` and `<game>-<figure>.png` and `.pdf` into `out`.

    `context` adds to the report what a reproduction knows beside the rows; `diagnostics` are those of reading
    the rows. Everything is rendered before anything is written, and each file is replaced whole.
    """
    if not rows:
        raise UserError("no result rows to fit: evaluate the runs first")
    found = analyse(rows, diagnostics, draws=draws)
    stems = _stems([each.game for each in found.games])
    drawn = {each.game: pictures(each) for each in found.games}
    files = {"laws.json": (json.dumps(document(found), indent=1, allow_nan=False) + "\n").encode()}
    for name, stem in stems.items():
        for picture in drawn[name]:
            files[f"{stem}-{picture.name}.png"] = picture.png
            files[f"{stem}-{picture.name}.pdf"] = picture.pdf
    files["report.html"] = report.render(found, drawn, context).encode()
    _write(out, files)
    return found


def _stems(games: Sequence[str]) -> dict[str, str]:
    """What the files of each game start with: its name as file systems take it."""
    stems = {game: re.sub(r"[^A-Za-z0-9_.-]+", "-", game).strip(".-") or "game" for game in games}
    for game, stem in stems.items():
        twins = [other for other in games if stems[other].casefold() == stem.casefold()]
        if len(twins) > 1:
            raise UserError(f"games {' and '.join(twins)} would share files: fit them one by one with --game {game}")
    return stems


def _write(out: Path, files: dict[str, bytes]) -> None:
    scratch = {name: out / f".{name}.tmp" for name in files}
    try:
        out.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            scratch[name].write_bytes(content)
        for name in files:
            scratch[name].replace(out / name)
    except OSError as error:
        raise UserError(f"{out}: can't be written ({error.strerror}); choose another --out") from error
    finally:
        if out.is_dir():
            for path in scratch.values():
                path.unlink(missing_ok=True)
