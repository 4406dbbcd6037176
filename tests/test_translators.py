"""What a translator is, and the families of checkpoints against a plain loop of transformers, one text at a time."""

import json
import shutil
import sys
import warnings
from pathlib import Path

import pytest
import sentencepiece
import torch
import transformers
from languages import BENCHMARKS
from transformers import (
    AutoModelForSeq2SeqLM,
    AutoTokenizer,
    GenerationConfig,
    M2M100Config,
    M2M100ForConditionalGeneration,
    M2M100Tokenizer,
    MarianConfig,
    MarianMTModel,
    MarianTokenizer,
    MBart50Tokenizer,
    MBartConfig,
    MBartForConditionalGeneration,
    NllbTokenizer,
    T5Config,
    T5ForConditionalGeneration,
)

from xfer_ray.errors import DataError, DeclarationError, SetupError
from xfer_ray.identity import declaration
from xfer_ray.translation import translator as translators
from xfer_ray.translation.checkpoint import batches, room
from xfer_ray.translation.codes import chosen, demanded, is_same, tongue
from xfer_ray.translation.families import speech
from xfer_ray.translation.opening import open_translator
from xfer_ray.translation.translator import Translation, Translator, decoding, licence, translated, translator_of

torch.set_num_threads(1)
transformers.logging.set_verbosity_error()
ENGLISH = (
    "The dog barks.",
    "A cat sees the old house by the river.",
    "Where is the river?",
    "He paints the tree, and she follows him home.",
    "Horses like fish and birds.",
    "It rains today in the garden by the stone wall.",
)
GERMAN = (
    "Der Hund bellt.",
    "Eine Katze sieht das alte Haus am Fluss.",
    "Wo ist der Fluss?",
    "Er malt den Baum, und sie folgt ihm nach Hause.",
    "Pferde mögen Fische und Vögel.",
    "Heute regnet es im Garten an der Mauer.",
)
SPANISH = (
    "El perro ladra.",
    "Un gato ve la vieja casa junto al río.",
    "¿Dónde está el río?",
    "Él pinta el árbol, y ella lo sigue a casa.",
    "A los caballos les gustan los peces y los pájaros.",
    "Hoy llueve en el jardín junto al muro.",
)
UNSEEN = ("The river sees a dog and a bird and the old tree.", "Fish.", "She likes horses, and he follows the cat by the wall today.")
SIZE = {"d_model": 32, "encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 2, "decoder_attention_heads": 2, "encoder_ffn_dim": 64, "decoder_ffn_dim": 64, "dropout": 0.0, "attention_dropout": 0.0, "max_position_embeddings": 128}  # fmt: skip


# ------------------------------------------------------------------------------ tiny checkpoints


def pieces(file, lines, size=150, **options):
    """Train SentencePiece on a few lines; the pieces that are no special tokens, with their scores."""
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines * 5), model_prefix=str(file.with_suffix("")), vocab_size=size, hard_vocab_limit=False, minloglevel=2, **options
    )  # fmt: skip
    file.with_suffix(".model").rename(file)
    model = sentencepiece.SentencePieceProcessor(model_file=str(file))
    rows = range(model.get_piece_size())
    return [(model.id_to_piece(row), model.get_score(row)) for row in rows if not model.is_control(row) and not model.is_unknown(row)]


def learned(model, folder, tokenizer, targets, rate=1e-2, steps=90):
    """Fit the model to the six sentences, so that its translations have ends, and save it.

    `targets` is how the tokenizer and the text in front of a source are told each target, and the sentences in it.
    """
    batches = []
    for told, prefix, sentences in targets:
        tokenizer.tgt_lang = told
        rows = tokenizer([prefix + text for text in ENGLISH], padding=True, return_tensors="pt")
        labels = tokenizer(text_target=list(sentences), padding=True, return_tensors="pt").input_ids
        batches.append((rows, labels.masked_fill(labels == tokenizer.pad_token_id, -100)))
    adam = torch.optim.Adam(model.parameters(), lr=rate)
    for step in range(steps * len(targets)):
        rows, labels = batches[step % len(targets)]
        adam.zero_grad()
        model(input_ids=rows.input_ids, attention_mask=rows.attention_mask, labels=labels).loss.backward()
        adam.step()
        with torch.no_grad():  # as OPUS-MT has it, whose decoder starts from nothing
            model.get_input_embeddings().weight[tokenizer.pad_token_id] = 0.0
    model.eval().save_pretrained(folder)
    return folder


