import math

import pytest
import torch

from igpo_trainer.igpo.objective import normaliser
from igpo_trainer.loop.cycle import CycleScorer
from igpo_trainer.spec.errors import RunError


def weights(policy):
    return {name: p.detach().clone() for name, p in policy.trainable.items()}


class Counted:
    """Counts how many rows go through the network with gradients."""

    def __init__(self, policy):
        self.rows = 0
        policy.module.register_forward_pre_hook(self._count)

    def _count(self, module, inputs):
        self.rows += inputs[0].shape[0] if torch.is_grad_enabled() else 0


def test_the_first_update_has_ratio_1_and_kl_0_against_the_frozen_copy_at_cycle_0(desk):
    folder = desk.train(desk.igpo(steps=1, objective={"innerUpdates": 1}))
    (step,) = desk.events(folder, "step")
    assert step["kl"] == pytest.approx(0.0, abs=1e-6)
    assert step["ratio"]["generated"] == pytest.approx(1.0, abs=1e-5)
    assert step["ratio"]["hint"] == pytest.approx(1.0, abs=1e-5)
    assert step["clipped"] == {"hint": 0.0, "generated": 0.0}
    assert step["grad_norm"] > 0


def test_kl_is_0_at_cycle_0_also_for_sft_with_lora_and_igpo_with_lora_from_it(desk):
    lora = {"rank": 4, "alpha": 8}
    bases = desk._bases
    tuned = desk.sft(
        "tuned",
        model={
            "scratch": None,
            "from": {"kind": "LengthAlignedSFT", "name": "base", "checkpoint": "Final"},
            "lora": lora,
        },
    )
    desk.train(tuned)
    here = type(desk)(desk.root, desk.root)
    origin = {"from": {"kind": "LengthAlignedSFT", "name": "tuned", "checkpoint": "Final"}, "lora": lora}
    folder = here.train(desk.igpo(model=origin, objective={"innerUpdates": 1}, optimizer={"learningRate": 0.01}))
    first, second = desk.events(folder, "step")
    assert first["kl"] == pytest.approx(0.0, abs=1e-6)
    assert first["ratio"]["generated"] == pytest.approx(1.0, abs=1e-5)
    assert second["kl"] > 1e-4
    assert second["ratio"]["generated"] == pytest.approx(1.0, abs=1e-5)
    start = (desk.root / "LengthAlignedSFT" / "tuned" / "final" / "model.safetensors").read_bytes()
    assert (bases / "LengthAlignedSFT" / "base" / "final" / "model.safetensors").read_bytes() != start


def test_groups_without_signal_are_left_out_of_the_work_but_stay_in_the_normaliser(desk, collected):
    with desk.loop(desk.igpo(objective={"klCoefficient": 0})) as loop:
        scorer, scored = collected(loop)
        active = [s for s in scored if s.group.has_signal]
        assert 0 < len(active) < len(scored)
        counted = Counted(loop.session.policy)
        both = loop.updater.update(scorer, scored, 1)
        assert counted.rows == len(active)
    with desk.loop(desk.igpo(objective={"klCoefficient": 0})) as loop:
        scorer = CycleScorer(loop.spec, loop.session.policy, loop.session.data.train, 1)
        alone = loop.updater.update(scorer, active, 1)
    assert both.gradient_norm * len(scored) == pytest.approx(alone.gradient_norm * len(active), rel=1e-5)


def test_with_a_kl_term_every_group_is_worked_on(desk, collected):
    with desk.loop(desk.igpo()) as loop:
        scorer, scored = collected(loop)
        counted = Counted(loop.session.policy)
        loop.updater.update(scorer, scored, 1)
        assert counted.rows == len(scored) == 6


def test_a_cycle_without_any_signal_changes_no_weight(desk, collected):
    with desk.loop(desk.igpo(objective={"klCoefficient": 0}, optimizer={"weightDecay": 0.1})) as loop:
        scorer, scored = collected(loop)
        quiet = [s for s in scored if not s.group.has_signal]
        before = weights(loop.session.policy)
        result = loop.updater.update(scorer, quiet, 1)
        assert (result.gradient_norm, result.sums.loss) == (0.0, 0.0)
        assert all(torch.equal(before[n], p) for n, p in loop.session.policy.trainable.items())


def test_a_filtered_hint_has_no_part_in_the_gradient(desk, collected):
    """Two fully different old log-probabilities at the filtered positions give the same update, bit for bit."""
    after = []
    for shift in (0.0, 3.0):
        with desk.loop(desk.igpo()) as loop:
            scorer, scored = collected(loop)
            filtered = 0
            for part in scored:
                for g, rollout in enumerate(part.group.rollouts):
                    dropped = [i for i in rollout.hint_positions if not part.kept_GL[g, i]]
                    part.old_RGL[:, g, dropped] += shift
                    part.reference_RGL[:, g, dropped] -= shift
                    filtered += len(dropped)
            assert filtered
            loop.updater.update(scorer, scored, 1)
            after.append(weights(loop.session.policy))
    assert all(torch.equal(after[0][name], after[1][name]) for name in after[0])


@pytest.mark.parametrize("poison", [math.inf, math.nan])
def test_a_non_finite_loss_stops_before_the_optimizer_step_and_names_the_cycle(desk, collected, poison):
    with desk.loop(desk.igpo()) as loop:
        loop.cycle(1)
        scorer, scored = collected(loop, 2)
        policy = loop.session.policy
        with torch.no_grad():
            policy.trainable["lm.model.norm.weight"][3] = poison
        before, updates = weights(policy), policy.updates
        with pytest.raises(RunError, match=r"step 2: loss .* is not finite") as caught:
            loop.updater.update(scorer, scored, 2)
        assert caught.value.exit_code == 1
        assert policy.updates == updates
        assert all(torch.equal(before[n].nan_to_num(7.0), p.nan_to_num(7.0)) for n, p in policy.trainable.items())
        assert all(p.grad is None for p in policy.trainable.values())
        assert loop.session.store.latest().step == 1


def test_a_run_that_diverges_keeps_its_last_checkpoint(desk):
    with pytest.raises(RunError, match=r"step 2: .*not finite") as caught:
        desk.train(desk.sft(optimizer={"learningRate": 1.0e30, "schedule": "Constant"}))
    assert caught.value.exit_code == 1
    kept = desk.root / "LengthAlignedSFT" / "base" / "checkpoints"
    assert [path.name for path in kept.iterdir()] == ["step-00000001"]
    assert desk.events(kept.parent, "end") == []


def test_a_diverged_policy_ends_the_rl_run_with_one_line(desk):
    with pytest.raises(RunError) as caught:
        desk.train(desk.igpo(optimizer={"learningRate": 1.0e30, "schedule": "Constant"}, objective={"innerUpdates": 1}))
    assert caught.value.exit_code == 1
    assert "\n" not in str(caught.value)


def test_the_normaliser_counts_judged_completions_of_all_groups(desk, collected):
    with desk.loop(desk.igpo()) as loop:
        _, scored = collected(loop)
        lengths = torch.tensor([float(r.length) for s in scored for r in s.group.rollouts])
        assert normaliser(lengths, torch.ones(24, dtype=torch.bool), loop.spec.objective) == 24.0
