"""A plausible run, made of records, for every test here."""

import math
import random

import pytest

from igpo_trainer.observe.journal import Journal
from igpo_trainer.observe.records import (
    CheckpointRecord,
    DataRecord,
    EndRecord,
    EvaluationRecord,
    EvaluationTime,
    GroupCounts,
    HintTokens,
    Phase,
    RescueCounts,
    RewriteRecord,
    SftStepRecord,
    Split,
    StartRecord,
    StartTime,
    StepRecord,
    StepTime,
    Time,
    TokenCounts,
    VerdictCounts,
)
from igpo_trainer.observe.samples import Piece, SampleRecord, TextKind

GROUPS, GROUP_SIZE, CANVAS = 16, 8, 64
BEGAN_AT = 1_790_000_000.0


def rl_start(steps=40):
    spec = {
        "model": {"scratch": {"hiddenSize": 192}},
        "dataset": {"source": "builtin:word-problems"},
        "algorithm": "IGPO",
        "groupSize": GROUP_SIZE,
        "promptsPerStep": GROUPS,
        "steps": steps,
        "hints": {"injectionRatio": {"min": 0.2, "max": 0.6}},
    }
    return StartRecord(
        kind="IGPOTraining",
        name="word-problems",
        seed=3,
        planned_steps=steps,
        spec=spec,
        time=StartTime(at=BEGAN_AT, seconds=2.5),
    )


def rl_step(step, steps=40, noise=None, **changes):
    noise = noise or random.Random(step)
    share = step / steps
    wrong = round(GROUPS * max(0.05, 0.45 - 0.3 * share + noise.gauss(0, 0.04)))
    correct = round(GROUPS * (0.1 + 0.2 * share))
    rescued = round(0.6 * wrong)
    replaced = rescued * 3
    right = round(GROUPS * GROUP_SIZE * (0.3 + 0.35 * share + noise.gauss(0, 0.03)))
    total = GROUPS * GROUP_SIZE
    lengths = {}
    for _ in range(total):
        length = max(4, min(CANVAS, round(noise.gauss(40 - 6 * share, 7))))
        lengths[length] = lengths.get(length, 0) + 1
    phases = {
        Phase.ROLLOUT: 1.9 + noise.random() / 5,
        Phase.JUDGE: 0.2,
        Phase.RESCUE: 0.15 * wrong,
        Phase.LOGPROB: 0.3,
        Phase.UPDATE: 1.1,
    }
    seconds = sum(phases.values()) + 0.05
    values = {
        "step": step,
        "epoch": step * GROUPS / 4000,
        "reward_mean": {"total": right / total, "correctness": right / total, "format": 0.0},
        "reward_group_stddev": 0.31 - 0.05 * share,
        "groups_initial": GroupCounts(all_wrong=wrong, all_correct=correct, mixed=GROUPS - wrong - correct),
        "groups_final": GroupCounts(
            all_wrong=wrong - rescued, all_correct=correct, mixed=GROUPS - wrong - correct + rescued
        ),
        "completions_initial": VerdictCounts(right=right, wrong=total - right),
        "completions_final": VerdictCounts(right=right + replaced, wrong=total - right - replaced),
        "no_signal": wrong - rescued + correct,
        "rescue": RescueCounts(attempted=wrong, rescued=rescued, still_wrong=wrong - rescued),
        "replaced": replaced,
        "hint_ratio": 0.4 + noise.gauss(0, 0.02),
        "empty_hints": 0,
        "hint_tokens": HintTokens(kept=replaced * 3, filtered=replaced * 12),
        "entropy": Split(hint=1.4 - 0.4 * share + noise.gauss(0, 0.05), generated=0.62 - 0.2 * share),
        "ratio": Split(hint=1.01, generated=1.0 + noise.gauss(0, 0.002)),
        "clipped": Split(hint=0.08 + noise.random() / 50, generated=0.02 + noise.random() / 100),
        "advantage": Split(hint=0.4, generated=0.0),
        "kl": 0.0 if step == 1 else 0.002 * math.sqrt(step) + noise.random() / 2000,
        "loss": -0.01 * share + noise.gauss(0, 0.003),
        "grad_norm": 0.4 + 0.3 * noise.random(),
        "learning_rate": 1e-4 * min(1.0, step / 5) * (1 - share) + 1e-6,
        "updates": 4,
        "completion_lengths": lengths,
        "truncated": lengths.get(CANVAS, 0),
        "tokens": TokenCounts(prompt=total * 40, generated=total * 38, hint=replaced * 15),
        "time": StepTime(at=BEGAN_AT + 4 * step, seconds=seconds, phases=phases, rank_seconds=(seconds,)),
    }
    return StepRecord(**(values | changes))


