"""The model: pods obey kubelet-like rules, the operator carries out plans and may die after any step."""

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from igpo_operator.api.kinds import IGPO_TRAINING, Kind
from igpo_operator.api.reasons import Phase, Stage
from igpo_operator.api.status import RunStatus
from igpo_operator.plan.actions import Action, AnnotatePod, Apply, Create, DeleteChild, DeletePod, Event, Plan
from igpo_operator.plan.observed import Disruption, Observed, Pod, Refusal, Running, Scrape, Terminated, Waiting
from igpo_operator.plan.plan import plan
from igpo_operator.render.names import ATTEMPT_LABEL, KUEUE_RETRIABLE_ANNOTATION, RANK_LABEL, STAGE_LABEL
from igpo_trainer.spec.contract import CheckpointStatus, RewriteStatus, TerminationMessage, TrainerStatus
from planworld import pictures

GRACE = timedelta(seconds=30)


@dataclass
class Trainer:
    """What the trainers of a gang have done."""

    step: int = 0
    saved: int | None = None
    counter: int = 0


@dataclass
class Teacher:
    """What the pod that rewrites has on the volume."""

    rows: int = 20
    done: int = 0
    before: int = 0
    """Of them, those from before the current pod."""

    @property
    def said(self) -> RewriteStatus:
        dropped = self.done // 5
        return RewriteStatus(
            rows=self.rows,
            done=self.done,
            cached=self.before,
            kept=self.done - dropped,
            dropped=dropped,
            tokens=100 * self.done,
        )


