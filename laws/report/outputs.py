"""From result rows to laws.json, figures and report.html, all of them written or none."""

import dataclasses
import hashlib
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

from data.common.cli import UserError
from data.common.progress import BRIEF, Bar
from data.common.rows import as_json
from eval.results import ResultRow
from laws.figures import FIGURES, draw
from laws.figures.style import Picture, Reference, Subject
from laws.fitting.analysis import Fit, FitOptions, GameFit, fit
from laws.fitting.bootstrap import DRAWS
from laws.predict.forecast import Extrapolation, extrapolate
from laws.report.document import document
from laws.report.report import Context, render
from laws.rows.runs import Runs, TableOptions, read


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
    table: TableOptions | None = None,
    options: FitOptions | None = None,
) -> Fit:
    """Fit the result rows in `paths` (of `game` only, if given) and write all outputs into `out`.

    Args:
        paths: Result files.
        out: Folder of the outputs.
        game: Fit the rows of this game only.
        beside: Result files of another study, drawn for comparison.
        expert: The expert's mean return.
        draws: Simulated studies for the intervals; 0 for none.
        figures: Also make figures and forecasts.
        protocol: As of `read`.
        mixed_versions: As of `read`.
        table: How to read the tables.
        options: How budgets and parabolas are made.

    Raises:
        UserError: as `read` and `write_outputs`; `expert` is given for several games, or `beside` has none of them.
    """
    table, options = table or TableOptions(), options or FitOptions()
    rows = read(paths, game, protocol=protocol, mixed_versions=mixed_versions, options=table)
    games = sorted({row.game for row in rows.rows})
    if expert is not None and len(games) > 1:
        raise UserError(f"the rows are of {', '.join(games)}: --expert-return is of one, choose it with --game")
    known = read(beside, mixed_versions=mixed_versions, options=table).rows if beside else ()
    others = {each.game: each for each in fit(known, draws=0, options=options).games}
    if others and not others.keys() & set(games):
        raise UserError(f"--beside holds {', '.join(others)}, not {', '.join(games)}: name a study of the same game")
    references = {name: Reference(expert, others.get(name)) for name in games}
    files = [*paths, *(["--game", game] if game else []), *(["--mixed-versions"] if mixed_versions else [])]
    files += [] if protocol is None else ["--protocol", protocol]
    files += [*_words(table, TableOptions()), *_words(options, FitOptions())]
    flags = ["--out", out, *(["--beside", *beside] if beside else [])]
    flags += [] if expert is None else ["--expert-return", f"{expert:g}"]
    flags += [] if draws == DRAWS else ["--bootstraps", draws]
    flags += [] if figures else ["--no-figures"]
    context = Context("Scaling laws: " + ", ".join(games), configuration="\n".join(_commands(files, paths, flags)))
    return write_outputs(rows, out, context, draws=draws, references=references, figures=figures, options=options)


def _words(options: TableOptions | FitOptions, default: TableOptions | FitOptions) -> Iterator[str]:
    """The options that differ from the default, as on the command line."""
    for each in dataclasses.fields(options):
        value, flag = getattr(options, each.name), f"--{each.name.replace('_', '-')}"
        if value == getattr(default, each.name):
            continue
        yield flag
        if value is not True:
            yield from (value if isinstance(value, tuple) else [str(value)])


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
    options: FitOptions | None = None,
) -> Fit:
    """Fit `rows` and write `laws.json`, `report.html` and `<game>-<figure>.png` and `.pdf` into `out`.

    Everything is rendered before anything is written, and each file is replaced atomically.

    Args:
        rows: What `read` returns, or result rows.
        out: Folder of the outputs, made if need be.
        context: What the report says besides the fit.
        draws: Simulated studies for the intervals; 0 for none.
        references: By game, what its figures are compared with.
        figures: Also make figures and forecasts.
        options: How budgets and parabolas are made.

    Raises:
        UserError: there are no rows, two games would share file names, or `out` can't be written.
    """
    if not (rows.rows if isinstance(rows, Runs) else rows):
        raise UserError("no result rows to fit: evaluate the runs first")
    found = fit(rows, draws=draws, options=options)
    stems = stems_of([each.game for each in found.games]) if figures else {}
    pictures: dict[str, tuple[Picture, ...]] = {}
    extrapolations: dict[str, Extrapolation | None] = {}
    files = {"laws.json": f"{as_json(document(found))}\n".encode()}
    for each in found.games if figures else ():
        reference = (references or {}).get(each.game, Reference())
        made, pictures[each.game], extrapolations[each.game] = pictures_of(each, stems[each.game], reference)
        files |= made
    files["report.html"] = render(found, pictures, context, extrapolations).encode(errors="backslashreplace")
    write_files(out, files)
    return found


def pictures_of(
    game: GameFit, stem: str, reference: Reference | None = None
) -> tuple[dict[str, bytes], tuple[Picture, ...], Extrapolation | None]:
    """The figures of a game as files by name, as pictures, and the forecasts that they show."""
    extrapolation = extrapolate(game) if game.profiles else None
    made = draw(Subject(game, reference or Reference(), extrapolation))
    bar = Bar(made, f"draw {stem}", len(FIGURES), unit="figure", delay=BRIEF, leave=False)
    pictures = tuple(bar)
    files = {f"{stem}-{picture.name}.png": picture.png for picture in pictures}
    return files | {f"{stem}-{picture.name}.pdf": picture.pdf for picture in pictures}, pictures, extrapolation


def stems_of(games: Sequence[str]) -> dict[str, str]:
    """File name prefix of each game: its name without characters that file systems refuse.

    Raises:
        UserError: Two of them would be the same.
    """
    stems = {game: re.sub(r"[^\w.-]+", "-", game).strip(".-") or "game" for game in games}
    for game, name in stems.items():
        duplicates = [other for other in games if stems[other].casefold() == name.casefold()]
        if len(duplicates) > 1:
            raise UserError(
                f"games {' and '.join(duplicates)} would share files: fit them one by one with --game {game}"
            )
    return stems


def write_files(out: Path, files: dict[str, bytes]) -> None:
    """Write files into a folder, which is made if need be: all of them, or none.

    Raises:
        UserError: They can't be written.
    """
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
