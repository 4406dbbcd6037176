"""What every family does alike: train on the lessons, keep the step that the recipe asks for, answer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from xfer_ray.contract import FineTuned, Predict, answers_of
from xfer_ray.models import memory, resume, training
from xfer_ray.models.lessons import Lessons, Run
from xfer_ray.sources import Example, Examples


def fine_tuned(run: Run, lessons: Lessons, predict: Predict, select: Examples | None) -> FineTuned:
    """Train the model in place and wrap it; `predict` answers with the model as it stands when it is called."""
    evaluate = None if select is None else lambda: run.context.score(answers_of(predict, select))
    trained = training.train(run, lessons, evaluate)
    memory.give_back()

    def answer(examples: Sequence[Example]) -> Sequence[str]:
        answers = predict(examples) if examples else []
        memory.give_back()
        return answers

    def at(step: int) -> Predict:
        assert run.context.keeper is not None
        resume.load(run.model, run.context.keeper.fetch(step))
        return answer

    def save(into: Path) -> None:
        run.model.save_pretrained(into)
        run.tokenizer.save_pretrained(into)

    return FineTuned(
        predict=answer,
        step=trained.step,
        steps=trained.steps,
        micro_batch=trained.micro_batch,
        device=training.device_name(run.model),
        save=save,
        selection="source-dev" if trained.curve else "last",
        curve=trained.curve,
        at=at if trained.curve else None,
    )
