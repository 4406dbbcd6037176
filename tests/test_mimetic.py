"""The start of small text-to-text models: what follows a token in the input follows it in the output, before anything is learned."""

import pytest
import torch
from transformers import MT5Config, MT5ForConditionalGeneration, T5Config, T5ForConditionalGeneration

from xfer_ray.errors import DeclarationError
from xfer_ray.models import mimetic
from xfer_ray.recipe import Pretraining

torch.set_num_threads(1)
SIZE = {"d_model": 128, "d_kv": 32, "d_ff": 256, "num_heads": 4, "num_layers": 3, "num_decoder_layers": 2, "dropout_rate": 0.0}


def made(seed: int, *, start: bool, own_output: bool = True):
    torch.manual_seed(seed)
    config = (MT5Config if own_output else T5Config)(vocab_size=1_000, pad_token_id=0, decoder_start_token_id=0, eos_token_id=1, **SIZE)
    model = (MT5ForConditionalGeneration if own_output else T5ForConditionalGeneration)(config).eval()
    if own_output:
        model.lm_head.weight = torch.nn.Parameter(torch.randn(1_000, 128) * 128**-0.5)
    if start:
        mimetic.text_to_text(model)
    return model


@torch.no_grad()
def copied(model) -> float:
    """How often the likeliest token after each token of a text is the one that follows it in the input; by chance 0.001."""
    draw = torch.Generator().manual_seed(3)
    text = torch.stack([2 + torch.randperm(998, generator=draw)[:40] for _ in range(8)])  # (8, 40), no token twice
    asked = text[:, 10:20]
    best = model(input_ids=text, decoder_input_ids=asked).logits.argmax(-1)
    return float((best == text[:, 11:21]).float().mean())


@pytest.mark.parametrize("own_output", [True, False])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_it_copies_from_the_start(seed, own_output):
    assert copied(made(seed, start=True, own_output=own_output)) > 0.1
    assert copied(made(seed, start=False, own_output=own_output)) < 0.02


def test_the_same_seed_gives_the_same_start():
    one, other = (made(5, start=True).state_dict() for _ in range(2))
    assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        (
            {"architecture": {"model_type": "bert"}, "objective": "mlm"},
            "start 'mimetic' is for objective 'span_corruption' without initialize",
        ),
        (
            {"initialize": "google/mt5-small", "vocabulary": "google/mt5-small"},
            "start 'mimetic' is for objective 'span_corruption' without initialize",
        ),
        ({"start": "warm"}, "no start of a Pretraining 'warm'"),
    ],
)
def test_a_start_that_does_not_fit_is_refused(fields, sentence):
    declared = {"architecture": {"model_type": "mt5"}, "objective": "span_corruption", "vocabulary": 100, "start": "mimetic"}
    with pytest.raises(DeclarationError, match=sentence):
        Pretraining(text=dict, steps=1, **{**declared, **fields})