def marian(folder, codes=(), source="en", target="de"):
    """OPUS-MT's layout: two SentencePiece models, one vocabulary, the pad token last, which also starts the decoder."""
    folder.mkdir()
    target_pieces = pieces(folder / "target.spm", GERMAN + SPANISH, size=420, byte_fallback=True)
    found = [*pieces(folder / "source.spm", ENGLISH), *target_pieces]
    vocabulary = list(dict.fromkeys(["</s>", "<unk>", *codes, *(piece for piece, _ in found), "<pad>"]))
    (folder / "vocab.json").write_text(json.dumps({piece: row for row, piece in enumerate(vocabulary)}))
    told = {"source_lang": source, "target_lang": target, "model_max_length": 128}
    (folder / "tokenizer_config.json").write_text(json.dumps(told))
    pad = len(vocabulary) - 1
    special = {"pad_token_id": pad, "decoder_start_token_id": pad, "eos_token_id": 0, "bos_token_id": 0, "forced_eos_token_id": 0}
    torch.manual_seed(0)
    model = MarianMTModel(MarianConfig(vocab_size=len(vocabulary), scale_embedding=True, init_std=0.1, **SIZE, **special))
    model.generation_config = GenerationConfig(bad_words_ids=[[pad]], num_beams=6, max_length=128, renormalize_logits=True, **special)
    tokenizer = MarianTokenizer.from_pretrained(folder)
    return learned(
        model, folder, tokenizer, [(None, f"{codes[0]} ", GERMAN), (None, f"{codes[1]} ", SPANISH)] if codes else [(None, "", GERMAN)]
    )


def m2m100(folder):
    folder.mkdir()
    found = pieces(folder / "sentencepiece.bpe.model", ENGLISH + GERMAN + SPANISH, size=200, model_type="bpe")
    vocabulary = ["<s>", "<pad>", "</s>", "<unk>", *(piece for piece, _ in found)]
    (folder / "vocab.json").write_text(json.dumps({piece: row for row, piece in enumerate(vocabulary)}))
    tokenizer = M2M100Tokenizer(str(folder / "vocab.json"), str(folder / "sentencepiece.bpe.model"), src_lang="en", tgt_lang="de")
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    model = M2M100ForConditionalGeneration(M2M100Config(vocab_size=len(vocabulary) + 108, init_std=0.1, decoder_start_token_id=2, **SIZE))
    return learned(model, folder, tokenizer, [("de", "", GERMAN), ("es", "", SPANISH)])


def nllb(folder):
    tokenizer = NllbTokenizer().train_new_from_iterator(ENGLISH + GERMAN + SPANISH, 340, show_progress=False)
    tokenizer.save_pretrained(folder)
    tokenizer.src_lang, tokenizer.tgt_lang = "eng_Latn", "deu_Latn"
    torch.manual_seed(0)
    model = M2M100ForConditionalGeneration(M2M100Config(vocab_size=len(tokenizer), init_std=0.1, decoder_start_token_id=2, **SIZE))
    return learned(model, folder, tokenizer, [("deu_Latn", "", GERMAN), ("spa_Latn", "", SPANISH)])


def madlad(folder):
    folder.mkdir()
    ids = {"pad_id": 0, "eos_id": 1, "unk_id": 2, "bos_id": -1}
    pieces(
        folder / "spiece.model", ENGLISH + GERMAN + SPANISH, user_defined_symbols=["<2de>", "<2en>", "<2es>", "<2zh>", "<2zh_Latn>"], **ids
    )
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "T5Tokenizer", "extra_ids": 0}))
    tokenizer = AutoTokenizer.from_pretrained(folder)
    torch.manual_seed(0)
    model = T5ForConditionalGeneration(
        T5Config(vocab_size=len(tokenizer), d_model=32, d_kv=16, d_ff=64, num_layers=1, num_heads=2, decoder_start_token_id=0, pad_token_id=0, eos_token_id=1, dropout_rate=0.0, tie_word_embeddings=False)
    )  # fmt: skip
    model.lm_head.weight = torch.nn.Parameter(model.lm_head.weight.detach().clone())  # MADLAD has one of its own
    return learned(model, folder, tokenizer, [(None, "<2de> ", GERMAN), (None, "<2es> ", SPANISH)], rate=5e-3, steps=200)


