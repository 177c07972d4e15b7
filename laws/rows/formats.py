"""Tables as people save them: delimited text in any encoding, JSON, JSON lines and Parquet, told apart by content."""

import gzip
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from data.common.cli import UserError, printable
from laws.rows.columns import Record
from laws.rows.delimited import Delimited
from laws.rows.objects import json_rows, unified

MOST_BYTES = 1 << 30
"""Largest file that is read."""
_MARKS = {b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}
_FOREIGN = {
    b"PK\x03\x04": "an Excel workbook or other archive: save the sheet as CSV",
    b"\xd0\xcf\x11\xe0": "an old Excel workbook: save the sheet as CSV",
    b"\x89HDF": "HDF5: write the table as CSV or Parquet",
    b"\x93NUMPY": "a NumPy array: write the table as CSV with a header",
    b"ARROW1": "Feather: write the table as Parquet",
    b"SQLite": "an SQLite database: export the table as CSV",
    b"\x28\xb5\x2f\xfd": "compressed with zstd: decompress it first",
    b"BZh": "compressed with bzip2: decompress it first",
    b"\xfd7zXZ": "compressed with xz: decompress it first",
    b"\x80\x04": "a pickle: write the table as CSV or Parquet",
    b"\x80\x05": "a pickle: write the table as CSV or Parquet",
    b"<!DOCTYPE": "a web page: download the raw table",
    b"<html": "a web page: download the raw table",
    b"version https://git-lfs": "a pointer of Git LFS: fetch the file with git lfs pull",
}
"""Beginnings of files that are no table, with the remedy."""


@dataclass(frozen=True)
class RawTable:
    """The rows of one file as they stand in it, all with the same columns."""

    rows: Iterable[Record]
    decimal_comma: bool = False
    """Whether numbers are written with a decimal comma, as in 0,5."""
    commented: Sequence[int] = ()
    """Numbers of the lines that begin with #, as comments do, and would else be rows."""


def open_table(path: Path) -> RawTable:
    """The table in `path`: Parquet, JSON (rows, or columns by name), JSON lines, or delimited text; gzip or not.

    Raises:
        UserError: the file doesn't exist, can't be read, is too large, is damaged, or is none of these; damage to a
            line of delimited text is raised by the row iterator.
    """
    data = _bytes(path)
    if data[:2] == b"\x1f\x8b":
        data = _unzipped(path, data)
    if data[:4] == b"PAR1":
        return RawTable(unified(_parquet(path, data)))
    for start, what in _FOREIGN.items():
        if data.startswith(start):
            raise UserError(f"{path}: {what}")
    text = _decoded(path, data)
    if text.lstrip()[:1] in ("[", "{"):
        return RawTable(unified(json_rows(path, text)))
    table = Delimited.of(text)
    return RawTable(table.rows(path), table.decimal_comma, table.commented)


def _bytes(path: Path) -> bytes:
    try:
        if path.is_dir():
            raise UserError(f"{path}: is a folder; name the runs.jsonl in it")
        if not path.exists():
            raise UserError(f"{path}: does not exist; check the path")
        if not path.is_file():
            raise UserError(f"{path}: is no plain file; save the table to one first")
        if path.stat().st_size > MOST_BYTES:
            raise UserError(_too_large(path))
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: can't be read ({error.strerror}); check its path and permissions") from error


def _too_large(path: Path) -> str:
    return f"{path}: larger than {MOST_BYTES >> 30} GiB; keep one row per evaluated checkpoint"


def _unzipped(path: Path, data: bytes) -> bytes:
    stream = zlib.decompressobj(16 + zlib.MAX_WBITS)
    try:
        whole = stream.decompress(data, MOST_BYTES)
        if stream.unconsumed_tail:
            raise UserError(_too_large(path))
        return whole if stream.eof and not stream.unused_data else gzip.decompress(data)
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"{path}: a damaged gzip file ({error}); write it again") from error


def _decoded(path: Path, data: bytes) -> str:
    """Text of UTF-8 or UTF-16, with or without a byte order mark, or of Windows' Western code page."""
    encoding = _MARKS.get(data[:2])
    if encoding is None and b"\0" in data[:200]:
        encoding = "utf-16-le" if data[1:2] == b"\0" else "utf-16-be"
    for name in (encoding,) if encoding else ("utf-8-sig", "cp1252"):
        try:
            text = data.decode(name)
        except UnicodeDecodeError:
            continue
        if "\0" not in text and (not encoding or _is_western(text)):
            return text
    raise UserError(f"{path}: not text in UTF-8, UTF-16 or Windows-1252, and not Parquet; export the table again")


def _is_western(text: str) -> bool:
    """Whether the beginning of `text` is of characters that a header has, unlike binary data read in pairs of bytes."""
    start = text[:200]
    return sum(char.isascii() for char in start) >= len(start) / 2


def _parquet(path: Path, data: bytes) -> Iterator[Record]:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise UserError(f"{path}: reading Parquet needs pyarrow: pip install 'isoplay[parquet]'") from error
    try:
        file = pq.ParquetFile(pa.BufferReader(data))
        number = 0
        for batch in file.iter_batches():
            for values in batch.to_pylist():
                number += 1
                yield f"row {number}", values
    except (pa.ArrowException, OSError, ValueError, OverflowError) as error:
        said = printable(str(error).strip().split("\n", 1)[0])
        raise UserError(f"{path}: a damaged Parquet file ({said}); write it again") from error
