"""Bytes of compiled programs, against arithmetic and XLA's own account."""

import re
from typing import Any

import jax
import jax.numpy as jnp
import pytest
from jax.experimental import pallas as pl
from jax.sharding import Mesh, PartitionSpec, SingleDeviceSharding

from train.compile.loops import UnknownTripCount
from train.compile.program import Array
from train.compile.topology import installed, topology_of
from train.compile.traffic import ON_TPU, Traffic, traffic

TPU = installed("libtpu")

SIDE = 64
MATRIX = SIDE * SIDE * 4
"""Bytes of a float32 matrix."""


def shape(*sizes: int) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(sizes, jnp.float32)


def text(function: Any, *shapes: Any) -> str:
    program = jax.jit(function).lower(*shapes).compile().as_text()
    assert program is not None
    return program


def count(function: Any, *shapes: Any) -> Traffic:
    return traffic(text(function, *shapes), devices=1)


def powers(length: int, inner: int = 1) -> Any:
    """`inner` × `length` matrix products in scans."""

    def product(x: jax.Array, w: jax.Array) -> jax.Array:
        return jax.lax.scan(lambda x, _: (x @ w, None), x, None, inner)[0]

    return lambda x, w: jax.lax.scan(lambda x, _: (product(x, w), None), x, None, length)[0]


@pytest.mark.parametrize("inner", [2, 7])
def test_nested_loops_count_times_their_trip_counts(inner: int) -> None:
    matrices = shape(SIDE, SIDE), shape(SIDE, SIDE)
    few, many = (count(powers(length, inner), *matrices) for length in (10, 30))
    products = sum(m.memory for m in many.moved if "dot_general" in m.instruction.source)
    assert products == 30 * inner * 3 * MATRIX
    assert sum(m.times for m in many.moved if "dot_general" in m.instruction.source) == 30 * inner
    assert many.memory - few.memory >= 20 * inner * 3 * MATRIX


def test_trip_counts_are_derived_where_xla_does_not_say() -> None:
    program = text(powers(12, 5), shape(SIDE, SIDE), shape(SIDE, SIDE))
    bare, found = re.subn(r'"known_trip_count":\{"n":"\d+"\},?', "", program)
    assert found == 2
    assert traffic(bare, devices=1).memory == traffic(program, devices=1).memory


def test_a_loop_without_a_trip_count_is_an_error_that_names_it() -> None:
    program = text(lambda x: jax.lax.while_loop(lambda x: x.sum() < 9, lambda x: x * 2, x), shape(SIDE))
    with pytest.raises(UnknownTripCount, match=r"loop while[.\d]* \(jit"):
        traffic(program, devices=1)


def test_a_scan_reads_and_writes_a_step_an_iteration() -> None:
    def sums(xs: jax.Array) -> jax.Array:
        return jax.lax.scan(lambda s, x: (s + jnp.sin(x), s * 2), jnp.zeros((SIDE, SIDE)), xs)[1]

    few, many = (count(sums, shape(length, SIDE, SIDE)).memory for length in (50, 100))
    # The slice, the carry and the output each at least once, at most a few times, whatever the length.
    assert 4 * MATRIX <= (many - few) / 50 <= 12 * MATRIX


@pytest.mark.parametrize(
    ("function", "shapes"),
    [
        (lambda a, b: jnp.tanh(a @ b), (shape(SIDE, 32), shape(32, SIDE))),
        (lambda a: a[3:5], (shape(SIDE, 32),)),
        (
            lambda a, i: jax.lax.dynamic_slice(a, (i, jnp.int32(0)), (2, 32)),
            (shape(SIDE, 32), jax.ShapeDtypeStruct((), "int32")),
        ),
        (lambda a: (a * 2, a.sum(axis=0)), (shape(SIDE, 32),)),
        (lambda a: jnp.sort(a, axis=0), (shape(SIDE, 32),)),
    ],
)
def test_without_loops_it_is_what_xla_counts(function: Any, shapes: Any) -> None:
    analysis = jax.jit(function).lower(*shapes).compile().cost_analysis()
    assert analysis is not None
    assert count(function, *shapes).memory == pytest.approx(analysis["bytes accessed"], rel=1e-3)


def test_a_conditional_counts_as_its_largest_branch() -> None:
    def either(yes: jax.Array, x: jax.Array, w: jax.Array) -> jax.Array:
        return jax.lax.cond(yes, lambda: x @ w @ w @ w, lambda: x)

    counted = count(either, jax.ShapeDtypeStruct((), bool), shape(SIDE, SIDE), shape(SIDE, SIDE))
    assert [m.memory for m in counted.moved if "dot_general" in m.instruction.source] == [3 * MATRIX] * 3


def test_a_custom_call_counts_with_operands_and_results() -> None:
    counted = count(lambda a: jnp.linalg.cholesky(a, symmetrize_input=False), shape(SIDE, SIDE))
    (call,) = (m for m in counted.moved if m.instruction.opcode == "custom-call")
    assert call.memory == pytest.approx(2 * MATRIX, abs=8)


@pytest.mark.parametrize(
    ("collective", "sent"),
    [
        (lambda x: jax.lax.psum(x, "data"), 1),
        (lambda x: jax.lax.all_gather(x, "data"), 1),
        (lambda x: jax.lax.psum_scatter(x, "data"), 1 / 2),
        (lambda x: jax.lax.ppermute(x, "data", [(0, 1), (1, 0)]), 1),
    ],
)
def test_collectives_of_two_devices_in_a_loop(collective: Any, sent: float) -> None:
    def step(x: jax.Array) -> jax.Array:
        return jax.lax.fori_loop(0, 10, lambda _, x: x + collective(x * 2).sum(), x)

    mesh = Mesh(jax.devices()[:2], ("data",))
    spec = PartitionSpec(None, "data")
    sharded = jax.shard_map(step, mesh=mesh, in_specs=spec, out_specs=spec, check_vma=False)
    counted = traffic(text(sharded, shape(2, 2 * SIDE)), devices=2)
    assert counted.network == 10 * sent * 2 * SIDE * 4


