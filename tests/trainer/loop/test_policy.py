import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from igpo_trainer.loop.policy import OPTIMIZER_FILE, WEIGHTS_FILE, learning_rate
from igpo_trainer.spec.errors import InvalidRunError
from igpo_trainer.spec.run import OptimizerSpec

NORM = "lm.model.norm.weight"
SCHEDULES = st.sampled_from(["Linear", "Cosine", "Constant"])


def spec(schedule="Linear", warmup=0):
    return OptimizerSpec(learning_rate=2.0, warmup_updates=warmup, schedule=schedule)


@given(SCHEDULES, st.integers(0, 30), st.integers(1, 100), st.data())
def test_the_rate_never_exceeds_the_peak_nor_falls_below_0(schedule, warmup, planned, data):
    update = data.draw(st.integers(0, planned + 20))
    assert 0.0 <= learning_rate(spec(schedule, warmup), update, planned) <= 2.0


@given(SCHEDULES, st.integers(1, 30))
def test_warm_up_is_linear_and_ends_at_the_peak(schedule, warmup):
    rates = [learning_rate(spec(schedule, warmup), update, warmup + 50) for update in range(warmup + 1)]
    assert rates[:warmup] == pytest.approx([2.0 * (update + 1) / warmup for update in range(warmup)])
    assert rates[warmup] == pytest.approx(2.0)


@given(st.sampled_from(["Linear", "Cosine"]), st.integers(0, 10), st.integers(20, 100))
def test_decay_never_rises_and_the_last_update_still_learns(schedule, warmup, planned):
    rates = [learning_rate(spec(schedule, warmup), update, planned) for update in range(warmup, planned)]
    assert rates == sorted(rates, reverse=True)
    assert rates[-1] > 0
    assert learning_rate(spec(schedule, warmup), planned, planned) == pytest.approx(0.0, abs=1e-12)


def test_cosine_is_half_way_at_half_time_and_constant_stays():
    assert learning_rate(spec("Cosine"), 50, 100) == pytest.approx(1.0)
    assert learning_rate(spec("Cosine"), 25, 100) == pytest.approx(1.0 + math.sqrt(0.5))
    assert learning_rate(spec("Constant"), 99, 100) == 2.0


def state_of(policy):
    moments = {
        f"{name}/{key}": value.clone()
        for name, p in policy.trainable.items()
        for key, value in policy.optimizer.state[p].items()
    }
    return {n: p.detach().clone() for n, p in policy.trainable.items()}, moments, policy.updates


@pytest.mark.parametrize("lora", [None, {"rank": 4, "alpha": 8}])
def test_weights_and_adam_state_come_back_bit_for_bit(desk, tmp_path, lora):
    document = desk.igpo(model={"lora": lora}, steps=3)
    with desk.loop(document) as loop:
        loop.cycle(1)
        policy = loop.session.policy
        policy.save(tmp_path)
        saved = state_of(policy)
        loop.cycle(2)
        assert policy.updates == 4
        policy.load(tmp_path)
        restored = state_of(policy)
    assert (saved[2], restored[2]) == (2, 2)
    for before, after in zip(saved[:2], restored[:2], strict=True):
        assert before.keys() == after.keys()
        assert all(torch.equal(before[name], after[name]) for name in before)
    assert any(name.endswith("/exp_avg_sq") for name in saved[1])


def test_adam_state_of_later_updates_is_forgotten(desk, tmp_path):
    with desk.loop(desk.igpo()) as loop:
        policy = loop.session.policy
        policy.save(tmp_path)
        loop.cycle(1)
        policy.load(tmp_path)
        assert (policy.updates, len(policy.optimizer.state)) == (0, 0)


def damage(folder, change):
    weights = load_file(folder / WEIGHTS_FILE)
    change(weights)
    save_file(weights, folder / WEIGHTS_FILE, metadata={"updates": "0"})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w: w.pop("lm.lm_head.weight"), r"1 names differ, first lm\.lm_head\.weight"),
        (lambda w: w.update(other=torch.ones(1)), "1 names differ, first other"),
        (
            lambda w: w.update({NORM: torch.ones(1)}),
            r"norm\.weight has shape \[1\], this run trains \[32\]",
        ),
    ],
)
def test_weights_of_another_run_are_refused_and_nothing_is_changed(desk, tmp_path, change, message):
    with desk.session(desk.igpo()) as session:
        policy = session.policy
        policy.save(tmp_path)
        assert (tmp_path / OPTIMIZER_FILE).is_file()
        damage(tmp_path, change)
        before, _, _ = state_of(policy)
        with pytest.raises(InvalidRunError, match=message):
            policy.load(tmp_path)
        assert all(torch.equal(before[n], p) for n, p in policy.trainable.items())


def test_only_adapters_are_trained_under_lora_and_no_reference_is_copied(desk):
    with desk.session(desk.igpo(model={"lora": {"rank": 4, "alpha": 8}})) as session:
        assert session.policy.trainable
        assert all("lora_" in name for name in session.policy.trainable)
        assert session.policy._frozen is None


def test_gradients_are_scaled_down_to_the_greatest_norm(desk, collected):
    with desk.loop(desk.igpo(optimizer={"maxGradNorm": 0.01})) as loop:
        scorer, scored = collected(loop)
        policy = loop.session.policy
        with policy.micro_batch(last=True):
            plan = scorer.plan([s.group for s in scored])
            policy.backward(policy.score(plan, 1.0).logp_MK.sum())
        assert policy.gradient_norm() > 1.0
        left = torch.cat([p.grad.flatten() for p in policy.trainable.values() if p.grad is not None])
        assert float(left.norm()) == pytest.approx(0.01, rel=1e-3)


def test_train_mode_is_on_within_a_micro_batch_only(desk):
    with desk.session(desk.igpo()) as session:
        policy = session.policy
        with policy.micro_batch(last=True):
            assert policy.module.training
        assert not policy.module.training
        with pytest.raises(ArithmeticError), policy.micro_batch(last=False):
            raise ArithmeticError
        assert not policy.module.training
