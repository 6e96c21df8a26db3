import os
from dataclasses import replace
from pathlib import Path

import pytest

from igpo_trainer.loop.rollouts import RolloutWorker
from igpo_trainer.rewards.verdict import Outcome
from igpo_trainer.spec.errors import RunError


class Recorded:
    """Passes requests on to a real worker and keeps them."""

    def __init__(self, worker: RolloutWorker) -> None:
        self._worker = worker
        self.requests = []

    def run(self, requests, sampling):
        self.requests.append(list(requests))
        return self._worker.run(requests, sampling)


def cycle(loop, number=1):
    """Groups before and after rescue, what the rescue did, and the requests of sampling and of rescue."""
    recorded = Recorded(loop.session.worker)
    collector = replace(loop.collector, worker=recorded)
    groups, _ = collector.sample(number)
    rescued, facts = collector.rescue(groups, number)
    return groups, rescued, facts, recorded.requests


def test_g_rollouts_of_every_prompt_are_drawn_each_with_noise_of_its_own(desk):
    with desk.loop(desk.igpo()) as loop:
        groups, _, _, (sampled, _) = cycle(loop)
    assert [len(g.rollouts) for g in groups] == [4] * 6
    assert len({r.key for r in sampled}) == 24
    assert [r.key.prompt for r in sampled] == [p for p in range(6) for _ in range(4)]
    assert not any(r.hints for r in sampled)


def test_only_all_wrong_groups_are_rescued_with_hints_from_their_reference(desk):
    with desk.loop(desk.igpo(promptsPerStep=12)) as loop:
        groups, rescued, facts, (_, hinted) = cycle(loop)
        lost = [g.prompt for g in groups if g.all_wrong]
        assert 0 < len(lost) < 12
        assert [r.key.prompt for r in hinted] == [p for p in lost for _ in range(4)]
        assert facts.counts.attempted == len(lost) == facts.counts.rescued + facts.counts.still_wrong
        for request in hinted:
            trace = request.encoded.trace_ids
            assert all(token == trace[index] for index, token in request.hints.items())
        for before, after in zip(groups, rescued, strict=True):
            if before.prompt not in lost:
                assert after == before


def test_at_most_lambda_g_rollouts_are_replaced_all_verified(desk):
    with desk.loop(desk.igpo(promptsPerStep=16)) as loop:
        _, rescued, facts, _ = cycle(loop)
        replaced = [[r for r in g.rollouts if r.replaced] for g in rescued]
        assert max(map(len, replaced)) == loop.spec.max_replaced == 2
        assert all(r.outcome is Outcome.RIGHT and r.reward == 1.0 for group in replaced for r in group)
        assert facts.replaced == sum(map(len, replaced)) > 0
        assert facts.counts.rescued == sum(bool(group) for group in replaced)


def test_grpo_never_rescues(desk):
    with desk.loop(desk.igpo(algorithm="GRPO")) as loop:
        groups, rescued, facts, (_, asked) = cycle(loop)
    assert any(g.all_wrong for g in groups)
    assert rescued == groups
    assert asked == []
    assert (facts.counts.attempted, facts.replaced) == (0, 0)


def test_resample_asks_for_as_many_samples_as_igpo_without_a_hint(desk):
    asked = {}
    for algorithm in ("IGPO", "Resample"):
        with desk.loop(desk.igpo(algorithm.lower(), algorithm=algorithm)) as loop:
            asked[algorithm] = cycle(loop)[3][1]
    keys = {name: [r.key for r in requests] for name, requests in asked.items()}
    assert keys["IGPO"] == keys["Resample"]
    assert any(r.hints for r in asked["IGPO"])
    assert not any(r.hints for r in asked["Resample"])


def test_a_cycle_is_a_function_of_seed_and_number(desk):
    with desk.loop(desk.igpo()) as loop:
        first, again, other = cycle(loop), cycle(loop), cycle(loop, 2)
    assert first[:2] == again[:2]
    assert first[0] != other[0]


def test_a_reward_that_fails_too_often_stops_the_run_before_an_update(desk, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", _path_with_rewards())
    document = desk.igpo(rewards={"custom": {"rewards_for_tests:broken": 0.5}})
    with pytest.raises(RunError, match=r"step 1: 24 of 24 rollouts have no verdict \(.*broken.*LookupError") as caught:
        desk.train(document)
    assert caught.value.exit_code == 1
    assert "\n" not in str(caught.value)
    folder = desk.root / "IGPOTraining" / "rl"
    assert desk.events(folder, "step") == []
    assert not list((folder / "checkpoints").glob("step-*"))


def test_unjudged_rollouts_leave_mean_and_loss_and_their_groups_are_not_rescued(desk, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", _path_with_rewards())
    name = "rewards_for_tests:sometimes"
    document = desk.igpo(promptsPerStep=24, steps=1, rewards={"custom": {name: 1.0}})
    with desk.loop(document) as loop:
        groups, _, _, (_, asked) = cycle(loop)
    failed = {g.prompt for g in groups if not g.judged}
    assert failed
    assert failed == {g.prompt for g in groups if len(loop.session.data.train[g.row].problem.prompt) % 8 == 0}
    assert not failed & {r.key.prompt for r in asked}
    assert {g.composition for g in groups if g.prompt in failed} == {"undecided"}
    folder = desk.train(document)
    (step,) = desk.events(folder, "step")
    judged = [r for g in groups for r in g.rollouts if r.judged]
    assert step["reward_mean"]["total"] == pytest.approx(sum(r.reward for r in judged) / len(judged))
    assert step["reward_mean"][name] == 0.25
    assert sum(step["unjudged"].values()) == 4 * len(failed)
    assert step["groups_initial"]["undecided"] == len(failed)


def _path_with_rewards():
    return os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
