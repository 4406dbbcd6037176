"""The embedded world's machine translation: text in, text out, the very corpora that its tasks generate."""

import json
from dataclasses import replace
from random import Random

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xfer_ray.core import Trial
from xfer_ray.errors import DataError, DeclarationError
from xfer_ray.miniature import dictionary
from xfer_ray.miniature.dictionary import gloss, translated
from xfer_ray.miniature.grammar import parts, sentence
from xfer_ray.miniature.lexicon import LANGUAGES, NOUNS, TIMES
from xfer_ray.miniature.meaning import Event, Phrase, draw
from xfer_ray.miniature.questions import ASKED, Question, ask
from xfer_ray.miniature.reading import native, read, stories
from xfer_ray.models import MAJORITY
from xfer_ray.models.miniature import MINIATURE_ENCODER
from xfer_ray.sources import Corpus, Example, Examples
from xfer_ray.tasks import MINIATURE, MINIATURE_QA

SEEN = Event(Phrase("doctor"), "see", Phrase("dog", "three", "black"), place="garden", time="yesterday")
FROM = {"en": sentence(SEEN, "en"), "ru": native(SEEN, "ru", original=True).text}
ENGLISH, GERMAN = Corpus("en"), Corpus.parse("de-MT-en")
BY_DICTIONARY, BACK = Corpus.parse("de-MT-en~dictionary"), Corpus.parse("en-MT-de-MT-en")

# ------------------------------------------------------------------------------ word by word


@pytest.mark.parametrize(
    ("language", "told"),
    [
        ("de", "Der Arzt sehen drei schwarz Hund in der Garten gestern."),
        ("ru", "Врач увидеть три чёрный собака в сад вчера."),
        ("zh", "医生看见三黑色的狗在花园昨天。"),
        ("ja", "その医者見る三黒い犬中庭昨日。"),
    ],
)
def test_english_is_translated_word_by_word(language, told):
    assert FROM["en"] == "The doctor saw three black dogs in the garden yesterday."
    assert translated(FROM["en"], "en", language) == told == translated(FROM["en"], "en", language)


@pytest.mark.parametrize(
    ("language", "told", "asked"),
    [
        ("en", "Yesterday in garden doctor see three black dog.", "Where doctor see three black dog?"),
        ("de", "Gestern in Garten Arzt sehen drei schwarz Hund.", "Wo Arzt sehen drei schwarz Hund?"),
        ("fr", "Hier en maternelle médecin voir trois noir chien.", "Où médecin voir trois noir chien?"),  # the garden of children
        ("ja", "昨日中庭医者見る三黒い犬。", "どこ医者見る三黒い犬？"),
    ],
)
def test_russian_is_translated_in_its_own_order_and_without_articles(language, told, asked):
    assert FROM["ru"] == "Вчера в саду врач увидел трёх чёрных собак."
    assert translated(FROM["ru"], "ru", language) == told
    assert translated(ask(Question(SEEN, "place"), "ru"), "ru", language) == asked


def test_every_kind_of_question_is_translated():
    russian, english = ([ask(Question(SEEN, asked), language) for asked in ASKED] for language in ("ru", "en"))
    assert [translated(text, "ru", "en") for text in russian] == [
        "Who see three black dog?",
        "Whom see doctor?",
        "Where doctor see three black dog?",
        "When doctor see three black dog?",
        "How many doctor see three black dog?",
        "How many black dog see doctor?",
    ]
    assert [translated(text, "en", "de") for text in english] == [
        "Wer sehen drei schwarz Hund?",
        "Was der Arzt sehen?",
        "Wo der Arzt sehen drei schwarz Hund?",
        "Wann der Arzt sehen drei schwarz Hund?",
        "Wie viele der Arzt sehen drei schwarz Hund?",
        "Wie viele schwarz Hund der Arzt sehen?",
    ]


@pytest.mark.parametrize(
    ("text", "source", "target", "told"),
    [
        ("three black dogs", "en", "de", "drei schwarz Hund"),
        ("Four students", "en", "ru", "Четыре студент"),
        ("the queen", "en", "ru", "королева"),
        ("в прошлом году", "ru", "zh", "去年"),
        ("Alice did not see the U.S. dog, said Bob!", "en", "de", "Alice nicht sehen der U.S. Hund, said Bob!"),
        ("Alice saw the dog. A cat?", "en", "ja", "Alice見るその犬。A猫？"),
        ("Das Pferd hat die Katze nicht gesehen.", "de", "en", "The horse the cat not see."),
        ("昨日中庭医者見る三黒い犬。", "ja", "en", "Yesterday in the garden doctor see three black dog."),
        ("", "en", "de", ""),
        (" \n", "en", "de", ""),
    ],
)
def test_phrases_unknown_words_and_other_languages(text, source, target, told):
    assert translated(text, source, target) == told


