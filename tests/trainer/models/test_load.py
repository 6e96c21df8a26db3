import json
import os
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file, save_file

from igpo_trainer.models.load import load_model, load_tokenizer
from igpo_trainer.models.scratch import word_tokenizer
from igpo_trainer.spec.errors import InvalidRunError, RunError
from igpo_trainer.spec.model import LoraSpec, ModelSpec


def spec(folder, **changes):
    return ModelSpec(source=str(folder), precision="FP32", **changes)


def edit_config(folder, **changes):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_a_sharded_llada_checkpoint_becomes_a_bidirectional_llama_with_the_same_numbers(tiny, llada_folder):
    loaded = load_model(spec(llada_folder), seed=0)
    assert (loaded.family, loaded.max_positions) == ("LLaDA", 64)
    assert loaded.tokens == tiny.tokens
    assert loaded.lm.config.is_causal is False
    assert not loaded.lm.training
    weights, state = tiny.llada_weights(), loaded.lm.state_dict()
    assert torch.equal(
        state["model.layers.1.self_attn.o_proj.weight"], weights["model.transformer.blocks.1.attn_out.weight"]
    )
    assert torch.equal(state["lm_head.weight"], weights["model.transformer.ff_out.weight"])
    assert len(state) == len(weights)


def test_a_native_checkpoint_loads_bit_for_bit(tiny, llama_folder):
    loaded = load_model(spec(llama_folder), seed=0)
    assert loaded.family == "Llama"
    expected = tiny.lm().state_dict()
    assert all(torch.equal(weight, expected[name]) for name, weight in loaded.lm.state_dict().items())


def test_trained_weights_are_fp32_whatever_is_stored(tiny, tmp_path):
    stored = tiny.llada_weights(dtype=torch.bfloat16)
    folder = tiny.write_folder(tmp_path / "m", tiny.llada_config, [stored])
    loaded = load_model(ModelSpec(source=str(folder)), seed=0)
    assert {weight.dtype for weight in loaded.lm.parameters()} == {torch.float32}


@pytest.mark.parametrize(("precision", "base"), [("BF16", torch.bfloat16), ("FP32", torch.float32)])
def test_a_frozen_base_has_the_compute_precision_and_its_adapters_fp32(llada_folder, precision, base):
    loaded = load_model(ModelSpec(source=str(llada_folder), precision=precision, lora=LoraSpec(rank=2)), seed=0)
    trained = {weight.dtype for weight in loaded.lm.parameters() if weight.requires_grad}
    frozen = {weight.dtype for weight in loaded.lm.parameters() if not weight.requires_grad}
    assert (trained, frozen) == ({torch.float32}, {base})
    assert loaded.lm.get_base_model().model.rotary_emb.inv_freq.dtype == torch.float32


def test_an_end_token_that_is_also_padding_is_still_trained(tiny, tmp_path):
    config = tiny.llada_config | {"pad_token_id": 1}
    loaded = load_model(spec(tiny.write_folder(tmp_path / "m", config, [tiny.llada_weights()])), seed=0)
    ids = torch.tensor([[4, 1, 3]])
    place = torch.tensor([0]), torch.tensor([2])
    loaded.denoiser()(ids, torch.ones_like(ids), *place, torch.tensor([[5]])).logp_MK.sum().backward()
    assert bool(loaded.lm.model.embed_tokens.weight.grad[1].any())


@pytest.mark.parametrize(("setting", "recomputes"), [("Auto", False), ("Always", True), ("Never", False)])
def test_small_models_keep_activations_unless_told_otherwise(llada_folder, setting, recomputes):
    loaded = load_model(spec(llada_folder, gradient_checkpointing=setting, lora=LoraSpec(rank=2)), seed=0)
    assert loaded.lm.get_base_model().model.layers[0].gradient_checkpointing is recomputes


