"""Experiment trackers (TensorBoard, Weights & Biases, MLflow), fed through accelerate beside metrics.jsonl."""

import importlib.util
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

from accelerate.accelerator import Accelerator

from igpo_trainer.spec.errors import InvalidRunError

TrackMetrics = Callable[[dict[str, float], int], None]
"""Takes the headline values of a record and its step."""


def require_installed(trackers: Sequence[str]) -> None:
    """Raise InvalidRunError naming the first tracker whose package is missing; accelerate would leave it out."""
    for name in trackers:
        if importlib.util.find_spec(name) is None:
            raise InvalidRunError(
                f"spec.trackers {name} is not installed; pip install {name}, or remove it from trackers"
            )


def start_trackers(
    accelerator: Accelerator, run: str, config: dict[str, Any], resources: ExitStack
) -> TrackMetrics | None:
    """Start the trackers the accelerator was made with; None when there are none."""
    if not accelerator.log_with:
        return None
    accelerator.init_trackers("igpo", config={"run": run, **config})
    resources.callback(accelerator.end_training)

    def track(values: dict[str, float], step: int) -> None:
        accelerator.log(values, step=step)

    return track