CARRIED = """
HloModule step

%start (part: f32[4,8]) -> (f32[4,8], f32[16,8], u32[]) {
  %part = f32[4,8]{1,0} parameter(0)
  %gathered = f32[16,8]{1,0} all-gather(%part), channel_id=7, replica_groups=[1,4]<=[4], dimensions={0}, CHAIN
  ROOT %started = (f32[4,8]{1,0}, f32[16,8]{1,0}, u32[]) custom-call(%gathered), START
}

%carry_on (part: f32[4,8], whole: f32[16,8], flag: u32[], x: f32[2,8]) -> (f32[2,8], f32[4,8], f32[16,8], u32[]) {
  %part = f32[4,8]{1,0} parameter(0)
  %whole = f32[16,8]{1,0} parameter(1)
  %flag = u32[] parameter(2)
  %x = f32[2,8]{1,0} parameter(3)
  %y = f32[2,8]{1,0} negate(%x)
  %gathered = f32[16,8]{1,0} all-gather(%part), channel_id=7, replica_groups=[1,4]<=[4], dimensions={0}, CHAIN
  ROOT %all = (f32[2,8]{1,0}, f32[4,8]{1,0}, f32[16,8]{1,0}, u32[]) tuple(%y, %part, %gathered, %flag)
}

%done (part: f32[4,8], whole: f32[16,8], flag: u32[]) -> f32[16,8] {
  %part = f32[4,8]{1,0} parameter(0)
  %whole = f32[16,8]{1,0} parameter(1)
  %gathered = f32[16,8]{1,0} all-gather(%part), channel_id=7, replica_groups=[1,4]<=[4], dimensions={0}, CHAIN
  %flag = u32[] parameter(2)
  ROOT %whole.1 = f32[16,8]{1,0} custom-call(%part, %whole, %gathered, %flag), custom_call_target="AsyncCollectiveDone"
}

ENTRY %step (part: f32[4,8], x: f32[2,8]) -> (f32[2,8], f32[16,8]) {
  %part = f32[4,8]{1,0} parameter(0)
  %x = f32[2,8]{1,0} parameter(1)
  %begun = (f32[4,8]{1,0}, f32[16,8]{1,0}, u32[]) fusion(%part), kind=kCustom, calls=%start
  %a = f32[4,8]{1,0} get-tuple-element(%begun), index=0
  %b = f32[16,8]{1,0} get-tuple-element(%begun), index=1
  %c = u32[] get-tuple-element(%begun), index=2
  %on = (f32[2,8]{1,0}, f32[4,8]{1,0}, f32[16,8]{1,0}, u32[]) fusion(%a, %b, %c, %x), kind=kOutput, calls=%carry_on
  %y = f32[2,8]{1,0} get-tuple-element(%on), index=0
  %d = f32[4,8]{1,0} get-tuple-element(%on), index=1
  %e = f32[16,8]{1,0} get-tuple-element(%on), index=2
  %f = u32[] get-tuple-element(%on), index=3
  %whole = f32[16,8]{1,0} fusion(%d, %e, %f), kind=kCustom, calls=%done
  ROOT %result = (f32[2,8]{1,0}, f32[16,8]{1,0}) tuple(%y, %whole)
}
""".replace("CHAIN", 'frontend_attributes={chain_id="5"}').replace("START", 'custom_call_target="AsyncCollectiveStart"')
"""As a TPU's compiler hides an all-gather behind another fusion."""


def test_a_collective_that_fusions_carry_on_counts_once() -> None:
    counted = traffic(CARRIED, devices=4)
    row = 8 * 4
    assert counted.network == 3 * 4 * row
    moved = {m.instruction.name: m.memory for m in counted.moved if m.memory}
    assert moved == {"on": 2 * 2 * row, "whole": (4 + 16) * row}


def test_arrays_have_the_padding_of_their_tiles() -> None:
    assert Array.of("f32", "256,4", "1,0:T(8,128)").bytes == 256 * 128 * 4
    assert Array.of("f32", "256,4", "0,1:T(8,128)") == Array(8 * 256 * 4, 0)
    assert Array.of("bf16", "3,5", "1,0:T(8,128)(2,1)S(1)") == Array(8 * 128 * 2, 1)
    assert Array.of("u4", "7", "0").bytes == 4
    assert Array.of("s32", "", "").bytes == 4


@pytest.mark.slow
@pytest.mark.skipif(not TPU, reason="needs libtpu: pip install 'isoplay[tpu]'")
def test_a_pallas_kernel_of_a_tpu_counts_in_a_loop() -> None:
    def double(x: jax.Array) -> jax.Array:
        def kernel(read: Any, write: Any) -> None:
            write[...] = read[...] * 2

        return pl.pallas_call(kernel, out_shape=jax.ShapeDtypeStruct(x.shape, x.dtype))(x)

    topology = topology_of("v5e:2x2")
    sharding = SingleDeviceSharding(topology.devices[0])
    x = jax.ShapeDtypeStruct((SIDE, SIDE), jnp.float32, sharding=sharding)
    counted = traffic(text(lambda x: jax.lax.fori_loop(0, 10, lambda _, x: double(x), x), x), devices=1, on_chip=ON_TPU)
    kernels = [m for m in counted.moved if m.instruction.target == "tpu_custom_call"]
    # Of 64 columns, a TPU pads to 128.
    assert sum(m.memory + m.on_chip for m in kernels) == 10 * 2 * (2 * MATRIX)
