"""Question answering on real data: every answer where it should be, every refusal as text, nothing both learned and asked."""

import json
import unicodedata
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from xfer_ray.core import Trial
from xfer_ray.errors import DataError, DeclarationError
from xfer_ray.models import MAJORITY
from xfer_ray.sources import Corpus, Example, Examples
from xfer_ray.tasks import SQUAD_DEV, TYDIQA, TYDIQA_FI, TYDIQA_THREE, XQUAD, XQUAD_ARTICLES
from xfer_ray.tasks.folder import command
from xfer_ray.tasks.parts import ByArticle
from xfer_ray.tasks.qa import HubQa, QaSets
from xfer_ray.tasks.xquad import SQUAD, SQUAD_TRANSLATED, XQUAD_QUESTIONS

ENGLISH, GERMAN = Corpus.parse("en-O"), Corpus.parse("de-HT-en")
TRANSLATED, OPUS = Corpus.parse("de-MT-en"), Corpus.parse("de-MT-en~opus")

# ------------------------------------------------------------------------------ real data


@pytest.fixture
def real(mirror, monkeypatch):
    monkeypatch.setenv("XFER_RAY_MIRROR", str(mirror))


def stands(example: Example) -> bool:
    """Every gold answer is where its start says, and there is one."""
    found = [example.second[start : start + len(text)] for text, start in zip(example.answers, example.starts, strict=True)]
    return bool(example.answers) and found == list(example.answers)


@pytest.mark.parametrize("corpus", XQUAD_QUESTIONS.corpora, ids=str)
def test_xquad_has_its_questions_in_every_language(real, corpus):
    examples = XQUAD.load(corpus, "test")
    assert len(examples) == len({example.id for example in examples}) == 1_190
    assert len({example.second for example in examples}) == 240
    assert all(stands(example) and len(example.answers) == 1 for example in examples)


@pytest.mark.parametrize(
    ("language", "count"),
    [("en", 440), ("ru", 812), ("fi", 782), ("ar", 921), ("bn", 113), ("id", 565), ("ko", 276), ("sw", 499), ("te", 669)],
)
def test_tydiqa_tells_its_languages_apart(real, language, count):
    examples = TYDIQA.load(Corpus(language), "validation")
    assert len(examples) == count
    assert all(stands(example) for example in examples)


def test_tydiqa_trains_on_what_the_mirror_holds_and_says_what_it_lacks(real):
    counts = [len(TYDIQA_THREE.load(corpus, "train")) for corpus in TYDIQA_THREE.sources]
    assert counts == [3_696, 1_625, 2_755]
    with pytest.raises(DataError) as refused:
        TYDIQA.load(Corpus("fi"), "train")
    assert str(refused.value) == (
        "google-research-datasets/tydiqa, configuration 'secondary_task', split 'train': found 0 questions of 'finnish' among "
        "3696 english, 1625 korean, 2755 swahili, and 6855 are declared; this is another edition, or a part of it"
    )


def test_squad_keeps_every_gold_answer(real):
    examples = SQUAD(ENGLISH, "validation")
    assert len(examples) == 10_570
    assert all(stands(example) for example in examples)
    first = next(example for example in examples if example.id == "5725b33f6a3fe71400b8952d")
    assert first.first == "When did the 1973 oil crisis begin?"
    assert first.answers == ("October 1973", "October 1973", "October 1973", "October", "1973")
    assert first.starts == (29, 29, 29, 29, 4)


def test_marks_of_direction_and_decomposed_letters_stay_as_they_are(real):
    arabic, hindi = XQUAD.load(Corpus.parse("ar-HT-en"), "test"), XQUAD.load(Corpus.parse("hi-HT-en"), "test")
    assert sum("\u200f" in one.second or "\u200e" in one.second for one in arabic) == 117
    assert [sum(not unicodedata.is_normalized("NFC", one.second) for one in read) for read in (arabic, hindi)] == [143, 516]


# ------------------------------------------------------------------------------ parts of it


