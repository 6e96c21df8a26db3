"""The fingerprint of a run's data: another one for every change that training or measuring could see."""

import json
from dataclasses import replace

import pytest

from igpo_trainer.data.problem import EncodedProblem, Problem
from igpo_trainer.loop.data import RunData
from igpo_trainer.loop.fingerprint import DATA_FILE, Fingerprint
from igpo_trainer.observe.records import DataRecord, Time
from igpo_trainer.spec.errors import InvalidDataError
from igpo_trainer.spec.run import EvaluationSet


def encoded(prompt_ids=(5, 6), trace_ids=(7, 8, 9), answer="3"):
    problem = Problem("key", "prompt", "trace", answer)
    return EncodedProblem(problem, prompt_ids, trace_ids, tuple((i, i + 1) for i in range(len(trace_ids))))


@pytest.fixture
def data():
    record = DataRecord(problems=2, heldout=1, target_length=8, time=Time(at=0.0))
    others = {EvaluationSet(source="other.jsonl"): (encoded(answer="5"),)}
    return RunData((encoded(), encoded(answer="4")), (encoded(prompt_ids=(9,)),), others, record)


CHANGES = {
    "a prompt": lambda data: replace(data, train=(encoded(prompt_ids=(5, 7)), *data.train[1:])),
    "a trace": lambda data: replace(data, train=(encoded(trace_ids=(7, 8)), *data.train[1:])),
    "an answer": lambda data: replace(data, train=(encoded(answer="33"), *data.train[1:])),
    "where the prompt ends": lambda data: replace(data, train=(encoded((5, 6, 7), (8, 9)), *data.train[1:])),
    "the order": lambda data: replace(data, train=data.train[::-1]),
    "where the hold-out begins": lambda data: replace(data, train=(*data.train, *data.heldout), heldout=()),
    "a measured problem": lambda data: replace(data, others=dict.fromkeys(data.others, (encoded(answer="6"),))),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_every_change_gives_another_fingerprint_and_is_refused(data, tmp_path, change):
    Fingerprint.of(data).save(tmp_path)
    Fingerprint.of(replace(data)).require_same(tmp_path)
    with pytest.raises(InvalidDataError, match="the data have changed since"):
        Fingerprint.of(change(data)).require_same(tmp_path)


def test_sizes_are_named_beside_the_hash(data, tmp_path):
    Fingerprint.of(data).save(tmp_path)
    stored = json.loads((tmp_path / DATA_FILE).read_text())
    assert (stored["problems"], stored["heldout"], len(stored["sha256"])) == (2, 1, 64)


def test_a_checkpoint_without_a_fingerprint_says_nothing(data, tmp_path):
    Fingerprint.of(data).require_same(tmp_path)
