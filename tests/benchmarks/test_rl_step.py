"""The step and its plain rival at a tiny shape; runs what docs/sampling.md says of it."""

import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from rl_step import timed
from speed.network import denoiser_of, problems_of
from speed.plain import fresh_noise, plain_requests, plain_sample, token_scores
from speed.shape import SHAPES

from igpo_trainer.diffusion.logprobs import GroupTokens, plan_scoring
from igpo_trainer.diffusion.noise import NoiseKey
from igpo_trainer.spec.sampling import SamplingSpec

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "rl_step.py"
TINY = SHAPES["tiny"]


def run(*options):
    command = [sys.executable, SCRIPT, *options]
    finished = subprocess.run(command, check=False, capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr
    return finished.stdout.splitlines()


def test_it_times_both_paths_by_phase_and_prints_the_ratio_of_the_step_last():
    lines = run("--shape", "tiny", "--rank", "0", "--repeats", "2")
    phase = re.compile(r"(rollout|rescue|logprob|update|step)( +[\d.]+){3}$")
    phases = [line for line in lines if phase.match(line)]
    assert len(phases) == 5
    assert len([line for line in lines if line.startswith("peak memory, ")]) == 3
    assert lines[-2].startswith("plain / trainer: rollouts ")
    assert re.fullmatch(r"ratio: \d+\.\d", lines[-1])


def test_growth_has_a_line_for_each_size_and_factor():
    lines = run("--shape", "tiny", "--rank", "0", "--repeats", "1", "--growth", "1", "2")
    grown = [line.split()[:2] for line in lines if re.match(r"(prompts|canvas|vocabulary|group) ", line)]
    assert grown == [
        [name, str(getattr(TINY, name) * factor)]
        for name in ("prompts", "canvas", "vocabulary", "group")
        for factor in (1, 2)
    ]


def test_a_first_step_of_each_arm_is_not_counted():
    turns = []

    def step(turn):
        turns.append(turn)
        return {"rollout": 1.0, "rescue": 2.0, "logprob": 3.0, "update": 4.0}

    seconds = timed({"arm": step}, 2)
    assert turns == [1, 2, 3]
    assert seconds["arm"]["step"].runs == (10.0, 10.0)


def test_the_plain_scores_are_those_of_the_trainer():
    model = denoiser_of(TINY, torch.device("cpu"), precision="FP32")
    problem = problems_of(TINY)[0]
    ids_GL = torch.randint(2, 90, (3, TINY.canvas), generator=torch.Generator().manual_seed(0))
    plain_GL, entropy_GL = token_scores(model, problem.prompt_ids, ids_GL, 1.2)
    rows = tuple(tuple(row) for row in ids_GL.tolist())
    group = GroupTokens(problem.prompt_ids, rows, (TINY.canvas,) * 3, NoiseKey(0, "scoring", 1, 0, 0))
    plan = plan_scoring([group], "MeanField", 1, model.tokens)
    scores = model(plan.ids_BS, plan.attention_BS, plan.rows_M, plan.columns_M, plan.tokens_MK, 1.2)
    # The trainer bans two of the words, the recipe does not: each log-probability is larger by the same for a position.
    gap_GL = plan.place(scores.logp_MK)[0] - plain_GL
    assert bool((gap_GL > 0).all())
    assert gap_GL.std(dim=0).max() < 1e-5
    assert entropy_GL.shape == ids_GL.shape


def test_the_plain_arms_rescue_has_hints_that_stay():
    shape = replace(TINY, canvas=64)
    problem = problems_of(shape)[0]
    plain, hinted = (plain_requests(problem, shape, 1, hinted=hinted) for hinted in (False, True))
    assert not any(request.hints for request in plain)
    assert all(request.hints for request in hinted)
    spec = SamplingSpec(completion_length=shape.canvas, block_length=shape.block, steps=shape.steps)
    model = denoiser_of(shape, torch.device("cpu"), precision="FP32")
    for request, completion in zip(hinted, plain_sample(model, hinted, spec, fresh_noise), strict=True):
        assert all(completion.ids[k] == token for k, token in request.hints.items())


@pytest.mark.parametrize("name", SHAPES)
def test_a_shape_has_the_parameters_it_says(name):
    shape = SHAPES[name]
    if name == "llada-8b":
        assert shape.parameters == 8_015_581_184
        return
    model = denoiser_of(shape, torch.device("cpu"), precision="FP32")
    assert sum(p.numel() for n, p in model.named_parameters() if "lora" not in n) == shape.parameters
