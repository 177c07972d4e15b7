"""Files as torch saves them, written byte by byte, and damage to them."""

import io
import random
import struct
import zipfile

CODES = {"FloatStorage": "f", "DoubleStorage": "d", "LongStorage": "q"}
EMPTY = b"ccollections\ndefaultdict\nc__builtin__\ndict\n\x85R"


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value.encode())) + value.encode()


def number(value: float) -> bytes:
    if isinstance(value, float):
        return b"G" + struct.pack(">d", value)
    if value < 1 << 31:
        return b"J" + struct.pack("<i", value)
    return b"\x8a\x08" + struct.pack("<q", value)


def sizes(*numbers: int) -> bytes:
    """A tuple, by the opcode that torch uses for its length."""
    marked = len(numbers) > 3
    end = b"t" if marked else (b")", b"\x85", b"\x86", b"\x87")[len(numbers)]
    return b"(" * marked + b"".join(map(number, numbers)) + end


def tensor(
    key: str = "0",
    kind: str = "FloatStorage",
    count: int = 1,
    offset: int = 0,
    size: bytes = b")",
    strides: bytes | None = None,
) -> bytes:
    """The opcodes of one tensor, whose storage is the archive's entry data/`key`."""
    strides = size if strides is None else strides
    storage = b"(" + text("storage") + f"ctorch\n{kind}\n".encode() + text(key) + text("cpu") + number(count) + b"tQ"
    hooks = b"ccollections\nOrderedDict\n)R"
    form = number(offset) + size + strides + b"\x89" + hooks
    return b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + form + b"tR"


def mapping(items: dict[str | int, bytes], start: bytes = b"}") -> bytes:
    keys = {key: text(key) if isinstance(key, str) else number(key) for key in items}
    return start + b"(" + b"".join(keys[key] + value for key, value in items.items()) + b"u"


def archive(pickle: bytes, storages: dict[str, bytes] | None = None, order: bytes | None = b"little") -> bytes:
    entries = {"data.pkl": b"\x80\x02" + pickle + b".", "version": b"3\n"}
    if order:
        entries["byteorder"] = order
    entries |= {f"data/{key}": raw for key, raw in (storages or {}).items()}
    return zipped({f"archive/{name}": raw for name, raw in entries.items()})


def zipped(entries: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w", method) as file:
        for name, raw in entries.items():
            file.writestr(name, raw)
    return whole.getvalue()


def altered(content: bytes, chance: random.Random) -> bytes:
    """`content` with one to four of its bytes changed, left out, put in or all that follows cut off."""
    for _ in range(chance.randint(1, 4)):
        place = chance.randrange(len(content) + 1)
        rest = content[place + chance.randint(0, 2) :]
        some = bytes(chance.choices(range(256), k=chance.randint(0, 2)))
        content = content[:place] + some + (b"" if chance.random() < 0.1 else rest)
    return content
