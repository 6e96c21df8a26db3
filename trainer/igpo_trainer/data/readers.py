"""The problems that a run trains on, holds out and is measured on."""

from collections.abc import Sequence
from dataclasses import replace

from igpo_trainer.data.holdout import Split, hold_out
from igpo_trainer.data.problem import Problem
from igpo_trainer.data.rows import RowRule, problem_of
from igpo_trainer.data.source import Source, read_rows
from igpo_trainer.data.word_problems import generate
from igpo_trainer.spec.dataset import BUILTIN_WORD_PROBLEMS, DatasetSpec, PromptSpec, WordProblems
from igpo_trainer.spec.run import HOLDOUT, EvaluationSet, EvaluationSpec


def read_problems(spec: DatasetSpec, prompt: PromptSpec, *, seed: int = 0, traces: bool = True) -> list[Problem]:
    """Read or generate all problems of `spec.split`, in order; the built-in task gives its training problems.

    Without `traces` a row needs prompt and answer only, as a set does that is only measured.

    Raises:
        InvalidRunError, InvalidDataError, RunError: see read_rows and problem_of.

    """
    if spec.source == BUILTIN_WORD_PROBLEMS:
        options = spec.word_problems or WordProblems()
        return [_written(p, prompt) for p in generate(options, split="train", rows=options.rows, seed=seed)]
    rule = RowRule(spec.source, spec.fields, spec.answer, prompt.trace_format, traces)
    rows = read_rows(Source(spec.source, spec.name, spec.revision, spec.split))
    return [problem_of(row, number, rule) for number, row in enumerate(rows, 1)]


def load_split(spec: DatasetSpec, prompt: PromptSpec, *, seed: int) -> Split:
    """Return the problems to train on and those held out.

    External rows are cut by seed. The built-in task is cut by structure: held-out problems need sequences of operations
    that no training problem has.
    """
    problems = read_problems(spec, prompt, seed=seed)
    if spec.source == BUILTIN_WORD_PROBLEMS:
        return Split(problems, _builtin_holdout(spec, prompt, seed))
    return hold_out(problems, spec.holdout.rows, seed, spec.source)


def load_evaluation(
    evaluation: EvaluationSpec, spec: DatasetSpec, prompt: PromptSpec, *, seed: int, holdout: Sequence[Problem]
) -> list[tuple[EvaluationSet, list[Problem]]]:
    """Return the problems of every evaluation set, in order; `holdout` stands for the source of that name."""
    return [(entry, _evaluation_problems(entry, spec, prompt, seed, holdout)) for entry in evaluation.datasets]


def _evaluation_problems(
    entry: EvaluationSet, spec: DatasetSpec, prompt: PromptSpec, seed: int, holdout: Sequence[Problem]
) -> list[Problem]:
    if entry.source == HOLDOUT:
        return list(holdout)
    if entry.source == BUILTIN_WORD_PROBLEMS:
        return _builtin_holdout(spec, prompt, seed)
    as_dataset = spec.model_copy(
        update={
            "source": entry.source,
            "name": entry.name,
            "revision": entry.revision,
            "split": entry.split,
            "fields": entry.fields or spec.fields,
            "answer": entry.answer or spec.answer,
        }
    )
    return read_problems(as_dataset, prompt, traces=False)


def _builtin_holdout(spec: DatasetSpec, prompt: PromptSpec, seed: int) -> list[Problem]:
    options = spec.word_problems or WordProblems()
    problems = generate(options, split="heldout", rows=spec.holdout.rows, seed=seed)
    return [_written(problem, prompt) for problem in problems]


def _written(problem: Problem, prompt: PromptSpec) -> Problem:
    """Return a generated problem with its trace written as prompt.traceFormat says."""
    return replace(problem, trace=prompt.trace_format.format(body=problem.trace, answer=problem.answer))
