"""Translators that are made: what they read, that they learn, repeat themselves and go on, and what is refused."""

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoConfig, AutoModelForSeq2SeqLM, AutoTokenizer

from sweeps import translator_mirror
from xfer_ray import Pretraining
from xfer_ray.errors import DataError, DeclarationError
from xfer_ray.models import parallel, word_by_word
from xfer_ray.models import pretraining as maker
from xfer_ray.tasks import XNLI_PAIRS

torch.set_num_threads(1)
NUMBERS = {
    "en": ("one", "two", "three", "four", "five", "six"),
    "de": ("eins", "zwei", "drei", "vier", "fünf", "sechs"),
    "es": ("uno", "dos", "tres", "cuatro", "cinco", "seis"),
}


def counted(seed, count=300, longest=3):
    """Numbers in words; English comes first in every document."""
    random = np.random.default_rng(0)
    drawn = [random.permutation(6)[: random.integers(1, longest + 1)] for _ in range(2 * count)]
    told = {language: [" ".join(words[i] for i in one) for one in drawn] for language, words in NUMBERS.items()}
    return [{language: tuple(texts[2 * i : 2 * i + 2]) for language, texts in told.items()} for i in range(count)]


SMALL = Pretraining(
    architecture={
        "model_type": "t5", "d_model": 32, "d_ff": 64, "d_kv": 16, "num_heads": 2, "num_layers": 1, "num_decoder_layers": 1,
    },
    vocabulary=440, text=counted, objective="translation", steps=6, batch_size=8, max_length=32, learning_rate=1e-2, warmup_steps=5,
)  # fmt: skip


def make(pretraining, folder, keeper=None, report=lambda step, steps: None):
    folder.mkdir(exist_ok=True)
    maker.make(pretraining, folder, maker.Hooks(report, keeper=keeper))
    return (folder / "model.safetensors").read_bytes()


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("made")
    make(SMALL, folder)
    return folder


def course(folder, **changes):
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModelForSeq2SeqLM.from_pretrained(folder)
    declared = replace(SMALL, **changes)
    return parallel.Translations(declared, model.eval(), tokenizer, declared.text(0)), tokenizer, model


# ------------------------------------------------------------------------------ what is read


def test_a_language_is_one_token_and_the_size_is_kept(made):
    tokenizer = AutoTokenizer.from_pretrained(made)
    ids = tokenizer("<2de> one two").input_ids
    assert tokenizer.convert_ids_to_tokens(ids)[0] == "<2de>"
    assert [tokenizer.convert_tokens_to_ids(f"<2{language}>") for language in NUMBERS] != [tokenizer.unk_token_id] * 3
    assert tokenizer.decode(ids, skip_special_tokens=True).strip() == "one two"
    assert len(tokenizer) <= 440
    assert AutoModelForSeq2SeqLM.from_pretrained(made).config.vocab_size == len(tokenizer)


def test_what_is_read_is_what_a_user_gives_the_tokenizer(made):
    taught, tokenizer, _ = course(made)
    german = {sentence: told for document in counted(0) for sentence, told in zip(document["en"], document["de"], strict=True)}
    spanish = {sentence: told for document in counted(0) for sentence, told in zip(document["en"], document["es"], strict=True)}
    assert taught.languages == ("de", "es")
    batch = taught.take(1)
    inputs, labels = batch.part(slice(None))
    for row, label, language, count in zip(inputs.tolist(), labels.tolist(), batch.languages, batch.counts, strict=True):
        read = tokenizer.decode([one for one in row if one], skip_special_tokens=True).strip()
        written = (german, spanish)[language][read]
        assert [one for one in row if one] == tokenizer(f"<2{taught.languages[language]}> {read}").input_ids
        assert [one for one in label if one != -100] == tokenizer(written).input_ids
        assert count == len(tokenizer(written).input_ids)


