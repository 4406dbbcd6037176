"""From translated texts to examples again: several golds, golds that are lost, texts that are lost."""

from xfer_ray.sources import Example
from xfer_ray.translation.assembly import Route, assembled, texts_of
from xfer_ray.translation.translator import Translation

QUESTIONS, PAIRS = Route("en", "de", spans=True), Route("en", "de", spans=False)
CONTEXT = "The queen and the old queen saw Rome."
SAID = {
    "Who?": "Wer?",
    CONTEXT: "Die Königin und die alte Königin sahen Rom.",
    "queen": "Königin",
    "The queen": "Königin",
    "Rome": "Stadt der sieben Hügel",
}


def example(*answers: str) -> Example:
    return Example("q", "Who?", CONTEXT, answers, tuple(map(CONTEXT.index, answers)))


def told(changed: dict[str, str] | None = None) -> dict[str, Translation]:
    return {text: Translation(said) for text, said in {**SAID, **(changed or {})}.items()}


def test_every_distinct_text_is_translated_once():
    assert texts_of([example("queen", "Rome"), example("Rome")], spans=True) == ["Who?", CONTEXT, "queen", "Rome"]
    assert texts_of([Example("p", "Who?", " ", ("yes",))], spans=False) == ["Who?"]


def test_golds_that_fall_together_are_one_and_those_that_are_lost_are_none():
    kept, fates = assembled([example("queen", "The queen", "Rome")], told(), QUESTIONS)
    assert [(e.id, e.answers, e.starts) for e in kept] == [("q", ("Königin",), (4,))]
    assert [(fate.gold, fate.kept, fate.reason) for fate in fates] == [(0, True, ""), (1, True, ""), (2, False, "distance")]


def test_an_example_whose_golds_are_all_lost_is_not_kept():
    kept, fates = assembled([example("Rome")], told(), QUESTIONS)
    assert kept == []
    assert (fates[0].reason, fates[0].translated, fates[0].bucket) == ("distance", "Stadt der sieben Hügel", "21-40")


def test_a_question_that_was_translated_to_nothing_is_lost_with_its_answer():
    kept, fates = assembled([example("queen")], told({"Who?": " "}), QUESTIONS)
    assert kept == []
    assert (fates[0].reason, fates[0].faults, fates[0].method) == ("empty", "first:empty", "")


def test_pairs_keep_their_label_and_a_blank_text_stays_blank():
    kept, fates = assembled([Example("p", "", "Who?", ("yes",))], told(), PAIRS)
    assert kept == [Example("p", "", "Wer?", ("yes",))]
    assert (fates[0].kept, fates[0].faults) == (True, "")
