"""The IGPO loop: sample → judge → rescue → advantage → update × μ → log → evaluate → checkpoint (Algorithm 1)."""

import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from igpo_trainer.igpo.rollout import Group
from igpo_trainer.loop.collect import (
    Collector,
    RescueFacts,
    group_counts,
    mean_group_deviation,
    mean_rewards,
    rollouts_of,
    token_counts,
    verdict_counts,
)
from igpo_trainer.loop.cycle import CycleScorer, ScoredGroup
from igpo_trainer.loop.cycle_file import OpenCycle
from igpo_trainer.loop.evaluation import is_truncated
from igpo_trainer.loop.interruption import StopRequestedError
from igpo_trainer.loop.sample_rows import sample_rows
from igpo_trainer.loop.session import Session
from igpo_trainer.loop.update import Updater, UpdateResult, UpdateSums
from igpo_trainer.observe.records import HintTokens, Phase, Split, StepRecord, StepTime
from igpo_trainer.spec.igpo import IGPOTrainingSpec
from igpo_trainer.spec.run import HOLDOUT, EvaluationSet


class IGPOLoop:
    """Trains a policy by IGPO, or by its baselines GRPO and Resample."""

    def __init__(self, session: Session, spec: IGPOTrainingSpec) -> None:
        self.session = session
        self.spec = spec
        self.collector = Collector(spec, session.worker, session.data.train)
        self.updater = Updater(
            spec.objective,
            session.policy,
            session.ranks,
            spec.sampling.temperature,
            session.room,
            session.on_update_progress,
            session.telemetry.skipped_update,
        )
        self.finished = 0
        self.open: OpenCycle | None = None

    def run(self) -> None:
        """Train from where the newest checkpoint stands to the last step, then publish the result.

        Raises StopRequestedError on every rank after a requested stop was saved.
        """
        self._resume()
        try:
            if self.open is None:
                self._evaluate_and_save()
            while self.finished < self.spec.steps:
                self.cycle(self.finished + 1)
        except StopRequestedError:
            self.session.save(self.finished, self._write_open_cycle, scheduled=False)
            raise
        self.session.publish_result(self.finished)

    def cycle(self, number: int) -> None:
        """One cycle: a rollout batch and μ optimizer updates."""
        session = self.session
        scorer = CycleScorer(self.spec, session.policy, session.data.train, number)
        if self.open is None:
            session.telemetry.start_step()
            self.open = self._collect(number, scorer)
        with session.phase(Phase.UPDATE):
            while self.open.inner < self.spec.objective.inner_updates:
                self.open.results.append(self.updater.update(scorer, self.open.scored, number))
        record = _with_updates(self.open, session.telemetry.step_time())
        session.require_owner()
        for sample in self.open.samples:
            session.telemetry.sample(sample)
        session.telemetry.publish(record)
        self.open, self.finished = None, number
        session.position.step = number
        self._evaluate_and_save()

    def _collect(self, number: int, scorer: CycleScorer) -> OpenCycle:
        """Rollouts of a cycle, judged, rescued and scored under the old policy."""
        session = self.session
        with session.phase(Phase.ROLLOUT):
            groups, reasons = self.collector.sample(number)
        with session.phase(Phase.RESCUE):
            rescued, facts = self.collector.rescue(groups, number)
        with session.phase(Phase.LOGPROB):
            scored = scorer.score(rescued, session.room)
        samples = list(sample_rows(session, number, groups, scored))
        return OpenCycle(number, scored, self._draft(number, groups, scored, facts, reasons), samples)

    def _evaluate_and_save(self) -> None:
        """Evaluation and checkpoint at their intervals and at both ends, as far as the journal does not have them.

        A checkpoint never lacks a due score.
        """
        step = self.finished
        due = self.spec.evaluation.every_steps and step % self.spec.evaluation.every_steps == 0
        first, last = step == 0, step == self.spec.steps
        if due or first or last:
            self.session.evaluate(self._measured() if first or last else self.spec.evaluation.datasets, step=step)
        if last or (step and step % self.spec.checkpoints.every_steps == 0):
            self.session.save_scheduled(step)

    def _measured(self) -> tuple[EvaluationSet, ...]:
        """Configured sets, and the held-out all-wrong fraction before rescue, as rollouts see it."""
        group = EvaluationSet(source=HOLDOUT, samples=self.spec.group_size, temperature=self.spec.sampling.temperature)
        configured = self.spec.evaluation.datasets
        return configured if group in configured else (*configured, group)

    def _resume(self) -> None:
        checkpoint = self.session.resume()
        if checkpoint is not None:
            self.finished = checkpoint.step
            self.open = OpenCycle.load(checkpoint.path)

    def _write_open_cycle(self, folder: Path) -> None:
        if self.open is not None:
            self.open.save(folder)

    def _draft(
        self,
        number: int,
        groups: Sequence[Group],
        scored: Sequence[ScoredGroup],
        facts: RescueFacts,
        reasons: Counter[str],
    ) -> StepRecord:
        """The step's record as far as it is known before the first update."""
        final = [s.group for s in scored]
        rollouts = rollouts_of(groups)
        hints = [entropy for s in scored for entropy in s.entropy_hint]
        generated = [entropy for s in scored for entropy in s.entropy_generated]
        kept = sum(
            int(s.kept_GL[g, i]) for s in scored for g, r in enumerate(s.group.rollouts) for i in r.hint_positions
        )
        eos_id = self.session.policy.denoiser.tokens.eos_id
        return StepRecord(
            step=number,
            epoch=number * self.spec.prompts_per_step / len(self.session.data.train),
            reward_mean=mean_rewards(groups),
            reward_group_stddev=mean_group_deviation(groups),
            groups_initial=group_counts(groups),
            groups_final=group_counts(final),
            completions_initial=verdict_counts(groups),
            completions_final=verdict_counts(final),
            unjudged=dict(reasons + facts.unjudged),
            no_signal=sum(not g.has_signal for g in final),
            rescue=facts.counts,
            replaced=facts.replaced,
            hint_ratio=sum(facts.hint_ratios) / len(facts.hint_ratios) if facts.hint_ratios else None,
            empty_hints=facts.empty_hints,
            hint_tokens=HintTokens(kept=kept, filtered=len(hints) - kept),
            entropy=Split(
                hint=math.fsum(hints) / len(hints) if hints else None,
                generated=math.fsum(generated) / len(generated) if generated else None,
            ),
            completion_lengths=dict(Counter(r.length for r in rollouts)),
            truncated=sum(is_truncated(r, eos_id) for r in rollouts),
            tokens=token_counts(groups, self.session.data.train, facts),
            time=StepTime(at=0.0),
        )


def _with_updates(cycle: OpenCycle, spent: StepTime) -> StepRecord:
    """The finished record: the draft with the statistics of its μ updates."""
    results: Sequence[UpdateResult] = cycle.results
    sums = [r.sums for r in results]

    def split(name: str) -> Split:
        return Split(
            hint=_mean(sums, f"{name}_hint", "positions_hint"),
            generated=_mean(sums, f"{name}_generated", "positions_generated"),
        )

    return cycle.draft.model_copy(
        update={
            "ratio": split("ratio"),
            "clipped": split("clipped"),
            "advantage": split("advantage"),
            "kl": _mean(sums, "kl", "kl_tokens"),
            "loss": sum(s.loss for s in sums) / len(sums),
            "grad_norm": sum(r.gradient_norm for r in results) / len(results),
            "learning_rate": results[-1].learning_rate,
            "updates": len(results),
            "time": spent,
        }
    )


def _mean(sums: Sequence[UpdateSums], value: str, count: str) -> float | None:
    total = sum(getattr(s, count) for s in sums)
    return sum(getattr(s, value) for s in sums) / total if total else None