def test_a_scratch_model_is_a_function_of_its_seed():
    scratch = ModelSpec.model_validate({"scratch": {"hiddenSize": 16, "layers": 1, "heads": 2}, "precision": "FP32"})
    first, again, other = (load_model(scratch, seed=seed) for seed in (1, 1, 2))
    weights = [loaded.lm.state_dict()["lm_head.weight"] for loaded in (first, again, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
    assert first.lm.config.mask_token_id == first.tokenizer.mask_token_id


def test_code_in_a_checkpoint_is_never_run(llada_folder, llama_folder, tmp_path):
    for folder in (llada_folder, llama_folder):
        marker = tmp_path / f"{folder.name}-ran"
        for module in ("modeling_llada", "configuration_llada", "tokenization_llada"):
            (folder / f"{module}.py").write_text(f"open({str(marker)!r}, 'w')\n")
        edit_config(
            folder, auto_map={"AutoModelForCausalLM": "modeling_llada.M", "AutoConfig": "configuration_llada.C"}
        )
        tokenizer_config = folder / "tokenizer_config.json"
        content = json.loads(tokenizer_config.read_text())
        content |= {"auto_map": {"AutoTokenizer": ["tokenization_llada.T", None]}, "tokenizer_class": "T"}
        tokenizer_config.write_text(json.dumps(content))
        assert load_model(spec(folder), seed=0).tokens.mask_id == 3
        assert not marker.exists()


def test_a_model_that_needs_its_own_code_is_refused(llada_folder):
    edit_config(llada_folder, model_type="dream")
    with pytest.raises(
        InvalidRunError, match="model_type 'dream' is not supported, and code in a checkpoint is never run"
    ):
        load_model(spec(llada_folder), seed=0)


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "weights.pth"])
def test_pickled_weights_are_refused(llama_folder, name):
    weights = llama_folder / "model.safetensors"
    torch.save(load_file(weights), llama_folder / name)
    weights.unlink()
    with pytest.raises(InvalidRunError, match=rf"{name}: pickled weights are refused, .* convert to safetensors"):
        load_model(spec(llama_folder), seed=0)


def test_a_missing_shard_is_named(llada_folder):
    (llada_folder / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(InvalidRunError, match=r"model-00002-of-00002.safetensors is missing \(1 of 2 shards"):
        load_model(spec(llada_folder), seed=0)


@pytest.mark.parametrize(
    ("keep", "promise"), [(-1, "its header promises"), (200, "its header alone"), (4, "its header")]
)
def test_a_truncated_file_is_named_with_its_bytes(llama_folder, keep, promise):
    weights = llama_folder / "model.safetensors"
    data = weights.read_bytes()[:keep]
    weights.write_bytes(data)
    with pytest.raises(
        InvalidRunError, match=rf"model.safetensors is truncated: it has {len(data)} bytes and {promise}"
    ):
        load_model(spec(llama_folder), seed=0)


def test_a_file_that_is_no_safetensors_is_named(llama_folder):
    (llama_folder / "model.safetensors").write_bytes((5).to_bytes(8, "little") + b"hello")
    with pytest.raises(InvalidRunError, match=r"model.safetensors is no safetensors"):
        load_model(spec(llama_folder), seed=0)


def change_weights(folder, change):
    weights = load_file(folder / "model.safetensors")
    change(weights)
    save_file(weights, folder / "model.safetensors", {"format": "pt"})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w: w.pop("model.norm.weight"), "1 of 21 weights are missing, the first is model.norm.weight"),
        (
            lambda w: w.update({"model.layers.0.self_attn.q_proj.bias": torch.zeros(32)}),
            "holds model.layers.0.self_attn.q_proj.bias, which config.json has no place for",
        ),
        (
            lambda w: w.update({"model.embed_tokens.weight": torch.zeros(44, 32)}),
            "embed_tokens.weight has 44 rows but config.json says a vocabulary of 40",
        ),
        (
            lambda w: w.update({"model.norm.weight": torch.zeros(33)}),
            r"model.norm.weight has shape \[33\] but config.json says \[32\]",
        ),
    ],
)
def test_weights_that_do_not_fit_the_config_are_named(llama_folder, change, message):
    change_weights(llama_folder, change)
    with pytest.raises(InvalidRunError, match=message):
        load_model(spec(llama_folder), seed=0)


