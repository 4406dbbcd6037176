"""The nouns: one spelling, parse and print inverse, identities that hold, and mistakes refused where they are made."""

import importlib.util
import sys
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xfer_ray import Corpus, Example, Examples, Model, Pretraining, Recipe, Sweep, Task, Trial, grid
from xfer_ray.errors import DataError, DeclarationError, XferRayError
from xfer_ray.tasks.hub import HubPairs

RECIPE = Recipe(epochs=1, learning_rate=1e-3, batch_size=32)
MODEL = Model(name="small", checkpoint="./small", recipe=RECIPE)


def load(corpus: Corpus, split: str) -> list[Example]:
    return [Example("0", "a", "b", ("yes",))]


PINNED = HubPairs(
    repository="some/where", languages=("en",), first="a", second="b", labels=("yes", "no"), rows={"train": 1}, provenance={"train": "MT"}
)
TASK = Task(
    name="toy",
    sources=(Corpus("en"), Corpus.parse("de-MT-en")),
    targets=(Corpus("en"), Corpus.parse("de-HT-en")),
    load=load,
    labels=("yes", "no"),
)

languages = st.sampled_from(["en", "de", "zh", "sw", "fil", "zh_Hant"])
labels = st.from_regex(r"[a-z0-9_.]{0,6}", fullmatch=True)


@st.composite
def corpora(draw) -> Corpus:
    corpus = Corpus(draw(languages))
    for language, provenance in draw(st.lists(st.tuples(languages, st.sampled_from(["HT", "MT"])), max_size=3)):
        corpus = Corpus(language, provenance, corpus)
    return replace(corpus, label=draw(labels))


@settings(deadline=None)
@given(corpora())
def test_parse_and_print_are_inverse(corpus):
    assert Corpus.parse(str(corpus)) == corpus


def test_a_chain_knows_its_original_and_its_length():
    there_and_back = Corpus.parse("en-MT-de-MT-en")
    assert (there_and_back.root, there_and_back.length) == (Corpus("en"), 2)
    assert there_and_back.origin == Corpus.parse("de-MT-en")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("en", "corpus 'en' is not spelled like 'en-O', 'de-MT-en', 'sw-HT-en', 'en-MT-de-MT-en' or 'de-MT-en~opus'; did you mean 'en-O'?"),
        ("de-MT", "corpus 'de-MT' is not spelled like 'en-O', 'de-MT-en', 'sw-HT-en', 'en-MT-de-MT-en' or 'de-MT-en~opus'"),
        ("de-XX-en", "provenance 'XX' of 'de' is none of O (original), HT, MT (human, machine translation)"),
        ("DE-O", "language 'DE' is not a code such as 'en', 'de', 'zh' or 'zh_Hant'"),
        ("de-MT-en~A", "label 'A' has characters other than a-z 0-9 _ ."),
        ("de-MT-en=3+ru-MT-en", "corpus 'de-MT-en=3+ru-MT-en' is a mixture; only a source may be one, and here a single corpus is needed"),
    ],
)
def test_a_misspelled_corpus_is_refused(text, message):
    with pytest.raises(DeclarationError) as error:
        Corpus.parse(text)
    assert str(error.value) == message


