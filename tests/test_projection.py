"""Finding answers again: against every substring and a plain Levenshtein distance, and on real machine translation."""

import json
import subprocess
import sys
import unicodedata
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xfer_ray.errors import DeclarationError
from xfer_ray.text import is_mark, is_unspaced
from xfer_ray.translation.projection import BUCKETS, Found, Rule, bucket, find

ROOT = Path(__file__).resolve().parents[1]
ACUTE, TILDE = "\u0301", "\u0303"


def distances(answer: str, text: str) -> list[int]:
    """Levenshtein's distance between the answer and each beginning of the text, by the plain dynamic program."""
    column, found = list(range(len(answer) + 1)), []
    for length, character in enumerate(text, 1):
        before, column = column, [length]
        for i, wanted in enumerate(answer, 1):
            column.append(min(before[i] + 1, column[-1] + 1, before[i - 1] + (wanted != character)))
        found.append(column[-1])
    return found


def begins_with_mark(text: str) -> bool:
    return unicodedata.category(text[0]).startswith("M") if text else False


def by_hand(answer: str, context: str, near: float) -> Found | None:
    """The definition, word by word: all substrings that cut no mark, and the distance of each."""
    answer = answer.strip()
    if not answer or not context.strip():
        return None
    n = len(context)
    places = {
        (start, end): distance
        for start in range(n)
        if not begins_with_mark(context[start:])
        for end, distance in enumerate(distances(answer, context[start:]), start + 1)
        if not begins_with_mark(context[end:])
    }
    if not places:
        return None
    least = min(places.values())
    equal = [place for place, distance in places.items() if distance == least]

    def in_word(at: int) -> bool:
        sides = context[at - 1 : at + 1] if 0 < at < n else ""
        return len(sides) == 2 and all((side.isalnum() or begins_with_mark(side)) and not is_unspaced(side) for side in sides)

    def rank(place: tuple[int, int]) -> tuple[bool, int, float, int, int]:
        start, end = place
        cut = in_word(start) + in_word(end) if least else 0
        return context[start:end] != context[start:end].strip(), cut, abs(start / n - near), end - start, start

    start, end = min(equal, key=rank)
    return Found(start, end, least, len(equal), "closest" if least else "exact")


# ------------------------------------------------------------------------------ against brute force

ALPHABETS = {
    "latin": "abé ." + ACUTE,
    "cyrillic": "дом й\u0306",
    "greek": "λόγος " + ACUTE,
    "arabic": "كتاب \u064e\u0651",
    "hebrew": "אב \u05b7\u05bc",
    "devanagari": "कखर \u093e\u093f\u094d\u0901",
    "bengali": "কলম \u09be\u09cd\u0981",
    "telugu": "తల \u0c41\u0c4d",
    "thai": "กขร\u0e31\u0e48\u0e33",
    "han": "北京大学。",
    "kana": "かなガ\u3099ー",
    "hangul": "서울 \u1109\u1165",
    "astral": "a😀𝒜\U0001f3fd𐍈 ",
    "marks": ACUTE + TILDE + "\u0308a",
}


@st.composite
def cases(draw: st.DrawFn) -> tuple[str, str, float]:
    """An answer that is a changed stretch of a short context, or has nothing to do with it, in one script or two."""
    letters = ALPHABETS[draw(st.sampled_from(sorted(ALPHABETS)))] + draw(st.sampled_from(["", "x", "x ", "ab"]))
    context = draw(st.text(letters, max_size=11))
    start = draw(st.integers(0, len(context)))
    answer = list(context[start : draw(st.integers(start, len(context)))])
    for at in draw(st.lists(st.integers(0, 10), max_size=3)):
        answer[at : at + draw(st.integers(0, 1))] = draw(st.text(letters + "z", max_size=1))
    if draw(st.integers(0, 4)) == 0:
        answer = list(draw(st.text(letters + " z", max_size=14)))  # also longer than the context
    return "".join(answer), context, draw(st.floats(0, 1))


@settings(deadline=None, max_examples=2_000)
@given(case=cases())
def test_it_is_the_closest_of_all_substrings(case):
    answer, context, near = case
    assert find(answer, context, near) == by_hand(answer, context, near)


