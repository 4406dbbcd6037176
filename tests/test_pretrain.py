"""Pre-training on rows of text: what is drawn, masked and corrupted; vocabularies; resume; the command; several workers."""

import csv
import gzip
import hashlib
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForMaskedLM, AutoModelForSeq2SeqLM, AutoTokenizer

from xfer_ray import Pretraining
from xfer_ray.errors import DataError, DeclarationError
from xfer_ray.models import objectives, streams, vocabulary
from xfer_ray.models import pretraining as maker
from xfer_ray.pretrain import Options, pretrain
from xfer_ray.tasks.text import HubText, Joined, TextFolder

torch.set_num_threads(1)
ROUND_TRIPS = (
    "他说：“你好，世界！”", "ภาษาไทยไม่มีช่องว่างระหว่างคำ น้ำ", "日本語の「カタカナ」とﾊﾝｶｸ。", "क्या आप हिन्दी पढ़ते हैं?", "هل تقرأ العربيّة؟",
    "Äpfel, naïve café e\u0301 ﬁ", "한국어 문장입니다.", "Ἑλλάς 𝔘 🙂",
)  # fmt: skip
ARCHITECTURE = {
    "model_type": "bert", "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64,
    "hidden_dropout_prob": 0.1, "max_position_embeddings": 32,
}  # fmt: skip
T5 = {"model_type": "mt5", "d_model": 32, "d_ff": 32, "d_kv": 16, "num_layers": 1, "num_decoder_layers": 1, "num_heads": 2}


def words(seed):
    """Two languages of unequal size, each predictable from its neighbors."""
    random = np.random.default_rng(0)

    def line(alphabet):
        start = int(random.integers(len(alphabet)))
        return " ".join(alphabet[(start + i) % len(alphabet)] for i in range(20))

    return {
        "en": [line(["one", "two", "three", "four", "five", "six"]) for _ in range(300)],
        "de": [line(["eins", "zwei", "drei", "vier"]) for _ in range(60)],
    }


BERT = Pretraining(
    architecture=ARCHITECTURE,
    vocabulary=120,
    text=words,
    objective="mlm",
    steps=8,
    batch_size=8,
    max_length=32,
    learning_rate=5e-3,
    warmup_steps=2,
)
MT5 = replace(BERT, architecture=T5, vocabulary=420, objective="span_corruption")


def make(pretraining, folder):
    maker.make(pretraining, folder, maker.Hooks(lambda step, steps: None))
    return hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()


def rows(file):
    return list(csv.DictReader(file.open()))


# ------------------------------------------------------------------------------ sampling, streams


@pytest.mark.parametrize(
    ("sampling", "expected"),
    [
        ("uniform", {"en": 0.5, "sw": 0.5}),
        ("proportional", {"en": 0.9, "sw": 0.1}),
        (0.5, {"en": 0.75, "sw": 0.25}),
        (1.0, {"en": 0.9, "sw": 0.1}),
        (0, {"en": 0.5, "sw": 0.5}),
        ({}, {"en": 0.5, "sw": 0.5}),
        ({"en": 3.0}, {"en": 0.75, "sw": 0.25}),
    ],
)
def test_probabilities(sampling, expected):
    assert streams.probabilities(sampling, ["en", "sw"], lambda: {"en": 900, "sw": 100}) == pytest.approx(expected, abs=1e-12)


def test_uniform_does_not_count_the_text():
    assert streams.probabilities("uniform", ["en", "sw"], lambda: pytest.fail("read it all")) == {"en": 0.5, "sw": 0.5}


def test_a_weight_for_a_language_without_text_is_refused():
    with pytest.raises(DeclarationError) as caught:
        streams.probabilities({"fr": 1.0}, ["de", "en"], dict)
    assert str(caught.value) == "no language of the text for the sampling 'fr'. Possible: de, en"


def stream(documents, length=4):
    made = streams.Stream("en", documents, lambda texts: [[int(c) for c in text] for text in texts], length, (9,))
    made.start((0,))
    return made


def test_a_stream_packs_documents_and_begins_again():
    endless = stream(["12", "3", "45678"])
    drawn = {"".join(map(str, endless.draw())) for _ in range(100)}
    assert drawn == {"1293", "9456", "7891", "2939", "4567", "8912", "9394", "5678", "9129", "3945", "6789"} & drawn
    assert len(drawn) > 6