def evaluation(step, steps=40, **changes):
    share = step / steps
    accuracy = 0.31 + 0.27 * share
    values = {
        "step": step,
        "dataset": "holdout",
        "samples": 8,
        "temperature": 1.2,
        "problems": 256,
        "accuracy": accuracy,
        "interval_low": accuracy - 0.035,
        "interval_high": accuracy + 0.035,
        "accuracy_by_difficulty": {
            "1 step": 0.8 + 0.1 * share,
            "2 steps": 0.35 + 0.4 * share,
            "3 steps": 0.09 + 0.35 * share,
            "4 steps": 0.02 + 0.2 * share,
        },
        "problems_by_difficulty": {"1 step": 64, "2 steps": 64, "3 steps": 64, "4 steps": 64},
        "all_wrong": 0.42 - 0.22 * share,
        "pass_at_k": 0.58 + 0.22 * share,
        "distinct_answers": 4.2 - share,
        "seed": 3,
        "denoising_steps": 32,
        "block_length": 16,
        "completion_length": CANVAS,
        "time": EvaluationTime(at=BEGAN_AT + 4 * step, seconds=6.0),
    }
    return EvaluationRecord(**(values | changes))


def rl_records(steps=40):
    noise = random.Random(7)
    records = [
        rl_start(steps),
        DataRecord(
            problems=4000,
            heldout=256,
            dropped={"no_answer": 3},
            overlong_traces=210,
            trace_lengths={30: 1000, 40: 3000},
            target_length=CANVAS,
            time=Time(at=BEGAN_AT, seconds=1.0),
        ),
        evaluation(0, steps),
    ]
    for step in range(1, steps + 1):
        records.append(rl_step(step, steps, noise))
        if step % 10 == 0:
            records.append(evaluation(step, steps))
            records.append(
                CheckpointRecord(
                    step=step, name=f"step-{step:08d}", best=True, time=Time(at=BEGAN_AT + 4 * step, seconds=0.4)
                )
            )
    return [*records, EndRecord(step=steps, time=Time(at=BEGAN_AT + 4 * steps))]


def rewrite_record(**changes):
    values = {
        "teacher": "short",
        "base_url": "http://teacher/v1",
        "prompt_hash": "0a" * 32,
        "rows": 100,
        "kept": 70,
        "dropped": {"rewrite with a wrong answer": 10, "rewrite longer than length.target": 20},
        "original_lengths": {40: 50, 300: 40, 9000: 10},
        "kept_lengths": {20: 30, 40: 40},
        "prompt_tokens": 50_000,
        "completion_tokens": 4_000,
        "target_length": CANVAS,
        "time": Time(at=BEGAN_AT, seconds=30.0),
    }
    return RewriteRecord(**values | changes)


