import json
import resource

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoTokenizer, LlamaForCausalLM

from igpo_trainer.models import weights
from igpo_trainer.models.load import load_model
from igpo_trainer.models.lora import merged_weights
from igpo_trainer.models.save import save_model
from igpo_trainer.models.weights import read_weights, write_weights
from igpo_trainer.spec.errors import ExitCode, InvalidRunError, RunError
from igpo_trainer.spec.model import LoraSpec, ModelSpec

IDS = torch.randint(4, 38, (2, 11), generator=torch.Generator().manual_seed(2))
EVERYWHERE = (torch.arange(2).repeat_interleave(11), torch.arange(11).repeat(2))


def logits(loaded):
    return loaded.denoiser().logits_at(IDS, torch.ones_like(IDS), *EVERYWHERE)


def load(folder, **changes):
    return load_model(ModelSpec(source=str(folder), precision="FP32", **changes), seed=0)


def with_trained_adapters(folder, **changes):
    loaded = load(folder, lora=LoraSpec(rank=4, alpha=8.0), **changes)
    with torch.no_grad():
        for name, weight in loaded.lm.named_parameters():
            if "lora_B" in name:
                weight.normal_(std=0.1, generator=torch.Generator().manual_seed(len(name)))
    return loaded


def test_the_saved_model_loads_with_transformers_alone_and_gives_equal_logits(llada_folder, tmp_path):
    loaded = load(llada_folder)
    save_model(loaded.lm, loaded.tokenizer, tmp_path / "final")
    plain = LlamaForCausalLM.from_pretrained(tmp_path / "final").eval()
    assert plain.config.is_causal is False
    assert plain.config.mask_token_id == 3
    assert plain.dtype == torch.float32
    with torch.no_grad():
        theirs = plain(input_ids=IDS, attention_mask=torch.ones_like(IDS), use_cache=False).logits.flatten(0, 1)
    ours = logits(loaded)
    seen = torch.isfinite(ours)
    torch.testing.assert_close(theirs[seen], ours[seen], rtol=0, atol=1e-6)
    assert len(AutoTokenizer.from_pretrained(tmp_path / "final")) == 38


def test_a_saved_model_is_loaded_again_bit_for_bit(llada_folder, tmp_path):
    loaded = load(llada_folder)
    save_model(loaded.lm, loaded.tokenizer, tmp_path / "final")
    again = load(tmp_path / "final")
    assert (again.family, again.tokens) == ("Llama", loaded.tokens)
    assert torch.equal(logits(again), logits(loaded))


def test_llada_format_survives_a_round_trip_bit_for_bit(tiny, llada_folder, tmp_path):
    loaded = load(llada_folder)
    save_model(loaded.lm, loaded.tokenizer, tmp_path / "out", family="LLaDA")
    written, expected = load_file(tmp_path / "out" / "model.safetensors"), tiny.llada_weights()
    assert written.keys() == expected.keys()
    assert all(torch.equal(weight, expected[name]) for name, weight in written.items())
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert all(tiny.llada_config[key] == value for key, value in config.items() if key in tiny.llada_config)
    assert torch.equal(logits(load(tmp_path / "out")), logits(loaded))


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")  # PEFT on transformers
def test_adapters_are_merged_into_the_saved_copy_and_kept_beside_it(llada_folder, tmp_path):
    loaded = with_trained_adapters(llada_folder)
    before = {name: weight.clone() for name, weight in loaded.lm.state_dict().items()}
    save_model(loaded.lm, loaded.tokenizer, tmp_path / "final")
    assert all(torch.equal(weight, before[name]) for name, weight in loaded.lm.state_dict().items())
    torch.testing.assert_close(logits(load(tmp_path / "final")), logits(loaded), rtol=0, atol=1e-5)
    beside = PeftModel.from_pretrained(load(llada_folder).lm, tmp_path / "final" / "adapter").eval()
    with torch.no_grad():
        theirs = beside(input_ids=IDS, attention_mask=torch.ones_like(IDS), use_cache=False).logits.flatten(0, 1)
    ours = logits(loaded)
    seen = torch.isfinite(ours)
    torch.testing.assert_close(theirs[seen], ours[seen], rtol=0, atol=1e-5)