def test_a_stream_goes_on_where_it_stopped():
    one = stream([str(n) for n in range(1000, 3000)])
    [one.draw() for _ in range(2700)]  # past the end of the first pass
    other = stream([str(n) for n in range(1000, 3000)])
    other.restore(one.state())
    assert [tuple(one.draw()) for _ in range(3000)] == [tuple(other.draw()) for _ in range(3000)]


def test_every_hundredth_document_is_held_out():
    documents = [f"{n:04}" for n in range(200)]
    assert list(streams.held_out(documents)) == ["0099", "0199"]
    read = stream(documents, length=5)
    assert {0, 1} & {int("".join(map(str, read.draw()[:4]))) == 99 for _ in range(600)} == {False}


def test_a_language_without_text_is_refused():
    with pytest.raises(DataError) as caught:
        stream([])
    assert str(caught.value) == "language 'en' has no text to train on; leave it out, or give it a weight of 0"


# ------------------------------------------------------------------------------ objectives


def test_corrupted_as_in_the_paper():
    noise = np.isin(np.arange(10), [2, 3, 8])
    told, target = objectives.corrupted(np.arange(10) + 10, noise, [99, 98, 97], end=1)
    assert told.tolist() == [10, 11, 99, 14, 15, 16, 17, 98, 19, 1]
    assert target.tolist() == [99, 12, 13, 98, 18, 97, 1]


def test_lengths_are_those_of_t5():
    assert objectives.raw_length(512) == 568
    assert objectives.raw_length(1024) == 1137
    mask = objectives.noise_mask(568, np.random.default_rng(0))
    assert (len(mask), mask.sum(), (np.diff(mask.astype(int)) == 1).sum(), mask[0], mask[-1]) == (568, 85, 28, False, True)
    assert len(objectives.corrupted(np.arange(568), mask, range(1000, 1100), 1)[0]) == 512
    assert len(objectives.corrupted(np.arange(568), mask, range(1000, 1100), 1)[1]) == 114


def test_masking_is_15_percent_80_10_10(tmp_path):
    tokenizer = vocabulary.wordpiece(words(0)["en"], 120)
    masking = objectives.Masking(tokenizer, 102)
    ids = np.tile(np.arange(5, 25), (400, 5))
    batch = masking.batch(ids, np.zeros(400, dtype=np.int64), np.random.default_rng(0))
    chosen = batch.labels != -100
    assert batch.inputs[0, [0, -1]].tolist() == [2, 3]
    assert not chosen[:, [0, -1]].any()
    assert chosen[:, 1:-1].mean() == pytest.approx(0.15, abs=0.005)
    assert (batch.inputs[chosen] == 4).mean() == pytest.approx(0.8, abs=0.02)
    assert (batch.inputs[chosen] == batch.labels[chosen]).mean() == pytest.approx(0.1, abs=0.02)
    assert (batch.inputs[:, 1:-1][~chosen[:, 1:-1]] == ids[~chosen[:, 1:-1]]).all()


# ------------------------------------------------------------------------------ vocabularies


