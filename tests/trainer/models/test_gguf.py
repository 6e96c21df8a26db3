"""GGUF files written here by llama.cpp's own library, in its order of rows and its quantised formats."""

import gguf
import numpy as np
import pytest
import torch
from tokenizers import pre_tokenizers

from igpo_trainer.models.load import load_model
from igpo_trainer.models.save import save_model
from igpo_trainer.spec.errors import InvalidRunError
from igpo_trainer.spec.model import LoraSpec, ModelSpec

TEMPLATE = "{% for m in messages %}<s>{{ m['role'] }}\n{{ m['content'] }}<e>{% endfor %}{{ '<s>assistant\n' }}"
ALPHABET = sorted(pre_tokenizers.ByteLevel.alphabet())
MERGES = ["t h", "th e", "Ġ the"]
TOKENS = ["<u>", "<s>", "<e>", *ALPHABET, "th", "the", "Ġthe"]
ROWS = len(TOKENS)


def permuted(weight, heads):
    """The order of rows that llama.cpp's converter gives query and key: rotated pairs side by side."""
    return weight.reshape(heads, 2, weight.shape[0] // heads // 2, -1).swapaxes(1, 2).reshape(weight.shape)


NAMES = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
}


def stored(lm):
    """The weights of a Llama as a GGUF file names and orders them."""
    config, tensors = lm.config, {}
    for name, weight in lm.state_dict().items():
        values = weight.numpy()
        if name == "lm_head.weight" and config.tie_word_embeddings:
            continue
        if name.startswith("model.layers."):
            _, _, block, module = name.removesuffix(".weight").split(".", 3)
            heads = {"self_attn.q_proj": config.num_attention_heads, "self_attn.k_proj": config.num_key_value_heads}
            values = permuted(values, heads[module]) if module in heads else values
            tensors[f"blk.{block}.{NAMES[module]}.weight"] = values
        else:
            outer = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"}
            tensors[f"{outer[name.removesuffix('.weight')]}.weight"] = values
    return tensors


