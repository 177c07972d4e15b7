"""Which column of a table is which quantity: by name, by a common name for it, or as the user says."""

import re
from collections.abc import Container, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from data.common.cli import UserError, printable
from eval.results import NAMES
from laws.rows.numbers import without_unit

Record = tuple[str, dict[str, Any]]
"""Where a row stands, such as `line 3`, and its values by column name: text in a delimited file, else JSON values."""
SHOWN = 24
"""Names of columns that a message lists."""
LONGEST = 60
"""Characters of a name or value that a message shows."""
CORE = ("flops", "params", "samples", "loss")
"""Fields that a law is fitted to; their columns are found first."""

ALIASES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "flops": (
            *("c", "flop", "compute", "compute_budget", "compute_flops", "training_flops", "training_flop"),
            *("train_flops", "total_flops", "num_flops", "n_flops", "training_compute", "train_compute"),
            *("flops_budget", "flop_budget", "isoflop_budget", "budget", "c_flops", "total_compute"),
        ),
        "params": (
            *("n", "parameters", "n_params", "num_params", "n_parameters", "num_parameters", "parameter_count"),
            *("param_count", "params_count", "total_params", "model_params", "model_parameters", "model_size"),
            *("nparams", "non_embedding_params", "non_embedding_parameters", "params_non_embedding", "model_n", "size"),
        ),
        "samples": (
            *("d", "tokens", "n_tokens", "num_tokens", "train_tokens", "training_tokens", "tokens_seen"),
            *("total_tokens", "token_count", "n_samples", "num_samples", "samples_seen", "train_samples"),
            *("training_samples", "data_size", "dataset_size", "dataset_tokens", "examples", "n_examples"),
            *("examples_seen", "frames", "timesteps", "data"),
        ),
        "loss": (
            *("eval_loss", "val_loss", "valid_loss", "validation_loss", "dev_loss", "test_loss", "final_loss"),
            *("final_val_loss", "final_eval_loss", "loss_val", "loss_eval", "heldout_loss", "held_out_loss", "l"),
            *("cross_entropy", "nll", "best_loss", "min_loss", "train_loss", "training_loss", "final_train_loss"),
        ),
        "loss_se": ("loss_stderr", "loss_sem", "loss_std_err", "loss_standard_error", "loss_error"),
        "return_mean": (
            *("return", "mean_return", "returns", "avg_return", "average_return", "episode_return"),
            *("episodic_return", "eval_return", "score", "mean_score", "eval_score", "reward", "mean_reward"),
        ),
        "return_se": ("return_stderr", "return_sem", "return_std_err", "score_se", "score_sem", "reward_se"),
        "run": ("run_name", "run_id", "name", "id", "experiment", "experiment_name", "model_name", "model", "group"),
        "game": ("env", "environment", "env_id", "env_name", "task", "domain"),
        "seed": ("random_seed", "rng_seed"),
        "lr": ("learning_rate", "peak_lr", "max_lr", "peak_learning_rate", "base_lr"),
        "batch": ("batch_size", "bs", "global_batch_size", "train_batch_size"),
        "schedule": ("lr_schedule", "lr_scheduler", "scheduler"),
        "episodes": ("n_episodes", "num_episodes", "eval_episodes", "games"),
        "flops_exact": ("exact_flops",),
        "flops_paper": ("paper_flops",),
        "params_all": ("all_params", "params_total", "total_parameters"),
        "params_core": ("core_params", "non_embedding_params", "non_embedding_parameters", "params_non_embedding"),
        "seconds": ("train_seconds", "training_seconds", "wall_time", "walltime", "runtime", "train_time"),
        "epochs": ("epoch", "n_epochs", "num_epochs"),
    }
)
"""Common names of each column, the preferred first, as `normalised` writes them."""


_WORDY = frozenset({"size", "data", "model_size", "data_size", "dataset_size", "budget", "frames", "epochs", "epoch"})
"""Names that other tables have for columns of text; they are of a number only where the first row has one."""
_PREFIXES = (
    re.compile(r"(?i)^(summary|summary_metrics|metrics)[./_ ]+"),
    re.compile(r"(?i)^(config[./_ ]+|(params|hparams|args|tags|mlflow)[./]+)+"),
)
"""What W&B and MLflow write before a name, results before settings."""
_Index = Mapping[str, Sequence[tuple[int, str]]]


def normalised(name: str) -> str:
    """`name` in lower case with underscores; without a unit in brackets and the `config.` or `summary/` of W&B."""
    return [each for each in readings(name) if each][-1]


def readings(name: str) -> tuple[str, ...]:
    """What `name` may mean, the most literal first: as it stands, without unit, as a result, as a setting; or empty."""
    bare = re.sub(r"(?i)(?<=.)[./]value$", "", re.sub(r"[(\[].*?[)\]]", "", name).strip())
    prefixed = [_plain(prefix.sub("", bare)) if prefix.search(bare) else "" for prefix in _PREFIXES]
    return _plain(name) or name.casefold() or "_", _plain(bare), *prefixed


