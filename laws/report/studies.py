"""The report of several studies: their laws side by side, then each of them."""

import shlex
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from data.common.cli import UserError
from data.common.rows import as_json, as_record
from laws.figures.laws import COMPARED, draw_studies
from laws.figures.style import render as picture_of
from laws.fitting.analysis import FitOptions, fit
from laws.fitting.bootstrap import DRAWS
from laws.report import comparison, matched
from laws.report.comparison import Difference, Study
from laws.report.matched import Match, matches
from laws.report.outputs import pictures_of, stems_of, write_files
from laws.report.report import Context, page, section
from laws.rows.runs import TableOptions, read

TABLES = ("runs.jsonl", "runs.csv")
"""Files of a run, a sweep or a study that hold its result rows."""


@dataclass(frozen=True)
class Compared:
    """What the comparison of several studies found."""

    differences: Sequence[Difference]
    matches: Sequence[Match]


def report_studies(
    words: Sequence[str],
    out: Path,
    *,
    game: str | None = None,
    draws: int = DRAWS,
    figures: bool = True,
    protocol: str | None = None,
    table: TableOptions | None = None,
    options: FitOptions | None = None,
) -> Compared:
    """Fit several studies and write `report.html`, `comparison.json` and the figures of all into `out`.

    Args:
        words: A table, or the folder of a run, a sweep or a study, each; NAME=PATH names it.
        out: Folder of the outputs.
        game: Take the rows of this game only.
        draws: Simulated studies for the intervals; 0 for none, and no tests.
        figures: Also draw the figures of each study.
        protocol: As of `laws.rows.runs.read`.
        table: How to read the tables.
        options: How budgets and parabolas are made.

    Raises:
        UserError: Fewer than two studies, a table can't be read, or `out` can't be written.
    """
    named = named_tables(words)
    fits = {
        name: fit(read([path], game, protocol=protocol, options=table or TableOptions()), draws=draws, options=options)
        for name, path in named.items()
    }
    of_study = {
        Study(name if len(found.games) == 1 else f"{name}, {each.game}", each): found
        for name, found in fits.items()
        for each in found.games
    }
    studies = list(of_study)
    if len(studies) < 2:
        raise UserError(f"a comparison needs two studies, not {len(studies)}: name further tables")
    found = Compared(list(comparison.differences(studies)), list(matches(studies)))
    compared = picture_of("comparison", COMPARED, draw_studies([(study.name, study.fit) for study in studies]))
    record = comparison.record(studies, found.differences) | {"matches": list(map(as_record, found.matches))}
    files = {"comparison.json": f"{as_json(record)}\n".encode()}
    sections = []
    stems = stems_of([study.name for study in studies]) if figures else {}
    for study, whole in of_study.items():
        made, pictures, extrapolation = pictures_of(study.fit, stems[study.name]) if figures else ({}, (), None)
        files |= made
        sections.append(section(study.fit, pictures, whole.diagnostics, extrapolation, whole.columns, study.name))
    files |= {"comparison.png": compared.png, "comparison.pdf": compared.pdf}
    leading = comparison.side_by_side(studies), comparison.tests(found.differences), matched.table(found.matches)
    context = Context(
        "Scaling laws: " + ", ".join(study.name for study in studies),
        configuration=shlex.join(["python", "-m", "laws", "report", *words, "--out", str(out)]),
        leading=tuple(table for table in leading if table.rows),
        leading_pictures=(compared,),
    )
    files["report.html"] = page(sections, context).encode(errors="backslashreplace")
    write_files(out, files)
    return found


def named_tables(words: Sequence[str]) -> dict[str, Path]:
    """The table of each study by a short name: given, or what its path doesn't share with the others.

    Raises:
        UserError: There is no such table, or two studies have one name.
    """
    pairs = []
    for word in words:
        name, equals, path = word.partition("=")
        named = bool(equals) and not Path(word).exists()
        pairs.append((name if named else "", table_of(Path(path if named else word))))
    paths = [path for _, path in pairs]
    found = [name or short_name(path, paths) for name, path in pairs]
    twice = [name for name, count in Counter(found).items() if count > 1]
    if twice:
        raise UserError(f"two studies are called {twice[0]!r}: name them, as NAME=PATH")
    return dict(zip(found, paths, strict=True))


def table_of(path: Path) -> Path:
    """A table, or that of the folder of a run, a sweep or a study.

    Raises:
        UserError: There is none.
    """
    if path.is_dir():
        tables = [path / name for name in TABLES if (path / name).is_file()]
        if not tables:
            raise UserError(f"{path} has no {TABLES[0]}: name a table of results, or the folder of a run or a sweep")
        return tables[0]
    return path


def short_name(path: Path, paths: Sequence[Path]) -> str:
    """The last part of a path that tells it from others: of runs.jsonl the folder."""

    def parts_of(path: Path) -> list[str]:
        return [part for part in path.resolve().with_suffix("").parts if part not in ("runs", "/")]

    parts, others = parts_of(path), [parts_of(other) for other in paths if other != path]
    for count in range(1, len(parts) + 1):
        if all(other[-count:] != parts[-count:] for other in others):
            return "/".join(parts[-count:])
    return "/".join(parts)
