"""Configuration of a sweep: which cells it has, what its runs share, and how they are run."""

import dataclasses
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from tyro.conf import Suppress
from tyro.constructors import PrimitiveConstructorSpec

from agents.ladder import VERSION, renamed
from data.common.cli import UserError
from data.common.files import replace_text
from data.common.paths import Location
from eval.config import EvalConfig
from train.config import TrainConfig, from_json, to_json

FILE = "sweep.json"
NO_STORE = Path("-")
"""`--store` that was not given."""
AUTO = ("auto",)
SETTINGS = ("lr", "batch")
"""What can be tuned."""


def _list_of(kind: Callable[[str], Any], metavar: str) -> PrimitiveConstructorSpec[Any]:
    """An option with several values, separated by commas or spaces."""
    return PrimitiveConstructorSpec(
        nargs="*",
        metavar=metavar,
        instance_from_str=lambda words: tuple(kind(part) for word in words for part in word.split(",") if part),
        is_instance=lambda value: isinstance(value, tuple),
        str_from_instance=lambda values: [str(value) for value in values],
    )


Numbers = Annotated[tuple[float, ...], _list_of(float, "FLOAT,…")]
Words = Annotated[tuple[str, ...], _list_of(str, "WORD,…")]


@dataclass(frozen=True, kw_only=True)
class SweepConfig:
    """The cells of a sweep: sizes of one family at compute budgets, and how their checkpoints are evaluated."""

    game: str | None = None
    """The game of the store; needed only to plan (`--dry-run`) without one."""
    family: str = "nethack/lstm"
    """Agent family whose sizes are trained (`python -m agents` lists them)."""
    budgets: Numbers = ()
    """Compute budgets in training FLOPs; larger ones can be added later."""
    samples: Numbers = ()
    """In place of budgets: numbers of training samples, at which each of --sizes LIST is trained."""
    sizes: Words = AUTO
    """Sizes of the family, trained at all budgets; auto: at each budget those near the expected optimum."""
    spread: float = 6.0
    """Of auto: sizes whose N is within this factor of the expected optimum, and at least five."""
    prior: str = "20"
    """Of auto: the expected optimum, as a number of samples per parameter, "paper", or a table of earlier rows."""
    seeds: int = 1
    """Trainings of each size, with different initial parameters and orders of the data."""
    vary: str | None = None
    """Train each size with several values of one option of `train bc`, as NAME=VALUE,…: for example lr=1e-4,1e-3 or
    window=8,32,128 (which leaves the batch as it is)."""
    scale: float = 1.0
    """Run the design at this fraction of its compute: budgets times SCALE, N, D and batch times its square root."""
    seeds_budget: float | None = None
    """Largest budget of the seeds after the first; None: all budgets."""
    min_steps: int = 200
    """Leave out cells of fewer optimiser steps."""
    max_epochs: float = 4.0
    """Leave out cells that pass over the training data more often."""
    episodes: int = 0
    """Games that each checkpoint plays; 0 measures the dev loss only."""
    max_steps: int | None = None
    """Truncate these games after this many timesteps; None sets no limit."""
    character: str | None = None
    """NetHack: role, race, alignment and gender of these games as NLE spells them; @ is random."""
    protocol: str | None = None
    """Evaluation protocol by its name, as of `python -m eval`."""
    tune: Words = ()
    """Tune lr, batch or both at the smallest budgets, then train the sweep with the optima that follow for N and D."""
    tune_budgets: int = 3
    """Of --tune: number of budgets, the smallest, at which settings are tuned."""
    tune_lr: Numbers = (0.25, 0.5, 1.0, 2.0, 4.0)
    """Of --tune lr: learning rates to try, as factors of the given one, or of that of the rule; 1 is always tried."""
    tune_batch: Numbers = (0.25, 1.0, 4.0)
    """Of --tune batch: batch sizes to try, as factors of the given one (of --lanes); 1 is always tried."""
    refine: bool = False
    """Adaptive design: plan budget by budget, with sizes by the laws of the smaller budgets, and add sizes where a
    vertex is missing or uncertain."""
    refine_factor: float = 2.0
    """Of --refine: add sizes until the 95 % interval of a budget's vertex spans at most this factor of N."""
    total: float | None = None
    """Most training FLOPs of all runs together: a plan of more is refused, and refinement ends there."""

    def __post_init__(self) -> None:
        """Check the values.

        Raises: UserError: a value is out of range; the message names the field.
        """
        if self.sizes != AUTO and (not self.sizes or "auto" in self.sizes):
            raise UserError("--sizes: give auto alone, or sizes")
        for name, values in (("budgets", self.budgets), ("sizes", self.sizes), ("samples", self.samples)):
            if len(set(values)) < len(values):
                raise UserError(f"--{name} names one twice: give each once")
        positive = {"seeds": self.seeds, "min-steps": self.min_steps, "max-epochs": self.max_epochs}
        positive |= {"tune-budgets": self.tune_budgets, "total": 1.0 if self.total is None else self.total}
        positive |= {"scale": self.scale, **{f"samples {samples:g}": samples for samples in self.samples}}
        positive |= {"seeds-budget": 1.0 if self.seeds_budget is None else self.seeds_budget}
        positive |= {f"budgets {budget:g}": budget for budget in self.budgets}
        for name, value in positive.items():
            if not 0 < value < math.inf:
                raise UserError(f"--{name} must be more than 0, not {value}")
        if not self.spread > 1:
            raise UserError(f"--spread is a factor of N above 1, not {self.spread:g}")
        if self.samples and (self.budgets or self.sizes == AUTO or self.tune or self.refine):
            raise UserError("--samples goes with --sizes LIST, without --budgets, --tune and --refine")
        if self.vary and self.tune:
            raise UserError("give --vary or --tune, not both")
        if self.scale > 1:
            raise UserError(f"--scale is a fraction of the compute, at most 1, not {self.scale:g}")
        if unknown := set(self.tune) - set(SETTINGS):
            raise UserError(f"--tune {', '.join(sorted(unknown))}: there are {' and '.join(SETTINGS)}")
        factors = {"tune-lr": self.tune_lr, "tune-batch": self.tune_batch}
        for name, values in factors.items():
            if not all(0 < value < math.inf for value in values):
                raise UserError(f"--{name} must be factors of more than 0")
        if not self.refine_factor > 1:
            raise UserError(f"--refine-factor is a factor of N above 1, not {self.refine_factor:g}")
        self.evaluation(())

    @property
    def tuned_budgets(self) -> tuple[float, ...]:
        """The budgets at which settings are tuned."""
        return tuple(sorted(self.budgets)[: self.tune_budgets]) if self.tune else ()

    def evaluation(self, runs: tuple[Path, ...]) -> EvalConfig:
        """How the checkpoints of `runs` are evaluated; of none, only to check the options."""
        return EvalConfig(runs=runs or (Path(),), film=False, **self.measured)

    @property
    def measured(self) -> dict[str, Any]:
        """The options that determine what is measured of a checkpoint."""
        return {name: getattr(self, name) for name in ("episodes", "max_steps", "character", "protocol")}


