"""A compiled program, read from XLA's text of it (HLO after optimisation, `Compiled.as_text()`)."""

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

BITS = {"pred": 8, "token": 0, "opaque": 0}
"""Bits of the types whose name does not end in their number."""

_COMPUTATION = re.compile(r"(ENTRY )?%?([\w.\-]+) (?:\(.*)?\{$")
_INSTRUCTION = re.compile(r"\s+(ROOT )?%?([\w.\-]+) = ")
_OPCODE = re.compile(r" ?([a-z][\w\-]*)\(")
_ARRAY = re.compile(r"([a-z]\w*)\[([\d,<=]*)\](?:\{([^}]*)\})?")
_CALLED = re.compile(
    r"\b(?:calls|to_apply|body|condition|called_computations|branch_computations|"
    r"true_computation|false_computation)=(\{[^}]*\}|%?[\w.\-]+)"
)
_COMMENT = re.compile(r"/\*.*?\*/")


@dataclass(frozen=True)
class Array:
    """An array as it lies in memory."""

    bytes: int
    """With the padding of the layout's tiles."""
    space: int
    """Memory space; 0 is a device's main memory."""

    @staticmethod
    def of(dtype: str, dims: str, layout: str) -> "Array":
        """From the parts of a shape, for example `bf16`, `64,121` and `1,0:T(8,128)(2,1)S(1)`."""
        sizes = [int(size.lstrip("<=")) for size in dims.split(",") if size]
        order, _, rest = layout.partition(":")
        major = [sizes[int(axis)] for axis in reversed(order.split(","))] if order else sizes
        tile = re.search(r"T\(([\d,]+)\)", rest)
        if tile and major:
            tiled = [int(size) for size in tile[1].split(",")]
            # A tile of more axes than the array has spans an axis of size 1.
            major = [1] * (len(tiled) - len(major)) + major
            for axis, size in enumerate(reversed(tiled), 1):
                major[-axis] = -(-major[-axis] // size) * size
        space = re.search(r"S\((\d+)\)", rest)
        return Array(-(-math.prod(major) * _bits(dtype) // 8), int(space[1]) if space else 0)


def _bits(dtype: str) -> int:
    number = re.match(r"[a-z]+(\d+)", dtype)
    if dtype in BITS:
        return BITS[dtype]
    if not number:
        raise ValueError(f"XLA's text has a type of unknown size: {dtype}")
    return int(number[1])


@dataclass(frozen=True)
class Instruction:
    """One instruction."""

    name: str
    opcode: str
    shape: str
    operands: tuple[str, ...]
    attributes: str
    root: bool

    @cached_property
    def arrays(self) -> tuple[Array, ...]:
        """The arrays of its result, one unless that is a tuple."""
        return tuple(Array.of(*found) for found in _ARRAY.findall(self.shape))

    @cached_property
    def called(self) -> tuple[str, ...]:
        """Names of the computations that it calls, in their order."""
        attributes = re.sub(r"(metadata|backend_config)=\{.*", "", self.attributes)
        return tuple(
            name.strip(" %") for group in _CALLED.findall(attributes) for name in group.strip("{}").split(",") if name
        )

    def attribute(self, name: str) -> str | None:
        """The word after `name=`."""
        found = re.search(rf"\b{name}=%?([\w.\-]+)", self.attributes)
        return found and found[1]

    @property
    def target(self) -> str | None:
        """What a custom call calls; None of others."""
        found = re.search(r'custom_call_target="([^"]*)"', self.attributes)
        return found and found[1]

    @property
    def source(self) -> str:
        """The JAX operation that it comes from, `op_name` of the metadata; empty if there is none."""
        found = re.search(r'op_name="([^"]*)"', self.attributes)
        return found[1] if found else ""


@dataclass(frozen=True)
class Computation:
    """A list of instructions with one result: the entry, a loop's body or condition, a branch, a fusion."""

    name: str
    instructions: Mapping[str, Instruction]

    @cached_property
    def root(self) -> Instruction:
        """The instruction whose result is the computation's."""
        return next(i for i in self.instructions.values() if i.root)

    @cached_property
    def parameters(self) -> tuple[Instruction, ...]:
        """The parameters, by number."""
        found = [i for i in self.instructions.values() if i.opcode == "parameter"]
        return tuple(sorted(found, key=lambda i: int(i.operands[0])))

    @cached_property
    def users(self) -> Mapping[str, tuple[Instruction, ...]]:
        """The instructions that read an instruction's result, by its name."""
        users: dict[str, list[Instruction]] = {}
        for instruction in self.instructions.values():
            for operand in dict.fromkeys(instruction.operands):
                users.setdefault(operand, []).append(instruction)
        return {name: tuple(found) for name, found in users.items()}


@dataclass(frozen=True)
class Program:
    """All computations of a module."""

    computations: Mapping[str, Computation]
    entry: Computation

    @staticmethod
    def parse(text: str) -> "Program":
        """Read XLA's text.

        Raises: ValueError: it has no entry.
        """
        computations: dict[str, Computation] = {}
        entry = None
        name, instructions = None, {}
        for line in text.splitlines():
            if name is None:
                begun = _COMPUTATION.match(line)
                if begun and not line.startswith("HloModule"):
                    name, instructions = begun[2], {}
                    entry = name if begun[1] else entry
            elif line.startswith("}"):
                computations[name] = Computation(name, instructions)
                name = None
            elif begun := _INSTRUCTION.match(line):
                instruction = _instruction(begun, line)
                instructions[instruction.name] = instruction
        if entry is None:
            raise ValueError("XLA's text has no entry computation")
        return Program(computations, computations[entry])


def _instruction(begun: re.Match[str], line: str) -> Instruction:
    line = _COMMENT.sub("", line[begun.end() :])
    end = _closing(line) if line.startswith("(") else line.index(" ")
    opcode = _OPCODE.match(line, end)
    assert opcode, f"no opcode in {line[:200]}"
    begin = opcode.end() - 1
    close = _closing(line, begin)
    operands = tuple(part.split()[-1].lstrip("%") for part in _parts(line[begin + 1 : close - 1]))
    return Instruction(begun[2], opcode[1], line[:end], operands, line[close:], bool(begun[1]))


def _closing(line: str, begin: int = 0) -> int:
    """The place after the parenthesis that closes the one at `begin`."""
    depth = 0
    for found in re.compile(r"[()]").finditer(line, begin):
        depth += 1 if found[0] == "(" else -1
        if depth == 0:
            return found.end()
    raise ValueError(f"no closing parenthesis: {line[:200]}")


def _parts(text: str) -> Iterator[str]:
    """The parts of a list, which may have commas inside of brackets."""
    depth, begin = 0, 0
    for place, char in enumerate(text):
        depth += (char in "([{") - (char in ")]}")
        if char == "," and depth == 0:
            yield text[begin:place]
            begin = place + 1
    if text[begin:].strip():
        yield text[begin:]
