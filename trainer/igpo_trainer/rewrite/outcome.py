"""What became of every row, in the data's order: pure."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from igpo_trainer.rewrite.keep import Inspection, Reason, without_duplicates
from igpo_trainer.rewrite.result import RewrittenRow
from igpo_trainer.rewrite.work import Row, Work


@dataclass(frozen=True, slots=True)
class RewriteOutcome:
    """Rows that are trained on and rows that are not."""

    kept: Sequence[RewrittenRow]
    dropped: Sequence[RewrittenRow]

    @property
    def reasons(self) -> Counter[str]:
        """Dropped rows by reason."""
        return Counter(row.reason or "" for row in self.dropped)


def outcome_of(work: Work) -> RewriteOutcome:
    """Decide about every row of a work that has run to its end."""
    found = without_duplicates([(row.problem, _inspection(work, row)) for row in work.rows])
    lines = [_line(work, row, inspection) for row, inspection in zip(work.rows, found, strict=True)]
    return RewriteOutcome(
        [line for line in lines if line.reason is None], [line for line in lines if line.reason is not None]
    )


def _inspection(work: Work, row: Row) -> Inspection:
    key = row.request.key
    if key in work.tally.refused:
        return Inspection("", None, None, Reason.REFUSED)
    if key in work.tally.unanswered:
        return Inspection("", None, None, Reason.UNANSWERED)
    return work.inspections[key]


def _line(work: Work, row: Row, found: Inspection) -> RewrittenRow:
    problem, key = row.problem, row.request.key
    answer = work.answers.get(row.request)
    return RewrittenRow(
        key=problem.key,
        prompt=problem.prompt,
        trace=found.text,
        answer=problem.answer,
        difficulty=problem.difficulty,
        original=problem.trace,
        tokens=found.tokens,
        original_tokens=row.original_tokens,
        verdict=found.verdict,
        reason=found.reason,
        detail=work.tally.refused.get(key) or work.tally.unanswered.get(key) or "",
        teacher=work.assignment.model,
        base_url=work.assignment.base_url,
        prompt_hash=work.assignment.prompt_hash,
        request=key,
        finish=answer.finish if answer else "",
        prompt_tokens=answer.prompt_tokens if answer else 0,
        completion_tokens=answer.completion_tokens if answer else 0,
    )
