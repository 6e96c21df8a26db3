"""A real teacher over HTTP, and the rewriting of some problems of the built-in task with it."""

from contextlib import contextmanager
from types import SimpleNamespace

import pytest

from igpo_teacher.server import TeacherServer
from igpo_trainer.data.readers import load_split
from igpo_trainer.models.scratch import word_tokenizer
from igpo_trainer.rewards.judge import Judge
from igpo_trainer.rewrite.answers import AnswerFile
from igpo_trainer.rewrite.assignment import Assignment
from igpo_trainer.rewrite.keep import Inspector
from igpo_trainer.rewrite.work import Hooks, Row, Work
from igpo_trainer.spec.sft import LengthAlignedSFTSpec

TARGET = 24


def spec_of(base_url, rows=40, **rewrite):
    """A spec that rewrites verbose traces of the built-in task."""
    return LengthAlignedSFTSpec.model_validate(
        {
            "model": {"scratch": {"maxPositions": 64}},
            "dataset": {
                "source": "builtin:word-problems",
                "maxPromptTokens": 40,
                "holdout": {"rows": 8},
                "wordProblems": {"rows": rows, "style": "Verbose"},
            },
            "rewrite": {"teacher": {"baseUrl": base_url, "model": "short"}, "concurrency": 8} | rewrite,
            "length": {"target": TARGET},
            "training": {"steps": 1},
            "sampling": {"completionLength": TARGET, "steps": 12, "blockLength": 8},
        }
    )


def rows_of(spec):
    """The rows of a spec, as the stage makes them."""
    tokenizer, assignment = word_tokenizer(), Assignment.of(spec)
    problems = load_split(spec.dataset, spec.prompt, seed=spec.seed).train
    return [Row(p, len(tokenizer(p.trace)["input_ids"]) + 1, assignment.request(p)) for p in problems]


@contextmanager
def work_of(folder, spec, *, rows=None, key=None, **hooks):
    """A work on a folder, ready to run; its answer file is open while the block runs."""
    given = {
        "before_write": lambda: None,
        "on_tick": lambda status: None,
        "stop": SimpleNamespace(requested=False, wakeup=None),
        "drain_seconds": 5.0,
    }
    with AnswerFile(folder) as answers, Judge() as judge:
        inspector = Inspector(word_tokenizer(), judge, spec.length.target)
        yield Work(
            rows_of(spec) if rows is None else rows,
            answers,
            inspector,
            spec.rewrite,
            Assignment.of(spec),
            key,
            Hooks(**(given | hooks)),
        )


@pytest.fixture(scope="session")
def desk():
    """The functions above, for test modules, which cannot import this file."""
    return SimpleNamespace(spec_of=spec_of, rows_of=rows_of, work_of=work_of)


@pytest.fixture
def teacher():
    with TeacherServer() as server:
        yield server
