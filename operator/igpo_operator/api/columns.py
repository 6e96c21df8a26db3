"""What `kubectl get` shows: a run at a glance, and with `-o wide` why it is where it is."""

from typing import Any

from igpo_operator.api.kinds import IGPO_TRAINING, Kind


def columns_of(kind: Kind) -> list[dict[str, Any]]:
    """Columns of one kind. Metrics are decimal strings, so that NaN cannot break a status write."""
    if kind == IGPO_TRAINING:
        metrics = [
            _column("Reward", ".status.metrics.reward", "Mean reward of the last cycle's rollouts."),
            _column(
                "AllWrong", ".status.metrics.allWrongInitial", "Share of groups without a right rollout, before rescue."
            ),
        ]
        more = [
            _column("Rescued", ".status.metrics.allWrongFinal", "The same share after rescue by hints.", wide=True),
        ]
    else:
        metrics = [
            _column("Loss", ".status.metrics.loss", "Training loss of the last step."),
        ]
        more = [
            _column("Rewritten", ".status.rewriting.done", "Traces rewritten so far.", type_="integer", wide=True),
            _column("Kept", ".status.rewriting.kept", "Of them, those that are kept.", type_="integer", wide=True),
        ]
    accuracy = _column("Accuracy", ".status.metrics.accuracy", "Share of held-out problems solved, last evaluation.")
    return [
        _column("Phase", ".status.phase", "What the run is doing."),
        _column("Step", ".status.progress.step", "Last finished step.", type_="integer"),
        *metrics,
        *([] if kind == IGPO_TRAINING else [accuracy]),
        _column("Restarts", ".status.restarts.total", "Restarts of the gang since the beginning.", type_="integer"),
        _column("Age", ".metadata.creationTimestamp", "Time since the run was created.", type_="date"),
        _column("Planned", ".status.progress.plannedSteps", "Steps of the whole run.", type_="integer", wide=True),
        *more,
        *([accuracy | {"priority": 1}] if kind == IGPO_TRAINING else []),
        _column("Attempt", ".status.attempt.number", "Number of the current gang of pods.", type_="integer", wide=True),
        _column("Workers", ".spec.workers.replicas", "Pods of the gang.", type_="integer", wide=True),
        _column("Queue", ".spec.runPolicy.queueName", "Kueue LocalQueue, if any.", wide=True),
        _column("Message", ".status.message", "What happens and what to do.", wide=True),
    ]


def _column(name: str, path: str, description: str, *, type_: str = "string", wide: bool = False) -> dict[str, Any]:
    column = {"name": name, "type": type_, "jsonPath": path, "description": description}
    return column | ({"priority": 1} if wide else {})