def mbart50(folder):
    folder.mkdir()
    special = [(token, 0.0) for token in ("<s>", "<pad>", "</s>", "<unk>")]
    tokenizer = MBart50Tokenizer(vocab=special + pieces(folder / "spm", ENGLISH + GERMAN + SPANISH), src_lang="en_XX", tgt_lang="de_DE")
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    special_ids = {"pad_token_id": 1, "eos_token_id": 2, "bos_token_id": 0, "decoder_start_token_id": 2}
    model = MBartForConditionalGeneration(MBartConfig(vocab_size=len(tokenizer), init_std=0.1, **SIZE, **special_ids))
    return learned(model, folder, tokenizer, [("de_DE", "", GERMAN), ("es_XX", "", SPANISH)])


FAMILIES = {"marian": marian, "m2m100": m2m100, "nllb": nllb, "madlad": madlad, "mbart50": mbart50}


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    root = tmp_path_factory.mktemp("translators")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return {name: make(root / name) for name, make in FAMILIES.items()}


@pytest.fixture(scope="module")
def many_targets(tmp_path_factory):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return marian(tmp_path_factory.mktemp("many") / "marian", [">>deu<<", ">>spa<<", ">>cmn_Hans<<", ">>cmn_Hant<<"], "eng", "mul")


def opened(folder, source="en", target="de", **options):
    return open_translator(Translator(kind="checkpoint", name=str(folder), **options), source=source, target=target, folder=folder)


CODES = {
    "m2m100": {"en": "en", "de": "de", "es": "es"},
    "nllb": {"en": "eng_Latn", "de": "deu_Latn", "es": "spa_Latn"},
    "mbart50": {"en": "en_XX", "de": "de_DE", "es": "es_XX"},
}


