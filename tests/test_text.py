"""Padding, as mT5 reads text, and its inverse: on literals, and on every answer of XQuAD and of TyDi QA's validation set."""

import unicodedata

import pandas as pd
import pytest

from xfer_ray.text import is_unspaced, pad, script, unpadded

XQUAD = ("ar", "de", "el", "en", "es", "hi", "ro", "ru", "th", "tr", "vi", "zh")


@pytest.mark.parametrize(
    ("text", "padded"),
    [
        ("U.S. François's 1,000", "U . S . François ' s 1 , 000"),
        ("snake_case stays", "snake_case stays"),
        (" a \t b\u00a0c\n", "a b c"),
        ("他说：“好！”", "他说 ： “ 好 ！ ”"),
        ("ปี ๒๕๖๐(น้ำ)", "ปี ๒๕๖๐ ( น้ำ )"),  # vowel signs, tone marks and digits of Thai stay with their letters
        ("हिन्दी।", "हिन्दी ।"),
        ("5€+½", "5 € + ½"),
        ("e\u0301.", "e\u0301 ."),
        ("", ""),
        (" . ", "."),
    ],
)
def test_padding(text, padded):
    assert pad(text) == padded
    assert pad(padded) == padded


@pytest.mark.parametrize(
    ("text", "context", "stretch"),
    [
        ("U . S", "the U.S. troops", "U.S"),
        ("U . S .", "the U. S. troops", "U. S."),
        ("U.S.", "the U.S. troops", "U.S."),  # a model that does not pad
        ("François ' s", "is François's own", "François's"),
        ("San Juan", "in San\n Juan", "San\n Juan"),
        ("New ark", "in Newark", None),
        ("Newark", "in New ark", None),
        ("1 , 0", "x1,0y 1, 0", "1, 0"),  # the second has borders
        ("ab . ab", "xab.ab. ab", "ab. ab"),  # overlaps one without borders
        ("学", "北京大学", "学"),
        ("( 北京 )", "在（北京）(北京)", "(北京)"),
        ("สิบปี", "เป็นเวลาสิบปีแล้ว", "สิบปี"),
        ("น", "ในน้ำ น", "น"),  # not that of น้, which has a tone mark
        ("e", "caf\u0065\u0301", None),
        ("\u0301", "e\u0301", None),
        ("", "anything", None),
        (" ", "any thing", None),
        ("Berlin", "", None),
    ],
)
def test_an_answer_is_given_back_as_it_stands_in_the_context(text, context, stretch):
    assert unpadded(text, context) == stretch


@pytest.mark.parametrize(
    ("text", "context", "stretch"),
    [
        ("café", "a cafe\u0301 there", "cafe\u0301"),
        ("cafe\u0301", "a café there", "café"),
        ("cafe", "a café there", None),
        ("他说 : 好", "他说：好", "他说：好"),
        ("ABC 123", "之ＡＢＣ　１２３之", "ＡＢＣ　１２３"),
        ("No 5", "at №5, then", "№5"),
        ("1 ⁄ 2", "it is ½ of", "½"),
        ("2", "it is ½ of", None),  # part of one character
        ("ทํา", "เขาทำงาน", "ทำ"),
        ("한국", "\u1112\u1161\u11ab\u1100\u116e\u11a8", "\u1112\u1161\u11ab\u1100\u116e\u11a8"),
        ("\u1112\u1161\u11ab", "이 한국", "한"),
        ("하", "\u1112\u1161\u11ab", None),  # part of one syllable
        ("가", "ｶﾞ가", "가"),
        ("ガ", "あｶﾞあ", "ｶﾞ"),
        ("می روم", "من می\u200cروم", "می\u200cروم"),
        ("new ark", "in newark ①", None),
    ],
)
def test_an_answer_that_the_tokenizer_rewrote_is_found_in_the_characters_of_the_context(text, context, stretch):
    assert unpadded(text, context) == stretch


def pairs(path) -> list[tuple[str, str, str]]:
    """Id, answer, context."""
    frame = pd.read_parquet(path)
    return [(i, text, c) for i, c, found in zip(frame["id"], frame["context"], frame["answers"], strict=True) for text in found["text"]]


def lost(examples, form=None) -> list[str]:
    """Answers that are not given back; of those that are, everything must be as it was."""
    gone = []
    for name, answer, context in examples:
        padded = pad(answer) if form is None else unicodedata.normalize(form, pad(answer))
        found = unpadded(padded, context)
        if found is None:
            gone.append(name)
            continue
        assert found in context
        if form is None:
            assert pad(found) == padded
        assert found == answer.strip() or unicodedata.normalize("NFKC", found) == unicodedata.normalize("NFKC", answer.strip())
    return gone


@pytest.mark.parametrize("language", XQUAD)
def test_every_answer_of_xquad_is_given_back(mirror, language):
    examples = pairs(mirror / f"google/xquad/xquad.{language}/validation-00000-of-00001.parquet")
    assert len(examples) == 1_190
    assert [lost(examples, form) for form in (None, "NFKC", "NFD")] == [[], [], []]


def test_every_answer_of_tydiqa_is_given_back_but_two_that_cut_a_letter_from_its_vowel(mirror):
    examples = pairs(mirror / "google-research-datasets/tydiqa/secondary_task/validation-00000-of-00001.parquet")
    assert len(examples) == 8_754
    gone = lost(examples)
    assert [name.partition("-")[0] for name in gone] == ["telugu", "telugu"]
    cut = [(answer, context) for name, answer, context in examples if name in gone and unpadded(pad(answer), context) is None]
    assert all(unicodedata.category(context[context.index(answer) + len(answer)]) == "Mn" for answer, context in cut)


@pytest.mark.parametrize(
    ("character", "name", "unspaced"),
    [
        ("a", "LATIN", False),
        ("Ａ", "LATIN", False),
        ("ß", "LATIN", False),
        ("я", "CYRILLIC", False),
        ("한", "HANGUL", False),
        ("語", "CJK", True),
        ("々", "IDEOGRAPHIC", True),
        ("ｶ", "KATAKANA", True),
        ("ー", "KATAKANA-HIRAGANA", True),
        ("ก", "THAI", True),
        ("\u0e49", "", True),  # a tone mark is no letter
        ("๕", "", False),
        ("〇", "", True),
        ("。", "", False),
        ("1", "", False),
        (" ", "", False),
    ],
)
def test_scripts(character, name, unspaced):
    assert script(character) == name
    assert is_unspaced(character) is unspaced
