"""Options of the processes that train together; no part of a run's identity."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Hosts:
    """The processes that train one run together; by default those of a Slurm job step or of a Cloud TPU slice."""

    coordinator: str | None = None
    """Address HOST:PORT of process 0, the same for every process. With --processes and --process-id."""
    processes: int | None = None
    """Number of processes that train together. 1 trains alone, on whatever cluster."""
    process_id: int | None = None
    """Number of this process, from 0."""
    heartbeat_timeout: int = 100
    """Seconds after which the processes stop if one of them has died."""
    start_timeout: int = 300
    """Seconds to wait for the other processes at the start."""