def plain_loop(name, folder, texts, beams, source="en", target="de"):
    """What a user of transformers writes by the model's page: one text at a time, nothing padded."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSeq2SeqLM.from_pretrained(folder).eval()
    model.generation_config.forced_eos_token_id = None
    options = {}
    if name in CODES:
        tokenizer.src_lang, code = CODES[name][source], CODES[name][target]
        options["forced_bos_token_id"] = tokenizer.get_lang_id(code) if name == "m2m100" else tokenizer.convert_tokens_to_ids(code)
    found = []
    for text in texts:
        inputs = tokenizer(f"<2{target}> {text}" if name == "madlad" else text, return_tensors="pt")
        length = 2 * -(-inputs.input_ids.shape[1] // 16) * 16 + 20
        ids = model.generate(**inputs, num_beams=beams, do_sample=False, max_new_tokens=min(length, 127), **options)[0].tolist()
        said = [row for row in ids[1:] if row not in options.values()]
        found.append(Translation(tokenizer.decode(said, skip_special_tokens=True).strip(), model.config.eos_token_id not in said))
    return found


# ------------------------------------------------------------------------------ families


@pytest.mark.parametrize("beams", [1, 4])
@pytest.mark.parametrize("name", FAMILIES)
def test_a_checkpoint_translates_as_a_plain_loop_does(checkpoints, name, beams):
    texts = [*ENGLISH, *UNSEEN]
    assert opened(checkpoints[name], beams=beams)(texts) == plain_loop(name, checkpoints[name], texts, beams)


@pytest.mark.parametrize("name", ["m2m100", "nllb", "madlad", "mbart50"])
def test_source_and_target_are_told_as_a_plain_loop_tells_them(checkpoints, name):
    texts = [*GERMAN, *UNSEEN]
    assert opened(checkpoints[name], "de", "es", beams=1)(texts) == plain_loop(name, checkpoints[name], texts, 1, "de", "es")
    begins = [speech(checkpoints[name], source, "es").encoded("A")[0] for source in ("en", "de")]
    assert (begins[0] == begins[1]) == (name == "madlad")  # whose source says nothing of its language


@pytest.mark.parametrize("name", FAMILIES)
def test_a_checkpoint_says_what_it_has_learned(checkpoints, name):
    assert opened(checkpoints[name])(ENGLISH) == [Translation(text) for text in GERMAN]
    if name != "marian":
        assert opened(checkpoints[name], target="es")(ENGLISH) == [Translation(text) for text in SPANISH]


@pytest.mark.parametrize("name", ["marian", "m2m100", "madlad"])
def test_order_and_company_change_no_translation(checkpoints, name):
    translate = opened(checkpoints[name])
    texts = [*ENGLISH, *UNSEEN, *ENGLISH]
    found = translate(texts)
    assert translate(texts[::-1]) == found[::-1]
    assert [translate([text])[0] for text in texts] == found
    assert opened(checkpoints[name], batch_tokens=1)(texts) == found


def test_nothing_that_the_checkpoint_says_of_decoding_leaks_in(checkpoints, tmp_path):
    folder = shutil.copytree(checkpoints["marian"], tmp_path / "marian")
    said = json.loads((folder / "generation_config.json").read_text())
    said |= {"do_sample": True, "temperature": 9.0, "num_beams": 3, "max_length": 6, "no_repeat_ngram_size": 1, "length_penalty": -4.0, "min_length": 5, "repetition_penalty": 3.0}  # fmt: skip
    (folder / "generation_config.json").write_text(json.dumps(said))
    texts = [*ENGLISH, *UNSEEN]
    assert opened(folder)(texts) == opened(checkpoints["marian"])(texts)


def test_a_model_of_many_targets_is_told_the_target_before_every_text(many_targets):
    assert speech(many_targets, "en", "de").encoded("A")[0] == 2
    assert speech(many_targets, "en", "zh").prefix == ">>cmn_Hans<< "
    assert speech(many_targets, "en", "zh_Hant").prefix == ">>cmn_Hant<< "
    assert opened(many_targets)(ENGLISH) == [Translation(text) for text in GERMAN]
    assert opened(many_targets, target="es")(ENGLISH) == [Translation(text) for text in SPANISH]


def test_marian_never_writes_the_token_that_pads(checkpoints, tmp_path):
    folder = shutil.copytree(checkpoints["marian"], tmp_path / "marian")
    model = MarianMTModel.from_pretrained(folder)
    model.final_logits_bias[0, model.config.pad_token_id] = 30.0
    model.generation_config.bad_words_ids = None
    model.generation_config.forced_eos_token_id = None
    model.save_pretrained(folder)
    assert opened(folder)([*ENGLISH, *UNSEEN]) == opened(checkpoints["marian"])([*ENGLISH, *UNSEEN])


def test_marian_spells_a_translation_with_the_pieces_of_the_target(checkpoints):
    spoken = speech(checkpoints["marian"], "en", "de")
    assert spoken.decoded(spoken.tokenizer.convert_tokens_to_ids(["▁", "<0xC3>", "<0xB6>"])) == "ö"


def test_a_translation_without_an_end_is_truncated(checkpoints, tmp_path):
    folder = shutil.copytree(checkpoints["marian"], tmp_path / "marian")
    model = MarianMTModel.from_pretrained(folder)
    model.final_logits_bias[0, 0] = -1e4  # never ends
    model.save_pretrained(folder)
    found = opened(folder)(["The dog barks.", "Where is the river?"])
    assert all(one.truncated and one.text for one in found)


def test_sentences_are_translated_one_by_one_and_put_together_again(checkpoints):
    text = "  The dog barks.  Where is the river?\n\nHorses like fish and birds. *** \n"
    assert opened(checkpoints["marian"])([text]) == [
        Translation("  Der Hund bellt.  Wo ist der Fluss?\n\nPferde mögen Fische und Vögel. *** \n")
    ]


def test_a_text_of_ten_thousand_letters_is_read_to_its_end(checkpoints):
    sent = []
    spoken = speech(checkpoints["marian"], "en", "de")
    from xfer_ray.translation.segments import by_segment, segments

    text = "dog" * 3333 + "!"
    translate = by_segment(
        lambda texts: [sent.append(one) or Translation(one) for one in texts], lambda one: segments(one, "en", spoken.length, 54), "de"
    )
    assert translate([text]) == [Translation(text)]
    assert all(spoken.length(one) <= 54 for one in sent)
    assert len(opened(checkpoints["marian"])([text])) == 1


def test_batches_hold_every_row_once_within_the_budget():
    lengths = [3, 50, 17, 16, 1, 33, 17, 16, 90]
    found = list(batches(lengths, 40))
    assert sorted(row for batch in found for row in batch) == list(range(len(lengths)))
    assert all(len(batch) == 1 or len(batch) * max(lengths[row] for row in batch) <= 40 for batch in found)
    assert all(len({room(lengths[row], None) for row in batch}) == 1 for batch in found)


# ------------------------------------------------------------------------------ wrong input


@pytest.mark.parametrize(
    ("name", "source", "target", "sentence"),
    [
        ("m2m100", "en", "tlh", r"knows no language 'tlh'; it knows 100: af, am, .*, …"),
        ("m2m100", "xx", "de", "knows no language 'xx'"),
        ("nllb", "en", "zh_Latn", r"knows no language 'zh_Latn'; it knows 202: ace_Arab, .*, …"),
        ("madlad", "en", "fr", "knows no language 'fr'; it knows 5: de, en, es, zh, zh_Latn"),
        ("mbart50", "is", "de", "knows no language 'is'; it knows 52"),
        ("marian", "en", "fr", "translates from en to de, not from en to fr"),
        ("marian", "fr", "de", "translates from en to de, not from fr to de"),
    ],
)
def test_an_unknown_language_is_refused_with_what_is_known(checkpoints, name, source, target, sentence):
    with pytest.raises(DeclarationError, match=sentence):
        opened(checkpoints[name], source, target)


def test_many_targets_lists_them_and_checks_the_source(many_targets):
    with pytest.raises(DeclarationError, match="knows no language 'fr'; it knows 4: cmn_Hans, cmn_Hant, deu, spa"):
        opened(many_targets, target="fr")
    with pytest.raises(DeclarationError, match="translates from eng to mul, not from de to zh"):
        opened(many_targets, "de", "zh")


def test_what_is_no_translator_is_refused(checkpoints, tmp_path):
    with pytest.raises(SetupError, match="has no folder"):
        opened(tmp_path / "nowhere")
    with pytest.raises(SetupError, match="config.json"):
        opened(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert"}))
    with pytest.raises(SetupError, match="is a bert, no translator that is known; possible: OPUS-MT"):
        opened(tmp_path)
    damaged = shutil.copytree(checkpoints["marian"], tmp_path / "damaged")
    (damaged / "model.safetensors").write_bytes(b"no weights")
    with pytest.raises(SetupError, match="has no weights that can be read"):
        opened(damaged)
    other = shutil.copytree(checkpoints["marian"], tmp_path / "other")
    words = json.loads((other / "vocab.json").read_text())
    (other / "vocab.json").write_text(json.dumps(words | {f"more{n}": len(words) + n for n in range(3)}))
    with pytest.raises(SetupError, match="does not belong to its weights"):
        opened(other)


def test_max_length_has_to_fit_the_positions(checkpoints):
    with pytest.raises(DeclarationError, match="max_length is 129; the model has 128 positions"):
        opened(checkpoints["marian"], max_length=129)
    long = "The dog barks, the cat sees the old house, he paints the tree, she follows him home, and horses like fish."
    assert opened(checkpoints["marian"], max_length=12)([long]) != opened(checkpoints["marian"])([long])


# ------------------------------------------------------------------------------ codes


@pytest.mark.parametrize(
    ("language", "known", "found"),
    [
        ("de", ["eng_Latn", "deu_Latn"], "deu_Latn"),
        ("zh", ["zho_Hant", "zho_Hans", "yue_Hant"], "zho_Hans"),
        ("zh_Hant", ["zho_Hans", "zho_Hant"], "zho_Hant"),
        ("zh-TW", ["zho_Hans", "zho_Hant"], "zho_Hant"),
        ("zh", ["cmn", "cmn_Hans", "cmn_Hant"], "cmn_Hans"),
        ("zh", ["zh_CN", "zh_Latn"], "zh_CN"),
        ("zh_Hant", ["zh"], None),
        ("ar", ["ary_Arab", "arb_Arab", "arz_Arab"], "arb_Arab"),
        ("sw", ["swh_Latn"], "swh_Latn"),
        ("sw", ["sw_KE"], "sw_KE"),
        ("fa", ["prs_Arab", "pes_Arab"], "pes_Arab"),
        ("ko", ["kor_Hang"], "kor_Hang"),
        ("no", ["nno_Latn", "nob_Latn"], "nob_Latn"),
        ("iw", ["heb_Hebr"], "heb_Hebr"),
        ("tl", ["tgl_Latn"], "tgl_Latn"),
        ("prs", ["pes_Arab", "prs_Arab"], "prs_Arab"),
        ("pt", ["pt_br", "por"], "por"),
        ("es", ["es_AR", "spa"], "spa"),
        ("sr", ["srp_Latn", "srp_Cyrl"], "srp_Cyrl"),
        ("sr_Latn", ["srp_Latn", "srp_Cyrl"], "srp_Latn"),
        ("et", ["est_Latn"], "est_Latn"),
        ("mn", ["khk_Cyrl"], "khk_Cyrl"),
        ("en", ["mul", "roa", "ROMANCE"], None),
    ],
)
def test_a_language_is_found_under_the_spelling_of_the_model(language, known, found):
    assert chosen(language, known) == found
    assert chosen(language, known[::-1]) == found


def test_every_language_of_the_benchmarks_is_one_of_each_large_family():
    from transformers.models.m2m_100.tokenization_m2m_100 import FAIRSEQ_LANGUAGE_CODES as M2M
    from transformers.models.mbart50.tokenization_mbart50 import FAIRSEQ_LANGUAGE_CODES as MBART
    from transformers.models.nllb.tokenization_nllb import FAIRSEQ_LANGUAGE_CODES as NLLB

    three = {"bg": "bul_Cyrl", "bn": "ben_Beng", "de": "deu_Latn", "el": "ell_Grek", "hi": "hin_Deva", "id": "ind_Latn", "ja": "jpn_Jpan", "te": "tel_Telu", "th": "tha_Thai", "tr": "tur_Latn", "ur": "urd_Arab", "vi": "vie_Latn"}  # fmt: skip
    assert {code: demanded(code, NLLB, "NLLB") for code in three} == three
    assert [chosen(code, NLLB) for code in BENCHMARKS].count(None) == 0
    assert [code for code in BENCHMARKS if chosen(code, M2M["m2m100"]) != code] == ["te"]  # M2M100 has no Telugu
    assert [code for code in BENCHMARKS if chosen(code, MBART) is None] == ["bg", "el"]
    assert all(demanded(code, MBART, "").startswith(code + "_") for code in BENCHMARKS if code not in ("bg", "el"))


def test_groups_of_languages_are_no_language():
    assert [tongue(code) for code in ("ROMANCE", "mul", "roa", "gmw", "", "xx")] == [None] * 6
    assert is_same("cmn", "zh")
    assert not is_same("mul", "mul")


# ------------------------------------------------------------------------------ declarations


def test_translator_of_reads_what_a_user_names(tmp_path):
    def of(spec, **options):
        return translator_of(spec, source="en", target="de", **options)

    named = of("Helsinki-NLP/opus-mt-{source}-{target}", revision="a" * 40, beams=1)
    assert named == Translator(kind="checkpoint", name="Helsinki-NLP/opus-mt-en-de", revision="a" * 40, beams=1)
    assert of("dictionary", beams=2) == Translator(kind="dictionary")
    assert of("file:mt.{target}.tsv") == Translator(kind="file", name="mt.de.tsv")
    assert of("ctranslate2:C:/opus-{source}-{target}", beams=2) == Translator(kind="ctranslate2", name="C:/opus-en-de", beams=2)
    assert of(str(tmp_path)).kind == "checkpoint"


@pytest.mark.parametrize("spec", ["", "opus", "fil:mt.tsv", "./nowhere", "a/b/c", "https://hub/a/b"])
def test_nonsense_is_told_what_is_possible(spec):
    with pytest.raises(
        DeclarationError, match=r"is no folder and no hub id; possible: a checkpoint .*, ctranslate2:FOLDER, file:PATH, or dictionary"
    ):
        translator_of(spec, source="en", target="de")


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"kind": "google"}, "no translator is of kind 'google'; possible: checkpoint, ctranslate2, dictionary, file"),
        ({"kind": "file"}, "a translator of kind file needs a name"),
        ({"kind": "dictionary", "name": "x"}, "a translator of kind dictionary has no name"),
        ({"kind": "file", "name": "x", "revision": "main"}, "revision 'main' chooses a commit of a checkpoint"),
        ({"kind": "checkpoint", "name": "x", "beams": 0}, "beams is 0"),
        ({"kind": "checkpoint", "name": "x", "max_length": 3}, "max_length is 3"),
        ({"kind": "checkpoint", "name": "x", "batch_tokens": True}, "batch_tokens is True"),
    ],
)
def test_a_wrong_declaration_is_refused(fields, sentence):
    with pytest.raises(DeclarationError, match=sentence):
        Translator(**fields)


def test_identity_is_what_changes_a_translation():
    one = Translator(kind="checkpoint", name="a/b")
    assert declaration(one) == {"kind": "Translator", "name": "a/b"} | {"kind": "checkpoint"}
    assert declaration(Translator(kind="checkpoint", name="a/b", batch_tokens=8)) == declaration(one)
    assert declaration(Translator(kind="checkpoint", name="a/b", beams=1)) != declaration(one)
    assert decoding(one)["beams"] == 4
    assert decoding(Translator(kind="dictionary")) == {}
    json.dumps(decoding(one))


@pytest.mark.parametrize(
    ("page", "name", "found"),
    [
        ("---\nlanguage:\n- en\nlicense: cc-by-4.0\ntags:\n- x\n---\n# A", "a/b", "cc-by-4.0"),
        ("---\nlicense:\n- mit\n- apache-2.0\ntags:\n- x\n---\n", "a/b", "mit, apache-2.0"),
        ("---\nlicense: 'mit'\n---\nlicense: no", "facebook/nllb-200-3.3B", "mit"),
        ("# No front matter\nlicense: no", "facebook/nllb-200-3.3B", "CC-BY-NC 4.0"),
        (None, "Helsinki-NLP/opus-mt-en-de", "CC-BY 4.0 or Apache 2.0, as the page of the pair says"),
        (None, "facebook/m2m100_418M", "MIT"),
        (None, "google/madlad400-3b-mt", "Apache 2.0"),
        (None, "a/b", "not known"),
    ],
)
def test_licence_is_that_of_the_page_or_of_the_family(tmp_path, page, name, found):
    if page is not None:
        (tmp_path / "README.md").write_text(page)
    assert licence(Translator(kind="checkpoint", name=name), tmp_path) == found


# ------------------------------------------------------------------------------ the contract


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ([], "gave 0 translations for 2 texts"),
        ([Translation("a")], "gave 1 translations for 2 texts"),
        ([Translation("a")] * 3, "gave 3 translations for 2 texts"),
        (None, "gave NoneType for 2 texts"),
        ("ab", "gave str for 2 texts"),
        (["a", "b"], "gave 'a' for 'one', which is no Translation with a string"),
        ([Translation("a"), Translation(None)], "gave Translation.* for 'two', which is no Translation"),
    ],
)
def test_a_translator_that_breaks_the_contract_is_named(given, sentence):
    with pytest.raises(DataError, match=sentence):
        translated(lambda texts: given, ["one", " ", "two"])


def test_blank_texts_are_never_sent_and_stay():
    sent = []

    def translate(texts):
        sent.extend(texts)
        return [Translation(text.upper()) for text in texts]

    assert translated(translate, ["a", "", " \n", "b"]) == [Translation("A"), Translation(""), Translation(" \n"), Translation("B")]
    assert sent == ["a", "b"]
    assert translated(lambda texts: pytest.fail("called for nothing"), ["", "\t"]) == [Translation(""), Translation("\t")]


# ------------------------------------------------------------------------------ tables


TABLE = {"csv": 'source,translation\n"a, ""b""",x\nNA,null\na,\n', "tsv": 'source\ttranslation\n"a, ""b"""\tx\nNA\tnull\na\t\n', "jsonl": '{"source": "a, \\"b\\"", "translation": "x"}\n{"source": "NA", "translation": "null"}\n{"source": "a", "translation": "", "by": 1}\n'}  # fmt: skip


