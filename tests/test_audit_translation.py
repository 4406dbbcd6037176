"""What a translation lost: yields, intersection, lengths, distances and faults, counted by hand on a few rows and on real translations."""

import json

import pandas as pd
import pytest

from xfer_ray import results
from xfer_ray.audit import rendering, translation
from xfer_ray.audit.translation import Fault, Length, Worst, Yield
from xfer_ray.errors import DataError, DeclarationError
from xfer_ray.sources import Example
from xfer_ray.translation import assembly
from xfer_ray.translation.assembly import Route
from xfer_ray.translation.fate import Fate
from xfer_ray.translation.projection import Rule, find
from xfer_ray.translation.translator import Translation


def table(*fates: Fate) -> pd.DataFrame:
    """An audit table as it is read from a corpus folder."""
    return results.from_bytes(results.to_bytes(results.flat_table(Fate, fates)), "made").to_pandas()


def exact(id_: str, gold: int = 0, length: int = 4, bucket: str = "1-5", faults: str = "") -> Fate:
    return Fate(id_, gold, True, "", faults, "exact", 0, 1, 7, length, bucket, "Köln", "Köln")


def closest(id_: str, distance: int, *, gold: int = 0, faults: str = "", length: int = 10) -> Fate:
    bucket = "6-10" if length <= 10 else "11-20"
    kept = distance <= 5
    return Fate(id_, gold, kept, "" if kept else "distance", faults, "closest", distance, 3, 2, length, bucket, "Eifelturm", "Eiffelturm")


def empty(id_: str, gold: int = 0, faults: str = "second:empty") -> Fate:
    return Fate(id_, gold, False, "empty", faults, length=9, bucket="6-10", translated="Eifelturm")


GERMAN = (
    exact("a"),
    closest("b", 5),
    closest("c", 6, faults="second:looping first:untranslated"),
    empty("d"),
    closest("e", 12, length=15, faults="answer:looping second:looping"),  # two golds: the second one is kept
    exact("e", gold=1, faults="second:looping"),
)
RUSSIAN = (exact("a"), empty("b"), exact("c", length=8, bucket="6-10"), exact("d"), closest("e", 1))


@pytest.fixture
def both() -> dict[str, pd.DataFrame]:
    return {"de-MT-en": table(*GERMAN), "ru-MT-en": table(*RUSSIAN)}


def test_a_question_passes_a_step_if_one_of_its_answers_does(both):
    found = translation.audit(both)
    assert found.yields == (Yield("de-MT-en", 5, 4, 2, 3), Yield("ru-MT-en", 5, 4, 3, 4))
    assert [one.percent for one in found.yields] == [60.0, 80.0]
    assert found.shared == ("a", "e")


def test_answers_are_counted_by_length_and_by_distance(both):
    found = translation.audit(both)
    assert found.lengths == (
        Length("de-MT-en", "1-5", 2, 2, 2),
        Length("de-MT-en", "6-10", 2, 0, 1),  # the one that was not looked for is not among them
        Length("de-MT-en", "11-20", 1, 0, 0),
        Length("ru-MT-en", "1-5", 2, 2, 2),
        Length("ru-MT-en", "6-10", 2, 1, 2),
    )
    assert found.distances == {
        "de-MT-en": (2, 0, 0, 0, 0, 1, 1, 0, 0, 0, 0, 1, 1),
        "ru-MT-en": (3, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1),
    }
    assert translation.audit({"x": table(exact("a"), closest("b", 10), closest("c", 11))}).distances["x"][10:] == (1, 1, 0)


def test_a_fault_counts_once_a_question(both):
    assert translation.audit(both).faults == (
        Fault("de-MT-en", "answer:looping", 1),
        Fault("de-MT-en", "first:untranslated", 1),
        Fault("de-MT-en", "second:empty", 1),
        Fault("de-MT-en", "second:looping", 2),
        Fault("ru-MT-en", "second:empty", 1),
    )


def test_the_document_says_all_of_it(both):
    found = json.loads(json.dumps(translation.audit(both).json()))
    assert found["yields"][0] == {"corpus": "de-MT-en", "questions": 5, "translated": 4, "exact": 2, "kept": 3, "percent": 60.0}
    assert found["shared"] == 2
    assert found["lengths"][1] == {"corpus": "de-MT-en", "bucket": "6-10", "n": 2, "exact": 0, "kept": 1}
    assert found["distances"]["de-MT-en"]["more"] == found["distances"]["de-MT-en"]["none"] == 1
    assert found["faults"][3] == {"corpus": "de-MT-en", "fault": "second:looping", "n": 2}