def test_the_loss_is_that_of_transformers_one_pair_at_a_time(made):
    taught, _, model = course(made)
    batches = [taught.take(step) for step in range(1, parallel.BUCKET + 1)]
    uneven = [batch for batch in batches if all(filler in told for told, filler in zip(batch.part(slice(None)), (0, -100), strict=True))]
    inputs, labels = uneven[0].part(slice(None))
    losses = taught.module(inputs, labels)
    for row, label, loss, count in zip(inputs, labels, losses, uneven[0].counts, strict=True):
        alone = model(input_ids=row[row != 0][None], labels=label[label != -100][None])
        assert (loss / int(count)).item() == pytest.approx(alone.loss.item(), abs=1e-5)


def test_a_batch_has_pairs_of_similar_length_and_each_step_another(made):
    taught, _, _ = course(made)
    batches = [taught.take(step) for step in range(1, parallel.BUCKET + 1)]
    assert np.mean([np.ptp(batch.counts) for batch in batches]) < 1
    assert len({int(batch.counts.max()) for batch in batches[:10]}) > 1
    again, _, _ = course(made)
    later = [again.take(parallel.BUCKET + step) for step in range(1, parallel.BUCKET + 1)]
    assert any(not np.array_equal(one.counts, other.counts) for one, other in zip(batches, later, strict=True))
    inputs, _ = again.take(parallel.BUCKET + 7).part(slice(None))
    assert torch.equal(taught.take(parallel.BUCKET + 7).part(slice(None))[0], inputs)


def test_sampling_weighs_the_languages_that_are_translated_into(made):
    taught, _, _ = course(made, sampling={"de": 3.0}, batch_size=64)
    drawn = np.concatenate([taught.take(step).languages for step in range(1, parallel.BUCKET + 1)])
    assert (drawn == 0).mean() == pytest.approx(0.75, abs=0.03)
    assert course(made, sampling={"es": 0.0})[0].languages == ("de",)
    assert course(made, sampling="proportional")[0].shares["es"] > 0.5  # its words are longer


def test_pairs_that_are_too_long_are_left_out_and_counted(made, caplog):
    whole, _, _ = course(made, batch_size=64)
    lengths = np.concatenate([whole.take(step).part(slice(None))[0].ne(0).sum(1).numpy() for step in range(1, 20)])
    assert lengths.max() > 5
    assert not caplog.records
    short, _, _ = course(made, batch_size=64, text=lambda seed: [*counted(0), {"en": ("one " * 40,), "de": ("eins",)}])
    assert caplog.messages == ["1 of 601 pairs into de are left out: more than 32 tokens"]
    assert max(short.take(step).part(slice(None))[0].shape[1] for step in range(1, 20)) <= 32


# ------------------------------------------------------------------------------ what is learned


def words(count, seed):
    """Pairs in which word n, 3 to 42, is translated by word n + 40."""
    random = np.random.default_rng(seed)
    drawn = [random.permutation(40)[:6] + 3 for _ in range(count)]
    return [(np.append(one, 1), np.append(one + 40, 1)) for one in drawn]


def test_a_word_is_nearest_to_its_translation():
    torch.manual_seed(0)
    table = word_by_word.together(words(500, 0), 83, 32)
    near = torch.nn.functional.normalize(table) @ torch.nn.functional.normalize(table).T - 2 * torch.eye(83)
    assert near[3:43].argmax(1).tolist() == list(range(43, 83))
    assert table.norm(dim=1)[3:].tolist() == pytest.approx([32**0.5] * 80, rel=1e-4)


@pytest.mark.parametrize("kind", ["mt5", "umt5"])
def test_it_starts_by_translating_word_by_word(kind):
    torch.manual_seed(0)
    sizes = {"d_model": 64, "d_ff": 64, "d_kv": 16, "num_heads": 4, "num_layers": 2, "num_decoder_layers": 2}
    special = {"pad_token_id": 0, "decoder_start_token_id": 0, "eos_token_id": 1, "tie_word_embeddings": False}
    model = AutoModelForSeq2SeqLM.from_config(AutoConfig.for_model(kind, vocab_size=83, **sizes, **special)).eval()
    maker._untie(model)
    word_by_word.start(model, word_by_word.together(words(500, 0), 83, 64))
    right = []
    for source, target in words(50, 1):
        told = torch.tensor(np.append(0, target[:-1]))[None]
        logits = model(input_ids=torch.tensor(source)[None], decoder_input_ids=told).logits[0, 1:6, 43:]
        right += (logits.argmax(1) + 43 == torch.tensor(target[1:6])).tolist()
    assert np.mean(right) > 0.5  # 0.025 by chance