@pytest.mark.parametrize("script", sorted(ALPHABETS))
def test_every_script_meets_every_kind_of_case(script):
    """What the generated cases above need to be worth something: each kind comes up in each script."""
    letters, kinds = ALPHABETS[script], Counter[str]()
    for seed in range(150):  # a small generator of our own, so that the cases are always the same
        digits = [(seed * 7919 + at * 104_729) % 997 for at in range(24)]
        context = "".join(letters[digit % len(letters)] for digit in digits[:12])
        answer = "".join(letters[digit % len(letters)] for digit in digits[12 : 13 + seed % 6])
        found, expected = find(answer, context, seed / 150), by_hand(answer, context, seed / 150)
        assert found == expected
        kinds[found.method if found else "none"] += 1
        kinds["tied"] += bool(found and found.ties > 1)
        kinds["cut"] += bool(found and answer.strip() in context and found.distance > 0)
    assert kinds["exact"] > 5
    assert kinds["closest"] > 5
    assert kinds["tied"] > 5
    assert kinds["cut"] > 0 or not any(map(is_mark, letters))


HAN = "".join(map(chr, range(0x4E00, 0x4E00 + 400)))


@pytest.mark.parametrize(
    ("answer", "context"),
    [
        ("丐xx丗丘", HAN[:60]),
        (HAN[100:104] + "x" + HAN[105:108], HAN[60:330]),  # 270 distinct characters, where edlib stops at 256
        (HAN[:120:2], HAN[:70]),
        ("résumé" + ACUTE, "zzz" + HAN[:250] + "resume" + ACUTE),
    ],
    ids=["short", "long", "longer than half", "marks"],
)
def test_contexts_of_many_characters(answer, context):
    assert find(answer, context, 0.5) == by_hand(answer, context, 0.5)


def test_answers_of_more_characters_than_edlib_knows():
    """300 distinct characters in common: known in closed form, since every character of the context is there once."""
    context = HAN + "end"
    assert find(HAN[20:320], context, 0.0) == Found(20, 320, 0, 1, "exact")
    assert find(HAN[20:170] + "x" + HAN[171:320], context, 0.0) == Found(20, 320, 1, 1, "closest")
    assert find(HAN[20:170] + HAN[172:320], context, 0.0) == Found(20, 320, 2, 1, "closest")


@pytest.mark.parametrize("common", [253, 254, 255, 256, 257])
def test_as_many_characters_in_common_as_edlib_knows(common):
    answer = HAN[:100] + "x" + HAN[101 : common + 1]
    assert find(answer, HAN, 0.0) == Found(0, common + 1, 1, 1, "closest")


# ------------------------------------------------------------------------------ cases


