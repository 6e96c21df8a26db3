import json

import pytest

from igpo_trainer.loop.evaluation import evaluate
from igpo_trainer.observe.evaluations import read_evaluation
from igpo_trainer.spec.run import EvaluationSet

WIDE = EvaluationSet(source="holdout", samples=6, temperature=1.0)


def plain(record):
    return record.model_dump(exclude={"time", "step"})


def found(session, wanted=WIDE, step=0):
    return evaluate(session.worker, session.data.measured(wanted), wanted, session.spec, step=step)


def measured(session, wanted=WIDE, step=0):
    return found(session, wanted, step).record


def test_two_measurements_of_a_run_are_paired_their_noise_does_not_depend_on_the_step(desk):
    with desk.session(desk.igpo()) as session:
        assert plain(measured(session, step=0)) == plain(measured(session, step=7))


def test_the_numbers_do_not_depend_on_how_many_canvases_share_a_forward(desk):
    records = []
    for rows in (3, "Auto"):
        with desk.session(desk.igpo(batching={"rolloutRows": rows})) as session:
            records.append(measured(session).model_dump(exclude={"time", "rows"}))
    assert records[0] == records[1]


def test_avg_at_k_pass_at_k_and_all_wrong_agree(desk):
    with desk.session(desk.igpo(dataset={"holdout": {"rows": 30}})) as session:
        record = measured(session)
    assert record.problems == 30
    assert record.pass_at_k == pytest.approx(1 - record.all_wrong)
    assert 0 < record.accuracy < record.pass_at_k < 1
    assert record.accuracy == pytest.approx(sum(record.right) / 180)
    assert record.all_wrong == pytest.approx(record.right.count(0) / 30)
    assert record.interval_low <= record.accuracy <= record.interval_high
    assert record.interval_low < record.interval_high
    assert record.pass_curve.keys() == {1, 2, 4, 6}
    assert record.pass_curve[1] == pytest.approx(record.accuracy)
    assert record.pass_curve[6] == pytest.approx(record.pass_at_k)
    assert list(record.pass_curve.values()) == sorted(record.pass_curve.values())
    assert record.pass_low <= record.pass_at_k <= record.pass_high
    by_difficulty = sum(record.accuracy_by_difficulty[d] * n for d, n in record.problems_by_difficulty.items())
    assert record.accuracy == pytest.approx(by_difficulty / 30)
    assert 1 <= record.distinct_answers <= 6
    assert sum(record.completion_lengths.values()) == 180
    assert record.truncated <= record.completion_lengths.get(16, 0)


def test_each_difficulty_has_its_own_numbers(desk):
    change = {"holdout": {"rows": 30}, "wordProblems": {"difficulties": [{"steps": k, "share": 0.5} for k in (2, 3)]}}
    with desk.session(desk.igpo(dataset=change)) as session:
        record = measured(session)
        kinds = [encoded.problem.difficulty for encoded in session.data.heldout]
    assert list(record.accuracy_by_difficulty) == ["2 steps", "3 steps"] == sorted(set(kinds))
    for kind, accuracy in record.accuracy_by_difficulty.items():
        right = [count for count, name in zip(record.right, kinds, strict=True) if name == kind]
        assert record.problems_by_difficulty[kind] == len(right)
        assert accuracy == pytest.approx(sum(right) / 6 / len(right))
        assert record.pass_by_difficulty[kind] == pytest.approx(sum(count > 0 for count in right) / len(right))
        low, high = record.interval_by_difficulty[kind]
        assert low <= accuracy <= high


def test_every_completion_is_there_with_its_problem_answer_and_verdict(desk):
    with desk.session(desk.igpo()) as session:
        evaluation = found(session)
        heldout = session.data.heldout
    assert len(evaluation.samples) == 6 * len(heldout)
    assert evaluation.problems == tuple(encoded.problem.key for encoded in heldout)
    assert evaluation.right_counts().tolist() == list(evaluation.record.right)
    for index, sample in enumerate(evaluation.samples):
        assert (sample.sample, sample.answer) == (index % 6, heldout[index // 6].problem.answer)
        assert (sample.found == sample.answer) == (sample.verdict == "right")
        assert sample.found is None or sample.found in sample.text


def test_a_run_keeps_the_completions_of_every_evaluation(desk):
    folder = desk.train(
        desk.igpo(evaluation={"datasets": [{"source": "holdout"}, {"source": "builtin:word-problems"}]})
    )
    records = desk.events(folder, "evaluation")
    files = sorted((folder / "evaluations").rglob("*.jsonl"))
    assert len(files) == len(records) == 3 + 2 + 3
    for path in files:
        kept = read_evaluation(path)
        assert kept.path(folder / "evaluations") == path
        record = json.loads(kept.record.model_dump_json(exclude={"time"}))
        assert record in records


def test_one_sample_has_no_pass_at_k(desk):
    with desk.session(desk.igpo()) as session:
        record = measured(session, EvaluationSet(source="holdout"))
    assert (record.pass_at_k, record.all_wrong, record.distinct_answers) == (None, None, None)
    assert (record.pass_low, record.pass_curve, record.pass_by_difficulty) == (None, {}, {})


def test_what_decides_the_numbers_is_recorded(desk):
    with desk.session(desk.igpo(seed=7, sampling={"remasking": "Random"}, batching={"rolloutRows": 5})) as session:
        record = measured(session)
    assert (record.denoising_steps, record.block_length, record.completion_length) == (4, 8, 16)
    assert (record.remasking, record.cfg_scale, record.seed, record.rows) == ("Random", 0.0, 7, 5)
    assert (record.cache, record.confidence_threshold) == ("None", None)
    assert record.time.world_size == 1
    assert record.time.device


def test_approximate_sampling_is_recorded_with_the_numbers(desk):
    with desk.session(desk.igpo(sampling={"cache": "Dual", "confidenceThreshold": 0.9})) as session:
        record = measured(session)
    assert (record.cache, record.confidence_threshold) == ("Dual", 0.9)