def test_it_learns_to_translate_into_the_language_that_is_asked_for(tmp_path):
    architecture = {**SMALL.architecture, "model_type": "mt5", "dropout_rate": 0.0}
    make(replace(SMALL, architecture=architecture, steps=250, batch_size=32, learning_rate=5e-3), tmp_path)
    curve = list(csv.DictReader((tmp_path / "losses.csv").open()))
    assert list(curve[0]) == ["step", "language", "loss", "pairs"]
    assert sum(int(row["pairs"]) for row in curve[-2:]) == 250 * 32
    tokenizer, model = AutoTokenizer.from_pretrained(tmp_path), AutoModelForSeq2SeqLM.from_pretrained(tmp_path)
    for language in ("de", "es"):
        told = [(source, target) for document in counted(0, 20) for source, target in zip(document["en"], document[language], strict=True)]
        inputs = tokenizer([f"<2{language}> {source}" for source, _ in told], padding=True, return_tensors="pt")
        written = model.generate(**inputs, max_new_tokens=10, do_sample=False)
        said = tokenizer.batch_decode(written, skip_special_tokens=True)
        assert np.mean([one == target for one, (_, target) in zip(said, told, strict=True)]) > 0.6, said


class Folders:
    """Keeps a checkpoint of every fourth step in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.steps = folder, 0

    def due(self):
        self.steps += 1
        return self.steps % 4 == 0

    def save(self, step, write):
        (self.folder / str(step)).mkdir(parents=True)
        write(self.folder / str(step))

    def latest(self):
        return max((int(path.name) for path in self.folder.glob("*")), default=None)

    def fetch(self, step):
        return self.folder / str(step)

    def prune(self, needed):
        pass


class Killed(Exception):
    """As a worker that is lost."""


def test_a_run_that_was_killed_ends_with_the_same_bytes(tmp_path):
    declared = replace(SMALL, steps=parallel.BUCKET + 8, architecture={**SMALL.architecture, "dropout_rate": 0.1})

    def dying(step, steps):
        if step == parallel.BUCKET + 3:
            raise Killed

    undisturbed = make(declared, tmp_path / "undisturbed")
    with pytest.raises(Killed):
        make(declared, tmp_path / "killed", Folders(tmp_path / "kept"), dying)
    seen = []
    resumed = make(declared, tmp_path / "resumed", Folders(tmp_path / "kept"), lambda step, steps: seen.append(step))
    assert seen == list(range(53, 59))  # after step 52, the last checkpoint
    assert resumed == undisturbed
    for name in ("tokenizer.json", "losses.csv"):
        assert (tmp_path / "resumed" / name).read_bytes() == (tmp_path / "undisturbed" / name).read_bytes()


def test_the_same_declaration_gives_the_same_bytes(made, tmp_path):
    torch.manual_seed(123)  # what went on before does not matter
    make(SMALL, tmp_path / "again")
    for name in ("model.safetensors", "tokenizer.json", "config.json", "losses.csv"):
        assert (tmp_path / "again" / name).read_bytes() == (made / name).read_bytes()
    assert make(replace(SMALL, seed=1), tmp_path / "other") != (made / "model.safetensors").read_bytes()


def test_micro_batches_give_the_same_gradient(made, tmp_path):
    plain = replace(SMALL, steps=2, architecture={**SMALL.architecture, "dropout_rate": 0.0})
    losses = []
    for name, micro in (("whole", None), ("parts", 3)):
        make(replace(plain, micro_batch=micro), tmp_path / name)
        losses.append([float(row["loss"]) for row in csv.DictReader((tmp_path / name / "losses.csv").open())])
    assert losses[0] == pytest.approx(losses[1], abs=1e-4)


@pytest.mark.parametrize("kind", ["mt5", "umt5"])
def test_kin_of_t5_load_as_they_were_made(kind, tmp_path):
    make(replace(SMALL, steps=1, architecture={**SMALL.architecture, "model_type": kind}), tmp_path)
    _, info = AutoModelForSeq2SeqLM.from_pretrained(tmp_path, output_loading_info=True)
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]


# ------------------------------------------------------------------------------ what is refused


def test_wrong_declarations():
    with pytest.raises(DeclarationError) as caught:
        replace(SMALL, architecture={"model_type": "bert"})
    assert str(caught.value) == "objective 'translation' does not pre-train model_type 'bert'; possible for it: mlm, mlm+rtd"
    with pytest.raises(DeclarationError) as caught:
        replace(SMALL, steps=0, tokens=1_000)
    assert str(caught.value) == "objective 'translation' counts steps; give steps in place of tokens"


TEXTS = [
    (
        {"en": ["One."], "de": ["Eins."]},
        "objective 'translation' reads the same sentences by language, and this text has documents by language; "
        "give a list of documents such as {'en': ('The dog.',), 'de': ('Der Hund.',)}",
    ),
    ([{"en": ("One.",)}, {"en": ("Two.",)}], "objective 'translation' reads text in at least two languages; found: en"),
    ([], "objective 'translation' reads text in at least two languages; found: none"),
    ([{"en": ("One.",)}, {"de": ("Eins.",)}], "objective 'translation' finds no document with sentences in two languages"),
    (
        [{"en": ("One.", "Two."), "de": ("Eins.", "Zwei.")}, {"en": ("One.", "Two."), "de": ("Eins. Zwei.",)}],
        "document 1 has 2 sentences in 'en' and 1 in 'de'; objective 'translation' needs the same sentences in each of its languages",
    ),
    (
        [{"en": ("one two three",) * 20, "de": (" ".join(NUMBERS["de"] * 9),) * 20}],
        "all 20 pairs into 'de' have a text of more than max_length 32 tokens; give a larger one",
    ),
]


@pytest.mark.parametrize(("text", "sentence"), TEXTS, ids=["by language", "one", "none", "apart", "uneven", "long"])
def test_wrong_text(text, sentence, made, tmp_path):
    with pytest.raises((DeclarationError, DataError)) as caught:
        make(replace(SMALL, text=lambda seed: text, vocabulary=str(made)), tmp_path)
    assert str(caught.value) == sentence


def test_a_vocabulary_without_language_tokens_is_refused(made, tmp_path):
    with pytest.raises(DeclarationError) as caught:
        make(replace(SMALL, vocabulary=str(made), text=lambda seed: [{"en": ("one",), "fr": ("un",)}]), tmp_path)
    assert str(caught.value) == "objective 'translation' needs a tokenizer with the token <2fr>; learn the vocabulary, or take MADLAD-400's"


def test_a_source_language_in_the_sampling_is_refused(made):
    with pytest.raises(DeclarationError) as caught:
        course(made, sampling={"en": 1.0})
    assert str(caught.value) == "no language of the text for the sampling 'en'. Possible: de, es"


# ------------------------------------------------------------------------------ the mirror's translator


def test_the_translator_of_the_mirror_has_not_seen_what_it_translates(mirror, monkeypatch):
    monkeypatch.setenv("XFER_RAY_MIRROR", str(mirror))
    documents = translator_mirror.told(0)
    assert {tuple(document) for document in documents} == {("en", "de", "es")}
    assert len({document["en"] for document in documents}) == len(documents) > 5_000
    shared = set()
    for corpus in translator_mirror.CORPORA:
        test = {text for example in XNLI_PAIRS(corpus, "test") for text in (example.first, example.second)}
        shared |= {(corpus.language, text) for document in documents for text in document[corpus.language] if text in test}
    assert len(shared) <= 30, sorted(shared)  # what the splits have in common, such as "I don't know."
