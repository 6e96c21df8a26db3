"""The figures of a step agree with an independent recount from its rollouts."""

import math

import pytest

from igpo_trainer.loop.cycle import CycleScorer
from igpo_trainer.observe.journal import read_samples
from igpo_trainer.observe.samples import TextKind


@pytest.fixture
def counted(desk):
    """(step's journal line, groups before rescue, scored groups after, problems, spec) of one cycle."""
    document = desk.igpo(promptsPerStep=10, steps=1, objective={"innerUpdates": 2})
    with desk.loop(document) as loop:
        groups, _ = loop.collector.sample(1)
        rescued, facts = loop.collector.rescue(groups, 1)
        scored = CycleScorer(loop.spec, loop.session.policy, loop.session.data.train, 1).score(rescued)
        problems, spec = loop.session.data.train, loop.spec
    (step,) = desk.events(desk.train(document), "step")
    return step, groups, scored, problems, spec, facts


def test_groups_and_completions_are_counted_once_each(counted):
    step, groups, scored, _, spec, _ = counted
    for name, counted_groups in (("initial", groups), ("final", [s.group for s in scored])):
        assert sum(step[f"groups_{name}"].values()) == spec.prompts_per_step == 10
        assert step[f"groups_{name}"]["all_wrong"] == sum(g.all_wrong for g in counted_groups)
        right = sum(r.outcome == "right" for g in counted_groups for r in g.rollouts)
        assert step[f"completions_{name}"] == {"right": right, "wrong": 40 - right, "unjudged": 0}
    assert step["no_signal"] == sum(len({r.reward for r in s.group.rollouts}) == 1 for s in scored)


def test_what_the_rescue_did_is_the_difference_between_before_and_after(counted):
    step, groups, scored, _, _, _ = counted
    replaced = [sum(r.replaced for r in s.group.rollouts) for s in scored]
    assert step["replaced"] == sum(replaced) > 0
    assert step["completions_final"]["right"] - step["completions_initial"]["right"] == sum(replaced)
    lost = sum(g.all_wrong for g in groups)
    assert step["rescue"] == {
        "attempted": lost,
        "rescued": sum(n > 0 for n in replaced),
        "still_wrong": lost - sum(n > 0 for n in replaced),
    }
    assert step["groups_final"]["all_wrong"] == step["rescue"]["still_wrong"]


def test_rewards_lengths_and_tokens_are_those_of_the_rollouts(counted):
    step, groups, _, problems, _, facts = counted
    rollouts = [r for g in groups for r in g.rollouts]
    assert step["reward_mean"]["total"] == pytest.approx(sum(r.outcome == "right" for r in rollouts) / 40)
    deviations = []
    for group in groups:
        share = sum(r.outcome == "right" for r in group.rollouts) / 4
        deviations.append(math.sqrt(share * (1 - share)))
    assert step["reward_group_stddev"] == pytest.approx(sum(deviations) / 10)
    assert {int(k): v for k, v in step["completion_lengths"].items()} == {
        n: sum(r.length == n for r in rollouts) for n in {r.length for r in rollouts}
    }
    prompts = sum(4 * len(problems[g.row].prompt_ids) * (2 if g.all_wrong else 1) for g in groups)
    assert step["tokens"]["prompt"] == prompts
    assert step["tokens"]["generated"] == sum(r.length for r in rollouts) + facts.generated_tokens
    assert step["tokens"]["hint"] == facts.hint_tokens > 0
    assert step["hint_ratio"] == pytest.approx(sum(facts.hint_ratios) / len(facts.hint_ratios))


def test_hint_tokens_and_entropies_are_means_over_positions(counted):
    step, _, scored, _, _, _ = counted
    rollouts = [(s, g, r) for s in scored for g, r in enumerate(s.group.rollouts)]
    kept = sum(bool(s.kept_GL[g, i]) for s, g, r in rollouts for i in r.hint_positions)
    total = sum(len(r.hint_positions) for _, _, r in rollouts)
    assert step["hint_tokens"] == {"kept": kept, "filtered": total - kept}
    assert 0 < kept < total
    hints = [e for s in scored for e in s.entropy_hint]
    generated = [e for s in scored for e in s.entropy_generated]
    assert (len(hints), len(hints) + len(generated)) == (total, sum(r.length for _, _, r in rollouts))
    assert step["entropy"]["hint"] == pytest.approx(sum(hints) / len(hints))
    assert step["entropy"]["generated"] == pytest.approx(sum(generated) / len(generated))
    gains = [s.advantages[g] for s, g, r in rollouts for i in r.hint_positions if s.kept_GL[g, i]]
    assert len(gains) == kept
    assert step["advantage"]["hint"] == pytest.approx(sum(gains) / kept, rel=1e-6)
    assert step["updates"] == 2


def test_the_entropy_filter_keeps_one_fifth_of_each_rollouts_hints_and_at_least_one(counted):
    _, _, scored, _, _, _ = counted
    for s in scored:
        for g, rollout in enumerate(s.group.rollouts):
            hints = set(rollout.hint_positions)
            kept = {i for i in range(16) if s.kept_GL[g, i]}
            assert kept - hints == set(range(rollout.length)) - hints
            if hints:
                assert len(kept & hints) == max(1, int(0.2 * len(hints)))


def test_without_hints_there_is_no_hint_entropy_and_no_made_up_zero(desk):
    folder = desk.train(desk.igpo(algorithm="GRPO", objective={"klCoefficient": 0}))
    for step in desk.events(folder, "step"):
        for name in ("entropy", "ratio", "clipped", "advantage"):
            assert step[name]["hint"] is None
        assert (step["kl"], step["hint_ratio"], step["replaced"]) == (None, None, 0)
        assert step["hint_tokens"] == {"kept": 0, "filtered": 0}
        assert step["rescue"] == {"attempted": 0, "rescued": 0, "still_wrong": 0}
    assert "original" in (folder / "samples.jsonl").read_text()


def test_the_other_estimators_and_objectives_train_too(desk):
    change = {"logProbs": "ELBO", "ratio": "Token", "advantage": "Standardised", "normalization": "TokenMean"}
    folder = desk.train(desk.igpo(objective=change | {"maskSamples": 2}))
    for step in desk.events(folder, "step"):
        assert step["grad_norm"] > 0
        assert step["entropy"]["generated"] > 0


def test_samples_show_hints_replacements_and_what_was_replaced(desk):
    folder = desk.train(desk.igpo(promptsPerStep=10, steps=1))
    samples = read_samples(folder)
    assert len(samples) == 4
    first = samples[0]
    assert first.original
    assert (first.verdict, first.reward) == ("right", 1.0)
    kinds = {piece.kind for piece in first.pieces}
    assert TextKind.HINT in kinds
    assert TextKind.REPLACED in kinds
    assert TextKind.GENERATED not in kinds
    plain = samples[-1]
    assert plain.original is None
    assert {piece.kind for piece in plain.pieces} == {TextKind.GENERATED}
    assert all(s.prompt and s.reference and s.answer and s.difficulty for s in samples)


def test_the_learning_rate_and_the_epoch_are_those_of_the_step(desk):
    folder = desk.train(desk.igpo(steps=2, promptsPerStep=6))
    steps = desk.events(folder, "step")
    assert [s["epoch"] for s in steps] == pytest.approx([0.1, 0.2])
    assert [s["learning_rate"] for s in steps] == pytest.approx([0.75e-3, 0.25e-3])