def test_a_tokenizer_larger_than_the_vocabulary_is_refused(tiny, tmp_path):
    lm = tiny.lm(vocab_size=30)
    folder = tiny.write_folder(tmp_path / "m", lm.config.to_dict(), [lm.state_dict()], mask="<mask>")
    with pytest.raises(InvalidRunError, match=r"token ids up to 37 but the vocabulary has 30 rows"):
        load_model(spec(folder), seed=0)


def test_a_tied_head_is_read_once(tiny, tmp_path):
    lm = tiny.lm(tie_word_embeddings=True)
    weights = {name: weight for name, weight in lm.state_dict().items() if name != "lm_head.weight"}
    folder = tiny.write_folder(tmp_path / "m", lm.config.to_dict(), [weights], mask="<mask>")
    loaded = load_model(spec(folder), seed=0)
    assert loaded.lm.lm_head.weight is loaded.lm.model.embed_tokens.weight
    assert torch.equal(loaded.lm.lm_head.weight, lm.lm_head.weight)


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("config.json", None, "config.json is missing"),
        ("config.json", "{", "config.json is no JSON"),
        ("config.json", "[]", "holds a JSON list, not an object"),
        ("config.json", '{"model_type": "llama", "hidden_size": "wide"}', "no valid Llama configuration"),
        ("config.json", '{"model_type": "llama", "quantization_config": {}}', "quantised weights are not supported"),
        ("tokenizer.json", None, "tokenizer.json is missing"),
        ("tokenizer.json", "{", "tokenizer.json cannot be read"),
        ("model.safetensors", None, "holds neither model.safetensors nor"),
    ],
)
def test_a_damaged_folder_is_refused_in_one_line(llama_folder, file, content, message):
    (llama_folder / file).unlink()
    if content is not None:
        (llama_folder / file).write_text(content)
    with pytest.raises(InvalidRunError, match=message) as caught:
        load_model(spec(llama_folder), seed=0)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("source", ["/no/such/folder", "./no-such-folder"])
def test_a_folder_that_is_not_there_is_refused(source):
    with pytest.raises(InvalidRunError, match="no such folder"):
        load_model(spec(source), seed=0)


def test_a_single_file_is_no_model(llama_folder):
    with pytest.raises(InvalidRunError, match="is a file; name the folder"):
        load_model(spec(llama_folder / "config.json"), seed=0)


def test_a_name_no_hub_repository_can_have_is_refused():
    with pytest.raises(InvalidRunError, match="no folder, nor a hub repository"):
        load_model(spec("a/b/c"), seed=0)


def test_an_unreachable_hub_is_worth_another_try(tmp_path):
    program = """
import sys
from igpo_trainer.models.source import model_folder
from igpo_trainer.spec.errors import RunError
try:
    model_folder("someone/some-model")
except RunError as error:
    print(type(error).__name__, error)
    sys.exit(int(error.exit_code))
"""
    environment = os.environ | {
        "HF_ENDPOINT": "http://127.0.0.1:9",
        "HF_HOME": str(tmp_path),
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    ran = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False)
    assert ran.returncode == 1
    assert "RunError model.source 'someone/some-model': the hub cannot be reached" in ran.stdout


def test_a_run_that_waits_for_another_needs_its_folder():
    waiting = ModelSpec.model_validate({"from": {"name": "sft"}})
    with pytest.raises(ValueError, match=r"model.from needs the folder"):
        load_model(waiting, seed=0)


def test_the_folder_of_another_run_is_read(tiny, llama_folder):
    waiting = ModelSpec.model_validate({"from": {"name": "sft"}, "precision": "FP32"})
    assert torch.equal(
        load_model(waiting, seed=0, from_folder=llama_folder).lm.lm_head.weight, tiny.lm().lm_head.weight
    )


