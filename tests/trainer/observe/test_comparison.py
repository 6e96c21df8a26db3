import json

import pytest

from igpo_trainer.observe.comparison import COMPARISONS, compare_evaluations
from igpo_trainer.observe.evaluation_table import comparison_table, evaluation_table
from igpo_trainer.observe.evaluations import EvaluatedSample, Evaluation
from igpo_trainer.spec.errors import InvalidDataError


@pytest.fixture
def measured(make):
    """An evaluation from the right samples of each problem, by key."""

    def build(right, samples=2, kinds=None, **changes):
        rows = tuple(
            EvaluatedSample(
                problem=key.rstrip("'"),
                difficulty=(kinds or {}).get(key, ""),
                sample=k,
                answer="7",
                found=None,
                verdict="right" if k < count else "wrong",
                length=3,
                truncated=False,
                text="",
            )
            for key, count in right.items()
            for k in range(samples)
        )
        record = make.evaluation(step=40, samples=samples, problems=len(right), **changes)
        evaluation = Evaluation(record, rows)
        return {evaluation.record.measurement: evaluation}

    return build


def test_problems_are_paired_by_key_whatever_their_order(measured):
    one = measured({"p": 2, "q": 1, "r": 0})
    other = measured({"r": 0, "p": 1, "q": 1})
    (found,) = compare_evaluations(one, other)
    assert (found.problems, found.only_one, found.only_other) == (3, 0, 0)
    assert (found.one.mean, found.other.mean) == (pytest.approx(0.5), pytest.approx(1 / 3))
    assert found.accuracy.estimate.mean == pytest.approx(1 / 6)
    assert (found.accuracy.better, found.accuracy.equal, found.accuracy.worse) == (1, 2, 0)
    assert found.passed.estimate.mean == 0.0
    assert found.differing == {}


def test_problems_of_one_side_only_are_left_out_and_counted(measured):
    (found,) = compare_evaluations(measured({"p": 2, "q": 0}), measured({"q": 1, "x": 0, "y": 0}))
    assert (found.problems, found.only_one, found.only_other) == (1, 1, 2)
    assert "1 problems of the first and 2 of the second were measured on one side only" in comparison_table([found])


def test_a_problem_that_a_set_holds_twice_is_paired_with_its_own_place(measured):
    (found,) = compare_evaluations(measured({"p": 2, "p'": 0}), measured({"p": 2, "p'": 1}))
    assert (found.problems, found.accuracy.worse, found.accuracy.equal) == (2, 1, 1)


def test_the_same_model_twice_has_no_difference(measured):
    one = measured({"p": 2, "q": 1})
    (found,) = compare_evaluations(one, one)
    difference = found.accuracy.estimate
    assert (difference.mean, difference.low, difference.high) == (0.0, 0.0, 0.0)


def test_one_sample_has_no_pass_at_k_to_compare(measured):
    (found,) = compare_evaluations(measured({"p": 1}, samples=1), measured({"p": 0}, samples=1))
    assert found.passed is None


def test_difficulties_are_compared_by_themselves_when_there_are_several(measured):
    kinds = {"p": "level 1", "q": "level 2", "r": "level 2"}
    one, other = measured({"p": 2, "q": 0, "r": 0}, kinds=kinds), measured({"p": 2, "q": 2, "r": 1}, kinds=kinds)
    (found,) = compare_evaluations(one, other)
    assert {kind: part.estimate.mean for kind, part in found.by_difficulty.items()} == {
        "level 1": 0.0,
        "level 2": -0.75,
    }
    rows = [line.split()[:3] for line in comparison_table([found]).splitlines()]
    assert rows[2:] == [["level", "1", "1"], ["level", "2", "2"]]


def test_settings_that_differ_are_told(measured):
    one, other = measured({"p": 2}), measured({"p": 2}, denoising_steps=64, block_length=8)
    (found,) = compare_evaluations(one, other)
    assert found.differing == {"denoising_steps": ("32", "64"), "block_length": ("16", "8")}
    assert "holdout: denoising_steps was 32 and 64" in comparison_table([found])


def test_completions_without_a_verdict_are_told(measured):
    (found,) = compare_evaluations(measured({"p": 2}), measured({"p": 2}, unjudged=1))
    assert "holdout: 0 and 1 completions have no verdict and count as not right" in comparison_table([found])
    (evaluation,) = measured({"p": 2}, unjudged=1).values()
    assert evaluation_table([evaluation.record]).splitlines()[-1] == (
        "holdout: 1 of 2 completions have no verdict and count as not right"
    )


def test_only_what_both_were_measured_on_is_compared(measured):
    one = measured({"p": 2}) | measured({"p": 1}, dataset="amc", temperature=0.1)
    (found,) = compare_evaluations(one, measured({"p": 0}, dataset="amc", temperature=0.1))
    assert (found.dataset, found.temperature) == ("amc", 0.1)


def test_nothing_in_common_is_an_error_that_names_both(measured):
    with pytest.raises(
        InvalidDataError, match=r"one has holdout \(2 x T 1\.2\), the other amc \(2 x T 1\.2\); measure"
    ):
        compare_evaluations(measured({"p": 2}), measured({"p": 2}, dataset="amc"))
    with pytest.raises(
        InvalidDataError, match=r"different problems \(1 and 2, none in common\); use the same data set"
    ):
        compare_evaluations(measured({"p": 2}), measured({"q": 2, "r": 0}))


def test_a_comparison_is_json_for_programs(measured):
    (found,) = compare_evaluations(measured({"p": 2}), measured({"p": 1}))
    told = json.loads(COMPARISONS.dump_json(found))
    assert told["accuracy"]["estimate"]["mean"] == 0.5
    assert COMPARISONS.validate_python(told) == found


def test_the_table_shows_points_with_sign_interval_and_counts(measured):
    (found,) = compare_evaluations(measured({"p": 2, "q": 2}), measured({"p": 1, "q": 1}))
    header, row = comparison_table([found]).splitlines()
    assert header.split()[:5] == ["data", "set", "problems", "samples", "T"]
    assert row.split() == [
        *("holdout", "2", "2", "1.2", "100.0%", "50.0%", "+50.0", "points", "+50.0", "to", "+50.0", "2/0/0"),
        *("+0.0", "points", "+0.0", "to", "+0.0"),
    ]


def test_an_evaluation_is_a_row_and_one_a_difficulty(make):
    intervals = {f"{k} step{'s' * (k > 1)}": (0.1, 0.9) for k in (1, 2, 3, 4)}
    lines = evaluation_table([make.evaluation(40, interval_by_difficulty=intervals)]).splitlines()
    assert lines[1].split()[:4] == ["holdout", "256", "8", "1.2"]
    assert [line.split()[:3] for line in lines[2:]] == [
        ["1", "step", "64"], ["2", "steps", "64"], ["3", "steps", "64"], ["4", "steps", "64"],
    ]  # fmt: skip
    assert lines[2].split()[3:] == ["90.0%", "10.0%", "to", "90.0%"]
