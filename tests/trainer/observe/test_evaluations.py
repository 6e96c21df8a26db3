import json
import re

import pytest

from igpo_trainer.observe.evaluations import EvaluatedSample, Evaluation, find_evaluations, read_evaluation
from igpo_trainer.spec.errors import InvalidDataError, InvalidRunError


@pytest.fixture
def evaluation(make):
    """An evaluation of two problems with two samples each: right/wrong, wrong/wrong."""

    def build(verdicts=(("right", "wrong"), ("wrong", "unjudged")), keys=("p", "q"), **changes):
        samples = tuple(
            EvaluatedSample(
                problem=key, sample=k, answer="7", found="7", verdict=verdict, length=3, truncated=False, text="é \n"
            )
            for key, row in zip(keys, verdicts, strict=True)
            for k, verdict in enumerate(row)
        )
        fields = {"problems": len(keys), "samples": len(verdicts[0]), "temperature": 0.7, "step": 24} | changes
        return Evaluation(make.evaluation(**fields), samples)

    return build


def test_a_file_is_read_as_it_was_written(evaluation, tmp_path):
    written = evaluation()
    (tmp_path / "e.jsonl").write_bytes(written.encode())
    assert read_evaluation(tmp_path / "e.jsonl") == written
    assert (written.problems, written.right_counts().tolist()) == (("p", "q"), [1.0, 0.0])


@pytest.mark.parametrize(
    ("dataset", "name"),
    [
        ("holdout", r"holdout-2xT0\.7\.jsonl"),
        ("openai/gsm8k", r"openai-gsm8k-[0-9a-f]{8}-2xT0\.7\.jsonl"),
        ("/data/" + "x" * 400 + "/rows.jsonl", r"[-x]+-rows\.jsonl-[0-9a-f]{8}-2xT0\.7\.jsonl"),
        ("a:b[train]", r"a-b-train-[0-9a-f]{8}-2xT0\.7\.jsonl"),
    ],
)
def test_the_file_is_named_after_what_was_measured(evaluation, tmp_path, dataset, name):
    path = evaluation(dataset=dataset).path(tmp_path)
    assert path.parent == tmp_path / "step-00000024"
    assert len(path.name) < 200
    assert re.fullmatch(name, path.name)


def test_sets_with_names_alike_do_not_share_a_file(evaluation, tmp_path):
    paths = {evaluation(dataset=dataset).path(tmp_path) for dataset in ("a/b", "a-b", "a:b", "a b")}
    assert len(paths) == 4


def test_a_run_folder_gives_its_newest_step(evaluation, tmp_path):
    for step, samples in ((2, ("right", "right")), (10, ("wrong", "wrong"))):
        made = evaluation(((samples), ("wrong", "wrong")), step=step)
        path = made.path(tmp_path / "evaluations")
        path.parent.mkdir(parents=True)
        path.write_bytes(made.encode())
    (tmp_path / "metrics.jsonl").write_text("{}\n")
    for place in (tmp_path, tmp_path / "evaluations", path.parent, path):
        (found,) = find_evaluations(place).values()
        assert found.record.step == 10


def test_a_folder_without_evaluations_is_refused(tmp_path):
    with pytest.raises(InvalidRunError, match=r"holds no evaluation; name a run folder, a \.jsonl file"):
        find_evaluations(tmp_path)


def test_a_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(InvalidRunError, match=r"none\.jsonl cannot be read .*No such file"):
        read_evaluation(tmp_path / "none.jsonl")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda lines: [], "does not begin with an evaluation"),
        (lambda lines: lines[1:], "does not begin with an evaluation"),
        (lambda lines: lines[:-1], "holds 3 completions, 4 were measured"),
        (lambda lines: [*lines, lines[0]], "holds 5 completions, 4 were measured"),
        (lambda lines: [*lines[:2], "{", *lines[3:]], r"e\.jsonl:3: the line: Invalid JSON"),
        (
            lambda lines: [lines[0], json.dumps(json.loads(lines[1]) | {"verdict": "maybe"}), *lines[2:]],
            r"e\.jsonl:2: sample\.verdict: .*; give a file that igpo run or igpo eval --out wrote",
        ),
    ],
)
def test_a_damaged_file_is_refused_in_one_line_with_its_place(evaluation, tmp_path, spoil, message):
    lines = evaluation().encode().decode().splitlines()
    path = tmp_path / "e.jsonl"
    path.write_text("".join(f"{line}\n" for line in spoil(lines)))
    with pytest.raises(InvalidDataError, match=message) as caught:
        read_evaluation(path)
    assert "\n" not in str(caught.value)
