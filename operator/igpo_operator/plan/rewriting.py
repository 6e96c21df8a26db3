"""The stage before training: whether traces are still to be rewritten, how far that is, and when it is over for good.

A stage is a property of an attempt: the numbers of all attempts are one sequence, by which the trainer fences older
ones off the volume, and whatever holds for the attempts of a gang holds for those of the pod that rewrites.
"""

from datetime import datetime
from math import isfinite

from igpo_operator.api.reasons import Phase, Stage
from igpo_operator.api.status import AttemptStatus, RewritingStatus, RunStatus
from igpo_operator.plan.terms import Terms
from igpo_trainer.spec.contract import RewriteStatus


def stage_of_next(status: RunStatus, terms: Terms) -> Stage:
    """Rewriting until it has been finished once with the same inputs; from then on Training, whatever happens."""
    if terms.rewrite_hash is None:
        return Stage.TRAINING
    known = status.rewriting
    over = known is not None and known.hash == terms.rewrite_hash and known.finished_at is not None
    return Stage.TRAINING if over else Stage.REWRITING


def with_attempt(
    status: RunStatus, terms: Terms, number: int, now: datetime, not_before: datetime | None = None
) -> RunStatus:
    """Record an attempt, with the stage that is due."""
    stage = stage_of_next(status, terms)
    attempt = AttemptStatus(number=number, stage=stage, decided_at=now, not_before=not_before)
    rewriting = status.rewriting
    if stage is Stage.REWRITING and terms.rewrite_hash is not None:
        if rewriting is None or rewriting.hash != terms.rewrite_hash:
            rewriting = RewritingStatus(hash=terms.rewrite_hash, attempt=number)
        rewriting = rewriting.model_copy(update={"attempt": number, "eta_seconds": None})
    return status.model_copy(update={"attempt": attempt, "rewriting": rewriting})


def told(status: RunStatus, said: RewriteStatus | None) -> RunStatus:
    """Take over what the pod that rewrites said; the trainers of a later attempt change nothing."""
    attempt, known = status.attempt, status.rewriting
    if said is None or known is None or attempt is None or attempt.stage is not Stage.REWRITING:
        return status
    counts = ("rows", "done", "cached", "kept", "dropped", "tokens", "token_budget")
    eta = said.eta_seconds
    update: dict[str, int | None] = {name: getattr(said, name) for name in counts}
    update["eta_seconds"] = int(eta) if eta is not None and isfinite(eta) else None
    return status.model_copy(update={"rewriting": known.model_copy(update=update)})


def finished(status: RunStatus, now: datetime) -> RunStatus:
    """Record that the stage is over for good."""
    if status.rewriting is None:
        raise ValueError("an attempt that rewrites has ended, but status.rewriting is absent; restore it")
    over = status.rewriting.model_copy(update={"finished_at": now, "eta_seconds": 0})
    return status.model_copy(update={"rewriting": over})


def running_phase(attempt: AttemptStatus) -> Phase:
    """The phase in which every pod of an attempt runs."""
    return Phase.REWRITING if attempt.stage is Stage.REWRITING else Phase.RUNNING


def unfinished(status: RunStatus) -> RewritingStatus | None:
    """The stage, unless there is none or it is over."""
    known = status.rewriting
    return known if known is not None and known.finished_at is None else None


def origin(status: RunStatus) -> str:
    """Where the next attempt goes on, in words."""
    if (stage := unfinished(status)) is not None and stage.done:
        return f"with {stage.done} of {stage.rows} traces rewritten"
    return f"from the checkpoint of step {status.checkpoint.step}" if status.checkpoint else "from the start"


def way_on(status: RunStatus) -> str:
    """What a person may do about a run that failed in this stage, with what it has; nothing after the stage."""
    stage = unfinished(status)
    if stage is None or not stage.done:
        return ""
    have = f"the teacher's answers for {stage.done} of {stage.rows} traces are on the volume"
    return f"; {have}: delete the run and apply it again to go on with them"


def outcome(stage: RewritingStatus) -> str:
    """What the stage came to, in words."""
    if not stage.rows:
        return "the traces are rewritten"
    found = "; the volume already held them" if stage.cached >= stage.rows else ""
    return f"{stage.kept} of {stage.rows} rewritten traces are kept, for {stage.tokens} tokens of the teacher{found}"
