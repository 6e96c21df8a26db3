import signal
from types import SimpleNamespace

import pytest

from igpo_teacher.faults import Faults
from igpo_trainer.loop.stop import StopSignal
from igpo_trainer.rewrite.keep import Reason
from igpo_trainer.rewrite.outcome import outcome_of
from igpo_trainer.spec.errors import InterruptedRunError, InvalidDataError, InvalidRunError, RunError


def test_under_every_fault_no_row_is_lost_and_none_is_answered_twice(desk, teacher, tmp_path):
    teacher.faults = Faults(
        rate_limited=0.02,
        failing=0.02,
        cut_json=0.02,
        dropped=0.02,
        slow=0.02,
        wrong=0.05,
        overlong=0.05,
        retry_after="0.1",
        slow_seconds=0.2,
    )
    spec = desk.spec_of(teacher.base_url, rows=250)
    with desk.work_of(tmp_path, spec) as work:
        work.run()
        outcome = outcome_of(work)
    assert len(outcome.kept) + len(outcome.dropped) == 250
    assert len({row.request for row in [*outcome.kept, *outcome.dropped]}) == 250
    assert set(teacher.answered.values()) == {1}
    assert len(teacher.answered) == 250
    assert teacher.most_in_flight <= spec.rewrite.concurrency
    assert outcome.reasons == {Reason.WRONG: teacher.given["wrong"], Reason.TOO_LONG: teacher.given["overlong"]}
    assert work.tally.requests == teacher.asked.total() == 250 + work.tally.retries
    faults = ("rate_limited", "failing", "cut_json", "dropped")
    assert work.tally.retries == sum(teacher.given[fault] for fault in faults) > 0
    assert {row.verdict for row in outcome.kept} == {"right"}
    assert all(row.tokens <= 24 for row in outcome.kept)


def test_rows_of_one_request_are_asked_for_once_and_trained_on_once(desk, teacher, tmp_path):
    spec = desk.spec_of(teacher.base_url, rows=20)
    rows = desk.rows_of(spec)
    with desk.work_of(tmp_path, spec, rows=[*rows, *rows[:5]]) as work:
        work.run()
        outcome = outcome_of(work)
        assert work.status().rows == 20
    assert teacher.asked.total() == 20
    assert len(outcome.kept) == 20
    assert outcome.reasons == {Reason.DUPLICATE: 5}


def test_what_is_on_file_is_never_asked_for_again(desk, teacher, tmp_path):
    spec = desk.spec_of(teacher.base_url, rows=30)
    with desk.work_of(tmp_path, spec, rows=desk.rows_of(spec)[:20]) as work:
        work.run()
    with desk.work_of(tmp_path, spec) as work:
        work.run()
        status = work.status()
    assert set(teacher.asked.values()) == {1}
    assert (status.rows, status.done, status.cached, status.kept, status.requests) == (30, 30, 20, 30, 10)


def test_a_result_does_not_depend_on_how_the_teacher_behaved(desk, teacher, tmp_path):
    outcomes = []
    for number, faults in enumerate([Faults(wrong=0.1), Faults(wrong=0.1, failing=0.05, cut_json=0.05, dropped=0.05)]):
        teacher.faults = faults
        spec = desk.spec_of(teacher.base_url, rows=60, attempts=20)
        with desk.work_of(tmp_path / str(number), spec) as work:
            work.run()
            outcomes.append(outcome_of(work))
    assert outcomes[0] == outcomes[1]


def test_the_budget_is_never_exceeded_and_raising_it_goes_on(desk, teacher, tmp_path):
    teacher.faults = Faults(cut_json=0.1)
    spec = desk.spec_of(teacher.base_url, rows=60, tokenBudget=10_000, maxTokens=100)
    with desk.work_of(tmp_path, spec) as work:
        with pytest.raises(InvalidRunError) as caught:
            work.run()
        spent, on_file = work.answers.spent, len(work.answers)
    assert 8_000 < spent <= 10_000
    assert 0 < on_file < 60
    assert f"rewrite.tokenBudget 10000 is spent: {spent} tokens for {on_file} answers, " in str(caught.value)
    assert str(caught.value).endswith("the answers are kept: raise rewrite.tokenBudget and start again")
    richer = desk.spec_of(teacher.base_url, rows=60, tokenBudget=10**6, maxTokens=100)
    with desk.work_of(tmp_path, richer) as work:
        work.run()
        assert work.status().cached == on_file
    assert set(teacher.answered.values()) == {1}


def test_a_teacher_that_is_down_ends_the_work_with_the_counts(desk, tmp_path):
    spec = desk.spec_of("http://127.0.0.1:9/v1", attempts=2, concurrency=4)
    with desk.work_of(tmp_path, spec) as work, pytest.raises(RunError) as caught:
        work.run()
    assert type(caught.value) is RunError
    assert "http://127.0.0.1:9/v1 left 1 of 40 traces without an answer after 2 attempts each (" in str(caught.value)
    assert str(caught.value).endswith("0 answers are kept: see to the teacher and start again")


