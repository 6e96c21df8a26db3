"""Custom rewards by name: an entry point of group `igpo.rewards`, or `module:function`."""

import importlib
import math
from collections.abc import Callable
from importlib.metadata import entry_points

from igpo_trainer.spec.errors import InvalidRunError

GROUP = "igpo.rewards"
CORRECTNESS = "correctness"
BUILT_IN = (CORRECTNESS, "format")

RewardFunction = Callable[[str, str, str], float]
"""(prompt, completion, answer) -> reward. Called in a worker process; may raise, hang or crash."""


class NonFiniteRewardError(ValueError):
    """A reward function returned NaN or an infinity."""


def known_rewards() -> list[str]:
    """Names that can stand in `rewards.custom`, sorted; `module:function` goes beside them."""
    return sorted(entry_points(group=GROUP).names)


def _unknown(name: str, why: str) -> InvalidRunError:
    known = ", ".join(known_rewards()) or "none installed"
    return InvalidRunError(
        f"rewards.custom {name!r}: {why}; known names: {known}; use one of them or module:function that can be imported"
    )


def load_reward(name: str) -> RewardFunction:
    """Return the reward function called `name`.

    Raises InvalidRunError that lists the known names if there is none, or if it cannot be imported or called.
    """
    if name in BUILT_IN:
        raise _unknown(name, f"is built in, its weight is rewards.{name}")
    if ":" in name:
        module_name, _, attribute = name.partition(":")
        try:
            function = getattr(importlib.import_module(module_name), attribute)
        except Exception as error:
            raise _unknown(name, f"cannot be imported ({type(error).__name__}: {error})") from error
    else:
        found = entry_points(group=GROUP, name=name)
        if not found:
            raise _unknown(name, f"is no entry point of group {GROUP}")
        try:
            function = next(iter(found)).load()
        except Exception as error:
            raise _unknown(name, f"cannot be imported ({type(error).__name__}: {error})") from error
    if not callable(function):
        raise _unknown(name, f"is a {type(function).__name__}, not a function")
    return function  # type: ignore[no-any-return]  # what a user's module exports; its result is checked per call


def call_reward(function: RewardFunction, prompt: str, completion: str, answer: str) -> float:
    """Return the reward as a finite float; raise what the function raises, or NonFiniteRewardError."""
    value = float(function(prompt, completion, answer))
    if not math.isfinite(value):
        raise NonFiniteRewardError(f"reward is {value}")
    return value
