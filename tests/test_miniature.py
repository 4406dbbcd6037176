"""The embedded world: grammar, entailment, splits, and what cannot be told from one sentence alone."""

import subprocess
import sys
from collections import Counter
from dataclasses import replace

import pytest

from xfer_ray.errors import DeclarationError
from xfer_ray.miniature.entailment import LABELS, pairs
from xfer_ray.miniature.grammar import sentence
from xfer_ray.miniature.lexicon import COUNTS, LANGUAGES, NOUNS, PLACES, QUALITIES, SENSES, TIMES, VERBS
from xfer_ray.miniature.meaning import Event, Phrase, contrary, narrower, wider
from xfer_ray.miniature.text import stories
from xfer_ray.sources import Corpus
from xfer_ray.tasks.miniature import MINIATURE, MiniatureNli

DOGS = Phrase("dog", "three", "black")
SCENE = Event(Phrase("doctor"), "see", DOGS, place="garden", time="yesterday")
DENIED = Event(Phrase("queen", quality="rich"), "chase", Phrase("cat"), negated=True)
COUNTED = Event(Phrase("queen", "several"), "sell", Phrase("pear", "four", "fresh"))
TELLINGS = {
    "en": [
        "The doctor saw three black dogs in the garden yesterday.",
        "The rich queen did not chase the cat.",
        "Several queens sold four fresh pears.",
    ],
    "de": [
        "Gestern hat der Arzt drei schwarze Hunde im Garten gesehen.",
        "Die reiche Königin hat die Katze nicht verfolgt.",
        "Mehrere Königinnen haben vier frische Birnen verkauft.",
    ],
    "es": [
        "El médico vio a tres perros negros en el jardín ayer.",
        "La reina rica no persiguió al gato.",
        "Varias reinas vendieron cuatro peras frescas.",
    ],
    "fr": [
        "Le médecin a vu trois chiens noirs dans le jardin hier.",
        "La reine riche n'a pas poursuivi le chat.",
        "Plusieurs reines ont vendu quatre poires fraîches.",
    ],
    "ru": [
        "Вчера врач увидел трёх чёрных собак в саду.",
        "Богатая королева не преследовала кошку.",
        "Несколько королев продали четыре свежие груши.",
    ],
    "zh": [
        "昨天医生在花园里看见了三只黑色的狗。",
        "富有的女王没有追赶猫。",
        "几位女王卖了四个新鲜的梨。",
    ],
    "ja": [
        "昨日、医者は庭で三匹の黒い犬を見た。",
        "裕福な女王は猫を追いかけなかった。",
        "数人の女王が四個の新鮮な梨を売った。",
    ],
}


@pytest.mark.parametrize("language", LANGUAGES)
def test_an_event_is_told_as_a_native_speaker_tells_it(language):
    assert [sentence(event, language) for event in (SCENE, DENIED, COUNTED)] == TELLINGS[language]


@pytest.mark.parametrize(
    ("phrase", "language", "told"),
    [
        (Phrase("farmer", quality="poor"), "de", "Die Königin hat den armen Bauern gelobt."),
        (Phrase("student"), "es", "La reina elogió al estudiante."),
        (Phrase("student"), "fr", "La reine a félicité l'étudiant."),
        (Phrase("teacher", quality="rich"), "ru", "Королева похвалила богатого учителя."),
        (Phrase("person", "five"), "ru", "Королева похвалила пять человек."),
        (Phrase("person"), "zh", "女王表扬了那个人。"),
        (Phrase("person", "three"), "ja", "女王は三人の人を褒めた。"),
    ],
)
def test_articles_cases_and_counters_agree(phrase, language, told):
    assert sentence(Event(Phrase("queen"), "praise", phrase), language) == told


def test_every_word_has_every_language_and_every_antonym_is_mutual():
    for words in (NOUNS, VERBS, QUALITIES, COUNTS, PLACES, TIMES, SENSES):
        assert {tuple(word.forms) for word in words.values()} == {LANGUAGES}
    for words in (VERBS, QUALITIES):
        assert all(words[word.opposite].opposite == lemma for lemma, word in words.items() if word.opposite)


def test_the_relations_between_accounts():
    assert ("agent.noun", replace(SCENE, agent=Phrase("person"))) in wider(SCENE)
    assert ("place", replace(SCENE, place="")) in wider(SCENE)
    assert ("patient.count", replace(SCENE, patient=Phrase("dog", "several", "black"))) in wider(SCENE)
    assert ("agent.quality", replace(SCENE, agent=Phrase("doctor", "one", "rich"))) in narrower(SCENE)
    assert ("patient.quality", replace(SCENE, patient=Phrase("dog", "three", "white"))) in contrary(SCENE)
    assert ("roles", replace(DENIED, negated=False, agent=Phrase("cat"), patient=DENIED.agent)) in contrary(replace(DENIED, negated=False))
    assert ("negated", replace(DENIED, negated=False)) in contrary(DENIED)


