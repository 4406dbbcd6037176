"""The benchmark for GPUs runs at toy size on a CPU, and its sides train on the same batches."""

import argparse
import io
import sys

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import MT5Config, MT5ForConditionalGeneration

from benchmarks import gpu, words

torch.set_num_threads(1)  # two processes of two threads each on two cores wait for one another
GIVEN = argparse.Namespace(quick=True, device="cpu", before=2, steps=3, mirror=None, mbert=None, mt5=None)


@pytest.mark.parametrize("kind", gpu.MODELS)
def test_every_side_takes_the_same_steps(kind, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    folder = gpu.checkpoint(kind, tmp_path / kind, GIVEN)
    found = []
    for side in gpu.SIDES:
        monkeypatch.setattr(sys, "stdin", io.StringIO("go\n"))
        found.append(gpu.train(kind, side, folder, GIVEN))
        assert capsys.readouterr().out.endswith("ready\n")
        assert not sys.stdin.read(), "it did not wait for the others"
    assert len({(part.tokens, part.work) for part in found}) == 1
    assert min(min(part.seconds, part.before) for part in found) > 0
    assert gpu.rate(found[:2]) == 2 * found[0].tokens / max(part.seconds for part in found[:2])


def test_random_pairs_are_as_long_as_those_of_xnli():
    lengths = [len(f"{pair.first} {pair.second}".split()) + 3 for pair in words.pairs(3000)]
    assert abs(np.mean(lengths) - 41) < 1
    assert max(lengths) <= 128


def test_the_work_of_a_text_to_text_step_is_what_pytorch_counts_of_it():
    config = MT5Config(
        vocab_size=60, d_model=32, d_kv=8, num_heads=2, d_ff=64, num_layers=2, num_decoder_layers=3, feed_forward_proj="gated-gelu"
    )
    config._attn_implementation = "eager"
    model = MT5ForConditionalGeneration(config)
    ids, labels = torch.ones(4, 20, dtype=torch.long), torch.ones(4, 6, dtype=torch.long)
    with FlopCounterMode(display=False) as counter:
        model(input_ids=ids, labels=labels).loss.backward()
    assert words.work(np.full(4, 20), np.full(4, 6), config) == counter.get_total_flops()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_says_so(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["gpu", "--quick"])
    with pytest.raises(SystemExit) as ended:
        gpu.main()
    assert ended.value.code == 4
    assert capsys.readouterr().err.startswith("PyTorch finds no GPU on this machine")