def known(names: Sequence[str]) -> int:
    """How many of `names` are common names of a field."""
    every = {*NAMES, *(alias for aliases in ALIASES.values() for alias in aliases)}
    return sum(normalised(name) in every for name in names)


def field_of(name: str) -> str | None:
    """The field with this name or common name; None where there is none."""
    plain = _plain(name)
    return plain if plain in NAMES else next((field for field, names in ALIASES.items() if plain in names), None)


def is_loss(name: str) -> bool:
    """Whether a column has a common name of the loss."""
    return any(field_of(reading) == "loss" for reading in readings(name) if reading)


def _plain(name: str) -> str:
    return re.sub(r"[\W_]+", "_", name.casefold()).strip("_")


def parse_columns(words: Sequence[str]) -> dict[str, str]:
    """`flops=C params=N` by field; a name may have blanks. One of no name says that there is no such column.

    Raises:
        UserError: a word is not FIELD=NAME, there is no such field, or it stands twice.
    """
    chosen: dict[str, str] = {}
    for word in words:
        given, equals, name = word.partition("=")
        field = field_of(given)
        if not equals:
            raise UserError(f"--columns {word}: write FIELD=NAME, such as flops=C or loss='eval loss'")
        if field is None:
            raise UserError(f"--columns {word}: no field {given!r}; the fields are {', '.join(NAMES)}")
        if field in chosen:
            raise UserError(f"--columns {word}: {field} stands twice; name one column for it")
        chosen[field] = name.strip()
    return chosen


def match_columns(names: Sequence[str], chosen: Mapping[str, str], numeric: Container[str]) -> dict[str, str]:
    """The column of each field, of a table with columns `names`; fields that it lacks are left out.

    A column that `chosen` names is taken, else one of the field's own name, else the first of `ALIASES` there is; upper
    and lower case, blanks and units in brackets don't matter. `numeric` are the columns that begin with a number.

    Raises:
        UserError: a chosen column isn't in the table, or two may be meant for a field that a law is fitted to.
    """
    index = _indexed(names)
    found: dict[str, str] = {}
    for field, name in chosen.items():
        if not name:
            continue
        column = name if name in names else find_column(name, names)
        if column is None:
            raise UserError(f"no column {shortened(name)!r} for {field}: the table has {listed(names)}")
        found[field] = column
    rest = tuple(field for field in NAMES if field not in CORE)
    own, common = {field: (field,) for field in NAMES}, ALIASES
    for fields, known_names in ((CORE, own), (CORE, common), (rest, own), (rest, common)):
        for field in fields:
            if field in chosen or field in found:
                continue
            taken = set(found.values())
            columns = ((name, _one_of(field, index.get(name, ()), taken)) for name in known_names.get(field, ()))
            wordy = _WORDY - {field}
            column = next((each for name, each in columns if each and (name not in wordy or each in numeric)), None)
            if column is not None:
                found[field] = column
    return found


def find_column(name: str, names: Sequence[str]) -> str | None:
    """The column of `names` that is `name` apart from its case, its blanks and its unit; None where there is none."""
    if name in names:
        return name
    index = _indexed(names)
    return next((index[each][0][1] for each in readings(name) if each in index), None)


def _indexed(names: Sequence[str]) -> _Index:
    """Columns by each of their readings, the most literal first, with how literal they are."""
    index: dict[str, list[tuple[int, str]]] = {}
    for name in names:
        each = [name, *readings(name)]
        if (bare := without_unit(name)) != name:
            each += [reading for reading in readings(bare) if field_of(reading) in CORE[:3]]
        for reading in dict.fromkeys(each):
            if reading:
                index.setdefault(reading, []).append((each.index(reading), name))
    return {reading: sorted(columns, key=lambda pair: pair[0]) for reading, columns in index.items()}


def _one_of(field: str, columns: Sequence[tuple[int, str]], taken: set[str]) -> str | None:
    """The most literal of `columns` that isn't taken."""
    free = [(rank, name) for rank, name in columns if name not in taken]
    if field in CORE and len(free) > 1 and free[0][0] == free[1][0]:
        one, other = shortened(free[0][1]), shortened(free[1][1])
        raise UserError(f"both {one!r} and {other!r} may be {field}; choose with {field}='{one}'")
    return free[0][1] if free else None


def listed(names: Sequence[str]) -> str:
    """`names` on one line, the first few of many."""
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(shortened(name) for name in names[:SHOWN]) + more


def shortened(text: str) -> str:
    """`text` on one line, its beginning if it is long."""
    return printable(text if len(text) <= LONGEST else text[:LONGEST] + "…")
