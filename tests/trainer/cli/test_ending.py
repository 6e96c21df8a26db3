import signal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from igpo_trainer.cli.ending import Evidence, termination_of
from igpo_trainer.cli.outcome import RankOutcome
from igpo_trainer.cli.rank_exit import RankExit
from igpo_trainer.spec.contract import TERMINATION_MESSAGE_BYTES


def outcome(code, reason="because", at=1.0, **more):
    return RankOutcome(code=code, reason=reason, at=at, **more)


def ranks(*codes):
    return {rank: outcome(code, f"rank {rank}", float(rank)) for rank, code in enumerate(codes) if code is not None}


codes = st.sampled_from([0, 1, 64, 65, 75, None])
evidence = st.builds(
    lambda left, exits, torchrun_code, stopped_by: Evidence(
        len(left), ranks(*left), torchrun_code, {k: v for k, v in exits.items() if k < len(left)}, stopped_by
    ),
    st.lists(codes, min_size=1, max_size=4),
    st.dictionaries(st.integers(0, 3), st.builds(RankExit, st.sampled_from([1, 3, 64, 75, -9, -15]), st.just(0.0))),
    st.sampled_from([0, 1, -9]),
    st.sampled_from([None, signal.SIGTERM, signal.SIGINT]),
)


@given(evidence)
def test_only_what_every_rank_left_is_done_or_saved(given_evidence):
    left = [given_evidence.outcomes.get(rank) for rank in range(given_evidence.processes)]
    message = termination_of(given_evidence)
    if message.code in {0, 75}:
        assert all(one is not None and one.code == message.code for one in left)
    if left and all(one is not None and one.code == 75 for one in left):
        assert message.code == 75


@given(evidence)
def test_64_and_65_come_from_a_rank_that_says_so_and_win(given_evidence):
    left = {one.code for one in given_evidence.outcomes.values()}
    message = termination_of(given_evidence)
    assert (message.code in {64, 65}) == bool(left & {64, 65})


@given(evidence)
def test_every_end_has_a_code_a_kernel_can_carry_and_a_reason_of_one_line(given_evidence):
    message = termination_of(given_evidence)
    assert 0 <= message.code <= 255
    assert message.reason
    assert "\n" not in message.reason


def test_done_needs_torchrun_to_end_well():
    assert termination_of(Evidence(2, ranks(0, 0), 0)).code == 0
    message = termination_of(Evidence(2, ranks(0, 0), 1))
    assert message.code == 1
    assert "torchrun 1, rank 0 0, rank 1 0" in message.reason


def test_a_signal_after_the_end_of_all_ranks_is_still_done():
    assert termination_of(Evidence(2, ranks(0, 0), 143, stopped_by=signal.SIGTERM)).code == 0


def test_the_first_of_two_failures_is_the_reason():
    outcomes = {0: outcome(1, "peer lost", at=9.0), 1: outcome(1, "out of memory", at=8.0)}
    assert termination_of(Evidence(2, outcomes, 1)).reason == "out of memory"


def test_a_killed_rank_is_the_cause_of_its_peers_error_in_the_same_second():
    outcomes = {0: outcome(1, "connection closed by peer", at=8.4)}
    exits = {0: RankExit(1, 8), 1: RankExit(-signal.SIGKILL, 8)}
    message = termination_of(Evidence(2, outcomes, 1, exits))
    assert message.code == 137
    assert message.reason.startswith("local rank 1 was killed by SIGKILL")


@pytest.mark.parametrize("sibling", [RankExit(-signal.SIGTERM, 8), RankExit(-signal.SIGKILL, 38)])
def test_a_sibling_that_torchrun_ended_is_not_the_cause(sibling):
    outcomes = {0: outcome(1, "loss is not finite", at=8.4)}
    message = termination_of(Evidence(2, outcomes, 1, {0: RankExit(1, 8), 1: sibling}))
    assert (message.code, message.reason) == (1, "loss is not finite")


@pytest.mark.parametrize("code", [64, 65, 75])
def test_a_contract_code_without_a_report_is_a_plain_failure(code):
    assert termination_of(Evidence(1, {}, 1, {0: RankExit(code, 8)})).code == 1


def test_a_rank_that_ends_without_a_report_gives_its_own_code():
    message = termination_of(Evidence(1, {}, 1, {0: RankExit(3, 8)}))
    assert (message.code, message.reason) == (3, "local rank 0 ended with 3 without a report")


def test_a_signal_before_any_rank_can_save_is_told_apart():
    message = termination_of(Evidence(2, {}, -15, stopped_by=signal.SIGTERM))
    assert message.code == 128 + signal.SIGTERM
    assert message.reason.startswith("SIGTERM came before any rank could save")


def test_a_rank_killed_after_its_report_of_success_is_a_failure():
    message = termination_of(Evidence(1, ranks(0), 1, {0: RankExit(-signal.SIGSEGV, 8)}))
    assert message.code == 139
    assert "SIGSEGV" in message.reason


def test_torchrun_that_fails_by_itself_shows_its_last_line():
    message = termination_of(Evidence(2, {}, 2, log=["usage: torchrun", "error: no such option"]))
    assert message.reason == "torchrun ended with 2 before local rank 0 reported; error: no such option"


def test_step_and_checkpoint_are_the_furthest_of_any_rank():
    outcomes = {
        0: outcome(75, step=8, checkpoint="step-00000008"),
        1: outcome(75, step=7, checkpoint="step-00000006"),
        2: outcome(75),
    }
    message = termination_of(Evidence(3, outcomes, 1))
    assert (message.step, message.checkpoint) == (8, "step-00000008")


@given(st.lists(st.text(max_size=3000), max_size=60), st.text(max_size=9000))
def test_the_message_never_exceeds_what_the_kubelet_keeps(log, reason):
    message = termination_of(Evidence(1, {0: outcome(1, reason)}, 1, log=log))
    assert len(message.encode()) <= TERMINATION_MESSAGE_BYTES


def test_the_newest_lines_survive_the_limit():
    log = [f"{number} " + "x" * 600 for number in range(40)]
    message = termination_of(Evidence(1, ranks(0), 0, log=log))
    kept = type(message).model_validate_json(message.encode())
    assert kept.last_lines
    assert kept.last_lines[-1].startswith("39 ")
