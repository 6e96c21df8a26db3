"""Random lives: faults, crashes of the operator after any write, and what must hold all the same."""

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from planworld import pictures
from planworld.world import World

from igpo_operator.api.reasons import ConditionType, EndClass, Phase
from igpo_operator.plan.conditions import is_true
from igpo_operator.plan.observed import Running

RANKS = st.integers(0, 2)
CRASH = st.none() | st.integers(0, 9)


class Life(RuleBasedStateMachine):
    """One run among faults."""

    world: World

    @initialize(replicas=st.integers(1, 3), queued=st.booleans(), suspend=st.booleans(), ttl=st.none() | st.just(60))
    def begin(self, replicas, queued, suspend, ttl):
        policy = {"backoffLimit": 3, "activeDeadlineSeconds": 5000, "stallTimeoutSeconds": 600}
        if queued:
            policy["queueName"] = "gpus"
        if ttl is not None:
            policy["ttlSecondsAfterFinished"] = ttl
        raw = pictures.spec(replicas=replicas, runPolicy=policy, suspend=suspend)
        self.world = World(spec=raw, queued=queued)

    @rule(crash=CRASH, again=CRASH)
    def reconcile(self, crash, again):
        self.world.reconcile(crash_after=crash)
        self.world.reconcile(crash_after=again)

    @rule(seconds=st.sampled_from([1, 5, 40, 100, 700]))
    def time_passes(self, seconds):
        self.world.tick(seconds)

    @rule()
    def kueue_admits(self):
        self.world.admit()

    @rule()
    def scheduler_places(self):
        self.world.schedule()

    @rule()
    def kubelet_starts(self):
        self.world.start()

    @rule()
    def kubelet_stops(self):
        self.world.kubelet()

    @rule(steps=st.integers(1, 5), save=st.booleans())
    def training_goes_on(self, steps, save):
        self.world.train(steps, save=save)

    def pod(self, rank):
        gang = self.world.of_attempt()
        return gang[rank % len(gang)] if gang else None

    @rule(rank=RANKS, code=st.sampled_from([1, 137, 75, 143]), crash=CRASH)
    def rank_dies(self, rank, code, crash):
        if pod := self.pod(rank):
            self.world.exit(pod, code)
            self.world.reconcile(crash_after=crash)

    @rule(
        rank=RANKS, reason=st.sampled_from(["EvictionByEvictionAPI", "PreemptionByScheduler", "DeletionByTaintManager"])
    )
    def rank_is_disrupted(self, rank, reason):
        pod = self.pod(rank)
        if pod is not None and isinstance(pod.trainer, Running):
            self.world.disrupt(pod, reason)

    @rule(rank=RANKS)
    def pod_is_deleted_by_hand(self, rank):
        if pod := self.pod(rank):
            self.world.delete_by_hand(pod)

    @rule(rank=RANKS)
    def node_dies(self, rank):
        pod = self.pod(rank)
        if pod is not None and pod.node is not None and not pod.terminal:
            self.world.dead_nodes.add(pod.node)
            self.world.disrupt(pod, "DeletionByTaintManager")

    @rule(on=st.booleans())
    def suspend_flips(self, on):
        self.world.change(suspend=on)

    @rule(
        refuse=st.sampled_from(
            [None, (403, 'pods "x" is forbidden: exceeded quota: q, requested: pods=1'), (422, "no")]
        )
    )
    def api_server_changes_its_mind(self, refuse):
        self.world.refuse = refuse

    @precondition(lambda self: len(self.world.running()) > 0)
    @rule()
    def training_finishes(self):
        world = self.world
        if len(world.running()) == world.spec["workers"]["replicas"]:
            world.finish()

    @invariant()
    def one_attempt_runs(self):
        assert len({pod.attempt for pod in self.world.running()}) <= 1

    @invariant()
    def every_charged_end_is_charged_once(self):
        world = self.world
        status = world.status
        assert len({record.number for record in status.attempts}) == len(status.attempts)
        assert status.budget.charged <= world.charges

    @invariant()
    def kstatus_reads_one_thing(self):
        status = self.world.status
        if status.observed_generation is None:
            return
        busy = [is_true(status, ConditionType.RECONCILING), is_true(status, ConditionType.STALLED)]
        settled = status.phase in (Phase.COMPLETE, Phase.SUSPENDED) or is_true(status, ConditionType.READY)
        assert sum(busy) == (0 if settled else 1)

    def teardown(self):
        """Faults stop: the run ends."""
        if not hasattr(self, "world"):
            return
        world = self.world
        world.refuse = world.refusal = None
        world.change(suspend=False)
        for _ in range(80):
            if world.status.phase.terminal:
                break
            world.live(100)
            world.train(10, save=True)
            if world.trainer.step >= world.spec["steps"] and world.running():
                world.settle()
                world.finish()
            world.settle()
        status = world.status
        assert status.phase.terminal, status
        assert (status.phase is Phase.COMPLETE) == (status.attempt.ending.reason_class is EndClass.COMPLETED)
        world.tick(100)
        world.settle()
        world.kubelet()
        world.settle()
        assert not world.running()
        assert status.budget.charged <= 4


Life.TestCase.settings = settings(
    max_examples=150, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)
TestLife = Life.TestCase
