"""What a compiled program moves and launches: counted over its instructions, loops times their trip counts.

XLA's `cost_analysis` counts the body of a loop once and custom calls not at all. Counted here are, of every instruction
that does work in the entry, in bodies of loops (times their trip counts, nested too), in calls and in the branch of a
conditional that moves most: the bytes of its operands and of its result, with the padding of their layouts. Inside of a
fusion nothing is written, so that it counts like one instruction. Where an operand is only sliced, by `slice`,
`dynamic-slice` or `gather`, alone or inside of a fusion, the slice counts, not the whole; where one is updated in
place, by `dynamic-update-slice` or `scatter`, the update does, as in XLA's `HloCostAnalysis`: a scan reads and writes a
step of its inputs and outputs per iteration, and a look-up reads each row as often as it is looked up. Of a custom call
(a Pallas kernel, a library) operands and results count once; what a kernel reads again is not in the text.

Of a TPU, arrays in VMEM and scalar memory (`S(1)` and above in their layout) are on the chip and count apart: a copy
from the main memory (HBM) counts there once. Asynchronous instructions count once, where they are done, and so does a
collective that a TPU hides behind several fusions, each of which carries it on and passes on its arrays.

Over the network, n devices of a group in a ring each send 2 (n − 1) / n of the bytes that they reduce (`all-reduce`),
(n − 1) / n of what they gather (`all-gather`) or had (`reduce-scatter`, `all-to-all`), and all that they pass on
(`collective-permute`).
"""

import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from train.compile.loops import trip_count
from train.compile.program import Array, Computation, Instruction, Program

FREE = (
    *("parameter", "constant", "tuple", "get-tuple-element", "bitcast", "after-all", "opt-barrier", "add-dependency"),
    *("partition-id", "replica-id", "domain", "get-dimension-size"),
)
"""Operations that move nothing themselves."""
FREE_CALLS = ("AllocateBuffer", "AssumeGatherIndicesInBound", "ConcatBitcast", "Sharding")
"""Targets of custom calls that only tell the compiler something."""

_UPDATES = {"dynamic-update-slice": 1, "scatter": 2}
"""Which operand is the update."""
COLLECTIVES = ("all-reduce", "all-gather", "reduce-scatter", "all-to-all", "collective-permute", "ragged-all-to-all")
_STARTED, _DONE = "AsyncCollectiveStart", "AsyncCollectiveDone"
"""Targets of the custom calls at the ends of a collective that fusions carry on."""


@dataclass(frozen=True)
class Moved:
    """What an instruction moves, in all its runs."""

    instruction: Instruction
    times: int
    memory: float
    """Bytes read from and written to the main memory."""
    on_chip: float
    """Bytes read from and written to memory on the chip."""


@dataclass(frozen=True)
class Traffic:
    """What a program moves and launches, per device."""

    moved: tuple[Moved, ...]
    launches: int
    """Instructions that run as a kernel or a copy of their own."""
    network: float
    """Bytes that a device sends to others."""

    @property
    def memory(self) -> float:
        """Bytes read from and written to the main memory."""
        return sum(m.memory for m in self.moved)

    @property
    def on_chip(self) -> float:
        """Bytes read from and written to memory on the chip."""
        return sum(m.on_chip for m in self.moved)


def traffic(text: str, *, devices: int, on_chip: frozenset[int] = frozenset()) -> Traffic:
    """Count a program of `devices` devices, given XLA's text of it; `on_chip` are memory spaces of a chip itself.

    Raises: UnknownTripCount: of a loop.
    """
    return _Counter(Program.parse(text), devices, on_chip).of("", 1)


ON_TPU = frozenset(range(1, 16)) - {5}
"""Memory spaces of a TPU other than its main memory and the host's (5)."""


