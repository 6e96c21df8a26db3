import pytest

from igpo_operator.plan.gang import Gang, over, stopped
from igpo_operator.plan.observed import Running
from planworld.pictures import NOW, after, ended, pod, waiting


def gang(*pods, size=2):
    return Gang.of(pods, 1, size)


def test_only_the_attempts_own_pods_belong_to_a_gang():
    assert [p.rank for p in gang(pod(1), pod(0, attempt=2), pod(0)).pods] == [0, 1]


def test_ranks_without_a_pod_are_missing():
    assert gang(pod(1), size=3).missing == (0, 2)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, False),
        ({"trainer": ended(0)}, True),
        ({"trainer": ended(1)}, True),
        ({"trainer": None, "phase": "Failed"}, True),
        ({"trainer": None, "phase": "Pending"}, False),
        ({"deleted_at": NOW}, False),
        ({"deleted_at": NOW, "node": None, "trainer": None, "phase": "Pending"}, True),
    ],
)
def test_a_pod_has_stopped_when_nothing_of_the_trainer_can_run_in_it(changes, expected):
    assert stopped(pod(0, **changes)) is expected


def test_a_pod_with_a_running_sidecar_is_not_over():
    assert not over(pod(0, trainer=ended(0), accompanied=True))
    assert not over(pod(0))
    assert over(pod(0, trainer=ended(0), phase="Succeeded"))
    assert over(pod(0, trainer=ended(0))), "kubelet writes the phase a moment later"


def test_a_rank_that_has_already_finished_counts_as_started():
    assert gang(pod(0), pod(1, trainer=ended(0))).all_started
    assert not gang(pod(0), pod(1, trainer=ended(1))).all_started
    assert not gang(pod(0), pod(1, trainer=waiting("ContainerCreating"))).all_started
    assert not gang(pod(0)).all_started


def test_a_gang_has_finished_when_every_rank_has():
    done = pod(0, trainer=ended(0))
    assert not gang(done).all_finished
    assert gang(done, pod(1, trainer=None, phase="Succeeded")).all_finished


def test_the_gangs_times_are_those_of_its_first_and_last_pod():
    pods = gang(pod(0, scheduled_at=after(5), trainer=Running(after(9))), pod(1, scheduled_at=after(3)))
    assert (pods.first_scheduled, pods.last_started) == (after(3), after(9))
    assert gang().first_scheduled is None


def test_nothing_runs_in_a_gang_without_pods():
    assert gang().all_stopped
    assert not gang(pod(0)).all_stopped


def test_pods_behind_a_gate_are_gated():
    assert [p.rank for p in gang(pod(0), pod(1, gates=("kueue.x-k8s.io/admission",))).gated] == [1]