def test_an_unknown_language_is_refused_by_name():
    with pytest.raises(DeclarationError, match=r"^no language of the miniature 'fi'\. Possible: en, de, es, fr, ru, zh, ja$"):
        translated("The dog.", "en", "fi")
    with pytest.raises(DeclarationError, match=r"^no language of the miniature 'sw'"):
        translated("Mbwa.", "sw", "en")


def test_an_english_word_is_taken_in_its_other_sense_now_and_then():
    drawn = [Event(Phrase("queen"), "draw", Phrase(noun), place=place) for noun in NOUNS for place in ("", "garden", "market")]
    wrong = sum("ziehen" in translated(sentence(event, "en"), "en", "de") for event in drawn)
    assert 0.1 < wrong / len(drawn) < 0.3


def test_a_russian_word_is_taken_in_its_other_sense_now_and_then():
    events = [replace(SEEN, agent=Phrase(noun), time=time) for noun in NOUNS for time in ("", *TIMES)]
    told = [translated(native(event, "ru", original=True).text, "ru", "en").casefold() for event in events]
    wrong = sum("in kindergarten" in text for text in told)
    assert 0.1 < wrong / len(told) < 0.3
    assert wrong + sum("in garden" in text for text in told) == len(told)


# ------------------------------------------------------------------------------ any sentence of the world


@settings(max_examples=300, deadline=None)
@given(seed=st.integers(0, 10**9), origin=st.sampled_from(("en", "ru")), language=st.sampled_from(LANGUAGES))
def test_a_text_is_its_parts_and_nothing_stays_untranslated(seed, origin, language):
    """A line whose parts are translated one by one is the translated text; every word of it is the language's own."""
    event = draw(Random(seed))
    told = gloss(parts(event, origin), origin, language)
    assert told.text == translated(sentence(event, origin), origin, language)
    if language in ("zh", "ja"):
        assert not any(character.isascii() for character in told.text)
    if language == "ru":
        assert not any("a" <= character <= "z" for character in told.text.lower())
    expected = {"agent", "patient"} | {role for role in ("place", "time") if getattr(event, role)}
    expected |= {f"{role}.count" for role in ("agent", "patient") if getattr(event, role).count != "one"}
    assert set(told.spans) == expected


@pytest.mark.parametrize("through", [language for language in LANGUAGES if language not in ("en", "ru")])
def test_what_it_has_translated_it_translates_back(monkeypatch, through):
    """Back to the bare words of the sentence: wrong senses come back right, and articles where the other language has them."""
    texts = [sentence(draw(Random(seed)), "en") for seed in range(200)]
    back = [translated(translated(text, "en", through), through, "en") for text in texts]
    monkeypatch.setattr(dictionary, "WRONG_SENSE", 0)
    bare = [translated(text, "en", "en") for text in texts]
    if through in ("zh", "ja"):
        back, bare = ([" ".join(word for word in text.lower().split() if word != "the") for text in one] for one in (back, bare))
    assert back == bare


@pytest.mark.parametrize(("origin", "languages"), [("en", ("de", "ru", "zh", "ja")), ("ru", ("en", "de", "zh", "ja"))])
def test_a_translated_story_is_the_one_that_is_generated_and_its_answer_is_mostly_found_again(origin, languages):
    told = stories(0, origin, "train", 300)
    for language in languages:
        found = 0
        for story in told:
            original, made = read(story, origin, "O", origin), read(story, language, "MT", origin)
            texts = [translated(text, origin, language) for text in (original.question, original.context, original.answer)]
            assert texts[:2] == [made.question, made.context]
            found += texts[2] in made.context
        assert 0.88 < found / len(told) < 1  # the rest is taken in another sense


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_a_generated_corpus_is_the_translation_of_its_origin(split):
    for corpus in (GERMAN, Corpus.parse("ja-MT-en")):
        expected = [
            (translated(one.first, "en", corpus.language), translated(one.second, "en", corpus.language))
            for one in MINIATURE.load(ENGLISH, split)
        ]
        assert [(one.first, one.second) for one in MINIATURE.load(corpus, split)] == expected


# ------------------------------------------------------------------------------ corpus folders of the embedded tasks


def put(root, benchmark: str, corpus: Corpus, examples: tuple[Example, ...], split: str = "train") -> None:
    """A corpus folder as `translate` makes it."""
    folder = root / benchmark / str(corpus)
    folder.mkdir(parents=True)
    rows = [
        {"id": e.id, "first": e.first, "second": e.second, "answers": json.dumps(e.answers), "starts": json.dumps(e.starts)}
        for e in examples
    ]
    pd.DataFrame(rows).to_parquet(folder / f"{split}.parquet", index=False)
    card = {"task": benchmark, "corpus": str(corpus), "counts": {split: len(rows)}, "fingerprint": {split: Examples(examples).fingerprint}}
    (folder / "card.json").write_text(json.dumps(card))


