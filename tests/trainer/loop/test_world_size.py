"""Loss, gradient, evaluation and whole runs do not depend on micro-batches, accumulation or the number of processes."""

import importlib.util
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from igpo_trainer.loop.cycle_file import OpenCycle
from igpo_trainer.loop.ranks import Ranks
from igpo_trainer.loop.update import Updater
from igpo_trainer.observe.evaluations import read_evaluation

HERE = Path(__file__).parent
CASES = ["three-by-one", "three-by-two", "one"]


def module():
    sys.path.insert(0, str(HERE))
    try:
        spec = importlib.util.spec_from_file_location("two_trainers", HERE / "two_trainers.py")
        loaded = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(loaded)
    finally:
        sys.path.remove(str(HERE))
    return loaded


@pytest.fixture(scope="module")
def two(tmp_path_factory, bases, request):
    """The folder of two real gloo processes that updated and trained; `recorded` holds the rollouts they used."""
    folder = tmp_path_factory.mktemp("two")
    trainers = module()
    desk = trainers.Desk(folder / "one", bases)
    with desk.loop(desk.igpo("two")) as loop:
        (document,) = trainers.load(folder / "one", desk.igpo("two"))
        session = loop.session
        session.policy = trainers.fp64_policy(document, desk.place())
        groups, _ = loop.collector.sample(1)
        rescued, facts = loop.collector.rescue(groups, 1)
        rescued.sort(key=lambda g: not any(r.replaced for r in g.rollouts))
        scored = trainers.CycleScorer(loop.spec, session.policy, session.data.train, 1).score(rescued)
        assert facts.replaced
        noise = torch.Generator().manual_seed(0)
        for part in scored:  # an old policy that differs, so that ratios are not 1 and some are clipped
            part.old_RGL.add_(0.3 * torch.randn(part.old_RGL.shape, generator=noise, dtype=torch.float64))
            part.reference_RGL.add_(0.3 * torch.randn(part.old_RGL.shape, generator=noise, dtype=torch.float64))
        (folder / "recorded").mkdir()
        OpenCycle(1, scored, loop._draft(1, groups, scored, facts, facts.unjudged)).save(folder / "recorded")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    common = {**os.environ, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2"}
    processes = [
        subprocess.Popen(
            [sys.executable, str(HERE / "two_trainers.py"), str(folder), str(bases)],
            env=common | {"RANK": str(rank), "LOCAL_RANK": str(rank), "OMP_NUM_THREADS": "1"},
        )
        for rank in range(2)
    ]
    try:
        codes = [process.wait(100) for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert codes == [0, 0]
    return folder


def numbers(two):
    return [json.loads((two / f"numbers-{rank}.json").read_text()) for rank in range(2)]


def assert_same(found, expected, tolerance):
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=0, atol=tolerance, msg=lambda m, n=name: f"{n}: {m}")


@pytest.mark.parametrize("case", CASES)
def test_an_igpo_update_on_two_processes_is_that_of_one(two, bases, tmp_path, case):
    trainers = module()
    desk = trainers.Desk(tmp_path, bases)
    (document,) = trainers.load(tmp_path, desk.igpo("two"))
    recorded = OpenCycle.load(two / "recorded").scored
    with desk.session(desk.igpo("two")) as session:
        expected, figures = trainers.igpo_update(document, desk.place(), session, recorded, case)
    for rank, told in enumerate(numbers(two)):
        assert_same(load_file(two / f"igpo-{case}-{rank}.safetensors"), expected, 1e-10)
        assert told[case] == pytest.approx(figures, rel=1e-10)


@pytest.mark.parametrize("case", [*CASES, "by-one", "by-two"])
@pytest.mark.parametrize("name", ["sft", "context"])
def test_an_sft_update_on_two_processes_is_that_of_one(two, bases, tmp_path, name, case):
    trainers = module()
    desk = trainers.Desk(tmp_path, bases)
    (document,) = trainers.load(tmp_path, trainers.SFT_DOCUMENTS[name])
    with desk.session(trainers.SFT_DOCUMENTS[name]) as session:
        expected = trainers.sft_update(document, desk.place(), session, case)
    for rank in range(2):
        assert_same(load_file(two / f"{name}-{case}-{rank}.safetensors"), expected, 1e-10)


def without_loss(event):
    """What no rounding of weights changes."""
    return {name: value for name, value in event.items() if name != "sft_loss"}


def test_whole_runs_on_two_processes_are_those_of_one(two, desk):
    for document in (desk.sft("two"), desk.context("two-canvases"), desk.igpo("two")):
        one = desk.train(document)
        both = two / "runs" / document["kind"] / document["metadata"]["name"]
        weights = [load_file(folder / "final" / "model.safetensors") for folder in (one, both)]
        assert_same(weights[1], weights[0], 1e-6)
        for kind in ("data", "evaluation", "checkpoint"):
            found, expected = ([without_loss(event) for event in desk.events(run, kind)] for run in (both, one))
            assert found == expected
        losses = [[event["sft_loss"] for event in desk.events(run, "evaluation")] for run in (both, one)]
        assert losses[0] == pytest.approx(losses[1], abs=1e-6)
        kept = [sorted((folder / "evaluations").rglob("*.jsonl")) for folder in (one, both)]
        assert kept[0]
        assert [read_evaluation(path).samples for path in kept[1]] == [read_evaluation(p).samples for p in kept[0]]
        for mine, theirs in zip(desk.events(one, "step"), desk.events(both, "step"), strict=True):
            for name in ("groups_initial", "groups_final", "completions_initial", "rescue", "tokens", "hint_tokens"):
                assert mine[name] == theirs[name]
            assert mine["loss"] == pytest.approx(theirs["loss"], abs=1e-6)


def test_a_stop_told_to_one_process_is_saved_by_both(two):
    assert [told["stopped"] for told in numbers(two)] == ["75", "75"]


@pytest.mark.parametrize("size", [1, 2, 4])
@pytest.mark.parametrize("change", [{}, {"normalization": "TokenMean", "ratio": "Token"}, {"logProbs": "RandomMask"}])
def test_loss_and_gradient_do_not_depend_on_the_micro_batch(desk, bases, change, size, collected):
    trainers = module()
    (document,) = trainers.load(desk.root, desk.igpo(promptsPerStep=5, objective=change))
    with desk.loop(desk.igpo(promptsPerStep=5, objective=change)) as loop:
        loop.session.policy = trainers.fp64_policy(document, desk.place())
        scorer, scored = collected(loop)
        scorer = trainers.CycleScorer(loop.spec, loop.session.policy, loop.session.data.train, 1)
        scored = scorer.score([s.group for s in scored])
        seen = []
        for groups_per_batch in (5, size):
            policy = trainers.fp64_policy(document, desk.place())
            scorer = trainers.CycleScorer(loop.spec, policy, loop.session.data.train, 1)
            updater = Updater(loop.spec.objective, policy, Ranks(), 1.0, groups_per_batch, lambda: None)
            result = updater.update(scorer, scored, 1)
            seen.append(({n: p.detach() for n, p in policy.trainable.items()}, result))
    assert_same(seen[1][0], seen[0][0], 1e-10)
    assert seen[1][1].sums.loss == pytest.approx(seen[0][1].sums.loss, rel=1e-10, abs=1e-14)
    assert seen[1][1].gradient_norm == pytest.approx(seen[0][1].gradient_norm, rel=1e-10)
    assert seen[0][1].gradient_norm > 0
