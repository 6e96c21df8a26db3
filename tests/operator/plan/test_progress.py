import math
from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from igpo_operator.api.status import AttemptStatus, CheckpointView, ProgressStatus, Resolved, RunStatus
from igpo_operator.plan.gang import Gang
from igpo_operator.plan.progress import completed, decimal, decimals, scraped
from igpo_operator.plan.progress import ended as left_behind
from igpo_trainer.spec.contract import CheckpointStatus
from planworld.pictures import NOW, after, ended, pod, scrape

RUNNING = RunStatus(
    attempt=AttemptStatus(number=1, decided_at=NOW, created_at=NOW, running_at=NOW), resolved=Resolved(image="i")
)


def checkpoint(step, digest="d", path="checkpoints/step"):
    return CheckpointStatus(step=step, path=path, digest=digest)


def test_a_scrape_becomes_progress():
    said = scrape(12, eta_seconds=90.7, progress=77, metrics={"reward": 0.123456, "all_wrong_final": 0.5})
    status = scraped(RUNNING, said)
    assert status.progress == ProgressStatus(
        step=12, planned_steps=30, percentage=40, eta_seconds=90, stage="rollout", counter=77, moved_at=NOW
    )
    assert status.metrics == {"reward": "0.1235", "allWrongFinal": "0.5"}


def test_another_attempts_scrape_changes_nothing():
    assert scraped(RUNNING, scrape(12, attempt=2)) == RUNNING
    assert scraped(RUNNING, None) == RUNNING
    assert scraped(RunStatus(), scrape(12)) == RunStatus()


def test_a_trainer_that_still_loads_is_where_its_checkpoint_is():
    known = RUNNING.model_copy(update={"checkpoint": CheckpointView(step=20)})
    assert scraped(known, scrape(0, stage="starting")).progress.step == 20
    assert scraped(known, scrape(5)).progress.step == 5


def test_an_infinite_estimate_is_none():
    assert scraped(RUNNING, scrape(1, eta_seconds=math.inf)).progress.eta_seconds is None


def test_100_percent_is_only_reached_at_the_end():
    status = scraped(RUNNING, scrape(299, planned_steps=300))
    assert status.progress.percentage == 99


def test_a_run_that_does_not_know_its_end_has_no_percentage():
    assert scraped(RUNNING, scrape(5, planned_steps=0)).progress.percentage is None


def test_the_newest_checkpoint_and_the_best_are_kept():
    status = scraped(RUNNING, scrape(20, checkpoint=checkpoint(20), best=checkpoint(10)))
    status = scraped(status, scrape(25, checkpoint=checkpoint(15), best=checkpoint(10), at=5))
    assert (status.checkpoint.step, status.best_checkpoint.step) == (20, 10)
    assert status.checkpoint.saved_at == NOW
    status = scraped(status, scrape(30, checkpoint=checkpoint(30), best=checkpoint(30), at=9))
    assert (status.checkpoint.step, status.best_checkpoint.step) == (30, 30)
    assert status.checkpoint.saved_at == after(9)


def test_a_checkpoint_that_is_not_complete_does_not_count():
    unfinished = checkpoint(20).model_copy(update={"complete": False})
    status = scraped(RUNNING, scrape(20, checkpoint=unfinished, best=unfinished))
    assert (status.checkpoint, status.best_checkpoint) == (None, None)


def test_provenance_is_taken_over():
    said = scrape(1, spec_hash="abc", model_revision="m1", dataset_revision="d1", adopted=True)
    resolved = scraped(RUNNING, said).resolved
    assert (resolved.spec_hash, resolved.model_revision, resolved.dataset_revision) == ("abc", "m1", "d1")
    assert resolved.adopted
    assert scraped(scraped(RUNNING, said), scrape(2)).resolved == resolved


def gang(*containers):
    pods = tuple(pod(rank, trainer=container) for rank, container in enumerate(containers))
    return Gang.of(pods, 1, len(pods))


def test_termination_messages_hold_checkpoints_that_no_scrape_has_shown():
    last = ended(75, at=-4, latest=checkpoint(24), best=checkpoint(12))
    status = left_behind(RUNNING, gang(last, ended(75)), NOW)
    assert (status.checkpoint.step, status.checkpoint.digest) == (24, "d")
    assert status.checkpoint.saved_at == after(-4)
    assert status.best_checkpoint.step == 12


def test_a_folders_name_is_enough_to_know_the_step_and_the_digest_is_added_when_it_is_known():
    status = left_behind(RUNNING, gang(ended(75, checkpoint="step-00000024")), NOW)
    assert (status.checkpoint.step, status.checkpoint.digest) == (24, None)
    status = left_behind(status, gang(ended(75, latest=checkpoint(24))), NOW)
    assert (status.checkpoint.step, status.checkpoint.digest) == (24, "d")
    status = left_behind(status, gang(ended(75, checkpoint="step-00000024")), NOW)
    assert status.checkpoint.digest == "d"


def test_a_message_without_a_checkpoint_changes_nothing():
    assert left_behind(RUNNING, gang(ended(1, says="x"), ended(1)), NOW) == RUNNING


def test_a_run_that_was_never_scraped_is_complete_with_100_percent():
    status = completed(RUNNING, 30)
    progress = status.progress
    assert (progress.step, progress.planned_steps, progress.percentage) == (30, 30, 100)


def test_a_finished_runs_best_checkpoint_is_its_last_if_none_was_scored():
    only = CheckpointView(step=30, digest="d")
    assert completed(RUNNING.model_copy(update={"checkpoint": only}), 30).best_checkpoint == only
    known = completed(scraped(RUNNING, scrape(29)), None)
    assert (known.progress.step, known.progress.percentage) == (30, 100)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (-0.0, "0"),
        (1.0, "1"),
        (0.123449, "0.1234"),
        (12345.6, "12350"),
        (0.00001234567, "0.00001235"),
        (-2.5, "-2.5"),
        (1e20, "1e+20"),
        (1.23456e-20, "1.235e-20"),
    ],
)
def test_metrics_have_four_significant_digits(value, text):
    assert decimal(value) == text


@given(st.floats(-1e300, 1e300))
def test_a_metrics_text_is_within_four_digits_of_its_value_and_short(value):
    text = decimal(value)
    assert math.isclose(float(text), value, rel_tol=5.1e-4)
    assert len(text) <= 17
    assert len(Decimal(text).as_tuple().digits) <= 16


def test_values_that_are_no_numbers_are_left_out():
    assert decimals({"kl": math.nan, "loss": math.inf, "reward": 1.0}) == {"reward": "1"}


def test_there_are_never_endlessly_many_metrics():
    assert len(decimals({f"m{number}": 1.0 for number in range(1000)})) == 32
    assert len(next(iter(decimals({"x" * 1000: 1.0})))) == 63


def test_metrics_that_a_scrape_lacks_are_kept():
    status = scraped(RUNNING, scrape(1, metrics={"accuracy": 0.5, "reward": 1.0}))
    assert scraped(status, scrape(2, metrics={"reward": 2.0})).metrics == {"accuracy": "0.5", "reward": "2"}
    assert scraped(status, replace(scrape(2), at=after(1))).metrics == status.metrics
