import sizing
from transformers import LlamaConfig, LlamaForCausalLM

from igpo_trainer.models.llada import llama_config
from igpo_trainer.models.lora import add_lora
from igpo_trainer.spec.model import LoraSpec

PAGE = sizing.ROOT / "docs" / "sizing.md"
SMALL = LlamaConfig(
    vocab_size=50,
    hidden_size=16,
    intermediate_size=40,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
)


def test_parameters_are_those_of_the_real_model_and_of_its_real_adapters():
    lm = LlamaForCausalLM(SMALL)
    assert sizing.parameters(SMALL) == sum(weight.numel() for weight in lm.parameters())
    adapted = add_lora(lm, LoraSpec(rank=3), seed=0)
    trained = sum(weight.numel() for weight in adapted.parameters() if weight.requires_grad)
    assert sizing.adapter_parameters(SMALL, 3) == trained


def test_llada_has_the_parameters_that_its_name_says():
    assert sizing.parameters(llama_config(sizing.LLADA_8B, "config.json")) == 8_015_581_184


def test_the_page_holds_the_table_of_today():
    config = llama_config(sizing.LLADA_8B, "config.json")
    table = sizing.page(config, 128, 79 * sizing.GIB)
    text = PAGE.read_text()
    assert sizing.written(text, table) == text, "run: python benchmarks/sizing.py --page docs/sizing.md"
    assert sizing.written(text, "another") != text


def test_terms_follow_what_is_trained():
    adapters = sizing.Run(weights=1000, trained=10, processes=2).gpu(1e12)
    everything = sizing.Run(weights=1000, trained=1000, processes=1).gpu(1e12)
    without_kl = sizing.Run(weights=1000, trained=1000, processes=1, kl=False).gpu(1e12)
    reference = "reference policy, fp32 (klCoefficient > 0)"
    assert adapters["frozen base, bf16"] == 2000
    assert (adapters[reference], everything[reference], without_kl[reference]) == (0, 4000, 0)
    assert adapters["their exchange buffers, LoRA on several GPUs"] == 40
    assert everything["Adam's two moments, fp32"] == 8000


def test_all_weights_on_several_gpus_are_divided_but_for_the_copy_that_samples():
    alone = sizing.Run(weights=1000, trained=1000, processes=1).gpu(1e12)
    parts = sizing.Run(weights=1000, trained=1000, processes=4).gpu(1e12)
    for term in ("trained weights, fp32", "gradients, fp32", "Adam's two moments, fp32"):
        assert parts[term] == alone[term] / 4
    copy = "a whole copy to sample with, fp32 (all weights on several GPUs)"
    assert (alone[copy], parts[copy]) == (0, 4000)
