"""A few rollouts of a cycle as people read them: which text was hinted, generated, replaced."""

from collections.abc import Iterator, Sequence
from itertools import groupby

from igpo_trainer.igpo.rollout import Group, Rollout
from igpo_trainer.loop.cycle import ScoredGroup
from igpo_trainer.loop.session import Session
from igpo_trainer.observe.samples import Piece, SampleRecord, TextKind

GROUPS_PER_STEP = 2
"""Groups written per step: a rescued one and a plain one, if there are."""
ROLLOUTS_PER_GROUP = 2


def sample_rows(
    session: Session, step: int, before: Sequence[Group], scored: Sequence[ScoredGroup]
) -> Iterator[SampleRecord]:
    """Rows for samples.jsonl: rescued groups first, and in them the replaced rollouts."""
    ranked = sorted(range(len(scored)), key=lambda n: (not _replaced(scored[n].group), n))
    for n in [*ranked[:1], *ranked[-1:]][:GROUPS_PER_STEP]:
        group = scored[n].group
        slots = sorted(range(len(group.rollouts)), key=lambda g: (not group.rollouts[g].replaced, g))
        for slot in slots[:ROLLOUTS_PER_GROUP]:
            yield _row(session, step, scored[n], slot, before[n].rollouts[slot])


def _replaced(group: Group) -> bool:
    return any(r.replaced for r in group.rollouts)


def _row(session: Session, step: int, scored: ScoredGroup, slot: int, original: Rollout) -> SampleRecord:
    rollout = scored.group.rollouts[slot]
    problem = session.data.train[scored.group.row].problem
    kept_L = scored.kept_GL[slot].tolist()

    def origin(index: int) -> TextKind:
        if index in rollout.hint_positions:
            return TextKind.HINT if kept_L[index] else TextKind.FILTERED_HINT
        return TextKind.REPLACED if rollout.replaced else TextKind.GENERATED

    decode = session.tokenizer.decode
    pieces = tuple(
        Piece(text=str(decode([rollout.ids[i] for i in run])), kind=kind)
        for kind, run in groupby(range(rollout.length), key=origin)
    )
    return SampleRecord(
        step=step,
        problem=problem.key,
        sample=slot,
        prompt=problem.prompt,
        reference=problem.trace,
        answer=problem.answer,
        difficulty=problem.difficulty,
        pieces=pieces,
        reward=rollout.reward,
        verdict=rollout.outcome,
        original=str(decode(list(original.ids[: original.length]))) if rollout.replaced else None,
    )
