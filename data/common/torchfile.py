"""Reads numbers and tensors from files of `torch.save`, without torch, safely for untrusted files.

Such a file is a zip archive of a pickle and of raw storages (pytorch.org/docs/stable/notes/serialization.html). Only
the pickle opcodes that dicts of numbers and tensors need are interpreted; nothing that a file names is imported or
called.
"""

import io
import math
import pickletools
import struct
import warnings
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

_STORAGES = {"torch FloatStorage": "f4", "torch DoubleStorage": "f8", "torch LongStorage": "i8"}
_HALF = {"torch HalfStorage", "torch BFloat16Storage"}
_LEGACY = b"\x80\x02\x8a\x0a"
"""How files of torch before 1.6 begin: a pickle of a long number."""
_MOST_AXES = 8
_OTHERS = {"torch._utils _rebuild_tensor_v2", "collections OrderedDict", "collections defaultdict", "__builtin__ dict"}
DAMAGE = (zipfile.BadZipFile, struct.error, EOFError, OSError, RuntimeError, ValueError, LookupError, ArithmeticError)
"""What zipfile and genops raise on damaged files, and what an opcode raises on an empty stack."""


class Refused(Exception):
    """A file cannot be read safely; the message says why."""


class Unsupported(Refused):
    """A file is whole, but of a kind that isn't read; the message says which, and what would do."""


@dataclass(frozen=True)
class _Global:
    name: str


def load(data: bytes) -> Any:
    """Read a file of dicts of strings and numbers; a tensor of shape () becomes a number.

    Raises:
        Refused: The file is damaged, or holds anything else.
    """
    return _read(data, whole=False)


def load_tensors(data: bytes) -> Any:
    """Read a file of dicts of strings, numbers and tensors of any shape, such as the state dict of a module.

    Tensors become read-only arrays of float32, float64 or int64, in the file's byte order.

    Raises:
        Refused: The file is damaged, or holds anything else.
    """
    return _read(data, whole=True)


def texts(data: bytes) -> set[str]:
    """The strings in the pickle of a file, which may hold anything; empty if it is damaged."""
    try:
        with warnings.catch_warnings(action="ignore"):
            opcodes = list(pickletools.genops(_entries(data)["data.pkl"]))
    except (*DAMAGE, Refused):
        return set()
    return {argument for _, argument, _ in opcodes if isinstance(argument, str)}


def _read(data: bytes, whole: bool) -> Any:
    if data.startswith(_LEGACY):
        raise Unsupported("in the format of torch before 1.6: load it, and save it again with a newer torch")
    try:
        with warnings.catch_warnings(action="ignore"):  # genops gives some, on text with stray backslashes
            return _unpickled(_entries(data), whole)
    except DAMAGE as error:
        raise Refused(f"damaged ({str(error)[:100] or type(error).__name__})") from error


