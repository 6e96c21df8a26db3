"""Rollouts are sampled in rows, judged meanwhile, and the same whatever the rows."""

import threading
from dataclasses import replace

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from igpo_trainer.diffusion.noise import NoiseKey
from igpo_trainer.loop.batching import BatchSizes
from igpo_trainer.loop.rollouts import RolloutRequest
from igpo_trainer.spec.errors import RunError


def requests_of(session, count):
    problems = session.data.train
    return [RolloutRequest(problems[i % 3], NoiseKey(0, "rollout", 1, i, 0)) for i in range(count)]


class Announcing:
    """A judge that says when it has judged."""

    def __init__(self, judge):
        self._judge = judge
        self.judged = threading.Event()

    def score(self, tasks):
        scores = self._judge.score(tasks)
        self.judged.set()
        return scores


def test_rows_change_no_rollout(desk):
    with desk.session(desk.igpo()) as session:
        requests = requests_of(session, 9)
        runs = [
            replace(session.worker, sizes=BatchSizes(rows, 1)).run(requests, session.spec.sampling)
            for rows in (1, 4, 9)
        ]
    assert runs[0] == runs[1] == runs[2]


def test_a_completion_is_judged_while_the_next_is_sampled(desk):
    with desk.session(desk.igpo()) as session:
        judge, blocks = Announcing(session.worker.judge), []
        every = session.spec.sampling.blocks

        def should_stop():
            """Hold the second completion up until the first has its verdict."""
            assert sum(blocks) < every or judge.judged.wait(60)
            return False

        worker = replace(
            session.worker, judge=judge, sizes=BatchSizes(1, 1), on_progress=blocks.append, should_stop=should_stop
        )
        assert len(worker.run(requests_of(session, 2), session.spec.sampling)) == 2


def test_a_broken_judge_ends_the_rollouts_and_leaves_no_thread(desk):
    class Broken:
        def score(self, tasks):
            raise RunError(f"no verifier for {len(tasks)} completions")

    with desk.session(desk.igpo()) as session:
        worker = replace(session.worker, judge=Broken(), sizes=BatchSizes(2, 1))
        with pytest.raises(RunError, match="no verifier for"):
            worker.run(requests_of(session, 6), session.spec.sampling)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("judge")]


class Casts(TorchDispatchMode):
    """How often a matrix of the attention was rounded to bf16."""

    count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        if func is torch.ops.aten._to_copy.default and result.dtype is torch.bfloat16 and result.shape == (32, 32):
            self.count += 1
        return result


def test_on_a_cpu_weights_are_rounded_to_bf16_once_for_all_steps(desk):
    with desk.session(desk.igpo(model={"precision": "BF16"})) as session, Casts() as casts:
        session.worker.run(requests_of(session, 3), session.spec.sampling)  # 24 positions: no hidden states of 32 × 32
    assert casts.count == 4  # query, key, value and output of the one layer
