"""From result rows to laws.json, figures and report.html, all of them written or none."""

import hashlib
import json
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

from data.common.cli import UserError
from eval.results import ResultRow
from laws.figures import draw
from laws.figures.style import Picture, Reference, Subject
from laws.fitting.analysis import Fit, fit
from laws.fitting.bootstrap import DRAWS
from laws.predict.forecast import Extrapolation, extrapolate
from laws.report.document import document
from laws.report.report import Context, render
from laws.rows.runs import Runs, read


def fit_files(
    paths: Sequence[Path],
    *,
    out: Path,
    game: str | None = None,
    beside: Sequence[Path] = (),
    expert: float | None = None,
    draws: int = DRAWS,
    figures: bool = True,
    protocol: str | None = None,
    mixed_versions: bool = False,
) -> Fit:
    """Fit the result rows in `paths` (of `game` only, if given) and write all outputs into `out`.

    Args:
        paths: Result files.
        out: Folder of the outputs.
        game: Fit the rows of this game only.
        beside: Result files of another study, drawn for comparison.
        expert: The expert's mean return.
        draws: Bootstrap draws of runs; 0 for none.
        figures: Also make figures and forecasts.
        protocol: As of `read`.
        mixed_versions: As of `read`.

    Raises:
        UserError: as `read` and `write_outputs`; `expert` is given for several games, or `beside` has none of them.
    """
    rows = read(paths, game, protocol=protocol, mixed_versions=mixed_versions)
    games = sorted({row.game for row in rows.rows})
    if expert is not None and len(games) > 1:
        raise UserError(f"the rows are of {', '.join(games)}: --expert-return is of one, choose it with --game")
    known = read(beside, mixed_versions=mixed_versions).rows if beside else ()
    others = {each.game: each for each in fit(known, draws=0).games}
    if others and not others.keys() & set(games):
        raise UserError(f"--beside holds {', '.join(others)}, not {', '.join(games)}: name a study of the same game")
    references = {name: Reference(expert, others.get(name)) for name in games}
    files = [*paths, *(["--game", game] if game else []), *(["--mixed-versions"] if mixed_versions else [])]
    files += [] if protocol is None else ["--protocol", protocol]
    options = ["--out", out, *(["--beside", *beside] if beside else [])]
    options += [] if expert is None else ["--expert-return", f"{expert:g}"]
    options += [] if draws == DRAWS else ["--bootstraps", draws]
    options += [] if figures else ["--no-figures"]
    context = Context("Scaling laws: " + ", ".join(games), configuration="\n".join(_commands(files, paths, options)))
    return write_outputs(rows, out, context, draws=draws, references=references, figures=figures)


def _commands(files: Sequence[object], paths: Sequence[Path], options: Sequence[object]) -> Iterator[str]:
    """The commands that reproduce the outputs, and the checksums of the files they read."""
    for command, words in (("fit", options), ("forecast", ("--flops", "C")), ("plan", ("--flops", "C"))):
        yield shlex.join(map(str, ("python", "-m", "laws", command, *files, *words)))
    versions = ", ".join(f"{name} {version(name)}" for name in ("isoplay", "numpy", "scipy"))
    yield f"\n{versions}; SHA-256 of the files read:"
    yield from (f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path}" for path in paths)


def write_outputs(
    rows: Runs | Sequence[ResultRow],
    out: Path,
    context: Context | None = None,
    *,
    draws: int = DRAWS,
    references: Mapping[str, Reference] | None = None,
    figures: bool = True,
) -> Fit:
    """Fit `rows` and write `laws.json`, `report.html` and `<game>-<figure>.png` and `.pdf` into `out`.

    Everything is rendered before anything is written, and each file is replaced atomically.

    Args:
        rows: What `read` returns, or result rows.
        out: Folder of the outputs, made if need be.
        context: What the report says besides the fit.
        draws: Bootstrap draws of runs; 0 for none.
        references: By game, what its figures are compared with.
        figures: Also make figures and forecasts.

    Raises:
        UserError: there are no rows, two games would share file names, or `out` can't be written.
    """
    if not (rows.rows if isinstance(rows, Runs) else rows):
        raise UserError("no result rows to fit: evaluate the runs first")
    found = fit(rows, draws=draws)
    stems = _stems([each.game for each in found.games])
    pictures: dict[str, tuple[Picture, ...]] = {each.game: () for each in found.games}
    extrapolations: dict[str, Extrapolation] = {}
    for each in found.games if figures else ():
        if each.profiles:
            extrapolations[each.game] = extrapolate(each.profiles)
        reference = (references or {}).get(each.game, Reference())
        pictures[each.game] = draw(Subject(each, reference, extrapolations.get(each.game)))
    files = {"laws.json": (json.dumps(document(found), indent=1, allow_nan=False) + "\n").encode()}
    for name, stem in stems.items():
        for picture in pictures[name]:
            files[f"{stem}-{picture.name}.png"] = picture.png
            files[f"{stem}-{picture.name}.pdf"] = picture.pdf
    files["report.html"] = render(found, pictures, context, extrapolations).encode()
    _write(out, files)
    return found


def _stems(games: Sequence[str]) -> dict[str, str]:
    """File name prefix of each game: its name without characters that file systems refuse."""
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
