import pytest
import torch

from igpo_trainer.loop.cycle import group_batch
from igpo_trainer.loop.cycle_file import OpenCycle
from igpo_trainer.loop.sample_rows import sample_rows
from igpo_trainer.loop.update import UpdateResult, UpdateSums


def same(mine, theirs):
    for name in ("group", "advantages", "entropy_hint", "entropy_generated"):
        assert getattr(mine, name) == getattr(theirs, name)
    assert torch.equal(mine.old_RGL, theirs.old_RGL)
    assert torch.equal(mine.kept_GL, theirs.kept_GL)
    assert (mine.reference_RGL is None) == (theirs.reference_RGL is None)
    if mine.reference_RGL is not None:
        assert torch.equal(mine.reference_RGL, theirs.reference_RGL)


@pytest.mark.parametrize("objective", [{}, {"klCoefficient": 0}, {"logProbs": "RandomMask"}])
def test_an_open_cycle_comes_back_bit_for_bit(desk, tmp_path, objective):
    with desk.loop(desk.igpo(objective=objective)) as loop:
        groups, reasons = loop.collector.sample(1)
        rescued, facts = loop.collector.rescue(groups, 1)
        scored = _scorer(loop).score(rescued, loop.session.room)
        samples = list(sample_rows(loop.session, 1, groups, scored))
        draft = loop._draft(1, groups, scored, facts, reasons)
        results = [UpdateResult(0.1 + 0.2, 1e-7, UpdateSums(loss=1 / 3))]
        OpenCycle(1, scored, draft, samples, results).save(tmp_path)
        back = OpenCycle.load(tmp_path)
    assert (back.number, back.inner, back.results, back.draft, back.samples) == (1, 1, results, draft, samples)
    assert len(back.scored) == len(scored)
    for mine, theirs in zip(back.scored, scored, strict=True):
        same(mine, theirs)


def test_a_checkpoint_between_cycles_holds_no_open_cycle(tmp_path):
    assert OpenCycle.load(tmp_path) is None


def test_groups_scored_together_or_alone_are_the_same(desk):
    with desk.loop(desk.igpo()) as loop:
        groups, _ = loop.collector.sample(1)
        scorer = _scorer(loop)
        together = scorer.score(groups)
        alone = [scorer.score([group])[0] for group in groups]
    for mine, theirs in zip(together, alone, strict=True):
        torch.testing.assert_close(mine.old_RGL, theirs.old_RGL, rtol=0, atol=1e-5)
        torch.testing.assert_close(mine.reference_RGL, theirs.reference_RGL, rtol=0, atol=1e-5)
        assert mine.advantages == theirs.advantages


def test_the_batch_of_groups_holds_each_rollout_once_in_order(desk, collected):
    with desk.loop(desk.igpo()) as loop:
        scorer, scored = collected(loop)
        batch = group_batch(scored, scorer.plan([s.group for s in scored]).weight_RNL)
    rollouts = [r for s in scored for r in s.group.rollouts]
    assert batch.length_N.tolist() == [r.length for r in rollouts]
    assert batch.judged_N.tolist() == [r.judged for r in rollouts]
    for n, rollout in enumerate(rollouts):
        assert batch.hint_NL[n].nonzero().flatten().tolist() == list(rollout.hint_positions)
        assert not batch.kept_NL[n, rollout.length :].any()
    assert batch.advantage_N.tolist() == pytest.approx([a for s in scored for a in s.advantages])


def _scorer(loop):
    from igpo_trainer.loop.cycle import CycleScorer

    return CycleScorer(loop.spec, loop.session.policy, loop.session.data.train, 1)
