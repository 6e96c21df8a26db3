import json

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file

from igpo_trainer.diffusion.noise import NoiseKey
from igpo_trainer.models.denoiser import Denoiser
from igpo_trainer.models.keyed_dropout import keyed_dropout
from igpo_trainer.models.load import load_model
from igpo_trainer.models.lora import (
    ADAPTED_LINEARS,
    add_lora,
    merge_adapter,
    merged_weights,
    reference_policy,
    save_adapter,
)
from igpo_trainer.spec.errors import InvalidRunError
from igpo_trainer.spec.model import LoraSpec, ModelSpec

IDS = torch.randint(4, 38, (3, 10), generator=torch.Generator().manual_seed(5))
PLACES = (torch.tensor([0, 1, 2, 2]), torch.tensor([4, 9, 0, 6]))
WANTED = torch.tensor([[5], [6], [7], [8]])


def scores(denoiser):
    return denoiser(IDS, torch.ones_like(IDS), *PLACES, WANTED, 1.2).logp_MK


def rows_of(step):
    """Streams and lengths of the three rows."""
    return [NoiseKey(0, "dropout", step, row, 0) for row in range(3)], [IDS.shape[1]] * 3


def train(denoiser, updates=1, lr=5e-7):
    trained = [weight for weight in denoiser.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=lr, betas=(0.9, 0.99), weight_decay=0.1)
    for _ in range(updates):
        optimizer.zero_grad()
        (-scores(denoiser).mean()).backward()
        optimizer.step()


@pytest.fixture
def adapted(llada_folder):
    """A BF16 base with trained adapters."""
    spec = ModelSpec(source=str(llada_folder), lora=LoraSpec(rank=4, alpha=8.0))
    loaded = load_model(spec, seed=0)
    train(loaded.denoiser(), updates=3, lr=1e-2)
    return loaded


def test_all_seven_linears_of_every_block_are_adapted_and_nothing_else_is_trained(tiny):
    model = add_lora(tiny.lm(), LoraSpec(rank=2), seed=0)
    trained = {name.split(".lora_")[0] for name, weight in model.named_parameters() if weight.requires_grad}
    owners = {name.rpartition(".")[2] for name in trained}
    assert owners == set(ADAPTED_LINEARS)
    assert len(trained) == 7 * tiny.layers


def test_fresh_adapters_change_nothing_and_depend_on_the_seed_alone(tiny):
    plain = Denoiser(tiny.lm(), tiny.tokens)
    torch.manual_seed(99)
    state = torch.random.get_rng_state()
    models = [add_lora(tiny.lm(), LoraSpec(rank=2), seed=seed) for seed in (1, 1, 2)]
    assert torch.equal(torch.random.get_rng_state(), state)
    assert torch.equal(scores(Denoiser(models[0], tiny.tokens)), scores(plain))
    first, again, other = ([w for n, w in model.named_parameters() if "lora_A" in n] for model in models)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(first, other, strict=True))


@pytest.mark.parametrize("lora", [None, LoraSpec(rank=4, alpha=8.0)], ids=["full", "adapters"])
@pytest.mark.parametrize("precision", ["BF16", "FP32"])
def test_one_small_update_moves_nearly_every_trained_entry_that_has_a_gradient(llada_folder, lora, precision):
    denoiser = load_model(ModelSpec(source=str(llada_folder), precision=precision, lora=lora), seed=0).denoiser()
    if lora is not None:
        train(denoiser, lr=1e-3)  # B starts at 0, so A has no gradient before
    before = {name: weight.detach().clone() for name, weight in denoiser.named_parameters()}
    train(denoiser, lr=5e-7)
    moved = with_gradient = 0
    for name, weight in denoiser.named_parameters():
        if weight.grad is not None:
            has_gradient = weight.grad != 0
            with_gradient += int(has_gradient.sum())
            moved += int(((weight != before[name]) & has_gradient).sum())
    assert with_gradient > 1000
    assert moved >= 0.99 * with_gradient


def test_training_and_saving_leave_the_base_bit_for_bit(llada_folder, tmp_path):
    loaded = load_model(ModelSpec(source=str(llada_folder), lora=LoraSpec(rank=4)), seed=0)
    frozen = {name: weight.clone() for name, weight in loaded.lm.named_parameters() if not weight.requires_grad}
    start = scores(loaded.denoiser()).detach()
    train(loaded.denoiser(), updates=2, lr=1e-2)
    list(merged_weights(loaded.lm))
    save_adapter(loaded.lm, tmp_path / "adapter")
    assert all(torch.equal(weight, frozen[name]) for name, weight in loaded.lm.named_parameters() if name in frozen)
    with reference_policy(loaded.denoiser()) as reference, torch.no_grad():
        assert torch.equal(scores(reference), start)
    assert not torch.equal(scores(loaded.denoiser()), start)