@pytest.mark.parametrize(
    ("answer", "context", "near", "stretch", "found"),
    [
        ("Eifelturm", "Der Eiffelturm (Paris)", 0.2, "Eiffelturm", Found(4, 14, 1, 1, "closest")),
        ("Paris", "Paris, Paris, Paris", 0.45, "Paris", Found(7, 12, 0, 3, "exact")),
        ("aa", "baaaa", 1.0, "aa", Found(3, 5, 0, 3, "exact")),  # overlapping occurrences count
        (" Köln\n", "in Köln", 0.0, "Köln", Found(3, 7, 0, 1, "exact")),
        ("the whole", "the whole", 0.9, "the whole", Found(0, 9, 0, 1, "exact")),
        ("longer than all", "than", 0.0, "than", Found(0, 4, 11, 1, "closest")),
        ("ab ", "xa b", 0.0, "b", Found(3, 4, 1, 5, "closest")),  # as near as "a", "a ", "a b" and " b", and a whole word
        ("MIT", "麻省理工", 0.5, "理", Found(2, 3, 3, 9, "closest")),  # nothing in common: any stretch of 1 to 3
        ("Notre Dame", "Notre ", 0.0, "Notre ", Found(0, 6, 4, 1, "closest")),  # found with its space and only so
        ("a b", "a ", 0.0, "a ", Found(0, 2, 1, 1, "closest")),
        ("e", "caf\u0065" + ACUTE, 1.0, "e" + ACUTE, Found(3, 5, 1, 4, "closest")),  # not without its accent
        ("caf", "cafe" + ACUTE, 0.0, "caf", Found(0, 3, 0, 1, "exact")),
        ("cafe", "cafe" + ACUTE, 0.0, "cafe" + ACUTE, Found(0, 5, 1, 2, "closest")),  # "caf" is as near, and cuts a word
        (ACUTE + "a", "e" + ACUTE + "a", 0.9, "e" + ACUTE + "a", Found(0, 3, 1, 2, "closest")),  # likewise "a"
        ("लड़क", "एक लड़के ने", 0.3, "लड़के", Found(3, 8, 1, 2, "closest")),  # "लड़" is as near, and cuts a word
        ("ก", "ก\u0e31\u0e48", 0.0, "ก\u0e31\u0e48", Found(0, 3, 2, 1, "closest")),
        ("x", "😀𝒜x😀", 0.0, "x", Found(2, 3, 0, 1, "exact")),
        ("\ud800b", "a\ud800b", 0.0, "\ud800b", Found(1, 3, 0, 1, "exact")),  # half of a pair
        ("\ud800bc", "a\ud800b", 0.0, "\ud800b", Found(1, 3, 1, 1, "closest")),
        ("\ud800bc", "a\ud800b" + ACUTE, 0.0, "\ud800b" + ACUTE, Found(1, 4, 1, 1, "closest")),
    ],
)
def test_what_is_found(answer, context, near, stretch, found):
    assert find(answer, context, near) == found == by_hand(answer, context, near)
    assert context[found.start : found.end] == stretch


@pytest.mark.parametrize(
    ("answer", "context"),
    [("", "text"), (" \u3000", "text"), ("Köln", ""), ("Köln", " \n"), ("e", ACUTE + TILDE), (ACUTE, ACUTE), ("", "")],
)
def test_nothing_is_found_for_a_blank_or_in_marks_alone(answer, context):
    assert find(answer, context, 0.5) is None


def test_of_equally_close_places_one_that_cuts_no_word_comes_first():
    for answer, context, found in [("1,000 Fuss", "Der Turm ist 1.000 Fuß hoch.", "1.000 Fuß"), ("東京大", "彼は東京太に", "東京")]:
        place = find(answer, context, 0.0)
        assert context[place.start : place.end] == found, "of a script without spaces the shortest"


def test_the_nearest_to_the_original_place_of_many():
    context = "1990 " * 100
    for at in (0, 17, 50, 99):
        assert find("1990", context, at / 100) == Found(5 * at, 5 * at + 4, 0, 100, "exact")
        closest = find("19x90", context, at / 100)
        assert (closest.start, closest.end, closest.distance, closest.ties) == (5 * at, 5 * at + 4, 1, 100)


def test_a_long_word_without_a_space_is_searched_whole():
    context = "ab" * 50_000 + "c" + "ab" * 50_000
    assert find("abxcab", context, 0.0) == Found(99_998, 100_003, 1, 1, "closest")


# ------------------------------------------------------------------------------ the rule


def test_five_edits_are_kept_and_six_are_not():
    context = "the University of Notre Dame du Lac was founded in 1842"
    five, six = "Univxrsixy xf Nxtre Dxme", "Univxrsixy xf Nxtrx Dxme"
    near = {answer: find(answer, context, 0.0) for answer in (five, six)}
    assert [near[answer].distance for answer in (five, six)] == [5, 6]
    assert [Rule().accepts(near[answer], answer) for answer in (five, six)] == [True, False]
    assert Rule(max_distance=10).accepts(near[six], six)
    assert not Rule(max_distance=4).accepts(near[five], five)