def test_a_bf16_base_is_saved_merged_in_fp32(llada_folder, tmp_path):
    loaded = with_trained_adapters(llada_folder)
    half = load_model(ModelSpec(source=str(llada_folder), lora=LoraSpec(rank=4, alpha=8.0)), seed=0)
    half.lm.load_state_dict({n: w for n, w in loaded.lm.state_dict().items() if "lora" in n}, strict=False)
    save_model(half.lm, half.tokenizer, tmp_path / "final")
    written = load_file(tmp_path / "final" / "model.safetensors")
    assert {weight.dtype for weight in written.values()} == {torch.float32}
    assert all(torch.equal(weight, written[name]) for name, weight in merged_weights(half.lm))
    base = half.lm.state_dict()["base_model.model.model.layers.0.mlp.up_proj.base_layer.weight"]
    change = written["model.layers.0.mlp.up_proj.weight"] - base.float()
    exact = dict(merged_weights(loaded.lm))["model.layers.0.mlp.up_proj.weight"]
    unmerged = loaded.lm.state_dict()["base_model.model.model.layers.0.mlp.up_proj.base_layer.weight"]
    torch.testing.assert_close(change, exact - unmerged, rtol=0, atol=1e-6)  # not rounded to bf16


def test_large_models_are_sharded_with_an_index(llada_folder, tmp_path, monkeypatch):
    loaded = load(llada_folder)
    monkeypatch.setattr(weights, "SHARD_BYTES", 16_000)
    save_model(loaded.lm, loaded.tokenizer, tmp_path / "final")
    index = json.loads((tmp_path / "final" / "model.safetensors.index.json").read_text())
    files = sorted(path.name for path in (tmp_path / "final").glob("*.safetensors"))
    assert len(files) > 2
    assert files[0] == f"model-00001-of-{len(files):05d}.safetensors"
    assert sorted(set(index["weight_map"].values())) == files
    assert torch.equal(logits(load(tmp_path / "final")), logits(loaded))
    plain = LlamaForCausalLM.from_pretrained(tmp_path / "final")
    assert torch.equal(plain.lm_head.weight, loaded.lm.lm_head.weight)


def test_a_tied_head_is_not_written_twice(tiny, tmp_path):
    lm = tiny.lm(tie_word_embeddings=True)
    save_model(lm, tiny.tokenizer(), tmp_path / "final")
    assert "lm_head.weight" not in load_file(tmp_path / "final" / "model.safetensors")
    assert torch.equal(logits(load(tmp_path / "final")), logits(load(tmp_path / "final")))
    assert torch.equal(load(tmp_path / "final").lm.lm_head.weight, lm.lm_head.weight)


def test_an_adapted_model_keeps_its_shift(tiny, tmp_path):
    lm = tiny.lm(is_causal=True)
    config = lm.config.to_dict()
    folder = tiny.write_folder(tmp_path / "causal", config, [lm.state_dict()])
    loaded = load(folder, adapt="MaskedDiffusion")
    save_model(loaded.lm, loaded.tokenizer, tmp_path / "final")
    again = load(tmp_path / "final")
    assert again.denoiser().logit_shift
    assert again.tokens == loaded.tokens
    assert torch.equal(logits(again), logits(loaded))


def test_a_model_llada_cannot_hold_leaves_nothing_behind(tiny, tmp_path):
    lm = tiny.lm(attention_bias=True)
    with pytest.raises(InvalidRunError, match="attention_bias is True"):
        save_model(lm, tiny.tokenizer(), tmp_path / "final", family="LLaDA")
    assert list(tmp_path.iterdir()) == []


def test_a_disk_without_room_is_exit_1_and_keeps_what_was_there(tiny, tmp_path):
    save_model(tiny.lm(), tiny.tokenizer(), tmp_path / "final")
    before = (tmp_path / "final" / "model.safetensors").read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    try:
        with pytest.raises(RunError, match=r"final: cannot be written .* free space") as caught:
            save_model(tiny.lm(seed=1), tiny.tokenizer(), tmp_path / "final")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert caught.value.exit_code == ExitCode.FAILED
    assert (tmp_path / "final" / "model.safetensors").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["final"]


def test_a_folder_that_cannot_be_made_is_exit_1(tiny, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match=r"final: cannot be written \(Not a directory\)") as caught:
        save_model(tiny.lm(), tiny.tokenizer(), tmp_path / "file" / "final")
    assert caught.value.exit_code == ExitCode.FAILED


def test_weights_that_share_storage_are_written_alone(tmp_path):
    whole = torch.arange(1000.0)
    write_weights(tmp_path, [("part", whole[10:20])])
    [(name, tensor, path)] = read_weights([tmp_path / "model.safetensors"])
    assert (name, tensor.tolist()) == ("part", list(map(float, range(10, 20))))
    assert path.stat().st_size < 500
