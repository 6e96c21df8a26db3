import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from igpo_trainer.loop.evaluation import bootstrap_interval, evaluate
from igpo_trainer.loop.measure import measure, table
from igpo_trainer.spec.errors import InvalidRunError
from igpo_trainer.spec.run import EvaluationSet

WIDE = EvaluationSet(source="holdout", samples=6, temperature=1.0)


def plain(record):
    return record.model_dump(exclude={"time", "step"})


def measured(session, wanted=WIDE, step=0):
    return evaluate(session.worker, session.data.measured(wanted), wanted, session.spec.sampling, step=step, seed=0)


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
    by_difficulty = sum(record.accuracy_by_difficulty[d] * n for d, n in record.problems_by_difficulty.items())
    assert record.accuracy == pytest.approx(by_difficulty / 30)
    assert 1 <= record.distinct_answers <= 6
    assert sum(record.completion_lengths.values()) == 180
    assert record.truncated <= record.completion_lengths.get(16, 0)


def test_one_sample_has_no_pass_at_k(desk):
    with desk.session(desk.igpo()) as session:
        record = measured(session, EvaluationSet(source="holdout"))
    assert (record.pass_at_k, record.all_wrong, record.distinct_answers) == (None, None, None)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=40), st.integers(0, 99))
def test_the_bootstrap_interval_lies_within_the_scores_and_is_keyed_by_the_seed(scores, seed):
    values = np.array(scores)
    low, high = bootstrap_interval(values, seed)
    assert values.min() - 1e-12 <= low <= high <= values.max() + 1e-12
    assert bootstrap_interval(values, seed) == (low, high)


def test_the_bootstrap_interval_covers_the_mean_about_95_times_in_100():
    generator, hits = np.random.default_rng(0), 0
    for trial in range(200):
        low, high = bootstrap_interval((generator.random(60) < 0.3).astype(float), trial)
        hits += low <= 0.3 <= high
    assert 180 <= hits <= 199


def test_igpo_eval_gives_the_numbers_of_the_last_evaluation_in_the_loop(desk):
    wide = {"source": "holdout", "samples": 3, "temperature": 0.7}
    document = desk.igpo(evaluation={"datasets": [{"source": "holdout"}, wide]})
    folder = desk.train(document)
    (loaded,) = desk.load(desk.root, document)
    final = [r for r in desk.events(folder, "evaluation") if r["step"] == 2][:2]
    again = measure(loaded, desk.root, folder / "final", {})
    same = [r.model_dump(mode="json", exclude={"time", "step"}) for r in again]
    for mine, theirs in zip(same, final, strict=True):
        mine["completion_lengths"] = {str(k): v for k, v in mine["completion_lengths"].items()}
        assert mine == {k: v for k, v in theirs.items() if k != "step"}
    assert "holdout" in table(again)
    assert len(table(again).splitlines()) == 3


def test_igpo_eval_takes_best_or_final_of_the_run_and_changes_samples_when_asked(desk):
    document = desk.sft()
    desk.train(document)
    (loaded,) = desk.load(desk.root, document)
    (record,) = measure(loaded, desk.root, None, {"samples": 2, "temperature": 1.0})
    assert (record.samples, record.temperature) == (2, 1.0)


def test_igpo_eval_without_a_model_says_what_to_do(desk):
    (loaded,) = desk.load(desk.root, desk.sft("never"))
    with pytest.raises(InvalidRunError, match="no finished model; run the manifest first"):
        measure(loaded, desk.root, None, {})
