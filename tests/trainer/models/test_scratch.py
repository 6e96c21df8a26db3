import pytest
import torch
from transformers import AutoTokenizer, LlamaForCausalLM

from igpo_trainer.data.word_problems import generate
from igpo_trainer.models.scratch import build_scratch, number_tokens, word_tokenizer
from igpo_trainer.spec.dataset import WordProblems
from igpo_trainer.spec.model import ScratchModel

SMALL = ScratchModel(hidden_size=16, layers=1, heads=2, intermediate_size=24)


@pytest.fixture(scope="module")
def tokenizer():
    return word_tokenizer()


def test_the_model_has_the_sizes_that_were_asked_for(tokenizer):
    spec = ScratchModel(hidden_size=32, layers=2, heads=4, intermediate_size=48, max_positions=64)
    lm, its_tokenizer = build_scratch(spec, seed=0)
    assert lm.get_input_embeddings().weight.shape == (len(tokenizer), 32)
    assert lm.get_output_embeddings().weight.shape == (len(tokenizer), 32)
    assert len(lm.model.layers) == 2
    assert lm.model.layers[0].mlp.up_proj.weight.shape == (48, 32)
    assert lm.config.num_attention_heads == lm.config.num_key_value_heads == 4
    assert lm.config.max_position_embeddings == 64
    assert its_tokenizer.get_vocab() == tokenizer.get_vocab()


def test_the_default_model_has_about_seven_hundred_thousand_parameters():
    lm, _ = build_scratch(ScratchModel(), seed=0)
    assert 600_000 < sum(p.numel() for p in lm.parameters()) < 750_000


def test_reading_and_writing_weights_are_two_tables_in_fp32():
    lm, _ = build_scratch(SMALL, seed=0)
    assert lm.get_input_embeddings().weight is not lm.get_output_embeddings().weight
    assert {p.dtype for p in lm.parameters()} == {torch.float32}


def test_the_first_position_sees_the_last(tokenizer):
    lm, _ = build_scratch(SMALL, seed=0)
    ids_BS = torch.tensor([tokenizer("eva has 4 apples . how many ?")["input_ids"]])
    changed_BS = ids_BS.clone()
    changed_BS[0, -1] = tokenizer.mask_token_id
    with torch.no_grad():
        difference_V = lm(ids_BS).logits[0, 0] - lm(changed_BS).logits[0, 0]
    assert difference_V.abs().max() > 1e-3


def test_the_same_seed_builds_the_same_weights_and_another_seed_others():
    first, again, other = (build_scratch(SMALL, seed=s)[0].state_dict() for s in (3, 3, 4))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["lm_head.weight"], other["lm_head.weight"])


def test_building_leaves_the_global_random_state_alone():
    before = torch.get_rng_state()
    build_scratch(SMALL, seed=11)
    assert torch.equal(before, torch.get_rng_state())


def test_fourier_init_changes_number_rows_only(tokenizer):
    random_init, _ = build_scratch(SMALL.model_copy(update={"number_init": "Random"}), seed=5)
    fourier, _ = build_scratch(SMALL, seed=5)
    numbers = sorted(number_tokens(tokenizer))
    others = sorted(set(range(len(tokenizer))) - set(numbers))
    for name, weight in random_init.state_dict().items():
        changed = fourier.state_dict()[name] - weight
        if name in {"model.embed_tokens.weight", "lm_head.weight"}:
            assert (changed[numbers].abs().amax(dim=1) > 0.05).all()
            assert torch.equal(fourier.state_dict()[name][others], weight[others])
        else:
            assert torch.equal(fourier.state_dict()[name], weight)


def test_every_number_up_to_99_is_one_token(tokenizer):
    ids = [tokenizer(str(n))["input_ids"] for n in range(100)]
    assert all(len(i) == 1 for i in ids)
    assert number_tokens(tokenizer) == {i[0]: n for n, i in enumerate(ids)}


@pytest.mark.parametrize("style", ["Concise", "Verbose"])
@pytest.mark.parametrize("split", ["train", "heldout"])
def test_generated_text_has_no_unknown_word_and_survives_a_round_trip(tokenizer, style, split):
    for problem in generate(WordProblems(style=style), split=split, rows=400, seed=0):
        for text in (problem.prompt, problem.trace):
            ids = tokenizer(text)["input_ids"]
            assert tokenizer.unk_token_id not in ids
            assert tokenizer.decode(ids) == text


def test_text_without_spaces_splits_into_the_same_tokens(tokenizer):
    assert tokenizer.tokenize("\\boxed{10}") == tokenizer.tokenize("\\boxed{ 10 }") == ["\\boxed{", "10", "}"]
    assert tokenizer.tokenize("4*2=8.") == ["4", "*", "2", "=", "8", "."]


def test_special_tokens_are_distinct_and_none_is_added_to_text(tokenizer):
    special = [tokenizer.pad_token_id, tokenizer.eos_token_id, tokenizer.mask_token_id, tokenizer.unk_token_id]
    assert len(set(special)) == 4
    assert not set(special) & set(tokenizer("tom has 4 apples .")["input_ids"])
    assert tokenizer.padding_side == "left"


def test_the_chat_template_renders_the_content_alone(tokenizer):
    message = [{"role": "user", "content": "tom has 4 apples . how many ?"}]
    assert tokenizer.apply_chat_template(message, tokenize=False, add_generation_prompt=True) == message[0]["content"]
    with_system = [{"role": "system", "content": "tom has 4 apples ."}, {"role": "user", "content": "how many ?"}]
    assert tokenizer.apply_chat_template(with_system, tokenize=False) == message[0]["content"]


def test_a_saved_model_loads_with_transformers_alone(tmp_path, tokenizer):
    lm, _ = build_scratch(SMALL, seed=0)
    lm.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    loaded = LlamaForCausalLM.from_pretrained(tmp_path)
    assert loaded.config.is_causal is False
    assert loaded.config.use_cache is False
    assert all(torch.equal(p, loaded.state_dict()[name]) for name, p in lm.state_dict().items())
    loaded_tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    assert loaded_tokenizer.get_vocab() == tokenizer.get_vocab()
    assert loaded_tokenizer.mask_token_id == tokenizer.mask_token_id
    assert loaded_tokenizer.chat_template == tokenizer.chat_template
