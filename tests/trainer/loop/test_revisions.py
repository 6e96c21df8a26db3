import pytest
from huggingface_hub import constants

from igpo_trainer.loop.revisions import Revisions, revisions_of
from igpo_trainer.spec.igpo import IGPOTrainingSpec

COMMIT, OTHER = "a" * 40, "b" * 40


def spec(model, **dataset):
    return IGPOTrainingSpec.model_validate({"model": model, "dataset": {"source": "own/rows", **dataset}})


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """The hub's cache with one model, of which main is COMMIT."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    model = tmp_path / "models--own--model"
    for commit in (COMMIT, OTHER):
        (model / "snapshots" / commit).mkdir(parents=True)
        (model / "snapshots" / commit / "config.json").write_text("{}")
    (model / "refs").mkdir()
    (model / "refs" / "main").write_text(COMMIT)


@pytest.mark.usefixtures("cache")
def test_a_branch_is_the_commit_that_was_loaded_and_a_commit_itself():
    assert revisions_of(spec({"source": "own/model"})) == Revisions(COMMIT, None)
    assert revisions_of(spec({"source": "own/model", "revision": OTHER})) == Revisions(OTHER, None)


@pytest.mark.usefixtures("cache")
def test_what_nothing_tells_is_unknown(tmp_path):
    assert revisions_of(spec({"source": "own/another"})).model is None
    assert revisions_of(spec({"source": str(tmp_path)})).model is None
    assert revisions_of(spec({"scratch": {"maxPositions": 1024}})).model is None


def test_a_data_set_has_a_revision_when_the_manifest_names_the_commit():
    model = {"scratch": {"maxPositions": 1024}}
    assert revisions_of(spec(model, revision=COMMIT)).dataset == COMMIT
    assert revisions_of(spec(model, revision="main")).dataset is None
