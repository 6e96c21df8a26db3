import pytest

from igpo_trainer.models.tokens import SpecialTokens
from igpo_trainer.spec.errors import InvalidRunError


def test_the_mask_and_the_padding_vocabulary_are_banned(tiny):
    tokens = SpecialTokens.of(tiny.tokenizer(), tiny.config())
    assert tokens == SpecialTokens(mask_id=3, eos_id=1, pad_id=2, banned_ids=(3, tiny.rows - 2, tiny.rows - 1))


def test_the_mask_may_come_from_the_config_alone(tiny):
    config = tiny.config()
    config.mask_token_id = 3
    assert SpecialTokens.of(tiny.tokenizer(mask=None), config).mask_id == 3


def test_padding_falls_back_to_the_end_token(tiny):
    tokenizer = tiny.tokenizer()
    tokenizer.pad_token = None
    assert SpecialTokens.of(tokenizer, tiny.config()).pad_id == 1


def test_a_list_of_end_tokens_agrees_with_one_of_them(tiny):
    assert SpecialTokens.of(tiny.tokenizer(), tiny.config(eos_token_id=[5, 1])).eos_id == 1


@pytest.mark.parametrize(
    ("tokenizer", "config", "message"),
    [
        (
            lambda tiny: tiny.tokenizer(None),
            lambda tiny: tiny.config(),
            r"names a mask token; name its mask by mask_token_id in config\.json or mask_token",
        ),
        (
            lambda tiny: tiny.tokenizer(),
            lambda tiny: tiny.config(mask_token_id=9),
            r"mask_token_id is 9 .* but 3 in the tokenizer",
        ),
        (
            lambda tiny: tiny.tokenizer(),
            lambda tiny: tiny.config(eos_token_id=7),
            r"eos_token_id is 7 .* but 1 in the tokenizer",
        ),
        (
            lambda tiny: tiny.tokenizer(None),
            lambda tiny: tiny.config(mask_token_id=39),
            r"39 is no token of the tokenizer",
        ),
        (lambda tiny: tiny.tokenizer("<end>"), lambda tiny: tiny.config(), r"mask token 1 is also the end token"),
        (
            lambda tiny: tiny.tokenizer(),
            lambda tiny: tiny.config(vocab_size=20),
            r"ids up to 37 but the vocabulary has 20 rows",
        ),
    ],
)
def test_ids_that_cannot_be_right_are_refused_with_the_numbers(tiny, tokenizer, config, message):
    with pytest.raises(InvalidRunError, match=message):
        SpecialTokens.of(tokenizer(tiny), config(tiny), where="here")
