"""Spaces between the words of scripts that are written without them, and those that belong there."""

from dataclasses import replace

import pytest

from xfer_ray.core import Trial
from xfer_ray.errors import DataError
from xfer_ray.models import MBERT
from xfer_ray.sources import Corpus
from xfer_ray.tasks import XNLI, XNLI_DESEGMENTED, XNLI_PAIRS
from xfer_ray.tasks.desegment import desegment
from xfer_ray.text import is_unspaced


@pytest.mark.parametrize(
    ("segmented", "written"),
    [
        ("奶油 收入 有 两 个 维度 , 产品 和 地理 .", "奶油收入有两个维度,产品和地理."),
        ("他 说 : “ 我 在 家 。 ”", "他说:“我在家。”"),
        ("1998 年 , Fannie Flono 和 Joe 去 了 New York City 。", "1998年, Fannie Flono和Joe去了New York City。"),
        ("他们  有   27 3 个", "他们有27 3个"),
        ("犬 が 庭 で 走っ た 。", "犬が庭で走った。"),
    ],
)
def test_chinese_and_japanese_have_no_space_beside_a_character_of_their_own(segmented, written):
    assert desegment(segmented) == written


@pytest.mark.parametrize(
    ("segmented", "written"),
    [
        ("ฉัน ไม่ รู้ ว่า เขา อยู่ ที่ไหน", "ฉันไม่รู้ว่าเขาอยู่ที่ไหน"),
        ("ใช่ , ฉัน คิด ว่า ดี", "ใช่, ฉันคิดว่าดี"),
        ("ฉัน รู้   แต่ ไม่ พูด", "ฉันรู้ แต่ไม่พูด"),  # several spaces were one before
        ("เขา มี 27 คน ใน New York ( เมือง ใหญ่ )", "เขามี 27 คนใน New York (เมืองใหญ่)"),
        ("ปี 1998   และ   2004", "ปี 1998 และ 2004"),
    ],
)
def test_thai_keeps_the_spaces_of_clauses_numbers_and_latin_words(segmented, written):
    assert desegment(segmented) == written


@pytest.mark.parametrize(
    "text",
    [
        "There's  so much , really 3 000 .",
        "그는 집에 있다 .",
        "и он сказал : мама",
        "这是Fannie Flono，她在New York。",
        "ผู้หญิงคนนั้นกำลังอ่านหนังสือพิมพ์ และผู้ชายอีกคนหนึ่งกำลังฟังเพลง",
        "",
        " ",
    ],
)
def test_what_is_written_as_it_should_be_stays(text):
    assert desegment(text) == text


@pytest.mark.parametrize(("language", "share"), [("zh", 0.06), ("th", 0.01), ("en", 0), ("ar", 0)])
def test_the_test_sets_of_xnli_are_not_segmented_and_stay_nearly_as_they_are(mirror, monkeypatch, language, share):
    """Chinese loses the spaces that some writers put beside Latin words and commas; Thai those between the shortest clauses."""
    monkeypatch.setenv("XFER_RAY_MIRROR", str(mirror))
    corpus = Corpus("en") if language == "en" else Corpus.parse(f"{language}-HT-en")
    texts = [text for one in XNLI.load(corpus, "test") for text in (one.first, one.second)]
    changed = [(text, desegment(text)) for text in texts if desegment(text) != text]
    assert len(changed) <= share * len(texts)
    assert bool(changed) == bool(share)
    for before, after in changed:
        assert "".join(before.split()) == "".join(after.split())  # nothing but spaces
        assert desegment(after) == after


def test_segmented_test_text_comes_back(mirror, monkeypatch):
    """Spaces between all characters of the Chinese test set, Latin words and numbers apart, are all found and removed."""
    monkeypatch.setenv("XFER_RAY_MIRROR", str(mirror))
    for one in XNLI.load(Corpus.parse("zh-HT-en"), "test")[:2_000]:
        written = desegment(one.first)
        assert desegment(parted(written)) == written


def parted(text: str) -> str:
    """The text with a space on both sides of each character that is_unspaced."""
    return "".join(
        f" {after}" if at and not (after + text[at - 1]).count(" ") and (is_unspaced(after) or is_unspaced(text[at - 1])) else after
        for at, after in enumerate(text)
    )


# ------------------------------------------------------------------------------ as a source


def test_the_variant_is_made_of_the_texts_of_the_corpus_it_is_named_after(mirror, monkeypatch):
    monkeypatch.setenv("XFER_RAY_MIRROR", str(mirror))
    plain, variant = Corpus.parse("zh-HT-en"), Corpus.parse("zh-HT-en~desegmented")
    load = XNLI_DESEGMENTED.load
    before, after = load(plain, "test"), load(variant, "test")
    assert before == XNLI_PAIRS(plain, "test")
    assert [replace(one, first=desegment(one.first), second=desegment(one.second)) for one in before] == after
    assert before != after
    assert [(one.id, one.answers) for one in before] == [(one.id, one.answers) for one in after]
    assert load.missing(variant, "test") == ""


def test_a_variant_of_what_nobody_has_made_names_the_folder_of_that(tmp_path):
    load = replace(XNLI_DESEGMENTED.load, translated=str(tmp_path))
    variant = Corpus.parse("zh-MT-en~desegmented")
    assert load.missing(variant, "train") == ""  # the hub holds zh-MT-en
    assert (
        load.missing(variant, "test")
        == f"the folder {tmp_path}/xnli/zh-MT-en does not exist; make it with `xfer-ray translate xnli --split test --from en --to zh --translator ...`"
    )
    with pytest.raises(DataError, match=r"^the folder .*/xnli/zh-MT-en does not exist; make it with "):
        load(variant, "test")


def shouted(text: str) -> str:
    return text.upper()


def test_the_variants_are_sources_of_a_task_of_their_own():
    assert [str(source) for source in XNLI_DESEGMENTED.sources] == [
        "en-O",
        "zh-MT-en",
        "zh-MT-en~desegmented",
        "th-MT-en",
        "th-MT-en~desegmented",
    ]
    assert len({Trial(XNLI_DESEGMENTED, MBERT, source, 0).digest for source in XNLI_DESEGMENTED.sources}) == 5
    assert not XNLI_PAIRS.variants
    changed = replace(XNLI_DESEGMENTED, load=replace(XNLI_PAIRS, variants={"desegmented": shouted}))
    source = XNLI_DESEGMENTED.sources[2]
    assert Trial(changed, MBERT, source, 0).digest != Trial(XNLI_DESEGMENTED, MBERT, source, 0).digest
