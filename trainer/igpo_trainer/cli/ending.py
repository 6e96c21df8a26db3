"""The pod's exit code and reason, decided from what its ranks left behind."""

import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from igpo_trainer.cli.outcome import RankOutcome
from igpo_trainer.cli.rank_exit import RankExit
from igpo_trainer.spec.contract import ExitCode, TerminationMessage

_ENDED_WELL = (ExitCode.DONE, ExitCode.SAVED_ON_SIGTERM)
_NEVER_RETRIED = (ExitCode.INVALID_RUN, ExitCode.INVALID_DATA)
_LAST_LINES = 20
_LINE_CHARACTERS = 500


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known when torchrun is gone."""

    processes: int
    """Ranks of this pod."""
    outcomes: Mapping[int, RankOutcome]
    """By local rank; absent where a rank left nothing."""
    torchrun_code: int
    """torchrun's own exit code; -n when signal n killed it."""
    exits: Mapping[int, RankExit] = field(default_factory=dict)
    """Failed ranks by local rank, as torchrun saw them; empty when it was told to stop."""
    stopped_by: int | None = None
    """The signal that this pod received."""
    log: Sequence[str] = ()
    """Tail of stdout and stderr of all ranks, oldest first."""


def termination_of(evidence: Evidence) -> TerminationMessage:
    """Decide code and reason.

    64 or 65 if any rank says so; 0 or 75 only if every rank of the pod does; otherwise the code of the rank that
    failed first, 128 + n when signal n killed it.
    """
    outcomes = evidence.outcomes
    code, reason, culprit = _decide(evidence)
    lines = culprit.traceback if culprit is not None and culprit.traceback else evidence.log[-_LAST_LINES:]
    saved = max(
        (outcome for outcome in outcomes.values() if outcome.checkpoint),
        key=lambda outcome: (outcome.latest is not None, outcome.step or 0),
        default=None,
    )
    return TerminationMessage(
        code=code,
        reason=reason,
        step=max((outcome.step for outcome in outcomes.values() if outcome.step is not None), default=None),
        cause=None if culprit is None else culprit.cause,
        checkpoint=None if saved is None else saved.checkpoint,
        latest=None if saved is None else saved.latest,
        best=None if saved is None else saved.best,
        last_lines=[line[:_LINE_CHARACTERS] for line in lines],
    )


def _decide(evidence: Evidence) -> tuple[int, str, RankOutcome | None]:
    by_time = sorted(evidence.outcomes.values(), key=lambda outcome: outcome.at)
    if invalid := next((outcome for outcome in by_time if outcome.code in _NEVER_RETRIED), None):
        return invalid.code, invalid.reason, invalid
    codes = {outcome.code for outcome in by_time}
    everyone = len(by_time) == evidence.processes
    if everyone and codes == {ExitCode.SAVED_ON_SIGTERM}:
        return ExitCode.SAVED_ON_SIGTERM, by_time[0].reason, by_time[0]
    if everyone and codes == {ExitCode.DONE} and (evidence.torchrun_code == 0 or evidence.stopped_by is not None):
        return ExitCode.DONE, by_time[0].reason, by_time[0]
    return _failure(evidence, by_time)


def _failure(evidence: Evidence, by_time: list[RankOutcome]) -> tuple[int, str, RankOutcome | None]:
    if evidence.exits:
        rank, ended = min(evidence.exits.items(), key=lambda entry: (entry[1].at, _suspicion(entry[1].code)))
        left = evidence.outcomes.get(rank)
        if left is None or left.code in _ENDED_WELL:
            return _silent(rank, ended.code)
        return left.code, left.reason, left
    if failed := next((outcome for outcome in by_time if outcome.code not in _ENDED_WELL), None):
        return failed.code, failed.reason, failed
    return _no_failed_rank(evidence)


def _no_failed_rank(evidence: Evidence) -> tuple[int, str, None]:
    missing = [rank for rank in range(evidence.processes) if rank not in evidence.outcomes]
    if not missing:
        ends = ", ".join(f"rank {rank} {outcome.code}" for rank, outcome in sorted(evidence.outcomes.items()))
        return ExitCode.FAILED, f"ranks do not agree how the run ended: torchrun {evidence.torchrun_code}, {ends}", None
    if evidence.stopped_by is None:
        began = f"torchrun ended with {evidence.torchrun_code} before local rank {missing[0]} reported"
        return ExitCode.FAILED, "; ".join([began, *evidence.log[-1:]]), None
    name = signal.Signals(evidence.stopped_by).name
    if evidence.outcomes:
        return ExitCode.FAILED, f"local rank {missing[0]} did not save after {name}; others did", None
    return 128 + evidence.stopped_by, f"{name} came before any rank could save; the next attempt resumes", None


def _suspicion(code: int) -> int:
    """Rank ends of the same second by how likely they are the cause: torchrun's own SIGTERM to siblings comes last."""
    if code == -signal.SIGTERM:
        return 2
    return 0 if code < 0 else 1


def _silent(rank: int, code: int) -> tuple[int, str, None]:
    if code < 0:
        name = signal.Signals(-code).name
        hint = "; the kernel does this when memory runs out" if -code == signal.SIGKILL else ""
        return 128 - code, f"local rank {rank} was killed by {name}{hint}", None
    own = code if code not in set(ExitCode) else int(ExitCode.FAILED)
    return own, f"local rank {rank} ended with {code} without a report", None
