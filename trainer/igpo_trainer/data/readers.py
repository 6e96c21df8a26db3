"""The problems that a run trains on, holds out and is measured on."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from igpo_trainer.data.formats import FORMATS, known_set
from igpo_trainer.data.holdout import Split, hold_out
from igpo_trainer.data.problem import Problem
from igpo_trainer.data.problem_set import ProblemSet, collect
from igpo_trainer.data.rows import RowRule, parts_by_fields, write_trace
from igpo_trainer.data.source import Source, is_local, read_rows
from igpo_trainer.data.word_problems import generate
from igpo_trainer.spec.dataset import (
    BUILTIN_WORD_PROBLEMS,
    AnswerRule,
    DatasetSpec,
    FieldNames,
    PromptSpec,
    RowFormat,
    WordProblems,
)
from igpo_trainer.spec.errors import InvalidRunError
from igpo_trainer.spec.run import HOLDOUT, EvaluationSet, EvaluationSpec


def read_problems(spec: DatasetSpec, prompt: PromptSpec, *, seed: int = 0, traces: bool = True) -> ProblemSet:
    """Read or generate all problems of `spec.split`, in order; the built-in task gives its training problems.

    Without `traces` a row needs prompt and answer only, as a set does that is only measured.

    Raises:
        InvalidRunError: the format has no traces to train on.
        InvalidRunError, InvalidDataError, RunError: see read_rows and collect.

    """
    if spec.source == BUILTIN_WORD_PROBLEMS:
        options = spec.word_problems or WordProblems()
        problems = generate(options, split="train", rows=options.rows, seed=seed)
        return ProblemSet([_written(problem, prompt) for problem in problems])
    name = row_format(spec)
    layout = None if name is None else FORMATS[name]
    if traces and layout is not None and not layout.has_traces:
        raise InvalidRunError(
            f"dataset.source {spec.source}: format {name} has problems and answers but no traces to train on; "
            "measure on it in evaluation.datasets, and train on another set"
        )
    by_fields = partial(parts_by_fields, fields=spec.fields, rule=spec.answer, traces=traces)
    rule = RowRule(spec.source, by_fields if layout is None else layout.read, prompt.trace_format, traces)
    known = None if is_local(spec.source) else known_set(spec.source)
    rows = read_rows(Source(spec.source, spec.name or (known.name if known else None), spec.revision, spec.split))
    return collect(rows, rule, layout)


def row_format(spec: DatasetSpec) -> RowFormat | None:
    """The format of a data set's rows: as given, else that of a well-known hub id; None: by fields and answer."""
    known = known_set(spec.source)
    if spec.format is not None or known is None or not spec.has_default_columns:
        return spec.format
    return known.format


def load_split(spec: DatasetSpec, prompt: PromptSpec, *, seed: int) -> Split:
    """Return the problems to train on and those held out.

    External rows are cut by seed. The built-in task is cut by structure: held-out problems need sequences of operations
    that no training problem has.
    """
    read = read_problems(spec, prompt, seed=seed)
    if spec.source == BUILTIN_WORD_PROBLEMS:
        return Split(read.problems, _builtin_holdout(spec, prompt, seed))
    split = hold_out(read.problems, spec.holdout.rows, seed, spec.source)
    return replace(split, left_out=read.left_out)


def load_evaluation(
    evaluation: EvaluationSpec, spec: DatasetSpec, prompt: PromptSpec, *, seed: int, holdout: Sequence[Problem]
) -> list[tuple[EvaluationSet, ProblemSet]]:
    """Return the problems of every evaluation set, in order; `holdout` stands for the source of that name."""
    return [(entry, _evaluation_problems(entry, spec, prompt, seed, holdout)) for entry in evaluation.datasets]


def _evaluation_problems(
    entry: EvaluationSet, spec: DatasetSpec, prompt: PromptSpec, seed: int, holdout: Sequence[Problem]
) -> ProblemSet:
    if entry.source == HOLDOUT:
        return ProblemSet(list(holdout))
    if entry.source == BUILTIN_WORD_PROBLEMS:
        return ProblemSet(_builtin_holdout(spec, prompt, seed))
    return read_problems(as_dataset(entry, spec), prompt, traces=False)


def as_dataset(entry: EvaluationSet, spec: DatasetSpec) -> DatasetSpec:
    """An evaluation set as if it were trained on; what it leaves open is what its hub id says, else as in `spec`."""
    known = known_set(entry.source)
    own = entry.format is not None or entry.fields is not None or entry.answer is not None
    name = entry.format if own else known.format if known else row_format(spec)
    by_format = name is not None
    return spec.model_copy(
        update={
            "source": entry.source,
            "name": entry.name,
            "revision": entry.revision,
            "split": entry.split,
            "format": name,
            "fields": FieldNames() if by_format else entry.fields or spec.fields,
            "answer": AnswerRule() if by_format else entry.answer or spec.answer,
        }
    )


def _builtin_holdout(spec: DatasetSpec, prompt: PromptSpec, seed: int) -> list[Problem]:
    options = spec.word_problems or WordProblems()
    problems = generate(options, split="heldout", rows=spec.holdout.rows, seed=seed)
    return [_written(problem, prompt) for problem in problems]


def _written(problem: Problem, prompt: PromptSpec) -> Problem:
    """Return a generated problem with its trace written as prompt.traceFormat says."""
    return replace(problem, trace=write_trace(problem.trace, problem.answer, prompt.trace_format))