@pytest.mark.parametrize("corpus", XQUAD_ARTICLES.sources, ids=str)
def test_no_paragraph_is_both_learned_and_asked(real, corpus):
    read = {split: XQUAD_ARTICLES.load(corpus, split) for split in ("train", "validation", "test")}
    contexts = [{example.second for example in examples} for examples in read.values()]
    assert [len(examples) for examples in read.values()] == [814, 87, 289]
    assert [len(one) for one in contexts] == [160, 20, 60]
    assert len(set.union(*contexts)) == 240
    english = {split: [example.id for example in XQUAD_ARTICLES.load(ENGLISH, split)] for split in read}
    assert {split: [example.id for example in examples] for split, examples in read.items()} == english


def test_no_article_is_both_learned_and_asked(real):
    titles = SQUAD.titles("validation")
    articles = [{titles[example.id] for example in XQUAD_ARTICLES.load(ENGLISH, split)} for split in ("train", "validation", "test")]
    assert [len(one) for one in articles] == [32, 4, 12]
    assert len(set.union(*articles)) == 48


def test_squad_without_the_paragraphs_of_xquad(real):
    train = SQUAD_DEV.load(ENGLISH, "train")
    asked = {example.second for example in XQUAD.load(ENGLISH, "test")}
    assert len(train) == 9_380
    assert len({example.second for example in train}) == 1_827
    assert not asked & {example.second for example in train}
    assert not {example.id for example in SQUAD_DEV.load(GERMAN, "test")} & {example.id for example in train}
    with pytest.raises(DeclarationError, match=r"^no split of SQuAD's dev set without XQuAD 'validation'. Possible: train, test$"):
        SQUAD_DEV.load(ENGLISH, "validation")


def test_every_article_is_somewhere():
    with pytest.raises(DeclarationError) as refused:
        ByArticle(parts=(XQUAD_QUESTIONS, SQUAD), train=40, validation=8)
    assert str(refused.value) == "40 articles for training and 8 for validation leave none of XQuAD's 48 for the test"


# ------------------------------------------------------------------------------ refusals

