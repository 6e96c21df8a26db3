"""What both kinds of run share."""

from typing import Literal, Self

from pydantic import Field, model_validator

from igpo_trainer.spec.base import NonNegativeFloat, NonNegativeInt, PositiveFloat, SpecModel
from igpo_trainer.spec.dataset import OWN_COLUMNS, AnswerRule, DatasetSpec, FieldNames, PromptSpec, RowFormat
from igpo_trainer.spec.model import BatchingSpec, ModelSpec
from igpo_trainer.spec.sampling import SamplingSpec

HOLDOUT = "holdout"


class OptimizerSpec(SpecModel):
    """AdamW and its schedule."""

    learning_rate: PositiveFloat = Field(
        default=5.0e-7, description="Peak learning rate: step size per optimizer update."
    )
    betas: tuple[float, float] = Field(default=(0.9, 0.99), description="Adam's decay rates β1 and β2, each in [0, 1).")
    weight_decay: NonNegativeFloat = Field(
        default=0.1, description="Decoupled weight decay, a weight relative to the learning rate."
    )
    max_grad_norm: PositiveFloat = Field(default=0.2, description="Gradients are scaled down to this global L2 norm.")
    warmup_updates: NonNegativeInt = Field(default=50, description="Linear warm-up, in optimizer updates.")
    schedule: Literal["Linear", "Cosine", "Constant"] = Field(
        default="Linear", description="Course of the rate after warm-up: to 0 linearly, by cosine, or constant."
    )

    @model_validator(mode="after")
    def _betas_in_range(self) -> Self:
        if not all(0.0 <= beta < 1.0 for beta in self.betas):
            raise ValueError(f"betas {list(self.betas)} must both lie in [0, 1)")
        return self


class EvaluationSet(SpecModel):
    """One data set that is measured, and how."""

    source: str = Field(min_length=1, max_length=512, description="holdout, or a source as in dataset.source.")
    name: str | None = Field(default=None, min_length=1, max_length=128, description="Configuration of a hub data set.")
    revision: str | None = Field(
        default=None, min_length=1, max_length=128, description="Hub commit, tag or branch. Absent: main."
    )
    split: str = Field(default="test", min_length=1, max_length=64, description="Split that is measured.")
    format: RowFormat | None = Field(
        default=None,
        description="Schema of the rows, as dataset.format. Absent: that of a well-known hub id, else fields and "
        "answer, else what dataset has.",
    )
    fields: FieldNames | None = Field(default=None, description="Columns; absent: those of dataset.")
    answer: AnswerRule | None = Field(default=None, description="Answer rule; absent: that of dataset.")
    samples: int = Field(
        default=1, ge=1, le=1024, description="Number k of completions per problem, for avg@k and pass@k."
    )
    temperature: NonNegativeFloat = Field(
        default=0.0, description="Sampling temperature, in units of the logits; 0 is greedy."
    )

    @model_validator(mode="after")
    def _format_names_the_columns(self) -> Self:
        if self.format is not None and not (self.fields is None and self.answer is None):
            raise ValueError(f"format {self.format} {OWN_COLUMNS}")
        return self

    @property
    def label(self) -> str:
        """What measurements call it: the source, `:configuration` if one is named, `[split]` if it is not test."""
        if self.source == HOLDOUT:
            return HOLDOUT
        name = f":{self.name}" if self.name else ""
        return f"{self.source}{name}" + (f"[{self.split}]" if self.split != "test" else "")


class EvaluationSpec(SpecModel):
    """When and on what the policy is measured."""

    every_steps: NonNegativeInt = Field(
        default=24, description="Steps between evaluations; 0: at the end, and for RL at the start, only."
    )
    select_by: Literal["holdout"] = Field(
        default="holdout", description="The set whose accuracy picks the best checkpoint."
    )
    datasets: tuple[EvaluationSet, ...] = Field(
        default=(EvaluationSet(source=HOLDOUT),),
        min_length=1,
        max_length=16,
        description="Problem sets that are measured; holdout must be among them.",
    )