def test_unigram_round_trips_every_script(tmp_path):
    vocabulary.unigram(ROUND_TRIPS[:5] * 20, 600).save_pretrained(tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    assert tokenizer.is_fast
    assert (tokenizer.pad_token_id, tokenizer.eos_token_id, tokenizer.unk_token_id) == (0, 1, 2)
    assert tokenizer.convert_tokens_to_ids("<extra_id_0>") == len(tokenizer) - 1
    assert tokenizer.convert_tokens_to_ids("<extra_id_99>") == len(tokenizer) - 100
    for text in ROUND_TRIPS:
        ids = tokenizer(text)["input_ids"]
        assert tokenizer.unk_token_id not in ids
        assert tokenizer.decode(ids, skip_special_tokens=True) == text
    offsets = tokenizer("Äpfel 他说", return_offsets_mapping=True, add_special_tokens=False)["offset_mapping"]
    assert (min(start for start, _ in offsets), max(end for _, end in offsets)) == (0, 8)
    assert tokenizer.decode(tokenizer("two  spaces\n here")["input_ids"], skip_special_tokens=True) == "two spaces here"


def test_vocabularies_are_the_same_in_another_process(tmp_path):
    program = (
        "import sys, hashlib; sys.path.insert(0, 'tests'); from test_pretrain import words; from xfer_ray.models import vocabulary as v\n"
        "for learn, size in ((v.unigram, 400), (v.wordpiece, 60)):\n"
        "    print(hashlib.sha256(learn(words(0)['en'] + words(0)['de'], size).backend_tokenizer.to_str().encode()).hexdigest())"
    )
    here = Path(__file__).resolve().parents[1]
    seen = {subprocess.run([sys.executable, "-c", program], cwd=here, capture_output=True, text=True, check=True).stdout for _ in range(2)}
    assert len(seen) == 1


def test_a_vocabulary_too_small_for_its_characters_is_refused():
    with pytest.raises(DeclarationError) as caught:
        vocabulary.unigram(["abc"], 300)
    assert str(caught.value) == "vocabulary of 300 pieces has no room for words: characters and special tokens alone are 363"


def test_long_words_of_thai_are_not_unknown():
    tokenizer = vocabulary.wordpiece(["กขค" * 60] * 3, 40)
    assert tokenizer.unk_token_id not in tokenizer("กขค" * 60)["input_ids"]


# ------------------------------------------------------------------------------ training


@pytest.mark.parametrize(("declared", "automatic"), [(BERT, AutoModelForMaskedLM), (MT5, AutoModelForSeq2SeqLM)])
def test_it_learns_every_language_and_repeats_itself(declared, automatic, tmp_path):
    once = make(replace(declared, steps=60), tmp_path / "once")
    curve = rows(tmp_path / "once" / "losses.csv")
    for language in ("de", "en"):
        losses = [float(row["loss"]) for row in curve if row["language"] == language]
        assert np.mean(losses[-5:]) < 0.8 * np.mean(losses[:5])
    assert sum(int(row["tokens"]) for row in curve[-2:]) == 60 * 8 * 32
    assert [row["language"] for row in rows(tmp_path / "once" / "languages.csv")] == ["de", "en"]
    assert float(rows(tmp_path / "once" / "languages.csv")[1]["held_out_loss"]) < float(curve[0]["loss"])
    assert make(replace(declared, steps=8), tmp_path / "a") == make(replace(declared, steps=8), tmp_path / "b") != once
    model, info = automatic.from_pretrained(tmp_path / "once", output_loading_info=True)
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    assert model.config.vocab_size == len(AutoTokenizer.from_pretrained(tmp_path / "once"))


def test_mt5_has_an_output_table_of_its_own(tmp_path):
    make(replace(MT5, steps=2), tmp_path)
    model = AutoModelForSeq2SeqLM.from_pretrained(tmp_path)
    assert not torch.equal(model.lm_head.weight, model.shared.weight)
    kept = load_file(tmp_path / "model.safetensors")
    assert torch.equal(model.lm_head.weight, kept["lm_head.weight"])
    assert torch.equal(model.shared.weight, kept["shared.weight"])


def test_micro_batches_and_adafactor(tmp_path):
    declared = replace(MT5, steps=4, optimizer="adafactor", schedule="inverse_square_root", architecture={**T5, "dropout_rate": 0.0})
    make(declared, tmp_path / "whole")
    make(replace(declared, micro_batch=3), tmp_path / "parts")
    whole, parts = (rows(tmp_path / name / "losses.csv") for name in ("whole", "parts"))
    assert [float(row["loss"]) for row in whole] == pytest.approx([float(row["loss"]) for row in parts], abs=1e-4)
    assert replace(declared, micro_batch=3).digest == declared.digest


def test_a_checkpoint_goes_on_from_another(tmp_path):
    make(replace(BERT, steps=30), tmp_path / "first")
    further = replace(BERT, initialize=str(tmp_path / "first"), vocabulary=str(tmp_path / "first"), steps=4)
    make(further, tmp_path / "second")
    first, second = (rows(tmp_path / name / "losses.csv") for name in ("first", "second"))
    assert float(second[0]["loss"]) < 0.8 * float(first[0]["loss"])
    with pytest.raises(DeclarationError) as caught:
        make(replace(further, vocabulary=str(tmp_path / "second"), architecture={**ARCHITECTURE, "hidden_size": 64}), tmp_path / "third")
    assert str(caught.value).endswith("has hidden_size=32, and the architecture declares 64")


def test_a_vocabulary_of_another_checkpoint_is_refused(tmp_path):
    with pytest.raises(DeclarationError) as caught:
        make(replace(BERT, architecture={**ARCHITECTURE, "vocab_size": 999}), tmp_path)
    assert "the vocabulary does not belong to the architecture" in str(caught.value)
    assert "vocab_size is 999; possible:" in str(caught.value)


def test_a_token_budget_is_spent_in_whole_steps():
    assert replace(BERT, steps=0, tokens=8 * 32 * 3).total_steps == 3
    assert replace(BERT, steps=0, tokens=8 * 32 * 3 + 1).total_steps == 4
    from sweeps.mt5_uniform import PRETRAINING, PROPORTIONAL

    assert (PRETRAINING.total_steps, PRETRAINING.sampling, PROPORTIONAL.sampling) == (30_518, "uniform", "proportional")
    assert PRETRAINING.digest != PROPORTIONAL.digest


REFUSED = [
    ({"sampling": -0.3}, "sampling of a Pretraining is -0.3; an exponent lies between 0 (uniform) and 1 (proportional)"),
    ({"sampling": {"en": -1.0}}, "sampling of a Pretraining is {'en': -1.0}; give weights of at least 0 by language"),
    ({"sampling": "unifrom"}, "no sampling of a Pretraining 'unifrom'; did you mean 'uniform'? Possible: uniform, proportional"),
    ({"objective": "clm"}, "no objective of a Pretraining 'clm'; did you mean 'mlm'? Possible: mlm+rtd, mlm, span_corruption, translation"),
    ({"objective": "span_corruption"}, "objective 'span_corruption' does not pre-train model_type 'bert'; possible for it: mlm, mlm+rtd"),
    ({"architecture": T5}, "objective 'mlm' does not pre-train model_type 'mt5'; possible for it: span_corruption, translation"),
    ({"precision": "fp16"}, "no precision of a Pretraining 'fp16'; did you mean 'bf16'? Possible: bf16, fp32"),
    ({"tokens": 99}, "a Pretraining has steps or tokens: found steps=8, tokens=99"),
    ({"tokens": 1.5}, "tokens of a Pretraining is 1.5; give 0 or a positive integer"),
    ({"max_length": 64}, "max_length 64 of a Pretraining is more than max_position_embeddings 32; give at most that"),
    ({"max_length": 8}, "max_length 8 of a Pretraining is less than 16 tokens"),
    ({"initialize": "x/y"}, "checkpoint 'x/y' to go on from has a vocabulary; give its name, not a number of pieces to learn"),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "sentence"), REFUSED, ids=lambda value: str(value)[:30])