@dataclass
class World:
    """A namespace with one run."""

    spec: dict[str, Any] = field(default_factory=pictures.spec)
    kind: Kind = IGPO_TRAINING
    queued: bool = False
    now: datetime = pictures.NOW
    generation: int = 1
    stored: dict[str, Any] = field(default_factory=dict)
    pods: dict[str, Pod] = field(default_factory=dict)
    dead_nodes: set[str] = field(default_factory=set)
    trainer: Trainer = field(default_factory=Trainer)
    teacher: Teacher = field(default_factory=Teacher)
    scrape: Scrape | None = None
    refusal: Refusal | None = None
    refuse: tuple[int, str] | None = None
    lacking: str | None = None
    started_at: datetime = pictures.NOW
    writes: list[RunStatus] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    created: list[str] = field(default_factory=list)
    children: set[str] = field(default_factory=set)
    names: dict[str, str] = field(default_factory=dict)
    requeue_at: datetime | None = None
    charges: int = 0

    # -- the operator ------------------------------------------------------------------------------------------

    @property
    def status(self) -> RunStatus:
        return RunStatus.read(self.stored)

    @property
    def rewriting(self) -> bool:
        """Whether the current attempt rewrites traces."""
        attempt = self.status.attempt
        return attempt is not None and attempt.stage is Stage.REWRITING

    @property
    def size(self) -> int:
        """Pods of the current attempt."""
        return 1 if self.rewriting else self.spec["workers"]["replicas"]

    @property
    def steps(self) -> int:
        """Steps of the whole run."""
        return self.spec["steps"] if "steps" in self.spec else self.spec["training"]["steps"]

    def observe(self) -> Observed:
        facts = replace(pictures.FACTS, started_at=self.started_at)
        return Observed(
            run=pictures.run(self.spec, self.status, generation=self.generation, kind=self.kind),
            pods=tuple(self.pods.values()),
            facts=facts,
            now=self.now,
            scrape=self.scrape,
            refusal=self.refusal,
            lacking=self.lacking,
            node_ready=dict.fromkeys(self.dead_nodes, False),
        )

    def reconcile(self, *, crash_after: int | None = None) -> Plan:
        """Plan and carry out; die after so many writes (actions, then the status), if told to."""
        decided = plan(self.observe())
        self.requeue_at = decided.requeue_at
        left = crash_after
        for action in decided.actions:
            if left == 0:
                return self._crash(decided)
            if not self._act(action):
                return decided
            left = None if left is None else left - 1
        if left == 0 and decided.status is not None:
            return self._crash(decided)
        if decided.status is not None:
            self._write(decided.status)
            if left is not None and left <= 1:
                return self._crash(decided)
        self.events += decided.events
        return decided

    def _crash(self, decided: Plan) -> Plan:
        self.scrape = self.refusal = None
        self.started_at = self.now
        return decided

    def _write(self, status: RunStatus) -> None:
        before = self.status
        assert not before.phase.terminal or status.phase is before.phase, "a terminal phase is final"
        if before.phase.terminal:
            assert status.attempt == before.attempt
        if status.phase is Phase.SUSPENDED and before.phase is not Phase.SUSPENDED:
            assert not self.running(), "nothing runs in a suspended run"
        self.stored = status.dump()
        assert self.status == status, "status survives the API server"
        self.writes.append(status)
        self._count_charges(before, status)

    def _count_charges(self, before: RunStatus, after: RunStatus) -> None:
        fresh = {r.number for r in after.attempts} - {r.number for r in before.attempts}
        assert len(fresh) <= 1
        self.charges += sum(r.reason_class.charged for r in after.attempts if r.number in fresh)

    def _act(self, action: Action) -> bool:
        match action:
            case Create(manifest) if manifest["kind"] == "Pod":
                return self._create_pod(manifest)
            case Create(manifest) | Apply(manifest):
                assert not self.status.phase.terminal, "nothing is created for a finished run"
                self.children.add(manifest["kind"])
                self.names[manifest["kind"]] = manifest["metadata"]["name"]
            case DeletePod():
                self._delete(action)
            case AnnotatePod():
                pod = self.pods.get(action.name)
                if pod is not None and pod.uid == action.uid:
                    self.pods[pod.name] = replace(pod, retriable=action.annotations[KUEUE_RETRIABLE_ANNOTATION])
            case DeleteChild():
                assert self.names[action.api_kind] == action.name, "a child is deleted under the name it was given"
                self.children.discard(action.api_kind)
        return True

    def _create_pod(self, manifest: dict[str, Any]) -> bool:
        name, labels = manifest["metadata"]["name"], manifest["metadata"]["labels"]
        attempt, rank = int(labels[ATTEMPT_LABEL]), int(labels[RANK_LABEL])
        status = self.status
        assert not status.phase.terminal
        assert status.phase is not Phase.SUSPENDED
        assert status.attempt is not None
        assert status.attempt.number == attempt, "pods are created for the recorded attempt only"
        assert status.attempt.ending is None
        assert all(pod.attempt == attempt for pod in self.running()), "never two attempts at once"
        if name in self.pods:
            return True  # 409, ours
        if self.refuse is not None:
            self.refusal = Refusal(attempt, *self.refuse, at=self.now)
            return False
        if status.attempt.stage is Stage.REWRITING:
            assert status.rewriting is not None
            assert status.rewriting.finished_at is None, "what is rewritten is never rewritten again"
            assert rank == 0
        assert (STAGE_LABEL in labels) == (status.attempt.stage is Stage.REWRITING)
        assert name not in self.created or status.attempt.created_at is None, "never a second pod of a name"
        self.created.append(name)
        self.pods[name] = pictures.pod(
            rank,
            attempt,
            name=name,
            uid=f"uid-{len(self.created)}",
            phase="Pending",
            created_at=self.now,
            node=None,
            scheduled_at=None,
            trainer=None,
            image_id=None,
            queued=self.queued and not self.rewriting,
            gates=("kueue.x-k8s.io/admission",) if self.queued and not self.rewriting else (),
        )
        return True

    def _delete(self, action: DeletePod) -> None:
        status = self.status
        justified = status.phase.terminal or status.phase is Phase.SUSPENDED or status.attempt is None
        pod = self.pods.get(action.name)
        if pod is None or pod.uid != action.uid:
            return
        old = status.attempt is not None and pod.attempt != status.attempt.number
        ending = status.attempt is not None and status.attempt.ending is not None
        assert justified or old or ending, "pods are deleted for a recorded reason only"
        if action.grace_seconds == 0:
            del self.pods[pod.name]
        elif pod.node is None or (pod.terminal and pod.node not in self.dead_nodes):
            self._gone(pod)
        else:
            self.pods[pod.name] = replace(pod, deleted_at=self.now, gone_by=self.now + GRACE)

    # -- the cluster -------------------------------------------------------------------------------------------

    def running(self) -> list[Pod]:
        return [pod for pod in self.pods.values() if isinstance(pod.trainer, Running)]

    def of_attempt(self) -> list[Pod]:
        attempt = self.status.attempt
        number = attempt.number if attempt else 0
        return sorted((pod for pod in self.pods.values() if pod.attempt == number), key=lambda pod: pod.rank)

    def put(self, pod: Pod, **changes: Any) -> None:
        self.pods[pod.name] = replace(pod, **changes)

    def _gone(self, pod: Pod) -> None:
        """A deleted pod vanishes, unless Kueue's finalizer holds it until it is replaced or given up."""
        if pod.queued and pod.retriable != "false":
            over = {} if pod.terminal else {"phase": "Failed"}
            self.put(pod, deleted_at=self.now, gone_by=self.now, **over)
        else:
            self.pods.pop(pod.name, None)

    def tick(self, seconds: float = 1) -> None:
        self.now += timedelta(seconds=seconds)

    def admit(self) -> None:
        for pod in list(self.pods.values()):
            self.put(pod, gates=())

    def schedule(self) -> None:
        for pod in list(self.pods.values()):
            if pod.node is None and not pod.gates and pod.deleted_at is None:
                node = f"node-{pod.rank}-{len(self.dead_nodes)}"
                self.put(pod, node=node, scheduled_at=self.now, trainer=Waiting("ContainerCreating"))

    def start(self) -> None:
        for pod in list(self.pods.values()):
            if isinstance(pod.trainer, Waiting) and pod.node not in self.dead_nodes and pod.deleted_at is None:
                self.put(pod, trainer=Running(self.now), phase="Running", image_id="image@sha256:1", ip="10.0.0.1")
        if len(self.running()) == len(self.of_attempt()):
            self.trainer.step = self.trainer.saved or 0
            self.teacher.before = self.teacher.done

    def kubelet(self) -> None:
        """Pods that are being deleted end: trainers save and exit 75; those on dead nodes stay."""
        for pod in list(self.pods.values()):
            if pod.deleted_at is None or pod.node in self.dead_nodes:
                continue
            if isinstance(pod.trainer, Running):
                if not self.rewriting:
                    self.trainer.saved = max(self.trainer.saved or 0, self.trainer.step)
                self.exit(pod, 75)
            elif isinstance(pod.trainer, Waiting):
                self.put(pod, phase="Failed", trainer=None)
            else:
                self._gone(pod)

    def exit(self, pod: Pod, code: int, **message: Any) -> None:
        """The trainer of a pod ends; a sidecar may keep the pod itself running."""
        if not isinstance(pod.trainer, Running):
            return
        saved = self.trainer.saved
        checkpoint = CheckpointStatus(step=saved, path=f"step-{saved}", digest=f"d{saved}") if saved else None
        about: dict[str, Any] = {"step": self.trainer.step, "latest": checkpoint}
        if self.rewriting:
            about = {"rewrite": self.teacher.said}
        said = TerminationMessage(code=code, reason=f"rank {pod.rank} ends with {code}", **about, **message)
        end = Terminated(code, "Completed" if code == 0 else "Error", said, finished_at=self.now)
        self.put(pod, trainer=end, phase="Succeeded" if code == 0 else "Failed")

    def disrupt(self, pod: Pod, reason: str) -> None:
        self.put(
            pod,
            disruption=Disruption(reason, "by the test", self.now),
            deleted_at=self.now,
            gone_by=self.now + GRACE,
        )

    def delete_by_hand(self, pod: Pod) -> None:
        if pod.node is None or pod.terminal:
            self._gone(pod)
        else:
            self.put(pod, deleted_at=self.now, gone_by=self.now + GRACE)

    def train(self, steps: int = 1, *, save: bool = False) -> None:
        """All ranks run, so steps are finished; rank 0 is scraped."""
        if self.rewriting or not self._all_run():
            return
        self.trainer.step = min(self.trainer.step + steps, self.steps)
        self.trainer.counter += steps
        if save:
            self.trainer.saved = self.trainer.step
        self.look()

    def rewrite(self, rows: int = 1) -> None:
        """The teacher answers, and rank 0 is scraped, while the pod that rewrites runs."""
        if not self.rewriting or not self._all_run():
            return
        self.teacher.done = min(self.teacher.done + rows, self.teacher.rows)
        self.trainer.counter += rows
        self.look()

    def _all_run(self) -> bool:
        return sum(isinstance(pod.trainer, Running) for pod in self.of_attempt()) == self.size

    def look(self) -> None:
        """Scrape rank 0."""
        attempt = self.status.attempt
        if attempt is None:
            return
        saved = self.trainer.saved
        said = TrainerStatus(
            stage="rollout",
            step=self.trainer.step,
            planned_steps=self.steps,
            attempt=attempt.number,
            progress=self.trainer.counter,
            metrics={"reward": self.trainer.step / 10},
            checkpoint=CheckpointStatus(step=saved, path=f"step-{saved}", digest=f"d{saved}") if saved else None,
        )
        if self.rewriting:
            said = TrainerStatus(
                stage="rewrite",
                attempt=attempt.number,
                progress=self.trainer.counter,
                rewrite=self.teacher.said,
            )
        last = self.scrape
        same = last is not None and last.attempt == attempt.number and last.status.progress == said.progress
        self.scrape = Scrape(attempt.number, said, self.now, last.moved_at if same and last else self.now)

    def finish(self) -> None:
        """Every rank ends with 0."""
        if self.rewriting:
            self.teacher.done = self.teacher.rows
        else:
            self.trainer.saved = self.trainer.step = self.steps
        for pod in self.of_attempt():
            self.exit(pod, 0)

    def change(self, **spec: Any) -> None:
        self.spec = {**self.spec, **spec}
        self.generation += 1

    # -- time passes -------------------------------------------------------------------------------------------

    def settle(self, rounds: int = 50) -> None:
        """Reconcile until nothing is written and no action is asked for."""
        for _ in range(rounds):
            before = (self.stored, dict(self.pods), self.refusal)
            decided = self.reconcile()
            if decided.status is None and (self.stored, self.pods, self.refusal) == before:
                return
        raise AssertionError(f"the plan does not come to rest: {decided}")

    def live(self, seconds: float = 5) -> None:
        """One round of a healthy cluster."""
        self.tick(seconds)
        self.settle()
        self.admit()
        self.schedule()
        self.start()
        self.kubelet()
        self.settle()