def table(file):
    return open_translator(Translator(kind="file", name=str(file)), source="en", target="de", folder=None)


@pytest.mark.parametrize("ending", ["csv", "tsv", "jsonl", "parquet"])
def test_a_table_translates_what_it_holds(tmp_path, ending):
    file = tmp_path / f"mt.{ending}"
    if ending == "parquet":
        import pandas as pd

        pd.DataFrame({"source": ['a, "b"', "NA", "a"], "translation": ["x", "null", ""]}).to_parquet(file)
    else:
        file.write_text(TABLE[ending], encoding="utf-8")
    assert table(file)(["NA", 'a, "b"', "a"]) == [Translation("null"), Translation("x"), Translation("")]
    with pytest.raises(DataError, match="lacks the translations of 2 of 3 texts, the first of them 'c'"):
        table(file)(["a", "c", "d"])


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("mt.csv", "source,translation\na,x\na,y\n", "two translations of 'a': 'x' and 'y'"),
        ("mt.csv", "text,translation\na,x\n", "no column 'source'; it has text, translation"),
        ("mt.csv", "", "cannot be read as a table"),
        ("mt.parquet", "PAR", "cannot be read as a table"),
        ("mt.jsonl", '{"source": "a", "translation": "x"}\n{"source": "b"\n', "line 2 of .* is no object"),
        ("mt.jsonl", '{"source": "a", "translation": null}\n', "row 1 of .* has 'a' and None"),
        ("mt.txt", "a\tb", r"ends in '.txt', which says no format of a table; possible: .csv, .tsv, .jsonl, .parquet"),
    ],
)
def test_a_damaged_table_is_refused(tmp_path, name, content, sentence):
    (tmp_path / name).write_text(content)
    with pytest.raises(DataError, match=sentence):
        table(tmp_path / name)


