"""A text in the pieces that a translation model reads, and together again."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from languages import BENCHMARKS

from xfer_ray.translation.segments import Segment, by_segment, joined, segments
from xfer_ray.translation.translator import Translation

ENOUGH = 10**9


def cut(text, language="en", limit=ENOUGH, length=len):
    return segments(text, language, length, limit)


def texts(parts):
    return [part.text for part in parts]


@pytest.mark.parametrize(
    ("language", "text", "found"),
    [
        ("de", "Er kam.  Sie ging.\n", [("", "Er kam."), ("  ", "Sie ging."), ("\n", "")]),
        ("en", " Dr. Smith left the U.S. today. He was late.", [(" ", "Dr. Smith left the U.S. today."), (" ", "He was late.")]),
        ("zh", "他来了。你好吗？好。", [("", "他来了。"), ("", "你好吗？"), ("", "好。")]),
        ("zh_Hant", "他來了。她走了。", [("", "他來了。"), ("", "她走了。")]),
        ("ja", "彼は来た。彼女は「はい」と言った。", [("", "彼は来た。"), ("", "彼女は「はい」と言った。")]),
        ("hi", "वह आया। वह गई।", [("", "वह आया।"), (" ", "वह गई।")]),
        ("ur", "وہ آیا۔ وہ گئی۔", [("", "وہ آیا۔"), (" ", "وہ گئی۔")]),
        ("ar", "هل جاء؟ نعم.", [("", "هل جاء؟"), (" ", "نعم.")]),
        ("tlh", "One. Two.", [("", "One."), (" ", "Two.")]),
        ("en", "A heading\r\n\r\nOne line\nanother", [("", "A heading"), ("\r\n\r\n", "One line"), ("\n", "another")]),
        ("en", "", []),
        ("en", " \n ", [(" \n ", "")]),
    ],
)
def test_a_text_is_cut_into_its_sentences(language, text, found):
    assert cut(text, language) == [Segment(*part) for part in found]


@pytest.mark.parametrize(
    ("text", "limit", "found"),
    [
        ("one two three, four five six", 16, ["one two three,", "four five six"]),
        ("one, two three four five six", 16, ["one, two three", "four five six"]),  # the comma is too near the beginning
        ("one two three four", 8, ["one two", "three", "four"]),
        ("3,000,000,000 and 4,000,000,000", 16, ["3,000,000,000", "and", "4,000,000,000"]),  # no pause within a number
        ("一二三四，五六七八", 6, ["一二三四，", "五六七八"]),
        ("abcdefgh", 3, ["ab", "cd", "ef", "gh"]),
        ("ก็กำกิก้", 3, ["ก็", "กำ", "กิ", "ก้"]),  # marks stay with their letters
        ("abe\u0301cd", 3, ["ab", "e\u0301", "cd"]),
        ("👩\u200d👩\u200d👧", 2, None),
        ("x" + "\u0301" * 8, 4, None),
    ],
)
def test_a_sentence_that_is_too_long_is_split_at_the_best_place(text, limit, found):
    parts = cut(text, limit=limit)
    assert "".join(part.before + part.text for part in parts) == text
    assert found is None or texts(parts) == found
    assert all(len(part.text) <= limit for part in parts) or found is None


SCRIPTS = st.sampled_from(
    "ab Z.,;!?\n\t\r 01'\"«»—…” 你好。，？、ですかนี่กิ้ما؟،है।اہ۔éßñ\u0301\u0308\u200d\u200f\u2028\u00a0\u3000\U0001f469\U0001d15e가나ў"
)
LANGUAGES = st.sampled_from([*BENCHMARKS, "zh_Hant", "am", "hy", "my", "tlh"])


@given(st.text(SCRIPTS, max_size=120), LANGUAGES, st.integers(1, 12))
@settings(max_examples=400, deadline=None)
def test_the_segments_of_any_text_are_the_text_again_and_fit(text, language, limit):
    parts = cut(text, language, limit)
    assert "".join(part.before + part.text for part in parts) == text
    assert all(part.text == part.text.strip() and not part.before.strip() for part in parts)
    assert all(part.text for part in parts[:-1])
    assert all(len(part.text) <= limit for part in parts)


@given(st.text(max_size=60), LANGUAGES)
@settings(max_examples=200, deadline=None)
def test_texts_of_all_of_unicode_are_whole_again(text, language):
    assert "".join(part.before + part.text for part in cut(text, language, 7)) == text


@given(st.text("ab Z.,;!? 0\n é", max_size=80), st.integers(1, 12))
@settings(max_examples=200, deadline=None)
def test_segments_that_stay_are_joined_to_the_text(text, limit):
    parts = cut(text, "en", limit)
    assert joined(parts, [part.text for part in parts if part.text], "de") == text


def test_a_long_text_without_a_space_is_cut_and_not_cut_off():
    parts = cut("ab" * 5000, limit=100)
    assert "".join(texts(parts)) == "ab" * 5000
    assert max(map(len, texts(parts))) <= 100
    assert len(parts) <= 256


@pytest.mark.parametrize(
    ("language", "text", "translations", "target", "found"),
    [
        ("en", "He came. She went.", ["他来了。", "她走了。"], "zh", "他来了。她走了。"),
        ("en", "He came. She went.", ["彼は来た。", "彼女は行った。"], "ja", "彼は来た。彼女は行った。"),
        ("en", "He came. She went.", ["他來了。", "她走了。"], "zh_Hant", "他來了。她走了。"),
        ("en", "He came. She went.", ["เขามา", "เธอไป"], "th", "เขามา เธอไป"),  # Thai has a space between sentences
        ("zh", "他来了。她走了。", ["He came.", "She went."], "en", "He came. She went."),
        ("zh", "他来了。她走了。", ["彼は来た。", "彼女は行った。"], "ja", "彼は来た。彼女は行った。"),
        ("en", "One.  Two.\n\n Three. ", ["Eins.", "Zwei.", "Drei."], "de", "Eins.  Zwei.\n\n Drei. "),
        ("en", "One. Two.\n\n Three.", ["一。", "二。", "三。"], "zh", "一。二。\n\n三。"),
        ("en", "Yes. OK.", ["Yes.", "OK."], "zh", "Yes. OK."),  # two words that stayed
        ("en", "One. Two. Three.", ["Eins.", "", "Drei."], "de", "Eins. Drei."),
        ("en", "One. Two.", ["", "Zwei."], "de", "Zwei."),
        ("en", "One. Two.", ["", ""], "de", ""),
    ],
)
def test_translations_are_joined_as_their_language_is_written(language, text, translations, target, found):
    assert joined(cut(text, language), translations, target) == found


def test_parts_of_a_word_are_joined_without_a_space_but_parts_of_chinese_with_one():
    assert joined(cut("abcdefgh", limit=4), ["ABCD", "EFGH"], "de") == "ABCDEFGH"
    assert joined(cut("一二三四五六七八", "zh", 4), ["One", "two"], "en") == "One two"


def test_each_segment_is_translated_once_and_what_says_nothing_is_not_sent():
    sent = []

    def translate(found):
        sent.append(list(found))
        return [Translation(text.upper(), truncated=text == "The dog barks.") for text in found]

    whole = by_segment(translate, lambda text: cut(text), "de")
    assert whole(["He came. She went.", "…\n***", "She went. The dog barks."]) == [
        Translation("HE CAME. SHE WENT."),
        Translation("…\n***"),
        Translation("SHE WENT. THE DOG BARKS.", truncated=True),
    ]
    assert sent == [["He came.", "She went.", "The dog barks."]]
    assert whole(["…"]) == [Translation("…")]
    assert len(sent) == 1
