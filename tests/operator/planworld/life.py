"""One run among faults: what may happen to it, and what must hold all the same."""

from dataclasses import dataclass, replace
from datetime import timedelta

from igpo_operator.api.reasons import ConditionType, EndClass, Phase, Stage
from igpo_operator.plan.conditions import is_true
from igpo_operator.plan.observed import Pod, Running
from igpo_operator.plan.plan import plan
from planworld.world import World

QUOTA = (403, 'pods "x" is forbidden: exceeded quota: q, requested: pods=1, used: pods=1, limited: pods=1')
POLICY = (422, "denied by policy")
NAME = (409, 'pods "gsm8k-igpo-a1-0" is owned by another object')


@dataclass
class Life:
    """A world and the things that can be done to it; `crash` lets the operator die after so many writes."""

    world: World

    def healthy(self, seconds: int, steps: int, save: bool, crash: int | None) -> None:
        """A round in which nothing goes wrong, except with the operator."""
        world = self.world
        world.tick(seconds)
        for happens in (world.admit, world.schedule, world.start, world.kubelet, world.look):
            world.reconcile(crash_after=crash)
            world.reconcile()
            happens()
            self.check()
        if steps:
            world.train(steps, save=save)
            world.rewrite(steps)

    def reconcile(self, crash: int | None) -> None:
        self.world.reconcile(crash_after=crash)

    def rest(self, share: float) -> None:
        """Once at rest, a plan asks for the same, and writes nothing, until the moment that it named."""
        world = self.world
        world.settle()
        picture = world.observe()
        decided = plan(picture)
        assert decided.status is None
        assert decided.requeue_at is None or decided.requeue_at >= world.now
        horizon = decided.requeue_at or world.now + timedelta(days=1)
        later = world.now + (horizon - world.now) * share
        again = plan(replace(picture, now=later))
        assert again.status is None
        assert again.actions == decided.actions

    def time(self, seconds: int) -> None:
        self.world.tick(seconds)

    def happen(self, what: str) -> None:
        getattr(self.world, what)()

    def _pod(self, rank: int) -> Pod | None:
        gang = self.world.of_attempt()
        return gang[rank % len(gang)] if gang else None

    def die(self, rank: int, code: int) -> None:
        if pod := self._pod(rank):
            self.world.exit(pod, code)

    def disrupt(self, rank: int, reason: str) -> None:
        pod = self._pod(rank)
        if pod is not None and isinstance(pod.trainer, Running):
            self.world.disrupt(pod, reason)

    def delete(self, rank: int) -> None:
        if pod := self._pod(rank):
            self.world.delete_by_hand(pod)

    def node_dies(self, rank: int) -> None:
        pod = self._pod(rank)
        if pod is not None and pod.node is not None and not pod.terminal:
            self.world.dead_nodes.add(pod.node)
            self.world.disrupt(pod, "DeletionByTaintManager")

    def suspend(self, on: bool) -> None:
        self.world.change(suspend=on)

    def refuse(self, how: tuple[int, str] | None) -> None:
        self.world.refuse = how

    def finish(self) -> None:
        world = self.world
        if len(world.running()) == world.size:
            world.finish()

    def check(self) -> None:
        """What holds at every moment."""
        world = self.world
        status = world.status
        assert len({pod.attempt for pod in world.running()}) <= 1
        numbers = [record.number for record in status.attempts]
        assert numbers == sorted(set(numbers)), "every attempt is closed once"
        assert status.budget.charged <= world.charges
        stages = [record.stage for record in status.attempts] + ([status.attempt.stage] if status.attempt else [])
        assert stages == sorted(stages), "what is rewritten once is not rewritten again"
        if status.rewriting is not None:
            trains = status.attempt is not None and status.attempt.stage is Stage.TRAINING
            assert not trains or status.rewriting.finished_at is not None, "no gang before the traces are rewritten"
        if status.observed_generation is not None:
            busy = [is_true(status, ConditionType.RECONCILING), is_true(status, ConditionType.STALLED)]
            settled = status.phase in (Phase.COMPLETE, Phase.SUSPENDED) or is_true(status, ConditionType.READY)
            assert sum(busy) == (0 if settled else 1), "kstatus reads one thing"

    def end_well(self) -> None:
        """Faults stop: the run ends, and nothing runs any more."""
        world = self.world
        world.refuse = world.refusal = None
        world.change(suspend=False)
        for _ in range(100):
            if world.status.phase.terminal:
                break
            world.live(100)
            world.train(10, save=True)
            world.rewrite(10)
            if world.teacher.done >= world.teacher.rows if world.rewriting else world.trainer.step >= world.steps:
                self.finish()
            world.settle()
            self.check()
        status = world.status
        assert status.phase.terminal, status
        assert (status.phase is Phase.COMPLETE) == (status.attempt.ending.reason_class is EndClass.COMPLETED)
        for _ in range(3):
            world.tick(100)
            world.settle()
            world.kubelet()
        world.settle()
        assert not world.running()
        if world.spec["runPolicy"].get("ttlSecondsAfterFinished") is not None:
            assert status.phase.terminal
            assert not world.pods
            assert world.children == {"PersistentVolumeClaim"}
            assert world.status.released