def test_as_text_for_a_person(both):
    assert rendering.render(translation.audit(both), "text") == (
        "Questions left after each step\n\n"
        "corpus   | questions translated exact kept    %\n"
        "-----------------------------------------------\n"
        "de-MT-en |         5          4     2    3 60.0\n"
        "ru-MT-en |         5          4     3    4 80.0\n"
        "kept in all 2 corpora: 2 questions\n\n"
        "Answers by the length of their translation\n\n"
        "corpus   | characters answers exact % others kept % kept %\n"
        "----------------------------------------------------------\n"
        "de-MT-en |        1-5       2   100.0            --  100.0\n"
        "de-MT-en |       6-10       2     0.0          50.0   50.0\n"
        "de-MT-en |      11-20       1     0.0           0.0    0.0\n"
        "ru-MT-en |        1-5       2   100.0            --  100.0\n"
        "ru-MT-en |       6-10       2    50.0         100.0  100.0\n\n"
        "Answers by edit distance, and the share that is kept where that is the greatest\n"
        "distance allowed\n\n"
        "corpus      |    0    1    2    3    4    5    6    7    8    9   10 | more none\n"
        "--------------------------------------------------------------------------------\n"
        "de-MT-en    |    2    0    0    0    0    1    1    0    0    0    0 |    1    1\n"
        "  so far, % | 33.3 33.3 33.3 33.3 33.3 50.0 66.7 66.7 66.7 66.7 66.7\n"
        "ru-MT-en    |    3    1    0    0    0    0    0    0    0    0    0 |    0    1\n"
        "  so far, % | 60.0 80.0 80.0 80.0 80.0 80.0 80.0 80.0 80.0 80.0 80.0\n\n"
        "Questions with a suspicious translation\n\n"
        "text: fault         | de-MT-en ru-MT-en\n"
        "---------------------------------------\n"
        "answer: looping     |        1        0\n"
        "first: untranslated |        1        0\n"
        "second: empty       |        1        1\n"
        "second: looping     |        2        0\n\n"
        "a question passes a step if one of its answers does; others: answers that do not\n"
        "occur in the context as they stand; none: not looked for, since a text was\n"
        "translated to nothing\n"
        "short answers are near to anything: any 5 characters are within 5 edits of any\n"
        "others\n"
    )


def test_every_format_shows_the_same_numbers(both):
    found = translation.audit(both)
    lines = rendering.render(found, "csv").splitlines()
    assert lines[0] == "table,corpus,row,measure,value"
    for line in (
        "steps,de-MT-en,,kept,3",
        "shared,,,kept,2",
        "length,de-MT-en,6-10,answers,2",
        "distance,de-MT-en,none,answers,1",
        "fault,de-MT-en,second:looping,questions,2",
    ):
        assert line in lines
    for style in ("markdown", "latex", "html"):
        page = rendering.render(found, style)
        assert all(text in page for text in ("de-MT-en", "60.0", "6-10", "33.3", "second: looping", "kept in all 2 corpora"))
    assert r"\%" in rendering.render(found, "latex")
    with pytest.raises(DeclarationError, match=r"^no format 'pdf'\. Possible: csv, text, markdown, latex, html$"):
        rendering.render(found, "pdf")


# ------------------------------------------------------------------------------ pairs


def test_pairs_have_no_answers_to_find():
    pairs = {
        "de-MT-en": table(Fate("0", 0, True), Fate("1", 0, False, "empty", "first:empty"), Fate("2", 0, True, "", "second:looping")),
        "es-MT-en": table(Fate("0", 0, True), Fate("1", 0, True), Fate("2", 0, True)),
    }
    found = translation.audit(pairs)
    assert found.yields == (Yield("de-MT-en", 3, 2, None, 2), Yield("es-MT-en", 3, 3, None, 3))
    assert (found.shared, found.lengths, found.distances) == (("0", "2"), (), {})
    assert rendering.render(found, "text") == (
        "Examples left after each step\n\n"
        "corpus   | examples translated kept     %\n"
        "-----------------------------------------\n"
        "de-MT-en |        3          2    2  66.7\n"
        "es-MT-en |        3          3    3 100.0\n"
        "kept in all 2 corpora: 2 examples\n\n"
        "Examples with a suspicious translation\n\n"
        "text: fault     | de-MT-en es-MT-en\n"
        "-----------------------------------\n"
        "first: empty    |        1        0\n"
        "second: looping |        1        0\n\n"
        "an example is kept if neither of its texts was translated to nothing\n"
    )
    alone = rendering.render(translation.audit({"es-MT-en": pairs["es-MT-en"]}), "text")
    assert "kept in all" not in alone
    assert "suspicious" not in alone


# ------------------------------------------------------------------------------ wrong input


