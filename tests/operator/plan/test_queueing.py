from igpo_operator.api.reasons import EndClass
from igpo_operator.plan.actions import AnnotatePod
from igpo_operator.plan.orphans import plan_orphan
from igpo_operator.plan.queueing import give_back, leaves_queue
from planworld.pictures import NOW, pod

FALSE = {"kueue.x-k8s.io/retriable-in-group": "false"}


def test_only_pods_of_a_queue_that_have_not_been_told_are_told():
    queued, told, free = pod(0, queued=True), pod(1, queued=True, retriable="false"), pod(2)
    assert give_back([queued, told, free]) == (AnnotatePod(queued.name, queued.uid, FALSE),)


def test_a_gang_that_cannot_use_its_quota_gives_it_back():
    leaving = {end_class for end_class in EndClass if leaves_queue(end_class)}
    assert leaving == {EndClass.SUSPENDED, EndClass.GANG_INCOMPLETE, EndClass.REFUSED}


def test_of_orphans_the_terminating_ones_are_told():
    going, staying = pod(0, queued=True, deleted_at=NOW), pod(1, queued=True)
    assert plan_orphan([going, staying, pod(2, deleted_at=NOW)]) == (AnnotatePod(going.name, going.uid, FALSE),)