MISTAKES = [
    (lambda: replace(RECIPE, learning_rate=0), "learning_rate is 0; give a number between 0 and 1, such as 3e-5"),
    (lambda: replace(RECIPE, learning_rate=-1e-3), "learning_rate is -0.001; give a number between 0 and 1, such as 3e-5"),
    (lambda: replace(RECIPE, learning_rate=float("nan")), "learning_rate is nan; give a number between 0 and 1, such as 3e-5"),
    (lambda: replace(RECIPE, learning_rate="3e-5"), "learning_rate is '3e-5'; give a number between 0 and 1, such as 3e-5"),
    (lambda: replace(RECIPE, batch_size=0), "batch_size is 0; give a positive integer"),
    (lambda: replace(RECIPE, epochs=True), "epochs is True; give a positive integer"),
    (lambda: replace(RECIPE, steps=10), "a recipe has epochs or steps: found epochs=1, steps=10"),
    (lambda: replace(RECIPE, precision="fp16"), "precision 'fp16' overflows in T5's feed-forward layers and gives nan; give 'bf16' or 'fp32'"),
    (
        lambda: replace(MODEL, micro_batch=12),
        "batch_size 32 of model small is not divisible by its micro_batch 12; possible: 1, 2, 4, 8, 16, 32",
    ),
    (lambda: replace(MODEL, family="encodr"), "no model family 'encodr'; did you mean 'encoder'? Possible: encoder, text_to_text, majority"),
    (
        lambda: replace(MODEL, revision="main"),
        "revision 'main' of model small is not a commit of 40 hex digits; branches move, so give one or None",
    ),
    (lambda: replace(TASK, load=lambda corpus, split: []), "<lambda>.<locals>.<lambda> has no name of its own; define it at the top level of the sweep file"),
    (lambda: replace(MODEL, checkpoint=""), "model small has no checkpoint: give a hub id, a folder or a Pretraining"),
    (lambda: replace(MODEL, gpus=-1), "gpus of model small is -1; give a fraction such as 0.5, or 0"),
    (lambda: replace(TASK, sources=()), "sources of task toy are empty; give at least one"),
    (lambda: replace(TASK, sources=(Corpus("en"), Corpus("en"))), "sources of task toy hold en-O more than once"),
    (lambda: replace(TASK, groups={"G": ("ed",)}), "no target language for group G of task toy 'ed'. Possible: en, de"),
    (lambda: replace(TASK, eval_split="train"), "task toy would train and evaluate on the same split 'train'"),
    (lambda: Trial(TASK, MODEL, Corpus.parse("de-HT-en"), 0), "no source of task toy 'de-HT-en'; did you mean 'de-MT-en'? Possible: en-O, de-MT-en"),
    (lambda: Trial(TASK, MODEL, Corpus("en"), -1), "seed is -1; give an integer from 0 to 2^63-1"),
    (lambda: grid(tasks=[TASK], models=[MODEL], sources=[]), "sources are empty; give at least one"),
    (lambda: grid(tasks=[TASK], models=[MODEL], sources=["en-O", "en-O"]), "sources hold en-O more than once"),
    (lambda: grid(tasks=[TASK], models=[MODEL], seeds=[]), "seeds are empty; give at least one"),
    (lambda: grid(tasks=[TASK], models=[MODEL], seeds=[1, 1]), "seeds hold 1 more than once"),
    (lambda: Sweep("x", ()), "sweep x has no trials"),
    (
        lambda: Sweep("../x", grid(tasks=[TASK], models=[MODEL])),
        "sweep name '../x' names a folder: 1 to 64 of A-Z a-z 0-9 . _ -, not starting or ending with a dot",
    ),
    (
        lambda: Sweep("x", grid(tasks=[TASK], models=[MODEL, replace(MODEL, recipe=replace(RECIPE, epochs=2))])),
        "models hold small more than once",
    ),
    (
        lambda: Sweep("x", grid(tasks=[TASK], models=[MODEL]) + (Trial(TASK, MODEL, Corpus("en"), 0),)),
        "sweep x declares task toy, model small, source en-O, seed 0 more than once; another recipe, split or size takes another name",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("make", "message"), MISTAKES)
def test_a_mistake_is_refused_at_declaration_in_one_sentence(make, message):
    with pytest.raises(XferRayError) as error:
        make()
    assert str(error.value) == message
    assert error.value.exit_code == 2


def test_the_digest_moves_with_what_changes_predictions_and_with_nothing_else():
    trial = Trial(TASK, MODEL, Corpus("en"), 0)
    same = [
        replace(trial, task=replace(TASK, metrics=("exact_match",), groups={"G": ("en",)}, name="other", normalized=False)),
        replace(trial, model=replace(MODEL, name="other", gpus=0.25, micro_batch=8)),
    ]
    moved = [
        replace(trial, seed=1),
        replace(trial, source=Corpus.parse("de-MT-en")),
        replace(trial, task=replace(TASK, size=100)),
        replace(trial, task=replace(TASK, eval_split="validation", select_split="test")),
        replace(trial, task=replace(TASK, targets=TASK.targets[:1])),
        replace(trial, task=replace(TASK, labels=("no", "yes"))),
        replace(trial, model=replace(MODEL, checkpoint="./large")),
        replace(trial, model=replace(MODEL, revision="0" * 40)),
        replace(trial, model=replace(MODEL, recipe=replace(RECIPE, precision="fp32"))),
        replace(trial, model=replace(MODEL, recipe=replace(RECIPE, learning_rate=2e-3))),
        replace(trial, model=replace(MODEL, checkpoint=Pretraining(architecture={"model_type": "bert"}, vocabulary="x/y"))),
    ]
    assert {t.digest for t in same} == {trial.digest}
    assert len({t.digest for t in (trial, *moved)}) == len(moved) + 1
    assert trial.id == f"toy.small.en-O.s0-{trial.digest}"


def test_the_digest_of_a_declaration_is_the_same_in_another_release():
    """Changing this value disowns every result that exists: do it knowingly."""
    assert Trial(replace(TASK, load=PINNED), MODEL, Corpus("en"), 0).digest == PINNED_DIGEST


SWEEP_TEXT = """
from xfer_ray import Example
TEXT = "a"
def helper():
    return Example("0", TEXT, "b", ("yes",))
def load(corpus, split):
    return [helper()]
"""


def test_editing_what_a_function_of_a_sweep_file_is_made_of_makes_new_trials(tmp_path, monkeypatch):
    def digest_of(text: str) -> str:
        file = tmp_path / "mine.py"
        file.write_text(text)
        spec = importlib.util.spec_from_file_location("mine", file)
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, "mine", module)  # where a class's file is looked up
        spec.loader.exec_module(module)
        return Trial(replace(TASK, load=module.load), MODEL, Corpus("en"), 0).digest

    before = digest_of(SWEEP_TEXT)
    assert digest_of(SWEEP_TEXT.replace("load(corpus", "load( corpus") + "# a comment\nSEEDS = [1, 2]\n") == before
    assert digest_of(SWEEP_TEXT.replace('TEXT = "a"', 'TEXT = "A"')) != before
    assert digest_of(SWEEP_TEXT.replace('"b"', '"B"')) != before