def test_one_row_in_a_hundred_may_stay_without_an_answer_and_is_counted(desk, teacher, tmp_path):
    teacher.faults = Faults(failing=0.008)
    spec = desk.spec_of(teacher.base_url, rows=250, attempts=1)
    silent = sum(teacher.faults.of(row.problem.prompt, 1) == "failing" for row in desk.rows_of(spec))
    assert 1 <= silent <= 2
    with desk.work_of(tmp_path, spec) as work:
        work.run()
        outcome = outcome_of(work)
    assert outcome.reasons == {Reason.UNANSWERED: silent}
    assert {row.detail for row in outcome.dropped} == {"500: The server had an error"}


def test_more_rows_without_an_answer_end_the_work(desk, teacher, tmp_path):
    teacher.faults = Faults(failing=0.1)
    spec = desk.spec_of(teacher.base_url, rows=250, attempts=1)
    with desk.work_of(tmp_path, spec) as work, pytest.raises(RunError, match="left 3 of 250 traces without an answer"):
        work.run()
    assert teacher.asked.total() < 250


def test_a_teacher_that_refuses_everything_is_told_from_one_that_refuses_rows(desk, teacher, tmp_path):
    teacher.faults = Faults(refused=1.0)
    spec = desk.spec_of(teacher.base_url, concurrency=2)
    with desk.work_of(tmp_path, spec) as work, pytest.raises(InvalidRunError) as caught:
        work.run()
    assert "refused all of 4 requests to model 'short' (400: " in str(caught.value)
    teacher.faults = Faults(refused=0.1)
    with desk.work_of(tmp_path, spec) as work:
        work.run()
        outcome = outcome_of(work)
        status = work.status()
    refused = sum(teacher.faults.of(row.problem.prompt, 1) == "refused" for row in desk.rows_of(spec))
    assert outcome.reasons == {Reason.REFUSED: refused}
    assert 0 < refused < 40
    assert (status.done, status.kept, status.dropped) == (40, 40 - refused, refused)


def test_rewrites_of_which_none_can_be_kept_end_the_work_before_they_cost_more(desk, teacher, tmp_path):
    teacher.faults = Faults(wrong=1.0)
    spec = desk.spec_of(teacher.base_url, rows=1500)
    with desk.work_of(tmp_path, spec) as work, pytest.raises(InvalidDataError) as caught:
        work.run()
    assert "rewrites by short can be kept (rewrite with a wrong answer: " in str(caught.value)
    assert 256 <= teacher.asked.total() < 1500


def test_a_newer_attempt_stops_this_one_before_it_writes(desk, teacher, tmp_path):
    def fenced():
        raise InterruptedRunError("a newer attempt owns the folder")

    spec = desk.spec_of(teacher.base_url)
    with desk.work_of(tmp_path, spec, before_write=fenced) as work, pytest.raises(InterruptedRunError, match="newer"):
        work.run()
    assert (tmp_path / "answers.jsonl").read_bytes() == b""


def test_a_full_disk_ends_the_work_and_keeps_what_is_there(desk, teacher, tmp_path, monkeypatch):
    spec = desk.spec_of(teacher.base_url)
    with desk.work_of(tmp_path, spec) as work:
        add = work.answers.add

        def until_full(answer):
            if len(work.answers) == 10:
                raise OSError(28, "No space left on device")
            add(answer)

        monkeypatch.setattr(work.answers, "add", until_full)
        with pytest.raises(OSError, match="No space left"):
            work.run()
    assert (tmp_path / "answers.jsonl").read_bytes().count(b"\n") == 10


def test_a_signal_lets_the_answers_in_flight_arrive_and_sends_no_more(desk, teacher, tmp_path):
    spec = desk.spec_of(teacher.base_url, concurrency=4)
    teacher.hold_after(10)

    def on_tick(status):
        if teacher.in_flight == 4 and not stop.requested:
            signal.raise_signal(signal.SIGTERM)
        elif stop.requested:
            teacher.release()

    with StopSignal() as stop, desk.work_of(tmp_path, spec, stop=stop, on_tick=on_tick, drain_seconds=60.0) as work:
        with pytest.raises(InterruptedRunError, match=r"told to stop with .* traces rewritten; they are kept"):
            work.run()
        on_file = len(work.answers)
    assert on_file == teacher.asked.total() == 14


def test_a_signal_before_the_first_request_sends_none(desk, teacher, tmp_path):
    stop = SimpleNamespace(requested=True, wakeup=None)
    with desk.work_of(tmp_path, desk.spec_of(teacher.base_url), stop=stop) as work, pytest.raises(InterruptedRunError):
        work.run()
    assert teacher.asked.total() == 0


def test_waits_before_another_try_end_with_the_work(desk, teacher, tmp_path):
    teacher.faults = Faults(rate_limited=1.0, retry_after="800")
    ticks = []

    def on_tick(status):
        ticks.append(status)
        if status.requests == 8:
            stop.requested = True
            signal.raise_signal(signal.SIGTERM)

    spec = desk.spec_of(teacher.base_url)
    with StopSignal() as stop, desk.work_of(tmp_path, spec, stop=stop, on_tick=on_tick) as work:  # noqa: SIM117
        with pytest.raises(InterruptedRunError):
            work.run()
    assert ticks[-1].eta_seconds is None
