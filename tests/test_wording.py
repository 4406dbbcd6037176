"""Wording for text-to-text models: what is asked and learned, and where its answer ends."""

from dataclasses import replace

import pytest
import tiny

from xfer_ray.errors import DataError
from xfer_ray.models import wording
from xfer_ray.sources import Example
from xfer_ray.tasks import XQUAD


def test_where_an_answer_ends_in_the_question_as_it_is_worded():
    item = Example("1", "Who's there?", "It's U.S. troops.", ("U.S.",), (5,))
    assert wording.question(XQUAD, item)[: wording.answer_end(XQUAD, item)] == "question: Who ' s there ? context: It ' s U . S ."
    turned = replace(XQUAD, prompt="context: {second} question: {first} answer:")
    assert wording.question(turned, item)[: wording.answer_end(turned, item)] == "context: It ' s U . S ."
    assert wording.answer_end(XQUAD, replace(item, starts=())) == 0


def test_what_cannot_be_learned_is_refused_with_its_id():
    item = Example("7", "a", "b", ())
    with pytest.raises(DataError, match="example '7' of task tiny has no answer, so nothing can be learned from it"):
        wording.answer(tiny.TASK, item)
    with pytest.raises(DataError, match="example '7' has label 'maybe', and task tiny knows entailment, neutral, contradiction"):
        wording.answer(tiny.TASK, replace(item, answers=("maybe",)))