@dataclass(frozen=True)
class _Counter:
    program: Program
    devices: int
    on_chip: frozenset[int]

    def of(self, name: str, times: int) -> Traffic:
        """The traffic of `times` runs of a computation; "" is the entry."""
        computation = self.program.computations[name] if name else self.program.entry
        parts = [self._instruction(computation, i, times) for i in computation.instructions.values()]
        return _sum(parts)

    def _instruction(self, within: Computation, instruction: Instruction, times: int) -> Traffic:
        opcode = instruction.opcode
        if opcode == "while":
            runs = times * trip_count(self.program, within, instruction)
            condition, body = instruction.attribute("condition"), instruction.attribute("body")
            return _sum([self.of(str(body), runs), self.of(str(condition), runs + times)])
        if opcode == "conditional":
            branches = [self.of(name, times) for name in instruction.called]
            return max(branches, key=lambda branch: branch.memory + branch.on_chip)
        if opcode == "call" or (opcode == "async-start" and instruction.called):
            return _sum([self.of(name, times) for name in instruction.called])
        if opcode in FREE or opcode in ("async-update", "async-done") or instruction.target in FREE_CALLS:
            return _sum([])
        network = times * self._sent(within, instruction)
        if opcode.endswith(("-start", "-update")) or self._root_of(instruction).target == _STARTED:
            return Traffic((), 0, network)
        arrays = self._done(within, instruction) if opcode.endswith("-done") else self._arrays(within, instruction)
        chip = sum(a.bytes for a in arrays if a.space in self.on_chip)
        moved = Moved(instruction, times, times * (sum(a.bytes for a in arrays) - chip), times * chip)
        return Traffic((moved,), times, network)

    def _root_of(self, instruction: Instruction) -> Instruction:
        """The root of a fusion; of another instruction itself."""
        fused = instruction.opcode == "fusion"
        return self.program.computations[instruction.called[0]].root if fused else instruction

    def _done(self, within: Computation, done: Instruction) -> list[Array]:
        """What an asynchronous instruction reads and writes."""
        start = within.instructions[done.operands[0]]
        sources = [a for name in start.operands for a in _result(within, name)]
        if start.opcode == "slice-start":
            return [Array(done.arrays[0].bytes, sources[0].space), *done.arrays]
        return [*sources, *done.arrays]

    def _arrays(self, within: Computation, instruction: Instruction) -> list[Array]:
        """What an instruction reads and writes."""
        read: list[Array] = []
        for number, name in enumerate(instruction.operands):
            arrays = _result(within, name)
            if len(arrays) == 1:
                read.append(Array(self._read(within, instruction, number, arrays[0].bytes), arrays[0].space))
            else:
                read += arrays
        return [*read, *self._written(within, instruction)]

    def _read(self, within: Computation, user: Instruction, number: int, whole: int) -> int:
        """Bytes that `user` reads of its operand `number`, which has `whole` bytes."""
        if user.opcode == "fusion":
            return self._read_inside(user.called[0], number, whole)
        if number > 0:
            return whole
        if user.opcode in ("slice", "dynamic-slice"):
            return min(whole, sum(a.bytes for a in user.arrays))
        if user.opcode == "gather":
            return sum(a.bytes for a in user.arrays)
        if user.opcode == "scatter":
            return sum(a.bytes for a in _result(within, user.operands[_UPDATES["scatter"]]))
        return 0 if user.opcode == "dynamic-update-slice" else whole

    def _read_inside(self, name: str, number: int, whole: int) -> int:
        """Bytes that a fusion reads of its parameter `number`, which has `whole` bytes."""
        fused = self.program.computations[name]
        carried = _carried(fused)

        def of(value: Instruction) -> Iterator[tuple[int, bool]]:
            """What each use reads, and whether it may read the same bytes again."""
            for user in fused.users.get(value.name, ()):
                if user.opcode in ("bitcast", "reshape") and not user.root:
                    yield from of(user)
                    continue
                if carried and (user.root or (user.name in carried and fused.root.target != _DONE)):
                    continue
                for place in (place for place, operand in enumerate(user.operands) if operand == value.name):
                    again = place == 0 and user.opcode in ("gather", "scatter")
                    yield self._read(fused, user, place, whole), again

        uses = list(of(fused.parameters[number]))
        once = min(whole, sum(size for size, again in uses if not again))
        return once + sum(size for size, again in uses if again)

    def _written(self, within: Computation, instruction: Instruction) -> Iterable[Array]:
        """What an instruction writes."""
        if instruction.opcode in _UPDATES:
            update = _result(within, instruction.operands[_UPDATES[instruction.opcode]])
            return [Array(a.bytes, instruction.arrays[0].space) for a in update]
        if instruction.opcode != "fusion":
            return instruction.arrays
        fused = self.program.computations[instruction.called[0]]
        roots = fused.root.operands if fused.root.opcode == "tuple" else (fused.root.name,)
        if len(roots) != len(instruction.arrays):
            return instruction.arrays
        carried = _carried(fused)
        passed = {*carried, *(i.name for i in fused.parameters)} if carried and fused.root.target != _DONE else ()
        return [
            Array(self._root(fused, fused.instructions[name], array.bytes), array.space)
            for name, array in zip(roots, instruction.arrays, strict=True)
            if name not in passed
        ]

    def _root(self, fused: Computation, root: Instruction, whole: int) -> int:
        """Bytes of one result of a fusion that are written."""
        while root.opcode == "bitcast":
            root = fused.instructions[root.operands[0]]
        if root.opcode in _UPDATES and _in_place(fused, root):
            return min(whole, sum(a.bytes for a in _result(fused, root.operands[_UPDATES[root.opcode]])))
        if root.opcode == "fusion":
            return min(whole, sum(a.bytes for a in self._written(fused, root)))
        return whole

    def _sent(self, within: Computation, instruction: Instruction) -> float:
        """Bytes that a device sends, also in a collective that was fused."""
        if instruction.opcode == "fusion":
            fused = self.program.computations[instruction.called[0]]
            begun = () if fused.root.target == _STARTED else _carried(fused)
            return sum(self._sent(fused, i) for i in fused.instructions.values() if i.name not in begun)
        opcode = instruction.opcode.removesuffix("-start")
        if opcode not in COLLECTIVES:
            return 0
        had = sum(a.bytes for name in instruction.operands for a in _result(within, name))
        if opcode == "collective-permute":
            return had
        size = _group(instruction.attributes, self.devices)
        # Each gathers n times what it had.
        factor = {"all-reduce": 2 / size, "all-gather": 1}.get(opcode, 1 / size)
        return had * factor * (size - 1)