@dataclass(frozen=True)
class Shared(TrainConfig):
    """What all runs share: the options of `train bc`."""

    store: Path = NO_STORE
    """Folder of the store to learn from."""
    run: Suppress[Location] = Path()
    agent: Suppress[str] = ""
    flops: Suppress[tuple[float, ...]] = (1.0,)
    init_seed: Suppress[int] = 0
    data_seed: Suppress[int] = 0
    population: Suppress[str | None] = None


@dataclass(frozen=True)
class Running:
    """How the sweep is run. None of it changes a row."""

    dry_run: bool = False
    """Print the plan, and do nothing."""
    price: Words = ()
    """Prices per device and hour, for example h100=2.5,v5e=1.2, for the plan."""
    executor: Literal["local", "ray"] = "local"
    """Where runs are trained: by workers on this machine, or as tasks of the Ray cluster that it belongs to."""
    workers: int | None = None
    """Number of worker processes on this machine; by default one for each GPU, or core with 1.5 GiB of memory. 0 only
    records the sweep, for `--work`."""
    work: bool = False
    """Be one worker, beside those of other processes and machines that share FOLDER, until nothing is left to do."""
    watch: bool = False
    """Show how far the sweep in FOLDER has come, and the laws so far, until it is done."""
    json: bool = False
    """Of --dry-run and --watch: print one JSON object, and exit."""
    retry: bool = False
    """Try runs that were given up once more."""