CONTEXT = "Die Höhe beträgt 300 Meter, sagt man in Köln."
GOOD = {"id": "q1", "question": "Wie hoch?", "context": CONTEXT, "answers": {"text": ["300 Meter"], "answer_start": [17]}}
SMALL = HubQa(
    repository="owner/qa", configuration="small.{language}", corpora=(ENGLISH, GERMAN), splits={"test": "validation"}, rows={"test": 1}
)
HERE = "owner/qa, configuration 'small.de', split 'validation': "


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty mirror whose repository owner/qa is filled by `write`."""
    monkeypatch.setenv("XFER_RAY_MIRROR", str(tmp_path))
    return tmp_path / "owner" / "qa"


def write(folder: Path, *rows: dict) -> None:
    (folder / "small.de").mkdir(parents=True)
    pd.DataFrame(list(rows)).to_parquet(folder / "small.de" / "validation-00000-of-00001.parquet", index=False)
    text = "---\nconfigs:\n- config_name: small.de\n  data_files:\n  - split: validation\n    path: small.de/validation-*\n---\n"
    (folder / "README.md").write_text(text)


def gold(*texts: str, starts: tuple[int, ...]) -> dict:
    return {"answers": {"text": list(texts), "answer_start": list(starts)}}


MISALIGNED = [
    (
        gold("300 Meter", starts=(19,)),
        "character 19 of its context, where '0 Meter, ' stands; 19 counts bytes of UTF-8, and in characters it is 17",
    ),
    (gold("300 Meter", starts=(3,)), "character 3 of its context, where ' Höhe bet' stands; it is at 17"),
    (gold("300 Meter", "Meter", starts=(17, 20)), "character 20 of its context, where ' Mete' stands; it is at 21"),
    (gold("300 Meter", starts=(-28,)), "character -28 of its context, where nothing stands; it is at 17"),
    (gold("300 Meter", starts=(400,)), "character 400 of its context, where nothing stands; it is at 17"),
    (gold("300 Fuß", starts=(17,)), "character 17 of its context, where '300 Met' stands; its context does not hold it"),
    (gold("t", starts=(0,)), "character 0 of its context, where 'D' stands; it is at 11 and 15 and 23"),
    (
        gold(unicodedata.normalize("NFD", "Höhe"), starts=(4,)),
        "character 4 of its context, where 'Höhe ' stands; the answer is NFD and its context NFC: normalize both to NFC, and count again",
    ),
    (
        gold("Höhe", starts=(4,)) | {"context": unicodedata.normalize("NFD", CONTEXT)},
        f"character 4 of its context, where {unicodedata.normalize('NFD', 'Höh')!r} stands; the answer is NFC and its context NFD: "
        "normalize both to NFC, and count again",
    ),
    (
        gold("Köln", starts=(4,)) | {"context": "😀 in Köln"},
        "character 4 of its context, where ' Köl' stands; it is at 5",
    ),
    (
        gold("Köln", starts=(6,)) | {"context": "😀 in Köln"},
        "character 6 of its context, where 'öln' stands; 6 counts units of UTF-16, and in characters it is 5",
    ),
]


@pytest.mark.parametrize(("changed", "sentence"), MISALIGNED)
def test_an_answer_that_does_not_stand_where_it_should_is_refused_with_what_would_fit(folder, changed, sentence):
    write(folder, GOOD | changed)
    with pytest.raises(DataError) as refused:
        SMALL(GERMAN, "test")
    text = changed["answers"]["text"][-1]
    assert str(refused.value) == (f"{HERE}question 'q1': answer {text!r} is not at {sentence}; repair it, or declare misaligned='drop'")
    assert refused.value.exit_code == 3


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        (
            gold(starts=()),
            "it has no answer, as the unanswerable questions of SQuAD 2 have none; only questions with an answer can be used",
        ),
        (gold("300 Meter", starts=(17, 18)), "it has 1 answers and 2 starts; give one start for each answer"),
        (gold("300 Meter", "", starts=(17, 0)), "answer 2 of 2 is blank"),
        (gold(" ", starts=(3,)), "answer 1 of 1 is blank"),
        ({"context": ""}, "its context is empty"),
        ({"context": None}, "its context is empty"),
        ({"context": "\u200f \n"[1:]}, "its context is blank"),
        ({"question": " \t"}, "its question is blank"),
    ],
)
@pytest.mark.parametrize("policy", [None, "drop"])
def test_a_question_that_cannot_be_used_is_refused_with_its_id(folder, changed, sentence, policy):
    write(folder, GOOD | changed)
    with pytest.raises(DataError) as refused:
        replace(SMALL, misaligned=policy)(GERMAN, "test")
    assert str(refused.value) == f"{HERE}question 'q1' cannot be used: {sentence}"


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        (GOOD | {"question": 7}, "question 7 of question 'q1' is not text"),
        ({name: value for name, value in GOOD.items() if name != "answers"}, "no column answers; found: id, question, context"),
        (GOOD | {"answers": "300"}, "the answers of question 'q1' are not a list of text and a list of answer_start: '300'"),
        (
            GOOD | {"answers": {"text": ["300"]}},
            "the answers of question 'q1' are not a list of text and a list of answer_start: {'text': ['300']}",
        ),
        (
            GOOD | {"answers": {"text": ["300"], "answer_start": ["17"]}},
            "the answers of question 'q1' are not a list of text and a list of answer_start: {'text': ['300'], 'answer_start': ['17']}",
        ),
    ],
)
def test_columns_of_another_kind_are_refused(folder, row, sentence):
    write(folder, row)
    with pytest.raises(DataError) as refused:
        SMALL(GERMAN, "test")
    assert str(refused.value) == HERE + sentence


def test_another_number_of_rows_is_refused(folder):
    write(folder, GOOD, GOOD | {"id": "q2"})
    with pytest.raises(DataError) as refused:
        SMALL(GERMAN, "test")
    assert str(refused.value) == f"{HERE}found 2 questions, and 1 are declared; this is another edition, or a part of it"


def test_what_a_declared_policy_drops_is_counted(folder, caplog):
    write(folder, GOOD, GOOD | {"id": "q2"} | gold("Meter", starts=(0,)), GOOD | {"id": "q3"} | gold("300 Meter", "Köln", starts=(17, 0)))
    examples = replace(SMALL, rows={"test": 3}, misaligned="drop")(GERMAN, "test")
    assert examples == [Example("q1", "Wie hoch?", CONTEXT, ("300 Meter",), (17,))]
    assert caplog.messages == [f"{HERE}2 of 3 questions are dropped, whose answers do not stand where they should; the first is 'q2'"]


def test_corpora_and_policies_that_nobody_knows_are_refused():
    with pytest.raises(DataError) as refused:
        SMALL(TRANSLATED, "test")
    assert str(refused.value) == "owner/qa does not hold de-MT-en in split 'test'; it holds en-O in test, de-HT-en in test"
    with pytest.raises(DataError) as refused:
        XQUAD.load(Corpus.parse("ja-HT-en"), "test")
    assert str(refused.value).startswith("split 'test' holds no ja-HT-en; it holds en-O, de-HT-en, ru-HT-en, ")
    with pytest.raises(DataError, match=r"^no split 'tests' of en-O; possible: test, train, validation$"):
        XQUAD.load(ENGLISH, "tests")
    with pytest.raises(DeclarationError, match=r"^no policy for misaligned answers 'fix'\. Possible: drop$"):
        replace(SMALL, misaligned="fix")
    with pytest.raises(DeclarationError, match=r"^owner/qa declares rows for \['train'\], and splits \['test'\]$"):
        replace(SMALL, rows={"train": 1})
    with pytest.raises(DeclarationError, match=r"^revision 'main' of owner/qa is not a commit of 40 hex digits; "):
        replace(SMALL, revision="main")


# ------------------------------------------------------------------------------ translations


def test_the_translations_of_xtreme_are_read_from_the_conversion_to_parquet(tmp_path, monkeypatch):
    monkeypatch.setenv("XFER_RAY_MIRROR", str(tmp_path))
    for split, start in (("translate_train", 17), ("translate_dev", 0)):
        file = tmp_path / "juletxara/xquad_xtreme/de" / split / "0000.parquet"
        file.parent.mkdir(parents=True)
        pd.DataFrame([GOOD | gold("300 Meter", starts=(start,)), GOOD | {"id": split}]).to_parquet(file, index=False)
    small = replace(SQUAD_TRANSLATED, rows={"train": {"de": 2}, "validation": {"de": 2}})
    assert [example.id for example in small(TRANSLATED, "train")] == ["q1", "translate_train"]
    assert [example.id for example in small(TRANSLATED, "validation")] == ["translate_dev"]
    with pytest.raises(DataError) as refused:
        small(Corpus.parse("ru-MT-en"), "train")
    assert str(refused.value) == (
        "juletxara/xquad_xtreme, configuration 'ru', split 'translate_train': no file ru/translate_train/*.parquet in "
        f"{tmp_path}/juletxara/xquad_xtreme"
    )


def translated(root: Path, corpus: Corpus, /, *examples: Example, benchmark: str = "xquad", split: str = "train", **card: object) -> Path:
    """A corpus folder as `translate` makes it."""
    folder = root / benchmark / str(corpus)
    folder.mkdir(parents=True, exist_ok=True)
    rows = [
        {"id": e.id, "first": e.first, "second": e.second, "answers": json.dumps(e.answers), "starts": json.dumps(e.starts)}
        for e in examples
    ]
    pd.DataFrame(rows).to_parquet(folder / f"{split}.parquet", index=False)
    written = {"corpus": str(corpus), "counts": {split: len(rows)}, "fingerprint": {split: Examples(examples).fingerprint}} | card
    (folder / "card.json").write_text(json.dumps(written))
    return folder


ITEMS = tuple(Example(f"q{i}", f"Wie hoch {i}?", CONTEXT, ("300 Meter", "300"), (17, 17)) for i in range(3))


@pytest.fixture
def folders(tmp_path):
    return replace(XQUAD.load, translated=str(tmp_path))


def test_a_corpus_folder_is_read_as_it_was_written(tmp_path, folders):
    translated(tmp_path, OPUS, *ITEMS)
    assert folders.missing(OPUS, "train") == ""
    assert folders(OPUS, "train") == list(ITEMS)


def test_a_folder_that_is_not_there_is_named_with_the_command_that_makes_it(tmp_path, folders):
    reason = f"the folder {tmp_path}/xquad/de-MT-en~opus does not exist; make it with `xfer-ray translate xquad --split train --from en --to de --label opus --translator ...`"
    assert folders.missing(OPUS, "train") == reason
    with pytest.raises(DataError) as refused:
        folders(OPUS, "train")
    assert str(refused.value) == reason
    translated(tmp_path, OPUS, *ITEMS, split="validation")
    assert folders.missing(OPUS, "train").startswith(f"the folder {tmp_path}/xquad/de-MT-en~opus holds no train.parquet; make it with ")
    (tmp_path / "xquad/de-MT-en~opus/card.json").unlink()
    assert folders.missing(OPUS, "validation").startswith(f"the folder {tmp_path}/xquad/de-MT-en~opus holds no card.json; make it with ")


def test_the_command_names_the_last_step_of_a_chain():
    assert (
        command("tydiqa", Corpus.parse("ru-MT-fi"), "train") == "xfer-ray translate tydiqa --split train --from fi --to ru --translator ..."
    )
    assert (
        command("xquad", Corpus.parse("en-MT-de-MT-en"), "dev")
        == "xfer-ray translate xquad --split dev --from de-MT-en --to en --translator ..."
    )


@pytest.mark.parametrize(
    ("card", "sentence"),
    [
        ({"counts": {"train": 4}}, "train.parquet has 3 examples, and its card says 4; delete the folder, and make it again with "),
        ({"counts": 3}, "card.json does not say how many examples train.parquet has; delete the folder, and make it again with "),
        ({"counts": {"test": 3}}, "card.json does not say how many examples train.parquet has; delete the folder, and make it again with "),
        ({"task": "xnli"}, "card.json is the card of a translation of 'xnli', and its folder is one of 'xquad'"),
        ({"fingerprint": {}}, "train.parquet is not what its card says: its fingerprint is "),
        ({"fingerprint": {"train": "0" * 64}}, "train.parquet is not what its card says: its fingerprint is "),
        ({"corpus": "de-MT-en"}, "card.json is the card of corpus 'de-MT-en', and its folder is named 'de-MT-en~opus'"),
    ],
)
def test_a_folder_and_a_card_that_disagree_are_refused(tmp_path, folders, card, sentence):
    folder = translated(tmp_path, OPUS, *ITEMS, **card)
    with pytest.raises(DataError) as refused:
        folders(OPUS, "train")
    assert str(refused.value).startswith(f"{folder}/{sentence}")


def test_a_card_that_is_no_json_and_a_file_that_is_no_parquet_are_refused(tmp_path, folders):
    folder = translated(tmp_path, OPUS, *ITEMS)
    (folder / "train.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(DataError, match=r"train.parquet: Parquet magic bytes not found in footer"):
        folders(OPUS, "train")
    (folder / "card.json").write_text("{")
    with pytest.raises(DataError, match=r"card.json is not JSON: "):
        folders(OPUS, "train")


def test_a_translated_answer_that_does_not_stand_in_its_context_is_refused(tmp_path, folders):
    folder = translated(tmp_path, OPUS, replace(ITEMS[0], starts=(17, 0)))
    with pytest.raises(DataError) as refused:
        folders(OPUS, "train")
    assert str(refused.value) == (
        f"{folder}, split 'train': question 'q0': answer '300' is not at character 0 of its context, where 'Die' stands; "
        "it is at 17; make the folder again"
    )


def test_pairs_too_are_read_from_corpus_folders_by_the_same_policy(tmp_path, caplog):
    from xfer_ray.tasks import PAWSX_PAIRS, XNLI_PAIRS

    folders = replace(XNLI_PAIRS, translated=str(tmp_path))
    pairs = (Example("7", "a", "b", ("neutral",)), Example("9", "c", " ", ("entailment",)))
    folder = translated(tmp_path, OPUS, *pairs, benchmark="xnli")
    with pytest.raises(DataError) as refused:
        folders(OPUS, "train")
    assert str(refused.value) == (
        f"{folder}, split 'train': 1 of 2 pairs hold blank text, the first in row 9; repair them, or declare the policy 'keep' or 'drop-aligned'"
    )
    assert replace(folders, policy="keep")(OPUS, "train") == list(pairs)
    translated(tmp_path, TRANSLATED, Example("7", "a", "b", ("paraphrase",)), benchmark="xnli", split="test")
    with pytest.raises(DataError, match=r"example '7' is labeled \('paraphrase',\), and not one of entailment, neutral, contradiction$"):
        folders(TRANSLATED, "test")  # Table 4: the test set, machine-translated
    assert folders.missing(TRANSLATED, "train") == ""  # the hub holds it
    assert "xfer-ray translate pawsx --split train --from en --to de --label opus" in PAWSX_PAIRS.missing(OPUS, "train")


def test_a_folder_whose_writing_was_broken_off_is_refused(tmp_path, folders):
    """The card is put last: what there is before it, or of the file, counts for nothing."""
    folder = translated(tmp_path, OPUS, *ITEMS)
    whole = (folder / "train.parquet").read_bytes()
    (folder / "train.parquet").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"train.parquet: Parquet magic bytes not found in footer"):
        folders(OPUS, "train")
    translated(tmp_path, OPUS, *ITEMS[:2], **json.loads((folder / "card.json").read_text()))
    with pytest.raises(DataError, match=r"train.parquet has 2 examples, and its card says 3; delete the folder, and make it again with "):
        folders(OPUS, "train")
    pd.DataFrame({"id": ["q0"], "first": ["?"]}).to_parquet(folder / "train.parquet", index=False)
    with pytest.raises(DataError, match=r"train.parquet: no column second, answers, starts; found: id, first$"):
        folders(OPUS, "train")


def test_an_edited_text_is_seen(tmp_path, folders):
    folder = translated(tmp_path, OPUS, *ITEMS)
    card = (folder / "card.json").read_text()
    translated(tmp_path, OPUS, replace(ITEMS[0], first="Wie tief?"), *ITEMS[1:])
    (folder / "card.json").write_text(card)
    with pytest.raises(DataError, match=r"train.parquet is not what its card says: its fingerprint is [0-9a-f]{64}; delete the folder"):
        folders(OPUS, "train")


def test_sources_that_are_compared_keep_the_questions_that_all_of_them_have(tmp_path):
    english, german, russian = (Corpus.parse(text) for text in ("en-MT-fi", "de-MT-fi", "ru-MT-fi"))
    load = QaSets(name="t", parts=(SMALL,), shared_by=(english, german), translated=str(tmp_path))
    translated(tmp_path, english, *ITEMS, benchmark="t")
    assert (
        load.missing(english, "train")
        == f"the folder {tmp_path}/t/de-MT-fi does not exist; make it with `xfer-ray translate t --split train --from fi --to de --translator ...`"
    )
    translated(tmp_path, german, *ITEMS[1:], Example("q7", "?", CONTEXT, ("Köln",), (40,)), benchmark="t")
    translated(tmp_path, russian, *ITEMS, benchmark="t")
    assert [one.id for one in load(english, "train")] == [one.id for one in load(german, "train")] == ["q1", "q2"]
    assert [one.id for one in load(russian, "train")] == ["q0", "q1", "q2"]
    translated(tmp_path, english, *ITEMS, benchmark="t", split="validation")
    assert len(load(english, "validation")) == 3
    translated(tmp_path, german, replace(ITEMS[0], id="other"), benchmark="t")
    translated(tmp_path, english, *ITEMS, benchmark="t")
    with pytest.raises(DataError) as refused:
        load(english, "train")
    assert str(refused.value) == ("t, split 'train': en-MT-fi, de-MT-fi have no example in common; their ids must be those of their origin")


def test_pairs_that_are_compared_keep_the_rows_that_all_of_them_have(tmp_path, monkeypatch, caplog):
    from xfer_ray.tasks import XNLI, XNLI_PAIRS

    monkeypatch.delenv("XFER_RAY_MIRROR", raising=False)
    pairs = tuple(Example(str(row), f"a {row}", "b", ("neutral",)) for row in range(4))
    opus, other, third = OPUS, replace(OPUS, label="other"), replace(OPUS, label="third")
    load = replace(XNLI_PAIRS, shared_by=(opus, other), translated=str(tmp_path))
    translated(tmp_path, opus, *pairs[:3], benchmark="xnli")
    command = "make it with `xfer-ray translate xnli --split train --from en --to de --label other --translator ...`"
    assert load.missing(opus, "train") == f"the folder {tmp_path}/xnli/de-MT-en~other does not exist; {command}"
    with pytest.raises(DataError, match=r"xnli/de-MT-en~other does not exist; make it with "):
        load(opus, "train")
    translated(tmp_path, other, *pairs[1:], benchmark="xnli")
    translated(tmp_path, third, *pairs, benchmark="xnli")
    with caplog.at_level("INFO"):
        assert [one.id for one in load(opus, "train")] == ["1", "2"]
    assert caplog.messages == ["xnli, split 'train': de-MT-en~opus keeps 2 of 3 examples, those that de-MT-en~opus, de-MT-en~other share"]
    assert [one.id for one in load(other, "train")] == ["1", "2"]
    assert load.missing(opus, "train") == ""
    assert len(load(third, "train")) == 4  # not compared
    translated(tmp_path, opus, *pairs[:3], benchmark="xnli", split="test")
    assert len(load(opus, "test")) == 3  # another split
    translated(tmp_path, opus, *pairs[:3], benchmark="xnli")
    translated(tmp_path, other, *(replace(one, id=f"row-{one.id}") for one in pairs), benchmark="xnli")
    with pytest.raises(DataError) as refused:
        load(opus, "train")
    assert str(refused.value) == (
        "xnli, split 'train': de-MT-en~opus, de-MT-en~other have no example in common; their ids must be those of their origin"
    )
    assert Trial(replace(XNLI, load=load), MAJORITY, ENGLISH, 0).digest != Trial(XNLI, MAJORITY, ENGLISH, 0).digest
    assert Trial(replace(XNLI, load=replace(load, shared_by=())), MAJORITY, ENGLISH, 0).digest == Trial(XNLI, MAJORITY, ENGLISH, 0).digest


def test_what_is_compared_and_the_repositories_are_in_the_digest_and_the_folder_is_not():
    def digest(load: QaSets) -> str:
        return Trial(replace(XQUAD, load=load), MAJORITY, ENGLISH, 0).digest

    load = XQUAD.load
    assert digest(replace(load, translated="elsewhere")) == digest(load)
    assert digest(replace(load, shared_by=(ENGLISH, TRANSLATED))) != digest(load)
    assert digest(load.at({"google/xquad": "0" * 40})) != digest(load)
    assert load.at({"google/xquad": "mirror"}) == load
    assert load.at({"google/xquad": "0" * 40}).revisions == {
        "google/xquad": "0" * 40,
        "rajpurkar/squad": None,
        "juletxara/xquad_xtreme": None,
    }


def test_a_trial_names_only_the_repositories_that_it_reads():
    assert XQUAD.load.repositories(ENGLISH, "train") == {"rajpurkar/squad"}
    assert XQUAD.load.repositories(TRANSLATED, "validation") == {"juletxara/xquad_xtreme"}
    assert XQUAD.load.repositories(OPUS, "train") == set()
    shared = replace(XQUAD.load, shared_by=(ENGLISH, TRANSLATED))
    assert shared.repositories(ENGLISH, "train") == {"rajpurkar/squad", "juletxara/xquad_xtreme"}
    assert TYDIQA_FI.load.repositories(Corpus("fi"), "train") == {"google-research-datasets/tydiqa"}
