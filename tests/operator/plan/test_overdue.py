from dataclasses import replace

from igpo_operator.plan.actions import DeletePod
from igpo_operator.plan.overdue import overdue
from planworld.pictures import FACTS, after, ended, picture, pod


def stuck(rank=0, **changes):
    return pod(rank, deleted_at=after(0), gone_by=after(30), **changes)


def look(*pods, at, force_after=None, ready=None, may_read=True, **options):
    facts = replace(FACTS, may_read_nodes=may_read)
    observed = picture(pods=pods, node_ready=ready or {}, facts=facts)
    return overdue(observed, pods, force_after, after(at), **options)


def test_a_pod_in_its_grace_period_is_looked_at_again_half_a_minute_after_it():
    found = look(stuck(), at=10)
    assert (found.forced, found.message, found.requeue_at) == ((), "", after(60))


def test_a_pod_on_a_dead_node_is_forced():
    found = look(stuck(), at=60, ready={"node-0": False})
    assert found.forced == (DeletePod("gsm8k-igpo-a1-0", "uid-gsm8k-igpo-a1-0", grace_seconds=0),)
    assert "node-0" in found.message


def test_a_pod_on_a_live_or_unknown_node_is_named_and_looked_at_again():
    for ready in ({"node-0": True}, {}):
        found = look(stuck(), at=60, ready=ready)
        assert found.forced == ()
        assert "pod gsm8k-igpo-a1-0 on node node-0" in found.message
        assert "forceDeleteAfterSeconds" in found.message
        assert found.requeue_at == after(90)


def test_without_rights_for_nodes_the_message_says_so():
    assert "may not look at nodes" in look(stuck(), at=60, may_read=False).message


def test_force_delete_after_seconds_counts_from_the_end_of_the_grace_period():
    assert look(stuck(), at=39, force_after=10).requeue_at == after(40)
    assert look(stuck(), at=40, force_after=10).forced
    assert look(stuck(), at=61, force_after=100).requeue_at == after(91)


def test_pods_that_have_stopped_or_are_not_being_deleted_are_left_alone():
    assert look(stuck(trainer=ended(75)), pod(1), at=1000, ready={"node-0": False}).forced == ()


def test_finished_pods_of_dead_nodes_can_be_cleared_away():
    assert look(stuck(trainer=ended(75)), at=1000, ready={"node-0": False}, stopped_too=True).forced