@dataclass(frozen=True)
class Size:
    """An agent of the family."""

    agent: str
    params: int
    """N, the counted parameters."""
    flops: int
    """Training FLOPs per sample, by the sweep's convention."""
    exact: int
    """The same by the `exact` convention, which tells how long they take."""

    def samples(self, budget: float) -> int:
        """D, the samples that a budget pays for."""
        return int(budget / self.flops)


@dataclass(frozen=True)
class Settings:
    """The tuned settings of a size."""

    lr: float
    lanes: int


@dataclass(frozen=True)
class Sweep:
    """A sweep as its folder records it."""

    config: SweepConfig
    shared: TrainConfig
    checksum: str
    """That of the store."""
    sizes: Mapping[float, tuple[Size, ...]]
    """Those of each budget that is planned, smallest first."""
    settings: Mapping[str, Settings] = field(default_factory=dict)
    """Of --tune: the settings of each agent for which they are known."""
    rules: Mapping[str, str] = field(default_factory=dict)
    """Of --tune: the laws that these follow, by setting, in words."""
    decisions: tuple[str, ...] = ()
    """Of --tune and --refine: what was decided after which rows, in words."""

    @property
    def agents(self) -> dict[str, Size]:
        """The sizes of all budgets, by the name of their agent."""
        return {size.agent: size for of_budget in self.sizes.values() for size in of_budget}


def write_sweep(folder: Path, sweep: Sweep) -> None:
    """Record a sweep in its folder."""
    values = {
        "sweep": to_json(sweep.config),
        "train": to_json(sweep.shared),
        "store": {"checksum": sweep.checksum},
        "ladder": VERSION,
        "sizes": [[budget, [dataclasses.asdict(size) for size in sizes]] for budget, sizes in sweep.sizes.items()],
        "settings": {agent: dataclasses.asdict(settings) for agent, settings in sweep.settings.items()},
        "rules": dict(sweep.rules),
        "decisions": list(sweep.decisions),
    }
    folder.mkdir(parents=True, exist_ok=True)
    replace_text(folder / FILE, json.dumps(values, indent=1))


def read_sweep(folder: Path) -> Sweep:
    """The sweep that a folder records.

    Raises: UserError: the folder holds none, or one of a later version, or of an earlier one whose agents have changed.
    """
    path = folder / FILE
    if not path.is_file():
        raise UserError(f"{folder} holds no sweep: it has no {FILE}; begin one with --store and --budgets")
    values = json.loads(path.read_text())
    unknown = set(values["sweep"]) - {field.name for field in dataclasses.fields(SweepConfig)}
    if unknown:
        raise UserError(f"{path} is of a later version, with {', '.join(sorted(unknown))}: update isoplay")
    options: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in values["sweep"].items()
    }
    agents = [size["agent"] for _, of_budget in values["sizes"] for size in of_budget]
    changed = [agent for agent in agents if renamed(agent, values.get("ladder", 1)) != agent]
    if changed:
        raise UserError(
            f"{folder} is a sweep of an earlier version, in which {changed[0]} was another network: begin another "
            f"folder (the rows of this one are in {folder / 'runs.jsonl'})"
        )
    sizes = {float(budget): tuple(Size(**size) for size in of_budget) for budget, of_budget in values["sizes"]}
    settings = {agent: Settings(**chosen) for agent, chosen in values["settings"].items()}
    return Sweep(
        SweepConfig(**options),
        from_json(values["train"]),
        values["store"]["checksum"],
        sizes,
        settings,
        values["rules"],
        tuple(values["decisions"]),
    )


def shared_of(options: Shared) -> TrainConfig:
    """What all runs share, as it is recorded: a schedule by which budgets can be added later, unless one is named."""
    optimizer = options.optimizer
    if optimizer.schedule == "auto":
        optimizer = dataclasses.replace(optimizer, schedule="wsd")
    store, mix = options.store.resolve(), tuple(path.resolve() for path in options.mix)
    return from_json(to_json(dataclasses.replace(options, store=store, mix=mix, optimizer=optimizer)))


def names(values: Sequence[str]) -> str:
    """A few words, in one line."""
    return ", ".join(values[:3]) + (f" and {len(values) - 3} more" if len(values) > 3 else "")
