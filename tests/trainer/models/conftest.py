import json
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from igpo_trainer.models.tokens import SpecialTokens

WIDTH, HEADS, KEY_HEADS, LAYERS, MLP, ROWS = 32, 4, 2, 2, 48, 40
WORDS = [f"w{number}" for number in range(ROWS - 6)]  # 2 rows of padding vocabulary after the 4 special tokens


def make_tokenizer(mask="<mask>"):
    vocabulary = {token: number for number, token in enumerate(["<unk>", "<end>", "<pad>", "<mask>", *WORDS])}
    backend = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, unk_token="<unk>", eos_token="<end>", pad_token="<pad>", mask_token=mask
    )


def make_config(**changes):
    sizes = {
        "vocab_size": ROWS,
        "hidden_size": WIDTH,
        "intermediate_size": MLP,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "num_key_value_heads": KEY_HEADS,
        "max_position_embeddings": 64,
        "bos_token_id": None,
        "eos_token_id": 1,
        "pad_token_id": 2,
        "is_causal": False,
        "use_cache": False,
    }
    return LlamaConfig(**(sizes | changes))


def make_lm(seed=0, **changes):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        lm = LlamaForCausalLM(make_config(**changes))
        with torch.no_grad():
            for weight in lm.parameters():  # norms away from 1 and logits away from 0, so that mistakes show
                weight.add_(torch.randn_like(weight) * 0.2)
    return lm.eval()


LLADA_CONFIG = {
    "activation_type": "silu",
    "alibi": False,
    "alibi_bias_max": 8.0,
    "architectures": ["LLaDAModelLM"],
    "attention_dropout": 0.0,
    "attention_layer_norm": False,
    "attention_layer_norm_with_affine": True,
    "auto_map": {
        "AutoConfig": "configuration_llada.LLaDAConfig",
        "AutoModelForCausalLM": "modeling_llada.LLaDAModelLM",
        "AutoModel": "modeling_llada.LLaDAModelLM",
    },
    "bias_for_layer_norm": False,
    "block_group_size": 1,
    "block_type": "llama",
    "d_model": WIDTH,
    "embedding_dropout": 0.0,
    "embedding_size": ROWS,
    "eos_token_id": 1,
    "flash_attention": False,
    "include_bias": False,
    "include_qkv_bias": False,
    "init_cutoff_factor": None,
    "init_device": "meta",
    "init_fn": "mitchell",
    "init_std": 0.02,
    "input_emb_norm": False,
    "layer_norm_type": "rms",
    "layer_norm_with_affine": True,
    "mask_token_id": 3,
    "max_sequence_length": 64,
    "mlp_hidden_size": MLP,
    "mlp_ratio": 4,
    "model_type": "llada",
    "multi_query_attention": None,
    "n_heads": HEADS,
    "n_kv_heads": KEY_HEADS,
    "n_layers": LAYERS,
    "pad_token_id": 2,
    "precision": "amp_bf16",
    "residual_dropout": 0.0,
    "rms_norm_eps": 1e-05,
    "rope": True,
    "rope_full_precision": True,
    "rope_theta": 500000.0,
    "scale_logits": False,
    "transformers_version": "4.46.3",
    "use_cache": False,
    "vocab_size": ROWS,
    "weight_tying": False,
}
"""The keys of the public LLaDA-8B-Instruct config.json with small sizes."""


def llada_weights(seed=0, dtype=torch.float32):
    """Random weights under the public LLaDA names."""
    stream = torch.Generator().manual_seed(seed)
    narrow = WIDTH // HEADS * KEY_HEADS
    shapes = {
        "q_proj": (WIDTH, WIDTH),
        "k_proj": (narrow, WIDTH),
        "v_proj": (narrow, WIDTH),
        "attn_out": (WIDTH, WIDTH),
        "ff_proj": (MLP, WIDTH),
        "up_proj": (MLP, WIDTH),
        "ff_out": (WIDTH, MLP),
        "attn_norm": (WIDTH,),
        "ff_norm": (WIDTH,),
    }
    outer = {"wte": (ROWS, WIDTH), "ln_f": (WIDTH,), "ff_out": (ROWS, WIDTH)}
    named = {f"blocks.{layer}.{name}": shape for layer in range(LAYERS) for name, shape in shapes.items()} | outer
    return {
        f"model.transformer.{name}.weight": (
            (1.0 if len(shape) == 1 else 0.0) + 0.15 * torch.randn(shape, generator=stream)
        ).to(dtype)
        for name, shape in named.items()
    }


def write_folder(folder, config, shards, mask=None):
    """A model folder as the hub has it; more than one shard gets an index."""
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config))
    make_tokenizer(mask).save_pretrained(folder)
    if len(shards) == 1:
        save_file(shards[0], folder / "model.safetensors", {"format": "pt"})
        return folder
    weight_map = {}
    for number, shard in enumerate(shards, start=1):
        file = f"model-{number:05d}-of-{len(shards):05d}.safetensors"
        save_file(shard, folder / file, {"format": "pt"})
        weight_map.update(dict.fromkeys(shard, file))
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    return folder


@pytest.fixture(scope="session")
def tiny():
    """What the tests of this folder build small models and checkpoints from."""
    return SimpleNamespace(
        rows=ROWS,
        layers=LAYERS,
        heads=HEADS,
        key_heads=KEY_HEADS,
        tokens=SpecialTokens(mask_id=3, eos_id=1, pad_id=2, banned_ids=(3, ROWS - 2, ROWS - 1)),
        tokenizer=make_tokenizer,
        config=make_config,
        lm=make_lm,
        llada_config=LLADA_CONFIG,
        llada_weights=llada_weights,
        write_folder=write_folder,
    )


@pytest.fixture
def llada_folder(tmp_path):
    """A sharded LLaDA-format checkpoint; its tokenizer names no mask token, as the public one."""
    weights = list(llada_weights().items())
    return write_folder(tmp_path / "llada", LLADA_CONFIG, [dict(weights[:11]), dict(weights[11:])])


@pytest.fixture
def llama_folder(tmp_path):
    """A native checkpoint of a diffusion model."""
    lm = make_lm()
    config = lm.config.to_dict() | {"mask_token_id": 3}
    return write_folder(tmp_path / "llama", config, [dict(lm.state_dict())], mask="<mask>")
