"""The trainer's own step on the same problems: its sampler, judge, rescue, scores and updates, timed by phase."""

import torch
from accelerate.accelerator import Accelerator

from igpo_trainer.data.problem import EncodedProblem
from igpo_trainer.igpo.rollout import Group
from igpo_trainer.loop.batching import BatchSizes
from igpo_trainer.loop.collect import Collector
from igpo_trainer.loop.cycle import CycleScorer, ScoredGroup
from igpo_trainer.loop.policy import Policy
from igpo_trainer.loop.ranks import Ranks
from igpo_trainer.loop.rollouts import RolloutWorker
from igpo_trainer.loop.room import Room
from igpo_trainer.loop.update import Updater
from igpo_trainer.models.denoiser import Denoiser
from igpo_trainer.rewards.judge import Judge
from igpo_trainer.spec.igpo import IGPOTrainingSpec
from speed.clock import seconds_of
from speed.network import tokenizer_of
from speed.shape import Shape


def spec_of(shape: Shape, **sampling: object) -> IGPOTrainingSpec:
    """The manifest's spec of a step of this shape; the model in it is not the one that is measured."""
    lengths = {"completionLength": shape.canvas, "steps": shape.steps, "blockLength": shape.block}
    return IGPOTrainingSpec.model_validate(
        {
            "model": {"source": "random weights"},
            "dataset": {"source": "builtin:word-problems"},
            "groupSize": shape.group,
            "promptsPerStep": shape.prompts,
            "sampling": {**lengths, "temperature": 1.2, **sampling},
            "objective": {"innerUpdates": shape.updates, "klCoefficient": 0.01},
            "optimizer": {"learningRate": 1e-6},
        }
    )


class TrainersStep:
    """One IGPO cycle, timed by phase; groups a pass and rows a forward as `batching: Auto` finds them."""

    def __init__(
        self, model: Denoiser, shape: Shape, spec: IGPOTrainingSpec, problems: list[EncodedProblem], judge: Judge
    ) -> None:
        self.spec = spec
        self.problems = problems
        accelerator = Accelerator(cpu=model.device.type == "cpu")
        self.policy = Policy(
            model, spec.optimizer, planned_updates=1000, accelerator=accelerator, keep_reference=not shape.rank
        )
        self.sizes = BatchSizes.choose(
            spec.batching,
            self.policy.denoiser,
            shape.width,
            shape.block,
            recompute=False,
            kept_canvases=spec.sampling.kept_canvases,
        )
        worker = RolloutWorker(
            policy=self.policy,
            tokenizer=tokenizer_of(shape),
            judge=judge,
            ranks=Ranks(),
            sizes=self.sizes,
            on_progress=lambda _: None,
            should_stop=lambda: False,
        )
        self.collector = Collector(spec, worker, problems)
        self.room = Room(self.sizes, self.policy, Ranks())
        self.updater = Updater(
            spec.objective, self.policy, Ranks(), spec.sampling.temperature, self.room, on_progress=lambda: None
        )

    def run(self, cycle: int) -> dict[str, float]:
        """Seconds of each phase; judging is within rollout and rescue."""
        device = self.policy.denoiser.device
        groups: list[Group] = []
        rescued: list[Group] = []
        scored: list[ScoredGroup] = []
        scorer = CycleScorer(self.spec, self.policy, self.problems, cycle)
        rollout = seconds_of(lambda: groups.extend(self.collector.sample(cycle)[0]), device)
        assert all(group.all_wrong for group in groups), "random words were judged right"
        rescue = seconds_of(lambda: rescued.extend(self.collector.rescue(groups, cycle)[0]), device)
        logprob = seconds_of(lambda: scored.extend(scorer.score(rescued, self.room)), device)

        def updates() -> None:
            for _ in range(self.spec.objective.inner_updates):
                self.updater.update(scorer, scored, cycle)

        return {"rollout": rollout, "rescue": rescue, "logprob": logprob, "update": seconds_of(updates, device)}


def device_of(name: str) -> torch.device:
    """Return the device by its name, with an index where it is a GPU."""
    return torch.device("cuda", 0) if name == "cuda" else torch.device(name)
