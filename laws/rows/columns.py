"""Which column of a table is which quantity: by name, by a common name for it, or as the user says."""

import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from data.common.cli import UserError
from eval.results import NAMES

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


def normalised(name: str) -> str:
    """`name` in lower case with underscores; without a unit in brackets and the `config.` or `summary/` of W&B."""
    bare = re.sub(r"[(\[].*?[)\]]", "", name).strip() or name
    bare = re.sub(r"(?i)^(config|summary|summary_metrics)[./_ ]+", "", bare)
    return re.sub(r"[^0-9a-z]+", "_", bare.casefold()).strip("_")


def parse_columns(words: Sequence[str]) -> dict[str, str]:
    """`flops=C params=N` by field; a name may have blanks.

    Raises:
        UserError: a word is not FIELD=NAME, or there is no such field.
    """
    chosen: dict[str, str] = {}
    for word in words:
        field, equals, name = word.partition("=")
        field = {"c": "flops", "n": "params", "d": "samples"}.get(field.casefold(), field)
        field = next((known for known, names in ALIASES.items() if field in names), field)
        if not equals:
            raise UserError(f"--columns {word}: write FIELD=NAME, such as flops=C or loss='eval loss'")
        if field not in NAMES:
            raise UserError(f"--columns {word}: no field {field!r}; the fields are {', '.join(NAMES)}")
        chosen[field] = name
    return chosen


def match_columns(names: Sequence[str], chosen: Mapping[str, str]) -> dict[str, str]:
    """The column of each field, of a table with columns `names`; fields that it lacks are left out.

    A column that `chosen` names is taken, else one of the field's own name, else the first of `ALIASES` there is; upper
    and lower case, blanks and units in brackets don't matter.

    Raises:
        UserError: a chosen column isn't in the table.
    """
    by_name: dict[str, str] = {}
    for name in names:
        by_name.setdefault(normalised(name), name)
    found: dict[str, str] = {}
    for field, name in chosen.items():
        if name and name not in names and normalised(name) not in by_name:
            raise UserError(f"no column {name!r} for {field}: the table has {', '.join(names)}")
        if name:
            found[field] = name if name in names else by_name[normalised(name)]
    taken = set(found.values())
    for field in NAMES:
        if field not in chosen and by_name.get(field) is not None and by_name[field] not in taken:
            found[field] = by_name[field]
    taken = set(found.values())
    for field, aliases in ALIASES.items():
        if field in found or field in chosen:
            continue
        name = next((by_name[alias] for alias in aliases if alias in by_name and by_name[alias] not in taken), None)
        if name is not None:
            found[field] = name
            taken.add(name)
    return found
