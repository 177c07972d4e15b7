"""Trip counts of a compiled program's loops."""

import re

from train.compile.program import Computation, Instruction, Program

_SAME = ("bitcast", "copy", "convert", "reshape", "copy-done", "copy-start")


class UnknownTripCount(ValueError):
    """A loop whose number of iterations the program's text does not say."""


def trip_count(program: Program, within: Computation, loop: Instruction) -> int:
    """How often the body of a `while` runs: XLA's `known_trip_count`, else from a counter that is compared to a bound.

    Raises: UnknownTripCount: neither is there; the message names the loop.
    """
    known = re.search(r'"known_trip_count":\{"n":"(\d+)"\}', loop.attributes)
    if known:
        return int(known[1])
    condition = program.computations[_name(loop, "condition")]
    body = program.computations[_name(loop, "body")]
    try:
        return _counted(program, within, loop, condition, body)
    except _Unknown as error:
        raise UnknownTripCount(f"loop {loop.name} ({loop.source}): no trip count, {error}") from None


class _Unknown(Exception):
    """Why the trip count is not known."""


def _name(loop: Instruction, attribute: str) -> str:
    name = loop.attribute(attribute)
    assert name, f"{loop.name} has no {attribute}"
    return name


def _counted(
    program: Program, within: Computation, loop: Instruction, condition: Computation, body: Computation
) -> int:
    compare, arguments = _comparison(program, condition)
    direction = compare.attribute("direction")
    (counter, limit) = arguments
    if direction == "GT":
        counter, limit, direction = limit, counter, "LT"
    if direction not in ("LT", "NE", "LE"):
        raise _Unknown(f"its condition compares with {direction}")
    index = _element(counter)
    first = _constant(within, _operand(within, loop, index))
    last = _constant(condition, limit) if limit.opcode == "constant" else None
    if last is None:
        last = _constant(within, _operand(within, loop, _element(limit)))
    step = _step(program, body, index)
    distance = last - first + (direction == "LE")
    if step <= 0 or (direction == "NE" and distance % step):
        raise _Unknown(f"its counter steps by {step} from {first} to {last}")
    return max(0, -(-distance // step))


def _comparison(program: Program, condition: Computation) -> tuple[Instruction, tuple[Instruction, Instruction]]:
    """The condition's comparison and what it compares, as instructions of the condition itself."""
    root = _through(condition, condition.root)
    if root.opcode == "fusion":
        inner = program.computations[root.called[0]]
        outer = dict(zip((p.name for p in inner.parameters), root.operands, strict=True))
        compare = _through(inner, inner.root)
        names = [_through(inner, inner.instructions[name]) for name in compare.operands]
        sides = [
            _through(condition, condition.instructions[outer[i.name]]) if i.opcode == "parameter" else i for i in names
        ]
    else:
        compare = root
        sides = [_through(condition, condition.instructions[name]) for name in compare.operands]
    if compare.opcode != "compare":
        raise _Unknown(f"its condition is a {compare.opcode}")
    return compare, (sides[0], sides[1])


def _through(computation: Computation, instruction: Instruction) -> Instruction:
    """The instruction whose value this one passes on."""
    while instruction.opcode in _SAME:
        instruction = computation.instructions[instruction.operands[0]]
    return instruction


def _element(instruction: Instruction) -> int:
    index = instruction.attribute("index") if instruction.opcode == "get-tuple-element" else None
    if index is None:
        raise _Unknown(f"its condition compares a {instruction.opcode}")
    return int(index)


def _operand(within: Computation, loop: Instruction, index: int) -> Instruction:
    """Element `index` of the tuple that the loop begins with."""
    start = _through(within, within.instructions[loop.operands[0]])
    if start.opcode != "tuple":
        raise _Unknown(f"it begins with a {start.opcode}")
    return _through(within, within.instructions[start.operands[index]])


def _constant(computation: Computation, instruction: Instruction) -> int:
    instruction = _through(computation, instruction)
    if instruction.opcode != "constant" or not re.fullmatch(r"-?\d+", instruction.operands[0]):
        raise _Unknown(f"{instruction.name} is a {instruction.opcode}")
    return int(instruction.operands[0])


def _step(program: Program, body: Computation, index: int) -> int:
    """What an iteration adds to element `index`."""
    root = _through(body, body.root)
    if root.opcode != "tuple":
        raise _Unknown(f"its body returns a {root.opcode}")
    after = _through(body, body.instructions[root.operands[index]])
    return _added(program, body, after, index)


def _added(program: Program, body: Computation, value: Instruction, index: int) -> int:
    """`value` minus element `index` at the iteration's start, where the two differ by a constant."""
    value = _through(body, value)
    if value.opcode == "get-tuple-element" and value.attribute("index") == str(index):
        return 0
    if value.opcode == "fusion":
        inner = program.computations[value.called[0]]
        outer = dict(zip((p.name for p in inner.parameters), value.operands, strict=True))
        sides = [_through(inner, inner.instructions[name]) for name in inner.root.operands]
        if inner.root.opcode == "add":
            return _sum(
                program,
                body,
                [body.instructions[outer[i.name]] if i.opcode == "parameter" else i for i in sides],
                index,
            )
    if value.opcode == "add":
        return _sum(program, body, [body.instructions[name] for name in value.operands], index)
    raise _Unknown(f"its counter becomes a {value.opcode}")


def _sum(program: Program, body: Computation, sides: list[Instruction], index: int) -> int:
    sides = [side if side.opcode == "constant" else _through(body, side) for side in sides]
    constants = [int(side.operands[0]) for side in sides if side.opcode == "constant"]
    others = [side for side in sides if side.opcode != "constant"]
    if len(others) != 1:
        raise _Unknown("its counter is not raised by a constant")
    return _added(program, body, others[0], index) + sum(constants)
