"""Readings of compiled steps as text, JSON and Markdown."""

import dataclasses
import json
from collections.abc import Iterator

import jax

from data.common.cli import UserError
from train.compile.config import CompileConfig
from train.compile.reading import Reading, agent_of, read
from train.compile.topology import topology_of
from train.compile.traffic import Traffic

LADDER = (
    "nethack/lstm/16",
    "nethack/lstm/64",
    "nethack/lstm/256",
    "nethack/lstm/1024",
    "nethack/lstm/8192",
    "nethack/transformer/64",
    "nethack/transformer/256x4",
    "nethack/transformer/1024x12",
    "nethack/transformer/2048x16",
    "nethack/paper/2.6M",
    "nethack/paper/105M",
    "atari/cnn/50",
)
"""The agents of the table: of every family of NetHack up to a billion parameters, and one of Atari."""


def run(config: CompileConfig) -> None:
    """Compile, and print what was asked for.

    A step that does not fit is a reading like others, not an error.

    Raises: UserError: see `read`; or there is no program to dump.
    """
    # No accelerator is looked for.
    jax.config.update("jax_platforms", "cpu")
    if config.ladder is not None:
        for line in table(config):
            print(line, flush=True)
        return
    assert config.agent is not None, "the configuration names an agent"
    compiled = read(config, config.agent)
    if config.json:
        print(json.dumps(dataclasses.asdict(compiled.reading)))
    else:
        print(summary(compiled.reading))
    if compiled.text is None or compiled.traffic is None:
        if config.dump is not None or config.top:
            raise UserError("no --dump or --top: the compiler found that the step does not fit, and made no program")
        return
    if config.dump is not None:
        config.dump.write_text(compiled.text)
    if config.top:
        print("\n".join(breakdown(compiled.traffic, config.top, compiled.reading.samples)))


def summary(reading: Reading) -> str:
    """A reading, for a terminal."""
    r = reading
    rows = {
        "step": f"{r.agent} ({r.params:,} parameters), {r.samples:,} samples on each of {r.devices} of {r.target}",
        "gradients": f"microbatches of {r.microbatch:,} samples, "
        + ("layers recomputed" if r.remat else "no rematerialisation"),
        "memory": f"{_gib(r.bytes_memory)} of {_gib(r.bytes_limit)} GiB: arguments {_gib(r.bytes_arguments)},"
        f" temporaries {_gib(r.bytes_temporary)}; " + ("fits" if r.fits else "does not fit"),
        "FLOPs": f"{r.flops_exact:.4g} exact, {r.flops_xla:.4g} by XLA",
        "bytes accessed": _bytes(r.bytes_accessed, r.samples)
        + (f", and {_bytes(r.bytes_on_chip, r.samples)} in VMEM" if r.bytes_on_chip is not None else ""),
        "kernel launches": f"{r.launches:,}" if r.launches is not None else "not counted",
        "network": _bytes(r.network_bytes, r.samples),
        "roofline": f"compute {_ms(r.seconds_compute)}, memory {_ms(r.seconds_memory)}, network"
        f" {_ms(r.seconds_network)}",
        "at least": f"{_ms(r.seconds_roofline)} a step, bound by {r.bound}" if r.bound else "unknown",
        "compiled in": f"{r.seconds_compile:.0f} s",
    }
    return "\n".join(f"{name:<16} {value}" for name, value in rows.items())


def breakdown(counted: Traffic, most: int, samples: int) -> Iterator[str]:
    """The instructions that move most bytes of the main memory, and the JAX operations that they come from."""
    yield "\nkB a sample  (VMEM)   times  instruction"
    for moved in sorted(counted.moved, key=lambda moved: -moved.memory)[:most]:
        kilobytes = (part / samples / 1e3 for part in (moved.memory, moved.on_chip))
        i = moved.instruction
        yield "{:11.1f} {:7.1f} {:7}  ".format(*kilobytes, moved.times) + f"{i.name} {i.shape[:60]} {i.source}"


def table(config: CompileConfig) -> Iterator[str]:
    """Lines of a Markdown table of agents, each as soon as it is known."""
    names = config.ladder or LADDER
    topology_of(config.target)
    for name in names:
        agent_of(config, name)
    yield (
        "| agent | N | GiB | FLOPs a sample | kB a sample (VMEM) | launches"
        " | network, MB | roofline, ms | bound | compiled in, s |"
    )
    yield "|---" * 10 + "|"
    for name in names:
        r = read(config, name).reading
        kilobytes = "" if r.bytes_accessed is None else f"{r.bytes_accessed / r.samples / 1e3:,.1f}"
        if r.bytes_on_chip is not None:
            kilobytes += f" ({r.bytes_on_chip / r.samples / 1e3:,.1f})"
        cells = (
            r.agent,
            f"{r.params / 1e6:.3g}M",
            _gib(r.bytes_memory) + ("" if r.fits else ", does not fit"),
            f"{r.flops_exact / r.samples:.3g}",
            kilobytes,
            "" if r.launches is None else f"{r.launches:,}",
            "" if r.network_bytes is None else f"{r.network_bytes / 1e6:.1f}",
            "" if r.seconds_roofline is None else f"{r.seconds_roofline * 1e3:.3g}",
            r.bound or "",
            f"{r.seconds_compile:.0f}",
        )
        yield f"| {' | '.join(cells)} |"
        jax.clear_caches()


def _gib(number: int | None) -> str:
    return "unknown" if number is None else f"{number / 2**30:.2f}"


def _bytes(number: float | None, samples: int) -> str:
    return "unknown" if number is None else f"{number / 1e6:,.1f} MB ({number / samples / 1e3:,.1f} kB a sample)"


def _ms(seconds: float | None) -> str:
    return "unknown" if seconds is None else f"{seconds * 1e3:.3g} ms"