def test_a_table_that_is_absent_is_named(tmp_path):
    with pytest.raises(SetupError, match=r"there is no file .*mt.csv"):
        table(tmp_path / "mt.csv")


# ------------------------------------------------------------------------------ CTranslate2


@pytest.fixture(scope="module")
def converted(checkpoints, many_targets, tmp_path_factory):
    converters = pytest.importorskip("ctranslate2.converters", reason="the extra ctranslate2 is not installed")
    root = tmp_path_factory.mktemp("converted")
    files = {
        "marian": ["source.spm", "target.spm", "vocab.json", "tokenizer_config.json"],
        "nllb": ["tokenizer.json", "tokenizer_config.json"],
    }
    for name, names in files.items():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            converters.TransformersConverter(str(checkpoints[name]), copy_files=names).convert(str(root / name))
    return root


@pytest.mark.parametrize("name", ["marian", "nllb"])
def test_a_converted_model_translates_as_its_checkpoint_does(converted, checkpoints, name):
    texts = [*ENGLISH, *UNSEEN, f"{ENGLISH[0]}  {ENGLISH[2]}\n"]
    folder = converted / name
    translate = open_translator(
        Translator(kind="ctranslate2", name=str(folder), beams=1), source="en", target="de", folder=folder, threads=1
    )
    assert translate(texts) == opened(checkpoints[name], beams=1)(texts)