class CheckpointsSpec(SpecModel):
    """When state is saved and what is kept."""

    every_steps: int = Field(default=24, ge=1, le=1_000_000, description="Steps between checkpoints.")
    keep_last: int = Field(default=2, ge=1, le=1000, description="Number of newest checkpoints kept.")
    keep_best: int = Field(
        default=1, ge=0, le=1000, description="Number of best checkpoints, by held-out accuracy, kept as well."
    )


class WorkersSpec(SpecModel):
    """Processes of a run; the other fields of workers matter on a cluster only."""

    replicas: int = Field(default=1, ge=1, le=1024, description="Number of pods, one a node.")
    gpus_per_worker: int = Field(
        default=0, ge=0, le=64, description="Number of GPUs and processes a pod; 0: one CPU process."
    )


class RunSpec(SpecModel):
    """Fields of both kinds."""

    model: ModelSpec = Field(description="The network that is trained and where its weights start.")
    dataset: DatasetSpec = Field(description="Problems, reference traces and answers.")
    prompt: PromptSpec = Field(
        default_factory=PromptSpec, description="How a problem becomes model input and a trace a target."
    )
    batching: BatchingSpec = Field(default_factory=BatchingSpec, description="How much work one process takes at once.")
    sampling: SamplingSpec = Field(default_factory=SamplingSpec, description="How completions are denoised.")
    optimizer: OptimizerSpec = Field(
        default_factory=OptimizerSpec, description="AdamW and the course of its learning rate."
    )
    evaluation: EvaluationSpec = Field(
        default_factory=EvaluationSpec, description="When and on what the policy is measured."
    )
    checkpoints: CheckpointsSpec = Field(
        default_factory=CheckpointsSpec, description="When state is saved and what is kept."
    )
    trackers: tuple[Literal["tensorboard", "wandb", "mlflow"], ...] = Field(
        default=(), max_length=3, description="Experiment trackers fed beside metrics.jsonl."
    )
    seed: int = Field(
        default=0, ge=0, le=2**31 - 1, description="Seed of everything random in the run, a number without unit."
    )
    suspend: bool = Field(default=False, description="True: save, stop and release the GPUs until false again.")
    workers: WorkersSpec = Field(
        default_factory=WorkersSpec, description="Processes of the run; its pods on a cluster."
    )

    @model_validator(mode="after")
    def _never_select_on_a_test_split(self) -> Self:
        if not any(dataset.source == HOLDOUT for dataset in self.evaluation.datasets):
            raise ValueError(
                "evaluation.datasets lacks holdout, by which the best checkpoint is chosen; add {source: holdout}"
            )
        return self

    @model_validator(mode="after")
    def _prompt_and_canvas_fit_the_model(self) -> Self:
        if self.model.scratch is None:
            return self  # a checkpoint's limit is known once its config.json is read
        limit = self.model.scratch.max_positions
        room = limit - self.longest_canvas
        if room < 1:
            raise ValueError(
                f"model.scratch.maxPositions {limit} leaves no room for a prompt beside a canvas of "
                f"{self.longest_canvas} tokens; raise it to {self.longest_canvas + self.dataset.max_prompt_tokens}"
            )
        if self.dataset.max_prompt_tokens > room:
            raise ValueError(
                f"dataset.maxPromptTokens {self.dataset.max_prompt_tokens} and a canvas of {self.longest_canvas} "
                f"tokens exceed model.scratch.maxPositions {limit}; set dataset.maxPromptTokens to {room} or less"
            )
        return self

    @property
    def completion_length(self) -> int:
        """Canvas length L in tokens."""
        return self.sampling.completion_length

    @property
    def longest_canvas(self) -> int:
        """Longest canvas that any part of the run lays out, in tokens."""
        return self.completion_length