def test_adapters_stay_trainable_after_the_reference_was_asked(adapted):
    trained = {name for name, weight in adapted.lm.named_parameters() if weight.requires_grad}
    with reference_policy(adapted.denoiser()):
        pass
    assert {name for name, weight in adapted.lm.named_parameters() if weight.requires_grad} == trained


def test_asking_the_reference_between_forward_and_backward_costs_no_gradient(adapted):
    denoiser, gradients = adapted.denoiser(), []
    for ask in (False, True):
        denoiser.zero_grad()
        logp = scores(denoiser)
        if ask:
            with reference_policy(denoiser), torch.no_grad():
                scores(denoiser)
        logp.sum().backward()
        gradients.append([weight.grad for weight in denoiser.parameters() if weight.requires_grad])
    assert all(torch.equal(plain, asked) for plain, asked in zip(*gradients, strict=True))


def test_a_fully_trained_model_holds_no_reference_policy(tiny):
    with pytest.raises(TypeError, match="keep a frozen copy"), reference_policy(Denoiser(tiny.lm(), tiny.tokens)):
        pass


def test_merged_weights_are_the_base_plus_the_scaled_product(adapted):
    merged = dict(merged_weights(adapted.lm))
    state = adapted.lm.state_dict()
    owner = "model.layers.1.mlp.down_proj"
    base = state[f"base_model.model.{owner}.base_layer.weight"].float()
    down = state[f"base_model.model.{owner}.lora_A.default.weight"]
    up = state[f"base_model.model.{owner}.lora_B.default.weight"]
    torch.testing.assert_close(merged[f"{owner}.weight"], base + 8.0 / 4 * up @ down, rtol=0, atol=1e-6)
    assert {weight.dtype for weight in merged.values()} == {torch.float32}
    assert torch.equal(merged["model.norm.weight"], state["base_model.model.model.norm.weight"].float())


def test_a_start_adapter_is_merged_once_so_that_adapters_off_is_the_start_policy(llada_folder, tmp_path):
    spec = ModelSpec(source=str(llada_folder), precision="FP32", lora=LoraSpec(rank=4, alpha=8.0))
    first = load_model(spec, seed=0)
    train(first.denoiser(), updates=3, lr=1e-2)
    trained = scores(first.denoiser()).detach()
    save_adapter(first.lm, tmp_path / "adapter")
    config = tmp_path / "adapter" / "adapter_config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"base_model_name_or_path": str(llada_folder)}))
    second = load_model(spec, seed=1, from_folder=tmp_path / "adapter")
    assert isinstance(second.lm, PeftModel)
    torch.testing.assert_close(scores(second.denoiser()), trained, rtol=0, atol=1e-5)
    with reference_policy(second.denoiser()) as reference:
        assert torch.equal(scores(reference), scores(second.denoiser()))


def test_an_adapter_without_a_base_is_refused(adapted, tmp_path):
    save_adapter(adapted.lm, tmp_path / "adapter")
    config = tmp_path / "adapter" / "adapter_config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"base_model_name_or_path": None}))
    with pytest.raises(InvalidRunError, match="names no base model"):
        load_model(ModelSpec.model_validate({"from": {"name": "sft"}}), seed=0, from_folder=tmp_path / "adapter")


@pytest.mark.parametrize(
    ("config", "weights", "message"),
    [
        ({"use_dora": True}, {}, "is no plain LoRA adapter"),
        ({"peft_type": "IA3"}, {}, "is no plain LoRA adapter"),
        ({}, {"base_model.model.model.layers.9.mlp.up_proj.lora_A.weight": torch.zeros(4, 32)}, "fits no weight"),
        ({}, {"base_model.model.lm_head.weight": torch.zeros(40, 32)}, "not only LoRA matrices"),
    ],
)
def test_an_adapter_that_does_not_fit_is_refused(tiny, adapted, tmp_path, config, weights, message):
    folder = tmp_path / "adapter"
    save_adapter(adapted.lm, folder)
    path = folder / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | config))
    file = folder / "adapter_model.safetensors"
    save_file(load_file(file) | weights, file)
    with pytest.raises(InvalidRunError, match=message):
        merge_adapter(tiny.lm(), folder)


def test_dropout_acts_in_training_mode_only_and_as_its_streams_say(tiny):
    denoiser = Denoiser(add_lora(tiny.lm(), LoraSpec(rank=4, alpha=64.0, dropout=0.5), seed=0), tiny.tokens)

    def dropped(step):
        with keyed_dropout(denoiser, *rows_of(step)):
            return scores(denoiser)

    with keyed_dropout(denoiser, *rows_of(1)):
        train(denoiser.train(), updates=2, lr=1e-2)
    assert torch.equal(dropped(1), dropped(1))
    assert not torch.equal(dropped(1), dropped(2))
    denoiser.eval()
    assert torch.equal(dropped(1), dropped(2))
