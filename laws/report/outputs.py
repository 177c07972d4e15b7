"""From result files to laws.json, figures and report, written all together or not at all."""

import hashlib
import json
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

from data.common.cli import UserError
from eval.results import ResultRow
from laws.figures import outlook
from laws.figures import profiles as figures
from laws.figures.canvas import Picture
from laws.figures.marks import Reference
from laws.fit.analysis import Fit, analyse
from laws.fit.bootstrap import DRAWS
from laws.fit.diagnose import Diagnostic
from laws.predict.forecast import Outlook
from laws.predict.forecast import outlook as foretell
from laws.report import report
from laws.report.document import document
from laws.rows.runs import read


def fit(
    runs: Sequence[Path],
    *,
    out: Path,
    game: str | None = None,
    beside: Sequence[Path] = (),
    expert: float | None = None,
    draws: int = DRAWS,
    drawn: bool = True,
) -> Fit:
    """Fit the result rows in the files `runs` (of `game` only, if given) and write everything into `out`.

    `beside` are result files of another study, whose optima are drawn beside; `expert` is the expert's mean return.
    """
    found = read(runs, game)
    games = sorted({row.game for row in found.rows})
    if expert is not None and len(games) > 1:
        raise UserError(f"the rows are of {', '.join(games)}: --expert-return is of one, choose it with --game")
    others = {each.game: each for each in analyse(read(beside).rows, draws=0).games} if beside else {}
    if others and not others.keys() & set(games):
        raise UserError(f"--beside holds {', '.join(others)}, not {', '.join(games)}: name a study of the same game")
    references = {name: Reference(expert, others.get(name)) for name in games}
    options = ["--out", out, *(["--beside", *beside] if beside else [])]
    options += [] if expert is None else ["--expert-return", f"{expert:g}"]
    options += [] if draws == DRAWS else ["--bootstraps", draws]
    options += [] if drawn else ["--no-figures"]
    context = report.Context("Scaling laws: " + ", ".join(games), configuration="\n".join(_repeat(runs, game, options)))
    return write_outputs(
        found.rows, out, context, diagnostics=found.diagnostics, draws=draws, references=references, drawn=drawn
    )


def _repeat(runs: Sequence[Path], game: str | None, options: Sequence[object]) -> Iterator[str]:
    """The commands that give the same again, and what they read."""
    files = [*runs, *(["--game", game] if game else [])]
    for command, words in (("fit", options), ("forecast", ("--flops", "C")), ("plan", ("--flops", "C"))):
        yield shlex.join(map(str, ("python", "-m", "laws", command, *files, *words)))
    versions = ", ".join(f"{name} {version(name)}" for name in ("isoplay", "numpy", "scipy"))
    yield f"\n{versions}; SHA-256 of what was read:"
    yield from (f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path}" for path in runs)


def write_outputs(
    rows: Sequence[ResultRow],
    out: Path,
    context: report.Context | None = None,
    *,
    diagnostics: Sequence[Diagnostic] = (),
    draws: int = DRAWS,
    references: Mapping[str, Reference] | None = None,
    drawn: bool = True,
) -> Fit:
    """Fit `rows` and write `laws.json`, `report.html` and `<game>-<figure>.png` and `.pdf` into `out`.

    `context` adds to the report what is known beside the rows; `diagnostics` are those of reading the rows;
    `references`, by game, are drawn in its figures. Without `drawn` there are neither figures nor forecasts.
    Everything is rendered before anything is written, and each file is replaced whole.
    """
    if not rows:
        raise UserError("no result rows to fit: evaluate the runs first")
    found = analyse(rows, diagnostics, draws=draws)
    stems = _stems([each.game for each in found.games])
    pictures: dict[str, tuple[Picture, ...]] = {each.game: () for each in found.games}
    outlooks: dict[str, Outlook] = {}
    for each in found.games if drawn else ():
        pictures[each.game] = figures.pictures(each, (references or {}).get(each.game))
        if each.profiles:
            outlooks[each.game] = foretell(each.profiles)
            pictures[each.game] += outlook.pictures(each.game, outlooks[each.game])
    files = {"laws.json": (json.dumps(document(found), indent=1, allow_nan=False) + "\n").encode()}
    for name, stem in stems.items():
        for picture in pictures[name]:
            files[f"{stem}-{picture.name}.png"] = picture.png
            files[f"{stem}-{picture.name}.pdf"] = picture.pdf
    files["report.html"] = report.render(found, pictures, context, outlooks).encode()
    _write(out, files)
    return found


def _stems(games: Sequence[str]) -> dict[str, str]:
    """What the files of each game start with: its name as file systems take it."""
    stems = {game: re.sub(r"[^A-Za-z0-9_.-]+", "-", game).strip(".-") or "game" for game in games}
    for game, stem in stems.items():
        duplicates = [other for other in games if stems[other].casefold() == stem.casefold()]
        if len(duplicates) > 1:
            raise UserError(
                f"games {' and '.join(duplicates)} would share files: fit them one by one with --game {game}"
            )
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