def test_wrong_declarations(changes, sentence):
    with pytest.raises(DeclarationError) as caught:
        replace(BERT, **changes)
    assert str(caught.value) == sentence


# ------------------------------------------------------------------------------ text


def test_a_folder_of_text(tmp_path, caplog):
    (tmp_path / "en.txt").write_text("One.\n\n  Two. \n", encoding="utf-8")
    (tmp_path / "de.txt.gz").write_bytes(gzip.compress("Äpfel\n".encode()))
    (tmp_path / "notes.md").write_text("no text")
    caplog.set_level("INFO")
    text = TextFolder(str(tmp_path))(0)
    assert {language: list(documents) for language, documents in text.items()} == {"de": ["Äpfel"], "en": ["One.", "Two."]}
    assert list(text["en"]) == ["One.", "Two."]  # again from the start
    assert "1 of 3 lines are blank and left out" in caplog.text
    assert list(TextFolder(str(tmp_path), ("de",))(0)) == ["de"]


@pytest.mark.parametrize(
    ("files", "languages", "sentence"),
    [
        ({}, (), "text folder FOLDER has no text: no file ends with .txt, .txt.gz, .parquet"),
        ({"en.txt": "a"}, ("sw",), "no language in text folder FOLDER 'sw'. Possible: en"),
        ({"en.txt": "a", "en.txt.gz": ""}, (), "text folder FOLDER has two files for 'en': en.txt and en.txt.gz; keep one"),
        ({"en.txt": " \n\n"}, (), "FOLDER/en.txt holds no text: 2 lines, all of them blank"),
    ],
)
def test_wrong_folders(files, languages, sentence, tmp_path):
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    with pytest.raises((DataError, DeclarationError)) as caught:
        [list(documents) for documents in TextFolder(str(tmp_path), languages)(0).values()]
    assert str(caught.value) == sentence.replace("FOLDER", str(tmp_path))


def test_text_of_the_mirror(mirror, monkeypatch):
    monkeypatch.setenv("XFER_RAY_MIRROR", str(mirror))
    contexts = HubText(
        repository="google/xquad", languages=("th", "en"), columns=("context",), configuration="xquad.{language}", split="validation"
    )
    fi = HubText(
        repository="google-research-datasets/tydiqa", languages=("en",), columns=("context",), configuration="secondary_task",
        split="validation", prefixes={"en": "english"},
    )  # fmt: skip
    assert len(list(contexts(0)["en"])) == 240
    assert len(list(fi(0)["en"])) == 440
    assert len(list(Joined((contexts, fi))(0)["en"])) == 680
    with pytest.raises(DataError) as caught:
        list(replace(contexts, columns=("text",))(0)["en"])
    assert "no column text; found: id, context, question, answers" in str(caught.value)


