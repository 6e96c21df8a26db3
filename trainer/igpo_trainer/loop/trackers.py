"""Experiment trackers (TensorBoard, Weights & Biases, MLflow), fed through accelerate beside metrics.jsonl."""

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from accelerate.accelerator import Accelerator

TrackMetrics = Callable[[dict[str, float], int], None]
"""Takes the headline values of a record and its step."""


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