def sft_records(steps=60):
    noise = random.Random(5)
    start = StartRecord(
        kind="LengthAlignedSFT",
        name="word-problems",
        seed=3,
        planned_steps=steps,
        spec={"dataset": {"source": "builtin:word-problems"}, "length": {"target": CANVAS}},
        time=StartTime(at=BEGAN_AT),
    )
    data = DataRecord(
        problems=3500, rewritten=1200, dropped={"too_long": 300, "wrong": 20}, target_length=CANVAS,
        unmeasured={"amc.jsonl": {"no answer": 4}},
        time=Time(at=BEGAN_AT, seconds=3.0),
    )  # fmt: skip
    single = {"samples": 1, "temperature": 0.0, "all_wrong": None, "pass_at_k": None}
    records = [
        start,
        data,
        evaluation(0, steps, sft_loss=4.0, accuracy=0.0, interval_low=0.0, interval_high=0.0, **single),
    ]
    for step in range(1, steps + 1):
        records.append(
            SftStepRecord(
                step=step,
                epoch=step * 32 / 3500,
                loss=0.4 + 3.6 * math.exp(-step / 12) + noise.gauss(0, 0.05),
                grad_norm=0.5 + noise.random(),
                learning_rate=1e-3 * (1 - step / steps),
                examples=32,
                target_length=CANVAS,
                example_lengths={20: 8, 35: 16, 50: 8},
                tokens=TokenCounts(prompt=1280, target=32 * CANVAS),
                time=StepTime(at=BEGAN_AT + step, seconds=1.0, phases={Phase.DATA: 0.1, Phase.UPDATE: 0.9}),
            )
        )
        if step % 20 == 0:
            records.append(evaluation(step, steps, sft_loss=4.0 * math.exp(-step / 30), **single))
    return records


def samples():
    prompt = "Mia has 12 apples. She buys 7 more and gives 4 to <b>Tom</b>. How many are left?"
    return [
        SampleRecord(
            step=1, problem="ab12", sample=0, prompt=prompt, reference="12+7=19; 19-4=15; \\boxed{15}", answer="15",
            difficulty="2 steps", pieces=(Piece(text="12+7=18; 18-4=14; \\boxed{14}", kind=TextKind.GENERATED),),
            reward=0.0, verdict="wrong",
        ),
        SampleRecord(
            step=1, problem="ab12", sample=1, prompt=prompt, reference="12+7=19; 19-4=15; \\boxed{15}", answer="15",
            difficulty="2 steps",
            pieces=(
                Piece(text="12+7=", kind=TextKind.FILTERED_HINT), Piece(text="19; ", kind=TextKind.HINT),
                Piece(text="19-4=15; \\boxed{15}", kind=TextKind.REPLACED),
            ),
            reward=1.0, verdict="right", original="12+7=17; 17-4=13; \\boxed{13}",
        ),
        SampleRecord(
            step=40, problem="cd34", sample=0, prompt="A train has 5 cars of 12 seats. 9 are taken. How many are free?",
            reference="5*12=60; 60-9=51; \\boxed{51}", answer="51", difficulty="2 steps",
            pieces=(Piece(text="5*12=60; 60-9=51; \\boxed{51}", kind=TextKind.GENERATED),), reward=1.0, verdict="right",
        ),
    ]  # fmt: skip


@pytest.fixture
def records():
    """Records of a finished RL run of 40 steps with 5 evaluations."""
    return rl_records()


@pytest.fixture
def run_dir(tmp_path, records):
    """The run folder of those records, with three sample rollouts."""
    write_run(tmp_path, records)
    return tmp_path


def write_run(run_dir, records):
    with Journal(run_dir) as journal:
        for record in records:
            journal.write(record)
        for sample in samples():
            journal.write_sample(sample)


@pytest.fixture
def make():
    """Makers of single records, by name."""

    class Make:
        step = staticmethod(rl_step)
        evaluation = staticmethod(evaluation)
        start = staticmethod(rl_start)
        rewrite_record = staticmethod(rewrite_record)
        rl_records = staticmethod(rl_records)
        sft_records = staticmethod(sft_records)
        samples = staticmethod(samples)
        write_run = staticmethod(write_run)

    return Make
