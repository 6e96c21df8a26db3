"""A causal Llama of one's own, adapted, fine-tuned, trained by RL and measured."""

import json

import pytest
import torch
from transformers import LlamaForCausalLM

from igpo_trainer.loop.measure import Subject, measure
from igpo_trainer.models.save import save_model
from igpo_trainer.models.scratch import build_scratch
from igpo_trainer.spec.errors import InvalidRunError
from igpo_trainer.spec.model import ScratchModel


@pytest.fixture
def causal(desk, tmp_path):
    """The folder of a causal model whose tokenizer knows no mask."""
    lm, tokenizer = build_scratch(ScratchModel.model_validate(desk.sft()["spec"]["model"]["scratch"]), 0)
    tokenizer.mask_token = None
    save_model(lm, tokenizer, tmp_path / "causal")
    path = tmp_path / "causal" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"is_causal": True}))
    return tmp_path / "causal"


def adapted(folder, **change):
    return {"scratch": None, "source": str(folder), "adapt": "MaskedDiffusion", **change}


def test_sft_makes_it_a_diffusion_model_that_rl_starts_from_and_eval_measures(desk, causal):
    change = {"training": {"steps": 60, "batchSize": 16}, "checkpoints": {"everySteps": 60}}
    change["optimizer"] = {"learningRate": 5.0e-3}
    folder = desk.train(desk.sft("adapted", model=adapted(causal), **change))
    losses = [record["loss"] for record in desk.events(folder, "sft_step")]
    assert sum(losses[-5:]) < 0.5 * sum(losses[:5])
    config = json.loads((folder / "final" / "config.json").read_text())
    tokenizer = json.loads((folder / "final" / "tokenizer_config.json").read_text())
    assert (config["is_causal"], config["logit_shift"]) == (False, True)
    assert tokenizer["mask_token"] == "<|mdm_mask|>"

    document = desk.igpo("rl", model={"from": {"name": "adapted"}}, steps=1)
    desk._bases = desk.root
    run = desk.train(document)
    recorded = [r for r in desk.events(run, "evaluation") if r["step"] == 1][:1]
    (loaded,) = desk.load(desk.root, document)
    again = measure(Subject(loaded, desk.root, step=1))
    assert [json.loads(r.model_dump_json(exclude={"time"})) for r in again] == recorded
    for path in (run / "evaluations").rglob("*.jsonl"):
        assert "mdm_mask" not in path.read_text()
    final = LlamaForCausalLM.from_pretrained(run / "final")
    ids = torch.tensor([[5, 6, 7]])
    with torch.no_grad():
        assert not torch.equal(final(ids).logits[0, 0], final(torch.tensor([[5, 6, 8]])).logits[0, 0])


def test_the_start_of_an_adapted_run_can_be_measured_before_any_training(desk, causal):
    (loaded,) = desk.load(desk.root, desk.sft("start", model=adapted(causal)))
    (record,) = measure(Subject(loaded, desk.root, step=0))
    assert record.accuracy == 0.0


def test_a_causal_model_without_adapt_and_a_mask_that_does_not_match_are_refused_before_work(desk, causal):
    with pytest.raises(InvalidRunError, match=r"is a causal model .* set model.adapt: MaskedDiffusion"):
        desk.train(desk.sft("plain", model=adapted(causal, adapt=None)))
    folder = desk.train(desk.sft("adapted", model=adapted(causal))) / "final"
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"mask_token_id": 7}))
    with pytest.raises(
        InvalidRunError, match=r"mask_token_id is 7 in config.json but .* in the tokenizer; make them agree"
    ):
        desk.train(desk.sft("mismatch", model=adapted(folder, adapt=None)))
    assert not (desk.root / "LengthAlignedSFT" / "mismatch").exists()