def test_a_tokenizer_alone_is_that_of_the_model(tiny, llada_folder, llama_folder, tmp_path):
    folder = tiny.write_folder(tmp_path / "m", tiny.lm(is_causal=True).config.to_dict(), [])
    waiting = ModelSpec.model_validate({"from": {"name": "sft"}})
    assert (
        load_tokenizer(spec(llada_folder)).get_vocab() == load_model(spec(llada_folder), seed=0).tokenizer.get_vocab()
    )
    assert load_tokenizer(waiting, from_folder=llama_folder).get_vocab() == load_tokenizer(spec(folder)).get_vocab()
    assert load_tokenizer(spec(folder, adapt="MaskedDiffusion")).mask_token_id == 38
    assert load_tokenizer(ModelSpec.model_validate({"scratch": {}})).get_vocab() == word_tokenizer().get_vocab()
    with pytest.raises(ValueError, match=r"model.from needs the folder"):
        load_tokenizer(waiting)


def test_flex_attention_is_taken_with_a_gpu_and_refused_without(llada_folder):
    flex = spec(llada_folder, attention="Flex")
    if torch.cuda.is_available():
        assert load_model(flex, seed=0).lm.config._attn_implementation == "flex_attention"
    else:
        with pytest.raises(InvalidRunError, match=r"model\.attention Flex cannot train without a GPU"):
            load_model(flex, seed=0)


def test_a_causal_model_wants_adapt_to_be_set(tiny, tmp_path):
    lm = tiny.lm(is_causal=True)
    config = {key: value for key, value in lm.config.to_dict().items() if key != "is_causal"}
    folder = tiny.write_folder(tmp_path / "m", config, [lm.state_dict()])
    with pytest.raises(InvalidRunError, match=r"is a causal model .* set model.adapt: MaskedDiffusion"):
        load_model(spec(folder), seed=0)
    adapted = load_model(spec(folder, adapt="MaskedDiffusion"), seed=0)
    table = adapted.lm.model.embed_tokens.weight
    assert adapted.tokens.mask_id == adapted.tokenizer.mask_token_id == adapted.lm.config.mask_token_id == 38
    torch.testing.assert_close(table[38], table[:38].mean(dim=0))
    assert torch.equal(table[:38], lm.model.embed_tokens.weight[:38])
    assert adapted.denoiser().logit_shift
    ids = torch.tensor([[4, 5, 6]])
    first, last = torch.tensor([0]), torch.tensor([2])
    scores = adapted.denoiser().logits_at(ids, torch.ones_like(ids), first, last)
    assert bool(torch.isneginf(scores[0, 38:]).all())


def test_adapting_may_enlarge_a_full_vocabulary(tiny, tmp_path):
    lm = tiny.lm(is_causal=True, vocab_size=38, tie_word_embeddings=True)
    weights = {name: weight for name, weight in lm.state_dict().items() if name != "lm_head.weight"}
    folder = tiny.write_folder(tmp_path / "m", lm.config.to_dict(), [weights])
    adapted = load_model(spec(folder, adapt="MaskedDiffusion"), seed=0).lm
    assert adapted.config.vocab_size == 64
    assert adapted.lm_head.weight.shape == (64, 32)
    assert torch.equal(adapted.lm_head.weight, adapted.model.embed_tokens.weight)


def test_a_diffusion_model_is_not_adapted_again(llada_folder, llama_folder):
    for folder in (llada_folder, llama_folder):
        with pytest.raises(InvalidRunError, match=r"is a diffusion model already; remove model\.adapt"):
            load_model(spec(folder, adapt="MaskedDiffusion"), seed=0)


def test_the_error_of_an_unreachable_hub_is_not_that_of_an_invalid_run():
    assert issubclass(InvalidRunError, RunError)
    assert RunError.exit_code != InvalidRunError.exit_code
