"""What a Stable-Baselines3 archive says of its policy, in its entry `data`: JSON of the constructor's arguments.

What JSON cannot hold is an object with its type (`:type:`), a pickle (`:serialized:`, never read) and its attributes,
of which those that JSON cannot hold are text.
"""

import json
from typing import Any

from data.experts.trained.checkpoint import PIXELS, Unfit
from data.spec import FRAME_COLUMNS, FRAME_ROWS, STACK

_SHAPE = [STACK, FRAME_ROWS, FRAME_COLUMNS]
_INSTEAD = "give one that PPO or A2C trained with CnnPolicy"
_ALGORITHMS = {
    "q_net.": "a DQN policy, which has values of actions and no probabilities",
    "quantile_net.": "a QR-DQN policy, which has quantiles of values and no probabilities",
    "lstm_actor.": "a recurrent policy (RecurrentPPO)",
    "actor.": "a policy of continuous actions (SAC, TD3 or DDPG)",
}
"""By how the names in their state dicts begin."""


def refuse_others(state: dict[str, Any]) -> None:
    """Raise `Unfit` for the state dict of another algorithm's policy."""
    for start, what in _ALGORITHMS.items():
        if any(str(name).startswith(start) for name in state):
            raise Unfit(f"{what}: {_INSTEAD}")


def divisor_of(text: bytes) -> float:
    """What the policy divides pixels by.

    Raises: Unfit: the policy sees, computes or acts otherwise than a CnnPolicy on stacks of frames.
    """
    try:
        about = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Unfit("its data is no JSON: copy it again") from error
    if not isinstance(about, dict):
        raise Unfit("its data tells of no policy: give an archive that Stable-Baselines3's model.save() made")
    _check_observation(_part(about, "observation_space"))
    _check_actions(_part(about, "action_space"))
    arguments = _part(about, "policy_kwargs")
    extractor = arguments.get("features_extractor_class", "NatureCNN")
    if "NatureCNN" not in str(extractor):
        raise Unfit(f"its features extractor is {str(extractor)[:80]}, not NatureCNN: {_INSTEAD}")
    return PIXELS if arguments.get("normalize_images", True) else 1.0


def _check_observation(space: dict[str, Any]) -> None:
    """A Box of four frames, channels first, of uint8."""
    shape, dtype = space.get("_shape", space.get("shape", _SHAPE)), str(space.get("dtype", "uint8"))
    if shape not in (_SHAPE, [*_SHAPE[1:], STACK]):
        raise Unfit(f"it sees {_said(shape)}, not stacks of {STACK} frames of {FRAME_ROWS}x{FRAME_COLUMNS}: {_INSTEAD}")
    if "uint8" not in dtype:
        raise Unfit(f"it sees {dtype[:40]} that the environment has scaled, not frames of uint8: {_INSTEAD}")


def _check_actions(space: dict[str, Any]) -> None:
    """A Discrete space that begins at 0."""
    kind, start = str(space.get(":type:", "Discrete")), space.get("start", 0)
    if "Discrete" not in kind or "MultiDiscrete" in kind:
        raise Unfit(f"its actions are {kind[:80]}, not Discrete: {_INSTEAD}")
    if str(start) != "0":
        raise Unfit(f"its actions begin at {str(start)[:20]}, not at 0: {_INSTEAD}")


def _part(about: dict[str, Any], name: str) -> dict[str, Any]:
    found = about.get(name)
    return found if isinstance(found, dict) else {}


def _said(shape: Any) -> str:
    return f"observations of {shape}"[:80] if isinstance(shape, list) else "observations of another shape"