def write_gguf(path, lm, *, kind=None, header=(), tensors=None):
    """Write a model with a byte-level tokenizer; `header` are (key, kind of value, value) that come last."""
    config = lm.config
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(TOKENS)
    writer.add_token_types([3, 3, 3] + [1] * (ROWS - 3))
    writer.add_token_merges(MERGES)
    writer.add_unk_token_id(0)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_pad_token_id(2)
    writer.add_chat_template(TEMPLATE)
    for key, value_type, value in header:
        writer.kv_data[-1].pop(key, None)
        writer.add_key_value(key, value, value_type)
    for name, values in (stored(lm) if tensors is None else tensors).items():
        if kind is None or values.ndim == 1:
            writer.add_tensor(name, np.ascontiguousarray(values))
        else:
            writer.add_tensor(name, gguf.quantize(np.ascontiguousarray(values), kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def spec(path, **changes):
    return ModelSpec(**({"source": str(path), "adapt": "MaskedDiffusion", "precision": "FP32"} | changes))


@pytest.fixture
def lm(tiny):
    return tiny.lm(is_causal=True, vocab_size=ROWS, intermediate_size=64, eos_token_id=2)


@pytest.fixture
def file(lm, tmp_path):
    return write_gguf(tmp_path / "tiny.gguf", lm)


@pytest.mark.parametrize("tied", [False, True])
def test_the_weights_are_those_that_were_written(tiny, tmp_path, tied):
    lm = tiny.lm(is_causal=True, vocab_size=ROWS, intermediate_size=64, tie_word_embeddings=tied)
    loaded = load_model(spec(write_gguf(tmp_path / "tiny.gguf", lm)), seed=0)
    ours, theirs = loaded.lm.state_dict(), lm.state_dict()
    assert ours.keys() == theirs.keys()
    for name, weight in theirs.items():
        assert torch.equal(ours[name][: len(weight)], weight), name
    assert loaded.lm.config.tie_word_embeddings is tied
    assert (loaded.lm.lm_head.weight is loaded.lm.model.embed_tokens.weight) is tied
    assert loaded.max_positions == 64


def test_the_model_computes_what_the_causal_one_did_but_sees_both_sides(file, lm):
    adapted = load_model(spec(file), seed=0).lm
    ids = torch.tensor([[3, 40, 70, 9]])
    with torch.no_grad():
        both = adapted(ids).logits
        adapted.config.is_causal = True
        torch.testing.assert_close(adapted(ids).logits[..., :ROWS], lm(ids).logits)
    assert not torch.allclose(both[:, 0], adapted(ids).logits[:, 0])


def test_quantised_weights_are_read_as_numbers(tmp_path, lm):
    loaded = load_model(spec(write_gguf(tmp_path / "q8.gguf", lm, kind=gguf.GGMLQuantizationType.Q8_0)), seed=0)
    exact, found = lm.model.layers[1].mlp.up_proj.weight, loaded.lm.model.layers[1].mlp.up_proj.weight
    assert found.dtype == torch.float32
    assert not torch.equal(found, exact)
    torch.testing.assert_close(found, exact, atol=0.01, rtol=0)


def test_a_mask_is_added_that_is_the_mean_of_the_tokens_and_never_emitted(file, lm):
    loaded = load_model(spec(file), seed=0)
    assert (loaded.tokens.mask_id, loaded.tokens.eos_id, loaded.tokens.pad_id) == (ROWS, 2, 2)
    table = loaded.lm.model.embed_tokens.weight
    assert len(table) % 64 == 0
    mean = lm.model.embed_tokens.weight.mean(dim=0)
    torch.testing.assert_close(table[ROWS:], mean.expand_as(table[ROWS:]))
    assert loaded.tokens.banned_ids == tuple(range(ROWS, len(table)))
    ids = torch.tensor([[3, ROWS]])
    logits = loaded.denoiser().logits_at(ids, torch.ones_like(ids), torch.tensor([0]), torch.tensor([1]))
    assert bool(torch.isneginf(logits[0, ROWS:]).all())
    assert bool(torch.isfinite(logits[0, :ROWS]).all())


def test_the_tokenizer_is_in_the_file_with_its_template_and_special_tokens(file):
    tokenizer = load_model(spec(file), seed=0).tokenizer
    text = tokenizer.apply_chat_template([{"role": "user", "content": "the é thé the"}], tokenize=False)
    assert text == "<s>user\nthe é thé the<e><s>assistant\n"
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    assert (ids[0], ids.count(1), ids.count(2), TOKENS[ids[6]]) == (1, 2, 1, "the")
    assert tokenizer.decode(ids) == text


def test_rows_without_a_token_are_never_emitted(tiny, tmp_path):
    wide = tiny.lm(is_causal=True, vocab_size=ROWS + 10, intermediate_size=64)
    loaded = load_model(spec(write_gguf(tmp_path / "wide.gguf", wide)), seed=0)
    assert (loaded.tokens.mask_id, loaded.lm.config.vocab_size) == (ROWS, ROWS + 10)
    assert loaded.tokens.banned_ids == tuple(range(ROWS, ROWS + 10))
    mean = wide.model.embed_tokens.weight[:ROWS].mean(dim=0)
    torch.testing.assert_close(loaded.lm.model.embed_tokens.weight[ROWS], mean)


def test_what_lies_beside_the_file_does_not_count(file, tmp_path):
    (tmp_path / "tokenizer_config.json").write_text(
        '{"chat_template": "other", "auto_map": {"AutoTokenizer": ["x.T", null]}}'
    )
    (tmp_path / "config.json").write_text("{")
    assert load_model(spec(file), seed=0).tokenizer.chat_template == TEMPLATE


def test_an_adapted_model_is_saved_and_loaded_again_as_the_diffusion_model_it_is(file, tmp_path):
    first = load_model(spec(file), seed=0)
    save_model(first.lm, first.tokenizer, tmp_path / "saved")
    again = load_model(spec(tmp_path / "saved", adapt=None), seed=0)
    assert again.tokens == first.tokens
    config = again.lm.config
    assert (config.is_causal, config.logit_shift, config.mask_token_id) == (False, True, ROWS)
    assert again.denoiser().logit_shift
    assert all(torch.equal(a, b) for a, b in zip(first.lm.parameters(), again.lm.parameters(), strict=True))
    assert again.tokenizer("the thé <s>")["input_ids"] == first.tokenizer("the thé <s>")["input_ids"]
    with pytest.raises(InvalidRunError, match="is a diffusion model already"):
        load_model(spec(tmp_path / "saved"), seed=0)


def test_two_loads_are_equal_and_leave_the_global_random_state_alone(file):
    before = torch.random.get_rng_state()
    models = [load_model(spec(file), seed=seed).lm for seed in (0, 1)]
    assert torch.equal(before, torch.random.get_rng_state())
    assert all(torch.equal(a, b) for a, b in zip(*(lm.parameters() for lm in models), strict=True))


def test_a_frozen_base_has_the_compute_precision(file):
    loaded = load_model(spec(file, precision="BF16", lora=LoraSpec(rank=2)), seed=0)
    assert loaded.lm.get_base_model().model.norm.weight.dtype == torch.bfloat16


def test_a_folder_of_such_files_is_told_to_name_one(file, tmp_path):
    with pytest.raises(InvalidRunError, match=r"holds no config\.json but GGUF; name the file itself, .*tiny\.gguf"):
        load_model(spec(tmp_path), seed=0)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(InvalidRunError, match=r"none\.gguf': no such file; correct the path"):
        load_model(spec(tmp_path / "none.gguf"), seed=0)


@pytest.mark.parametrize("keep", [0, 3, 100, 5000, -1])
def test_a_damaged_file_is_refused_in_one_line(file, keep):
    file.write_bytes(file.read_bytes()[:keep])
    with pytest.raises(
        InvalidRunError, match=r"tiny\.gguf is no readable GGUF file .*; copy or download it again"
    ) as got:
        load_model(spec(file), seed=0)
    assert "\n" not in str(got.value)


UINT, TEXT = gguf.GGUFValueType.UINT32, gguf.GGUFValueType.STRING


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (("general.architecture", TEXT, "qwen2"), "architecture 'qwen2' is not supported; use a model of llama"),
        (("llama.rope.scaling.type", TEXT, "yarn"), "rotary frequencies are scaled, .* use the safetensors model"),
        (("llama.expert_count", UINT, 8), "mixture of experts is not supported; use a dense Llama"),
        (("llama.rope.dimension_count", UINT, 4), "rotates 4 of 8 features a head"),
        (("llama.embedding_length", UINT, 0), r"says llama\.embedding_length 0, not one number above 0"),
        (("llama.block_count", UINT, 3), r"9 of 30 weights are missing, the first is model\.layers\.2"),
        (("llama.block_count", UINT, 1), r"holds blk\.1\.attn_q\.weight, which config\.json has no place for"),
        (("llama.feed_forward_length", UINT, 96), r"mlp\..*_proj\.weight has shape \[\d+, \d+\] but config\.json says"),
        (("tokenizer.ggml.model", TEXT, "none"), "its tokenizer cannot be read"),
    ],
)
def test_what_would_be_computed_wrongly_is_refused(tmp_path, lm, header, message):
    path = write_gguf(tmp_path / "tiny.gguf", lm, header=[header])
    with pytest.raises(InvalidRunError, match=message) as got:
        load_model(spec(path), seed=0)
    assert "\n" not in str(got.value)


def test_scaled_rotary_frequencies_are_refused(tmp_path, lm):
    tensors = stored(lm) | {"rope_freqs.weight": np.ones(4, dtype=np.float32)}
    path = write_gguf(tmp_path / "tiny.gguf", lm, tensors=tensors)
    with pytest.raises(InvalidRunError, match="rotary frequencies are scaled"):
        load_model(spec(path), seed=0)