# ------------------------------------------------------------------------------ the command

FILE = """
import sys
sys.path.insert(0, {tests!r})
from dataclasses import replace
from test_pretrain import BERT, MT5, words
PRETRAINING = replace(BERT, steps=150)
del BERT, MT5
import os, signal
from xfer_ray.keeping import Checkpoints
def dying(self, step, write):
    save(self, step, write)
    if step > 20:
        os.kill(os.getpid(), signal.SIGKILL)
if "DIE" in os.environ:
    save, Checkpoints.save = Checkpoints.save, dying
"""


def start(folder, *arguments, text=FILE, **extra):
    (folder / "small.py").write_text(text.replace("{**", "{{**").replace("0.0}", "0.0}}").format(tests=str(Path(__file__).parent)))
    command = [sys.executable, "-c", "from xfer_ray.cli import main; main()", "pretrain", "small.py", *arguments]
    environment = {
        **os.environ,
        "XFER_RAY_CACHE": str(folder / "cache"),
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": str(Path(__file__).parent),
        **extra,
    }
    return subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_a_killed_pre_training_ends_with_the_same_bytes(tmp_path):
    undisturbed = make(replace(BERT, steps=150), tmp_path / "undisturbed")
    process = start(tmp_path, "--checkpoint-minutes", "0.001", DIE="yes")
    process.communicate(timeout=120)
    assert process.returncode == -signal.SIGKILL
    assert list((tmp_path / "results/pretrained").glob("*/checkpoints/*/step-*/complete.json"))
    assert not list((tmp_path / "results/pretrained").glob("*/complete.json"))
    again = start(tmp_path, "--checkpoint-minutes", "0.01", "--output", "out")
    out, err = again.communicate(timeout=120)
    assert (again.returncode, out) == (0, "PRETRAINING: out\n"), err
    assert "PRETRAINING: step 150/150" in err
    assert "step 1/150" not in err  # it went on
    assert hashlib.sha256((tmp_path / "out" / "model.safetensors").read_bytes()).hexdigest() == undisturbed
    assert (tmp_path / "out" / "losses.csv").read_bytes() == (tmp_path / "undisturbed" / "losses.csv").read_bytes()
    assert not list((tmp_path / "results/pretrained").glob("*/checkpoints/*/step-*/*"))


def test_an_output_that_would_not_hold_the_checkpoint_alone_is_refused_before_anything_is_made(tmp_path):
    (tmp_path / "mine.py").write_text("from test_pretrain import BERT as PRETRAINING\n")
    (tmp_path / "file").write_text("x")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").write_text("x")
    (tmp_path / "link").symlink_to("nowhere")
    for output, reason in (
        ("file", "is a file; give a folder that is empty or not there yet"),
        ("link", "is a link that leads nowhere; give a folder that is empty or not there yet"),
        ("full", "is not empty; give a folder that is"),
    ):
        with pytest.raises(DeclarationError) as refused:
            pretrain(tmp_path / "mine.py", Options(storage=str(tmp_path / "results"), output=tmp_path / output))
        assert str(refused.value) == f"--output {tmp_path / output} {reason}"
    assert not (tmp_path / "results").exists()


@pytest.mark.slow
def test_two_workers_of_ray_train_learn_as_one(tmp_path):
    few = FILE.replace(
        "replace(BERT, steps=150)",
        "replace(BERT, steps=12, architecture={**BERT.architecture, 'hidden_dropout_prob': 0.0, 'attention_probs_dropout_prob': 0.0})",
    )
    losses, weights = {}, {}
    for workers in ("1", "2"):
        out, err = (
            started := start(tmp_path, "--workers", workers, "--storage", workers, "--output", f"out-{workers}", text=few)
        ).communicate(timeout=200)
        assert (started.returncode, out) == (0, f"PRETRAINING: out-{workers}\n"), err
        losses[workers] = [float(row["loss"]) for row in rows(tmp_path / f"out-{workers}" / "losses.csv") if row["language"] == "en"]
        weights[workers] = load_file(tmp_path / f"out-{workers}" / "model.safetensors")
    assert losses["2"] == pytest.approx(losses["1"], abs=1e-4)
    assert losses["2"][-1] < losses["2"][0]
    for name, weight in weights["1"].items():
        assert torch.allclose(weight, weights["2"][name], atol=1e-4), name
    AutoModelForMaskedLM.from_pretrained(tmp_path / "out-2")