def test_corpora_without_a_common_question_are_refused(both):
    other = {"fi-MT-en": table(exact("x"), exact("y"))}
    with pytest.raises(DataError) as refused:
        translation.audit(both | other)
    assert str(refused.value) == (
        "the intersection is empty: de-MT-en, ru-MT-en, fi-MT-en have no id in common, so they are no translations of one corpus and split"
    )
    lost = {"fi-MT-en": table(*(closest(id_, 9) for id_ in "abde"), exact("c"))}
    with pytest.raises(DataError) as refused:
        translation.audit(both | lost)
    assert str(refused.value) == (
        "the intersection is empty: no question was kept in all corpora (de-MT-en 3, ru-MT-en 4, fi-MT-en 1), "
        "so no training set is common to them"
    )
    assert translation.audit({"fi-MT-en": table(closest("a", 9))}).shared == ()  # one corpus alone: its table says it


def test_nothing_to_audit_is_refused():
    with pytest.raises(
        DataError, match=r"^no corpus has an audit table, so there is nothing to audit; translate one with: xfer-ray translate$"
    ):
        translation.audit({})
    with pytest.raises(DataError, match=r"^the audit table of de-MT-en is empty; an audit has a row for each question of the origin$"):
        translation.audit({"de-MT-en": table()})


# ------------------------------------------------------------------------------ what to look at


def test_the_worst_come_first_and_each_question_once(both):
    found = translation.worst(both["de-MT-en"])
    assert [(one.id, one.gold) for one in found] == [("e", 0), ("c", 0), ("d", 0), ("b", 0)]  # 2 faults, 2, 1, none but far
    assert found[1] == Worst("c", 0, "second:looping first:untranslated", "distance", 6, "Eifelturm", "Eiffelturm")
    assert len(translation.worst(both["de-MT-en"], 2)) == 2
    assert translation.worst(table(exact("a"))) == ()
    assert len(translation.worst(table(*(closest(str(n), n) for n in range(1, 30))))) == 10
    assert found[0].json()["faults"] == "answer:looping second:looping"


def test_the_worst_as_text_and_csv():
    odd = Fate("q1", 0, False, "distance", "", "closest", 8, 1, 0, 9, "6-10", "=1+1\nzwei", "x" * 60)
    found = {"de-MT-en": translation.worst(table(odd, empty("q2", faults="")))}
    assert rendering.render_worst(found, "text") == (
        "de-MT-en: what to look at first\n\n"
        "question suspicious  lost by distance translated answer                  found instead\n"
        "--------------------------------------------------------------------------------------\n"
        "q2               --    empty       --         Eifelturm                             --\n"
        "q1               -- distance        8         =1+1 zwei xxxxxxxxxxxxxxxxxxxxxxxxxxxxx…\n\n"
    )
    assert 'q1,0,,distance,8,"\'=1+1\nzwei",' + "x" * 60 in rendering.render_worst(found, "csv")
    assert "nothing is suspicious" in rendering.render_worst({"de-MT-en": ()}, "text")


# ------------------------------------------------------------------------------ real translations


def test_the_audit_of_real_translations(squad_mt_pt):
    """Through assembly, as a translation makes it: the shares of §2.4 by distance and by length."""
    articles = json.loads((squad_mt_pt / "sample-v1.1-pt.json").read_text(encoding="utf-8"))["data"]
    asked = [(qa, p["context"]) for article in articles for p in article["paragraphs"] for qa in p["qas"]]
    # the English texts are not there: the Portuguese ones stand for them, and each is translated to itself
    examples = [Example(qa["id"], qa["question"], context, (qa["answers"][0]["text"],), (0,)) for qa, context in asked]
    memory = {text: Translation(text) for text in assembly.texts_of(examples, spans=True)}
    kept, fates = assembly.assembled(examples, memory, Route("en", "pt", True, Rule()))
    plain = table(*fates)
    assert len(kept) == plain["kept"].sum()
    found = translation.audit({"pt-MT-en": plain, "pt-MT-en~xtreme": plain.assign(kept=plain["distance"] <= 10)})
    paper, xtreme = found.yields
    assert paper.questions == len(asked) == 3_286
    assert (paper.percent, xtreme.percent) == pytest.approx((87.5, 95.7), abs=0.3)
    assert 100 * paper.exact / paper.questions == pytest.approx(64.2, abs=0.3)
    assert len(found.shared) == paper.kept
    lengths = {one.bucket: one for one in found.lengths if one.corpus == "pt-MT-en"}
    others = [100 * (one.kept - one.exact) / (one.n - one.exact) for one in (lengths["1-5"], lengths["6-10"], lengths["21-40"])]
    assert others == pytest.approx([100, 93, 48], abs=0.5)
    first = plain.iloc[0]
    assert find(first["translated"], asked[0][1], 0.0).start == first["start"]