def test_a_folder_without_a_converted_model_is_refused(checkpoints, converted):
    with pytest.raises(SetupError, match=r"no model.bin"):
        open_translator(Translator(kind="ctranslate2", name="x"), source="en", target="de", folder=checkpoints["marian"])


def test_a_model_that_was_converted_without_its_languages_is_refused(converted, tmp_path):
    folder = shutil.copytree(converted / "nllb", tmp_path / "nllb")
    words = json.loads((folder / "shared_vocabulary.json").read_text())
    (folder / "shared_vocabulary.json").write_text(json.dumps(["other" if word == "deu_Latn" else word for word in words]))
    with pytest.raises(SetupError, match="has no token 'deu_Latn' of the target language"):
        # threads: CTranslate2 sets those of the whole process, and more than one would round other tests otherwise
        open_translator(Translator(kind="ctranslate2", name="x"), source="en", target="de", folder=folder, threads=1)


def test_without_ctranslate2_the_extra_is_named(checkpoints, monkeypatch):
    monkeypatch.setitem(sys.modules, "ctranslate2", None)
    with pytest.raises(SetupError, match=r"pip install 'xfer-ray\[ctranslate2\]'"):
        open_translator(Translator(kind="ctranslate2", name="x"), source="en", target="de", folder=checkpoints["marian"])


# ------------------------------------------------------------------------------ the dictionary


def test_the_dictionary_is_that_of_the_miniature_world():
    from xfer_ray.miniature import dictionary

    text = "The doctor saw three dogs."
    translate = open_translator(Translator(kind="dictionary"), source="en", target="de", folder=None)
    found = translated(translate, [text, ""])
    assert found == [Translation(dictionary.translated(text, "en", "de")), Translation("")]
    assert found[0].text not in ("", text)


def test_importing_what_a_translator_is_loads_no_heavy_package():
    import subprocess

    heavy = ("torch", "transformers", "ctranslate2", "pandas", "langcodes", "sentencex")
    program = f"import sys, xfer_ray.translation.translator\nprint([name for name in {heavy} if name in sys.modules])"
    root = Path(translators.__file__).parents[2]
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=root, check=True).stdout.strip() == "[]"