def _carried(fused: Computation) -> frozenset[str]:
    """The collectives of a fusion that a chain of fusions carries on."""
    return frozenset(
        i.name for i in fused.instructions.values() if i.opcode in COLLECTIVES and "chain_id=" in i.attributes
    )


def _in_place(fused: Computation, update: Instruction) -> bool:
    """Whether what is updated is a parameter of the fusion, which then shares its memory with the result."""
    target = fused.instructions[update.operands[0]]
    while target.opcode in ("bitcast", *_UPDATES):
        target = fused.instructions[target.operands[0]]
    return target.opcode == "parameter"


def _result(within: Computation, name: str) -> tuple[Array, ...]:
    found = within.instructions.get(name)
    return found.arrays if found else ()


def _group(attributes: str, devices: int) -> int:
    """Devices of a group of a collective, of the largest if they differ."""
    if grid := re.search(r"replica_groups=\[(\d+),(\d+)\]", attributes):
        return int(grid[2])
    if mesh := re.search(r"replica_groups=mesh\[([^\]]*)\] \{([^}]*)\}", attributes):
        sizes = dict(re.findall(r"'(\w+)'=(\d+)", mesh[1]))
        return math.prod(int(sizes[axis]) for axis in re.findall(r"'(\w+)'", mesh[2]))
    if lists := re.search(r"replica_groups=\{(\{.*?\})\}", attributes):
        return max(len(group.split(",")) for group in re.findall(r"\{([^{}]*)\}", lists[1]))
    return devices


def _sum(parts: Iterable[Traffic]) -> Traffic:
    parts = list(parts)
    moved = tuple(m for part in parts for m in part.moved)
    return Traffic(moved, sum(p.launches for p in parts), sum(p.network for p in parts))