def test_a_share_of_the_length_caps_what_five_edits_would_let_pass():
    found = find("Köln", "Rom und Bern", 0.0)
    assert found.distance == 3
    assert Rule().accepts(found, "Köln")
    assert not Rule(max_share=0.7).accepts(found, "Köln")
    assert Rule(max_share=0.75).accepts(found, "Köln")
    assert not Rule(max_share=0.74).accepts(found, "Köln     ")  # white space does not count
    answer = "x" * 100
    assert Rule(max_distance=100, max_share=0.29).accepts(Found(0, 100, 29, 1, "closest"), answer)
    assert not Rule(max_distance=5, max_share=0.29).accepts(Found(0, 100, 29, 1, "closest"), answer)


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"max_distance": -1}, "max_distance is -1; give a number of edits, 0 or more"),
        ({"max_distance": True}, "max_distance is True; give a number of edits, 0 or more"),
        ({"max_share": 1.5}, "max_share is 1.5; give the edits as a share of the answer's length, from 0 to 1, or None"),
        ({"max_share": float("nan")}, "max_share is nan; give the edits as a share of the answer's length, from 0 to 1, or None"),
    ],
)
def test_a_wrong_rule_is_refused(wrong, sentence):
    with pytest.raises(DeclarationError) as refused:
        Rule(**wrong)
    assert str(refused.value) == sentence


def test_buckets_of_length():
    lengths = (1, 5, 6, 10, 11, 20, 21, 40, 41, 5_000)
    assert [bucket("x" * length) for length in lengths] == [name for name in BUCKETS for _ in range(2)]
    assert bucket(" Köln ") == "1-5"


# ------------------------------------------------------------------------------ real machine translation


def test_the_shares_of_real_machine_translation(squad_mt_pt):
    """§2.4 of the specification, from another program: exact 64.2, kept at 5 87.5, at 10 95.7 %; of short answers nearly all pass."""
    articles = json.loads((squad_mt_pt / "sample-v1.1-pt.json").read_text(encoding="utf-8"))["data"]
    paragraphs = [paragraph for article in articles for paragraph in article["paragraphs"]]
    asked = [(qa["answers"][0]["text"], p["context"]) for p in paragraphs for qa in p["qas"]]
    found = [(answer, find(answer, context, 0.0)) for answer, context in asked]
    distances = [place.distance for _, place in found]

    def share(most: int) -> float:
        return 100 * sum(distance <= most for distance in distances) / len(asked)

    assert len(asked) == 3_286
    assert [share(most) for most in (0, 5, 10)] == pytest.approx([64.2, 87.5, 95.7], abs=0.3)
    assert [share(most) for most in (1, 2, 3)] == pytest.approx([74.1, 77.9, 81.4], abs=0.3)
    by_length = {name: [place for answer, place in found if bucket(answer) == name and place.method == "closest"] for name in BUCKETS}
    kept = {name: 100 * sum(place.distance <= 5 for place in places) / len(places) for name, places in by_length.items()}
    assert (kept["1-5"], kept["6-10"], kept["21-40"]) == pytest.approx((100, 93, 48), abs=0.5)
    assert 100 * sum(place.method == "exact" and place.ties > 1 for _, place in found) / len(asked) == pytest.approx(8.7, abs=0.3)


def test_real_answers_are_found_where_they_are(mirror):
    """XQuAD's own answers, of which many occur several times: looked for near where they are, each is found at its place."""
    import pandas as pd

    for language in ("ar", "hi", "th", "zh"):
        frame = pd.read_parquet(mirror / f"google/xquad/xquad.{language}/validation-00000-of-00001.parquet")
        for context, golds in zip(frame["context"], frame["answers"], strict=True):
            answer, start = golds["text"][0], int(golds["answer_start"][0])
            bare = start + len(answer) - len(answer.lstrip())
            found = find(answer, context, bare / len(context))
            cuts = is_mark(context[bare]) or is_mark(context[bare + len(answer.strip()) :][:1])
            assert cuts or found == Found(bare, bare + len(answer.strip()), 0, found.ties, "exact")


def test_the_benchmark_prints_speed_and_shares(tmp_path):
    paragraph = {"context": "Der Eiffelturm in Paris", "qas": [{"answers": [{"text": text}]} for text in ("Paris", "Eifelturm", "Rom")]}
    (tmp_path / "made.json").write_text(json.dumps({"data": [{"paragraphs": [paragraph]}]}))
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.projection", str(tmp_path / "made.json")], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0].startswith("3 questions, ")
    assert lines[1] == "exact        33.3 % (1 of 3)"
    assert lines[2] == "kept at  1   66.7 % (2 of 3)"