def _entries(data: bytes) -> dict[str, bytes]:
    """The entries of the archive by name, without the name of the folder that holds them all."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        infos = archive.infolist()
        if sum(info.file_size for info in infos) > len(data):
            raise Refused("its entries claim more bytes than the file has")
        if any(info.compress_type != zipfile.ZIP_STORED for info in infos):
            raise Refused("compressed, which torch's files never are")
        names = [info.filename.split("/") for info in infos]
        if len({name[0] for name in names}) != 1 or any(not name[1:] or {"", ".", ".."} & {*name} for name in names):
            raise Refused("its entries don't lie in one folder")
        entries = {"/".join(name[1:]): archive.read(info) for name, info in zip(names, infos, strict=True)}
    if len(entries) < len(infos):
        raise Refused("two of its entries have one name")
    return entries


def _unpickled(entries: dict[str, bytes], whole: bool) -> Any:
    """Interpret data.pkl with a pickle machine that cannot import or call anything.

    `whole`: accept tensors of any shape, and the `_metadata` of a state dict, which is dropped.
    """
    items: list[Any] = []
    below: list[list[Any]] = []
    memo: dict[int, Any] = {}
    opcodes: Iterator[tuple[Any, Any, Any]] = pickletools.genops(entries["data.pkl"])
    for opcode, argument, _ in opcodes:
        match opcode.name:
            case "PROTO" | "STOP":
                pass
            case "BINUNICODE" | "BINFLOAT" | "BININT" | "BININT1" | "BININT2" | "LONG1":
                items.append(argument)
            case "NEWTRUE" | "NEWFALSE":
                items.append(opcode.name == "NEWTRUE")
            case "GLOBAL" if argument in _STORAGES or argument in _OTHERS:
                items.append(_Global(argument))
            case "BINPUT" | "LONG_BINPUT":
                memo[argument] = items[-1]
            case "BINGET" | "LONG_BINGET":
                items.append(memo[argument])
            case "MARK":
                below.append(items)
                items = []
            case "EMPTY_DICT":
                items.append({})
            case "EMPTY_TUPLE":
                items.append(())
            case "TUPLE1":
                items.append((items.pop(),))
            case "TUPLE2" | "TUPLE3" if whole:
                values = [items.pop() for _ in range(int(opcode.name[-1]))]
                items.append(tuple(reversed(values)))
            case "TUPLE":
                values, items = items, below.pop()
                items.append(tuple(values))
            case "SETITEM":
                value, key = items.pop(), items.pop()
                _set(items[-1], [key, value])
            case "SETITEMS":
                values, items = items, below.pop()
                _set(items[-1], values)
            case "BINPERSID":
                items.append(_storage(entries, items.pop()))
            case "REDUCE":
                arguments, function = items.pop(), items.pop()
                items.append(_built(function, arguments, whole))
            case "BUILD" if whole:
                about = items.pop()
                if type(items[-1]) is not dict or type(about) is not dict or set(about) != {"_metadata"}:
                    raise Refused("gives an object a state")
            case "GLOBAL" if argument in _HALF:
                raise Unsupported(f"in half precision ({argument[6:]}): save it as float32, as policy.float() makes it")
            case name:
                named = f" {argument[:80]!r}" if name == "GLOBAL" else ""
                raise Refused(f"holds the pickle opcode {name}{named}, which no table of numbers needs")
    return items.pop()


def _set(holder: Any, items: list[Any]) -> None:
    # Other keys are refused: hashing a deeply nested tuple could take forever.
    if type(holder) is not dict or any(type(key) not in (str, int) for key in items[::2]):
        raise ValueError("an item that no table holds")
    holder.update(zip(items[::2], items[1::2], strict=True))


def _storage(entries: dict[str, bytes], identity: Any) -> np.ndarray:
    match identity:
        case ("storage", _Global(kind), str(key), str(), int(count)) if kind in _STORAGES:
            order = {b"little": "<", b"big": ">"}[entries.get("byteorder", b"little")]
            values = np.frombuffer(entries[f"data/{key}"], order + _STORAGES[kind])
            if len(values) == count:
                return values
    raise Refused("a tensor's storage isn't float32, float64 or int64 of the length that is given")


def _built(function: Any, arguments: Any, whole: bool) -> Any:
    match function, arguments:
        case _Global("collections OrderedDict"), ():
            return {}
        case _Global("collections defaultdict"), (_Global("__builtin__ dict"),):
            return {}
        case _Global("torch._utils _rebuild_tensor_v2"), (np.ndarray() as values, int(offset), shape, strides, *_):
            if _lies_in_order(shape, strides) and 0 <= offset <= len(values) - math.prod(shape):
                tensor = values[offset : offset + math.prod(shape)].reshape(shape)
                if whole or not shape:
                    return tensor if whole else tensor.item()
    raise Refused(f"builds an object other than a dict or a tensor of {'numbers in order' if whole else 'one number'}")


def _lies_in_order(shape: Any, strides: Any) -> bool:
    """Whether a tensor is contiguous in row-major order."""
    if type(shape) is not tuple or type(strides) is not tuple or not len(shape) == len(strides) <= _MOST_AXES:
        return False
    if any(type(number) is not int or number < 0 for number in shape + strides):
        return False
    # The stride of an axis of size 1 has no meaning.
    steps = [math.prod(shape[axis + 1 :]) for axis in range(len(shape))]
    return all(size == 1 or stride == step for size, stride, step in zip(shape, strides, steps, strict=True))