PAIRS = tuple(Example(f"train-{row}", f"A {row}.", "B.", ("neutral",)) for row in range(3))
ASK = tuple(Example(f"en-train-{row}", "Wer?", "Der Arzt sehen.", ("Der Arzt",), (0,)) for row in range(3))


@pytest.mark.parametrize("corpus", [BY_DICTIONARY, BACK], ids=str)
@pytest.mark.parametrize(("task", "examples"), [(MINIATURE, PAIRS), (MINIATURE_QA, ASK)], ids=["pairs", "questions"])
def test_a_translation_that_is_not_generated_is_read_from_its_folder(tmp_path, corpus, task, examples):
    load = replace(task.load, translated=str(tmp_path))
    label = " --label dictionary" if corpus.label else ""
    origin = corpus.origin if corpus is BACK else "en"
    command = f"xfer-ray translate {task.name} --split train --from {origin} --to {corpus.language}{label} --translator ..."
    reason = f"the folder {tmp_path}/{task.name}/{corpus} does not exist; make it with `{command}`"
    assert load.missing(corpus, "train") == reason
    with pytest.raises(DataError) as refused:
        load(corpus, "train")
    assert str(refused.value) == reason
    put(tmp_path, task.name, corpus, examples)
    assert load.missing(corpus, "train") == ""
    assert load(corpus, "train") == list(examples)
    assert load.missing(GERMAN, "train") == "" == load.missing(ENGLISH, "test")  # what is generated needs no folder


def test_the_folder_of_an_embedded_task_is_checked(tmp_path):
    pairs, questions = (replace(task.load, translated=str(tmp_path)) for task in (MINIATURE, MINIATURE_QA))
    put(tmp_path, "miniature", BY_DICTIONARY, (replace(PAIRS[0], answers=("maybe",)),))
    with pytest.raises(DataError, match=r"example 'train-0' is labeled \('maybe',\), and not one of entailment, neutral, contradiction$"):
        pairs(BY_DICTIONARY, "train")
    put(tmp_path, "miniature-qa", BY_DICTIONARY, (replace(ASK[0], starts=(4,)),))
    with pytest.raises(DataError, match=r"question 'en-train-0': answer 'Der Arzt' is not at character 4 of its context"):
        questions(BY_DICTIONARY, "train")


def test_a_control_without_premises_has_none_in_its_folder_either(tmp_path):
    put(tmp_path, "miniature", BACK, PAIRS)
    half = replace(MINIATURE.load, hypothesis_only=True, translated=str(tmp_path))
    assert [(one.first, one.second) for one in half(BACK, "train")] == [("", "B.")] * 3


@pytest.mark.parametrize(("task", "examples"), [(MINIATURE, PAIRS), (MINIATURE_QA, ASK)], ids=["pairs", "questions"])
def test_embedded_sources_keep_what_all_of_them_have(tmp_path, task, examples):
    shared = replace(task.load, translated=str(tmp_path), shared_by=(ENGLISH, BY_DICTIONARY))
    assert "make it with" in shared.missing(ENGLISH, "train")
    put(tmp_path, task.name, BY_DICTIONARY, examples[1:])
    assert [one.id for one in shared(ENGLISH, "train")] == [one.id for one in examples[1:]]
    assert len(shared(ENGLISH, "test")) == len(task.load(ENGLISH, "test"))


def test_a_sweep_adds_such_a_source_and_the_trials_that_exist_keep_their_names():
    """Changing these values disowns every result that exists: do it knowingly."""
    mine = replace(MINIATURE, name="mine", sources=(*MINIATURE.sources, BY_DICTIONARY))
    assert Trial(mine, MAJORITY, BY_DICTIONARY, 0).digest != Trial(mine, MAJORITY, GERMAN, 0).digest
    digests = {"en-O": "4f248c394333", "de-HT-en": "038cccdbd4b6", "de-MT-en": "113f7fab7ff2", "zh-MT-en": "45faf04ef5e0"}
    assert {source: Trial(MINIATURE, MINIATURE_ENCODER, Corpus.parse(source), 0).digest for source in digests} == digests
    assert Trial(mine, MINIATURE_ENCODER, ENGLISH, 0).digest == digests["en-O"]
    assert Trial(MINIATURE_QA, MAJORITY, ENGLISH, 0).digest == "2d73fc5b51b5"
