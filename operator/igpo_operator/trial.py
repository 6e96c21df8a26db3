"""`python -m igpo_operator.trial`: train a tiny run to its end and remove it again. `helm test` runs this.

Needs the rights to create, get and delete IGPOTrainings in one namespace, no others.
"""

import argparse
import asyncio
import json
import secrets
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from igpo_operator.api.kinds import IGPO_TRAINING
from igpo_operator.api.reasons import Phase
from igpo_operator.apply.errors import ApiError, NoClusterError, NotFoundError
from igpo_operator.apply.kube import Kube
from igpo_operator.apply.resources import runs_of
from igpo_operator.apply.view import UnreadableError, run_of
from igpo_operator.plan.observed import Run
from igpo_trainer.spec.contract import API_VERSION

Body = dict[str, Any]

_LOOK_SECONDS: Final = 1.0
_RUNS: Final = runs_of(IGPO_TRAINING)
TINY: Final[Body] = {
    "model": {
        "scratch": {"hiddenSize": 32, "layers": 1, "heads": 2, "intermediateSize": 64, "maxPositions": 64},
        "precision": "FP32",
    },
    "dataset": {
        "source": "builtin:word-problems",
        "holdout": {"rows": 8},  # judged at the start and at the end: the default would be most of the time
        "maxPromptTokens": 40,
        "wordProblems": {"rows": 100},
    },
    "steps": 4,
    "groupSize": 4,
    "promptsPerStep": 4,
    "sampling": {"completionLength": 24, "steps": 6, "blockLength": 12, "temperature": 1.0},
    "hints": {"chunkTokens": {"min": 2, "max": 3}},
    "evaluation": {"everySteps": 0},
    "checkpoints": {"everySteps": 2},
    "storage": {"size": "1Gi", "retainPolicy": "Delete"},
}
"""A run that takes a processor about ten seconds, most of them to start; its volume goes with it."""


class TrialError(Exception):
    """The run did not complete; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Trial:
    """What is tried, and where."""

    namespace: str
    changes: Mapping[str, Any] = field(default_factory=dict)
    """Fields of the run's spec, merged over `TINY` map by map."""
    owner: tuple[str, str] | None = None
    """Name and UID of the pod that tries; with it goes the run, should nobody be left to delete it."""

    def manifest(self, name: str) -> Body:
        """The run."""
        metadata: Body = {"name": name, "namespace": self.namespace}
        if self.owner is not None:
            pod, uid = self.owner
            metadata["ownerReferences"] = [{"apiVersion": "v1", "kind": "Pod", "name": pod, "uid": uid}]
        spec = _merged(TINY, self.changes)
        return {"apiVersion": API_VERSION, "kind": IGPO_TRAINING.kind, "metadata": metadata, "spec": spec}


def verdict(run: Run) -> bool:
    """Whether the run has completed; TrialError if it never will."""
    status = run.status
    if status.phase is not Phase.FAILED:
        return status.phase is Phase.COMPLETE
    lines = status.attempts[-1].last_lines if status.attempts else []
    raise TrialError("\n".join([f"the run failed: {status.message}", *(f"  | {line}" for line in lines)]))


async def train(kube: Kube, trial: Trial, seconds: float, say: Callable[[str], None]) -> None:
    """Create the run, tell what becomes of it, and delete it, whatever happens; TrialError if it does not complete."""
    namespace, name = trial.namespace, f"trial-{secrets.token_hex(3)}"
    created = await kube.create(trial.manifest(name))
    said = ""
    try:
        say(f"IGPOTraining {namespace}/{name} created")
        async with asyncio.timeout(seconds):
            while True:
                run = run_of(await kube.get(_RUNS, namespace, name))
                news = f"{run.status.phase.value}: {run.status.message}" if run.status.message else ""
                if news != said:
                    say(news)
                    said = news
                if verdict(run):
                    return
                await asyncio.sleep(_LOOK_SECONDS)
    except TimeoutError:
        raise TrialError(f"not complete after {seconds:.0f} s, {_last(said, namespace)}") from None
    except NotFoundError:
        raise TrialError(f"somebody deleted {name} while it trained; run the test again") from None
    finally:
        await asyncio.shield(_delete(kube, namespace, name, created["metadata"]["uid"]))


def main(words: Sequence[str]) -> int:
    """Run the trial; 0 if it trained, 1 if not, 64 without a cluster."""
    arguments = _parser().parse_args(words)
    try:
        return asyncio.run(_run(arguments))
    except (ApiError, TrialError, UnreadableError) as problem:
        sys.stderr.write(f"igpo trial: {problem}\n")
    except asyncio.CancelledError:
        sys.stderr.write("igpo trial: stopped; the run is deleted\n")
    except NoClusterError as problem:
        sys.stderr.write(f"igpo trial: {problem}\n")
        return 64
    return 1


async def _run(arguments: argparse.Namespace) -> int:
    task = asyncio.current_task()
    if task is not None:
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    started = time.monotonic()
    kube = await Kube.connect(context=arguments.context)
    try:
        trial = Trial(arguments.namespace, arguments.spec, arguments.owner)
        await train(kube, trial, arguments.timeout, _say)
    finally:
        await kube.close()
    _say(f"trained to its end in {time.monotonic() - started:.0f} s; the run is deleted")
    return 0


async def _delete(kube: Kube, namespace: str, name: str, uid: str) -> None:
    try:
        await kube.delete(_RUNS, namespace, name, uid)
    except NotFoundError:
        return


def _last(said: str, namespace: str) -> str:
    if said:
        return f"and was last {said}"
    return f"and nobody looked at it: does an operator work in {namespace}? See its log"


def _merged(base: Mapping[str, Any], changes: Mapping[str, Any]) -> Body:
    result = dict(base)
    for key, value in changes.items():
        old = result.get(key)
        result[key] = _merged(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return result


def _spec(text: str) -> Body:
    value = json.loads(text)
    if not isinstance(value, dict):
        raise argparse.ArgumentTypeError(f"{text} is no JSON object; give fields of a run's spec")
    return value


def _owner(text: str) -> tuple[str, str]:
    name, slash, uid = text.partition("/")
    if not (name and slash and uid):
        raise argparse.ArgumentTypeError(f"{text} is no pod; give its name and UID as NAME/UID")
    return name, uid


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m igpo_operator.trial", description="Train a tiny run to its end.")
    parser.add_argument("--namespace", default="default", help="where it trains; an operator must work there")
    parser.add_argument("--timeout", type=float, default=1500, help="how long it may take, in seconds (default: 1500)")
    parser.add_argument(
        "--spec", type=_spec, default={}, help="JSON: fields of the run's spec, merged over the trial's"
    )
    parser.add_argument("--owner", type=_owner, help="NAME/UID of a pod in that namespace; the run goes with it")
    parser.add_argument("--context", help="context of the kubeconfig; absent: the pod's account, or the current one")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
