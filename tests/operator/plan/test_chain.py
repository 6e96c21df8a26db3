from igpo_operator.api.reasons import Phase, Reason
from igpo_operator.api.status import CheckpointView, Resolved, RunStatus
from igpo_operator.plan.chain import resolve
from igpo_operator.plan.terms import Terms
from igpo_trainer.spec.model import CheckpointSource
from planworld import pictures
from planworld.pictures import picture, sft_spec, source

WANTED = CheckpointSource(name="base")
DONE = RunStatus(
    phase=Phase.COMPLETE,
    checkpoint=CheckpointView(step=30, digest="last"),
    best_checkpoint=CheckpointView(step=20, digest="best"),
    resolved=Resolved(image="i", claim_name="models"),
)


def link(of=None, wanted=WANTED, replicas=1, chain=()):
    observed = picture(source=of, source_chain=chain)
    return resolve(observed, wanted, Terms(replicas=replicas, source=wanted))


def test_a_source_that_does_not_exist_is_waited_for():
    found = link()
    assert (found.reason, found.stalled) == (Reason.WAITING_FOR_SOURCE, False)
    assert "LengthAlignedSFT/base, which does not exist in namespace team" in found.message


def test_a_source_that_still_runs_is_waited_for():
    found = link(source(RunStatus(phase=Phase.RUNNING)))
    assert (found.reason, found.stalled) == (Reason.WAITING_FOR_SOURCE, False)
    assert "it is Running" in found.message


def test_a_source_that_is_being_deleted_is_waited_for():
    assert link(source(DONE, deleting=True)).reason is Reason.WAITING_FOR_SOURCE


def test_a_source_that_failed_needs_a_person():
    found = link(source(RunStatus(phase=Phase.FAILED, message="no such data set.")))
    assert (found.reason, found.stalled) == (Reason.SOURCE_FAILED, True)
    assert "has failed: no such data set; " in found.message


def test_a_finished_source_is_resolved_to_its_best_checkpoint_and_its_claim():
    found = link(source(DONE, sft_spec(storage={"subPath": "team-a"})))
    assert found.reason is None
    resolved = found.source
    assert (resolved.step, resolved.digest, resolved.checkpoint) == (20, "best", "Best")
    assert (resolved.claim_name, resolved.sub_path, resolved.uid) == ("models", "team-a", "source-uid")


def test_final_is_the_last_checkpoint_and_best_falls_back_to_it():
    final = CheckpointSource(name="base", checkpoint="Final")
    assert link(source(DONE), final).source.digest == "last"
    unscored = DONE.model_copy(update={"best_checkpoint": None})
    assert link(source(unscored)).source.digest == "last"


def test_a_source_whose_checkpoint_is_unknown_is_taken_without_a_digest():
    bare = RunStatus(phase=Phase.COMPLETE)
    resolved = link(source(bare)).source
    assert (resolved.step, resolved.digest, resolved.claim_name) == (None, None, "base-lasft")


def test_several_workers_cannot_read_a_volume_of_one_node():
    found = link(source(DONE, sft_spec(storage={})), replicas=2)
    assert (found.reason, found.stalled) == (Reason.SOURCE_VOLUME_NOT_SHARED, True)
    assert "ReadWriteOnce" in found.message


def test_several_workers_read_a_shared_volume_or_one_whose_modes_are_unknown():
    assert link(source(DONE, sft_spec(storage={"accessModes": ["ReadWriteMany"]})), replicas=2).source
    assert link(source(DONE, sft_spec(storage={"claimName": "models"})), replicas=2).source
    assert link(source(DONE, sft_spec(storage={})), replicas=1).source


def test_a_circle_of_sources_needs_a_person():
    chain = (("LengthAlignedSFT", "base"), ("IGPOTraining", "gsm8k"))
    found = link(source(RunStatus()), chain=chain)
    assert (found.reason, found.stalled) == (Reason.SOURCE_CYCLE, True)
    assert "igpo/gsm8k → lasft/base → igpo/gsm8k" in found.message


def test_a_circle_further_down_the_chain_is_found_too():
    chain = (("LengthAlignedSFT", "base"), ("LengthAlignedSFT", "b"), ("LengthAlignedSFT", "base"))
    assert link(source(RunStatus()), chain=chain).reason is Reason.SOURCE_CYCLE


def test_a_long_chain_is_no_circle():
    chain = (("LengthAlignedSFT", "base"), ("LengthAlignedSFT", "gsm8k"))
    assert link(source(DONE), chain=chain).source
    assert pictures.run().name == "gsm8k"