def test_under_negation_the_relations_turn_around():
    assert ("patient.noun", replace(DENIED, patient=Phrase("animal"))) in narrower(DENIED)
    assert ("place", replace(DENIED, place="garden")) in wider(DENIED)
    assert ("patient.noun", replace(DENIED, patient=Phrase("bird"))) in wider(DENIED)
    assert [part for part, _ in contrary(DENIED)] == ["negated"]


@pytest.fixture(scope="module")
def english():
    return {split: MINIATURE.load(Corpus("en"), split) for split in ("train", "validation", "test")}


def test_sizes_and_labels(english):
    assert {split: len(examples) for split, examples in english.items()} == {"train": 2700, "validation": 600, "test": 600}
    for examples in english.values():
        assert Counter(answer for example in examples for answer in example.answers) == dict.fromkeys(LABELS, len(examples) // 3)
        assert len({example.id for example in examples}) == len({(example.first, example.second) for example in examples}) == len(examples)


def test_a_hypothesis_alone_tells_nothing(english):
    for examples in english.values():
        answers: dict[str, set[str]] = {}
        for example in examples:
            answers.setdefault(example.second, set()).update(example.answers)
        assert {frozenset(labels) for labels in answers.values()} == {frozenset(LABELS)}


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_sentence_is_in_two_splits_and_none_tells_two_events(language):
    split_of: dict[str, str] = {}
    event_of: dict[str, Event] = {}
    for split, count in (("train", 2700), ("validation", 600), ("test", 600)):
        for pair in pairs(0, split, count):
            for event in pair[:2]:
                told = sentence(event, language)
                assert split_of.setdefault(told, split) == split
                assert event_of.setdefault(told, event) == event


def test_pre_training_never_saw_a_sentence_of_the_test(english):
    read = {text for story in stories(0) for text in story["en"]}
    assert not read & {text for split in ("validation", "test") for example in english[split] for text in (example.first, example.second)}


def test_languages_are_parallel():
    events = pairs(0, "test", 60)
    for corpus in MINIATURE.targets:
        examples = MiniatureNli(test=60)(corpus, "test")
        assert [example.id for example in examples] == [f"test-{row}" for row in range(60)]
        assert [example.first for example in examples] == [sentence(premise, corpus.language) for premise, _, _ in events]
        assert [example.answers for example in examples] == [(label,) for _, _, label in events]


def test_the_seed_is_a_promise():
    load = MiniatureNli(train=30)
    assert load(Corpus("en"), "train") == load(Corpus("en"), "train")
    assert load(Corpus("en"), "train") != replace(load, seed=1)(Corpus("en"), "train")
    assert stories(0, count=20) == stories(0, count=20) != stories(1, count=20)


def test_hypothesis_only_leaves_the_premise_out():
    whole, half = MiniatureNli(test=30), MiniatureNli(test=30, hypothesis_only=True)
    assert {example.first for example in half(Corpus("en"), "test")} == {""}
    assert [e.second for e in half(Corpus("en"), "test")] == [e.second for e in whole(Corpus("en"), "test")]


@pytest.mark.parametrize(
    ("corpus", "split", "sentence"),
    [
        ("en-O", "dev", "no split of the miniature 'dev'. Possible: train, validation, test"),
        ("sw-HT-en", "test", "no corpus of the miniature 'sw-HT-en'; did you mean 'es-HT-en'? Possible: en-O, de-HT-en"),
        ("de-O", "test", "no corpus of the miniature 'de-O'; did you mean"),
    ],
)
def test_what_the_world_does_not_have_is_refused(corpus, split, sentence):
    with pytest.raises(DeclarationError) as caught:
        MINIATURE.load(Corpus.parse(corpus), split)
    assert str(caught.value).startswith(sentence)


def test_an_empty_split_is_refused():
    with pytest.raises(DeclarationError, match="test size of the miniature is 0; give a positive integer"):
        MiniatureNli(test=0)


def test_the_demo_has_sources_of_both_provenances():
    from sweeps.demo import SWEEP

    sources = [str(trial.source) for trial in SWEEP.trials if trial.seed == 0 and trial.model.name == "majority"]
    assert sources == [*map(str, MINIATURE.targets), "de-MT-en", "ru-MT-en"]


def test_the_demo_is_declared_without_heavy_packages():
    check = (
        "import sys; from sweeps.demo import SWEEP; from sweeps import demo_controls;"
        "print(len(SWEEP.trials), len(demo_controls.SWEEP.trials), {'torch', 'transformers', 'numpy', 'ray', 'pandas'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "54 24 set()"