PINNED_DIGEST = "d18f73fc2430"


def test_a_fingerprint_tells_what_was_read():
    items = (Example("0", "a", "b", ("yes",)), Example("1", "c", "d", ("no",)))
    fingerprint = Examples(items).fingerprint
    assert fingerprint == Examples(tuple(items)).fingerprint
    assert len({fingerprint, Examples(items[::-1]).fingerprint, Examples((replace(items[0], first="A"), items[1])).fingerprint}) == 3


def test_a_score_is_a_fraction():
    from datetime import UTC, datetime

    from xfer_ray import Score

    row = {"sweep": "s", "task": "t", "model": "m", "source": "en-O", "target": "en-O", "split": "test", "metric": "accuracy", "seed": 0}
    now = datetime.now(UTC)
    for bad in (1.01, -0.1, float("nan")):
        with pytest.raises(DataError, match=r"is not a fraction in \[0, 1\]"):
            Score(**row, score=bad, n=1, trial="x", digest="y", started=now, finished=now)


class Stateful:
    def load(self, corpus, split):
        return []


def test_a_method_of_an_object_is_no_declaration():
    with pytest.raises(DeclarationError, match="^Stateful.load is a method of an object, whose state has no spelling"):
        replace(TASK, load=Stateful().load)


def test_two_tasks_or_models_of_one_name_are_refused():
    one = grid(tasks=[TASK], models=[MODEL], sources=["en-O"])
    for kind, other in (
        ("task", grid(tasks=[replace(TASK, size=5)], models=[MODEL], sources=["de-MT-en"])),
        ("model", grid(tasks=[TASK], models=[replace(MODEL, recipe=replace(RECIPE, epochs=2))], sources=["de-MT-en"])),
    ):
        with pytest.raises(DeclarationError, match=f"^sweep x holds two different {kind}s named"):
            Sweep("x", one + other)
