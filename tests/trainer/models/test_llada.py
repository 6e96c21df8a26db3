import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from igpo_trainer.models.denoiser import Denoiser
from igpo_trainer.models.llada import llada_config, llada_name, llama_config, llama_name
from igpo_trainer.models.load import load_model
from igpo_trainer.spec.errors import InvalidRunError
from igpo_trainer.spec.model import ModelSpec

BLOCK = ("q_proj", "k_proj", "v_proj", "attn_out", "ff_proj", "up_proj", "ff_out", "attn_norm", "ff_norm")


class PlainLLaDA:
    """LLaDA's forward pass written out from its paper and its public names, one head at a time."""

    def __init__(self, weights, *, heads, key_heads, layers, theta=500_000.0, eps=1e-5, casts=True, soft=torch.float32):
        self.weights = {name: weight.double() for name, weight in weights.items()}
        self.heads, self.key_heads, self.layers, self.theta, self.eps = heads, key_heads, layers, theta, eps
        self.inner = torch.float32 if casts else torch.float64
        self.soft = soft if casts else torch.float64

    def __call__(self, ids, allowed, positions):
        x = self.weights["model.transformer.wte.weight"][ids]
        for layer in range(self.layers):
            w = {name: self.weights[f"model.transformer.blocks.{layer}.{name}.weight"] for name in BLOCK}
            x = x + self.attention(self.norm(x, w["attn_norm"]), w, allowed, positions)
            h = self.norm(x, w["ff_norm"])
            gate = h @ w["ff_proj"].T
            x = x + (gate * torch.sigmoid(gate) * (h @ w["up_proj"].T)) @ w["ff_out"].T
        x = self.norm(x, self.weights["model.transformer.ln_f.weight"])
        return x @ self.weights["model.transformer.ff_out.weight"].T

    def norm(self, x, weight):
        wide = x.to(self.inner)
        return weight * (wide * torch.rsqrt((wide**2).mean(-1, keepdim=True) + self.eps)).double()

    def rotate(self, x, positions):
        half = x.shape[-1] // 2
        exponents = torch.arange(0, 2 * half, 2, dtype=self.inner) / (2 * half)
        angles = positions[:, None].to(self.inner) * (1.0 / self.theta**exponents)
        cos, sin = angles.cos().double(), angles.sin().double()
        first, second = x[:, :half], x[:, half:]
        return torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1)

    def attention(self, h, w, allowed, positions):
        width = h.shape[-1] // self.heads
        outputs = []
        for head in range(self.heads):
            key_head = head * self.key_heads // self.heads
            mine, shared = slice(head * width, (head + 1) * width), slice(key_head * width, (key_head + 1) * width)
            query = self.rotate(h @ w["q_proj"][mine].T, positions)
            key = self.rotate(h @ w["k_proj"][shared].T, positions)
            scores = (query @ key.T / width**0.5).masked_fill(~allowed[None, :], -torch.inf)
            outputs.append(torch.softmax(scores, dim=-1, dtype=self.soft).double() @ (h @ w["v_proj"][shared].T))
        return torch.cat(outputs, dim=-1) @ w["attn_out"].T


@pytest.mark.parametrize("attention", ["Eager", "SDPA"])
@pytest.mark.parametrize(("casts", "limit"), [(True, 1e-10), (False, 1e-6)])
def test_logits_equal_an_independent_llada_block(tiny, llada_folder, attention, casts, limit):
    loaded = load_model(ModelSpec(source=str(llada_folder), precision="FP32", attention=attention), seed=0)
    denoiser = Denoiser(loaded.lm.double(), loaded.tokens)
    plain = PlainLLaDA(
        tiny.llada_weights(),
        heads=tiny.heads,
        key_heads=tiny.key_heads,
        layers=tiny.layers,
        casts=casts,
        soft=torch.float32 if attention == "Eager" else torch.float64,
    )
    ids = torch.randint(4, 38, (12,), generator=torch.Generator().manual_seed(3))
    ids[7:10] = loaded.tokens.mask_id
    attention_mask = torch.ones(1, 12, dtype=torch.long)
    attention_mask[0, :2] = 0
    columns = torch.arange(2, 12)
    got = denoiser.logits_at(ids[None], attention_mask, torch.zeros(10, dtype=torch.long), columns)
    expected = plain(ids, attention_mask[0].bool(), (torch.arange(12) - 2).clamp(min=0))[2:]
    ordinary = [number for number in range(tiny.rows) if number not in loaded.tokens.banned_ids]
    torch.testing.assert_close(got[:, ordinary], expected[:, ordinary], rtol=0, atol=limit)
    assert float(expected.std()) > 0.1


@given(layer=st.integers(0, 200), name=st.sampled_from(BLOCK))
def test_block_weights_keep_their_names_there_and_back(layer, name):
    theirs = f"model.transformer.blocks.{layer}.{name}.weight"
    assert llada_name(llama_name(theirs)) == theirs


@pytest.mark.parametrize("name", ["wte", "ln_f", "ff_out"])
def test_outer_weights_keep_their_names_there_and_back(name):
    theirs = f"model.transformer.{name}.weight"
    assert llada_name(llama_name(theirs)) == theirs


@pytest.mark.parametrize(
    "name", ["model.transformer.wpe.weight", "model.transformer.blocks.0.q_proj.bias", "lm_head.weight"]
)
def test_a_weight_llada_does_not_have_has_no_name(name):
    assert llama_name(name) is None


def test_the_config_survives_there_and_back(tiny):
    back = llada_config(llama_config(tiny.llada_config, "here"))
    for key in sorted(back.keys() & tiny.llada_config.keys()):
        assert back[key] == tiny.llada_config[key], key
    assert llama_config(back, "here").to_dict() == llama_config(tiny.llada_config, "here").to_dict()


def test_sizes_may_be_implied(tiny):
    config = tiny.llada_config | {"mlp_hidden_size": None, "n_kv_heads": None, "embedding_size": None}
    mapped = llama_config(config, "here")
    assert (mapped.intermediate_size, mapped.num_key_value_heads, mapped.vocab_size) == (4 * 32, tiny.heads, tiny.rows)
    assert llama_config(config | {"multi_query_attention": True}, "here").num_key_value_heads == 1


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("attention_layer_norm", True),
        ("alibi", True),
        ("block_type", "sequential"),
        ("layer_norm_type", "default"),
        ("activation_type", "swiglu"),
        ("rope", False),
        ("include_bias", True),
        ("include_qkv_bias", True),
        ("scale_logits", True),
        ("rope_full_precision", False),
    ],
)
def test_what_llamas_block_has_not_is_refused_by_name(tiny, key, value):
    with pytest.raises(InvalidRunError, match=rf"here: {key} is {value!r} in config.json, but only"):
        llama_config(tiny.llada_config | {key: value}, "here")


@pytest.mark.parametrize("key", ["d_model", "rope", "rope_theta", "mask_token_id", "block_type"])
def test_a_missing_key_is_named(tiny, key):
    config = {name: value for name, value in tiny.llada_config.items() if name != key}
    with pytest.raises(InvalidRunError, match=rf"here: config.json of model_type llada lacks '{key}'"):
        llama_config(config, "here")


@pytest.mark.parametrize("change", [{"attention_bias": True}, {"hidden_act": "gelu"}, {"logit_shift": True}])
def test_what_lladas_format_has_not_is_refused(tiny, change):
    with pytest.raises(InvalidRunError, match="save in the Llama format"):
        llada_config(tiny.config(mask_token_id=3, **change))
