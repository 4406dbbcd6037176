"""How much of a paper-sized trial its evaluation is: the answers for all targets, beside the training before them.

On one model steps of `xfer_ray.models.training.train` take turns with the answers of the family's `predictor` for a sample of all
targets at once, as a trial asks for them, and with an update of the weights alone. From each such turn

    share = answers / (training + answers)        training = tokens x (step - update) / tokens of the step + steps x update

in seconds of processors. Extrapolated is from the sample to every example of the paper's targets, and from a step to all: the recipe's,
or its epochs over the paper's training set. Lengths are real, the source's and the targets'; those of a training set are taken from
the test or dev set of its language, English or, for TyDi QA, Finnish.

The encoder is mBERT's own shape. The text-to-text model is shaped as mT5-small, where the paper has mT5-Base, with mBERT's vocabulary.
The weights are random, so it would never end an answer: it writes 3 tokens of a label, as in `benchmarks/evaluation.py`, and ends the
answer to a question by chance, after as many tokens on average as the right ones have. A step is the recipe's for pairs on mBERT, and
smaller than that for the others, whence the update by itself. What a trial answers to choose a checkpoint, on the source's dev set, is
not in the share; the measure beside it counts all answers. Reading and tokenizing are in neither.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from benchmarks import harness, shapes, texts
from benchmarks.evaluation import WRITTEN
from benchmarks.harness import OURS, Bar, Costs, Measure, Setting
from benchmarks.training import Step, Subject, side_by_side
from xfer_ray.contract import Predict
from xfer_ray.core import Task
from xfer_ray.models import MT5, MT5_QA, MT5_TYDIQA, PAPER, PAPER_QA, pairs, spans, text_to_text, training, wording
from xfer_ray.models.batches import Rows, plan
from xfer_ray.models.lessons import Run
from xfer_ray.recipe import Recipe
from xfer_ray.sources import Corpus, Examples
from xfer_ray.tasks import PAWSX, PAWSX_PAIRS, TYDIQA, XNLI, XNLI_PAIRS, XQUAD
from xfer_ray.tasks.tydiqa import TYDIQA_QUESTIONS
from xfer_ray.tasks.xquad import SQUAD, XQUAD_QUESTIONS

TARGETS, DEV, UPDATE = "answers for the targets", "answers for the source's dev set", "an update of the weights"
WARM = 2  # steps that do not count


@dataclass(frozen=True)
class Sized:
    """A trial of the paper: how many examples it has, and samples of them.

    `recipe` is the trial's and `step` what one takes of it here: a `batch_size` or `batch_tokens`. `trained` is not told where the
    recipe counts tokens; `dev` and `chosen_on`, the source's dev set, where no checkpoint is chosen.
    """

    name: str
    task: Task
    recipe: Recipe
    step: int
    train: Examples
    targets: Mapping[Corpus, Examples]
    answered: int
    trained: int = 0
    dev: Examples = Examples(())
    chosen_on: int = 0

    @property
    def sample(self) -> Examples:
        """Of all targets, one after the other."""
        return Examples(tuple(example for items in self.targets.values() for example in items))

    def whole(self, rows: float, length: float) -> tuple[int, float]:
        """Steps and tokens of the trial, whose training examples have so many rows each, and those so many tokens."""
        recipe = self.recipe
        if recipe.batch_tokens is not None:
            assert recipe.steps is not None
            return recipe.steps, float(recipe.steps * recipe.batch_tokens)
        assert recipe.epochs is not None
        assert recipe.batch_size is not None
        return recipe.epochs * math.ceil(self.trained * rows / recipe.batch_size), recipe.epochs * self.trained * rows * length

    def short(self, steps: int) -> Recipe:
        """What is taken here of the recipe."""
        short = replace(self.recipe, epochs=None, steps=steps, select_every=None)
        return replace(short, batch_tokens=self.step) if short.batch_tokens else replace(short, batch_size=self.step)

    @property
    def choices(self) -> int:
        """How often the source's dev set is answered."""
        return (self.recipe.steps or 0) // self.recipe.select_every if self.recipe.select_every else 0


@dataclass(frozen=True)
class Spent:
    """Seconds of processors in a whole trial."""

    training: float
    targets: float
    dev: float = 0.0

    @property
    def share(self) -> float:
        """Of the answers for the targets, in percent, the source's dev set left out."""
        return 100 * self.targets / (self.training + self.targets)

    @property
    def share_of_all(self) -> float:
        """Of all answers, in percent."""
        return 100 * (self.targets + self.dev) / (self.training + self.targets + self.dev)


# ------------------------------------------------------------------------------ what takes turns


def answers(predict: Predict, examples: Examples) -> Step:
    """The answers for all of these in one pass."""
    return lambda rows: predict(examples)


def updates(run: Run) -> Step:
    """An update of all weights along a gradient of zeros, for which memory is taken anew as in each step."""
    optimizer = training.optimizer_of(run.model, run.recipe)

    def update(rows: Rows) -> None:
        for parameter in run.model.parameters():
            parameter.grad = torch.zeros_like(parameter)
        training.update(optimizer, run.recipe, run.recipe.learning_rate)

    return update


def end_by_chance(run: Run, length: float) -> None:
    """Let the model end an answer at any token, so that it has so many on average, the end included."""
    generator = torch.Generator().manual_seed(0)

    def end(layer: nn.Module, read: object, scores: Tensor) -> None:
        scores[torch.rand(len(scores), generator=generator) < 1 / length, run.tokenizer.eos_token_id] = torch.inf

    run.model.lm_head.register_forward_hook(end)


def written_length(run: Run, examples: Examples) -> float:
    """Tokens of a right answer, the end included, on average."""
    told = run.tokenizer([wording.answer(run.task, example) for example in examples]).input_ids
    return sum(map(len, told)) / len(told)


def taking(sized: Sized, folder: Path, recipe: Recipe) -> tuple[Subject, Mapping[str, Step]]:
    """What is trained, and what takes turns with it, on a model of its own with the same weights at first."""
    cache = folder.parent / "tokens"
    make = shapes.text_to_text_run if recipe.optimizer == "adafactor" else shapes.encoder_run
    run, other = (make(folder, sized.task, recipe, cache) for _ in range(2))
    head = text_to_text if recipe.optimizer == "adafactor" else pairs if sized.task.labels else spans
    if head is text_to_text and not sized.task.labels:
        end_by_chance(other, written_length(other, sized.sample))
    others = {TARGETS: answers(head.predictor(other), sized.sample)}
    if sized.chosen_on:
        others[DEV] = answers(head.predictor(other), sized.dev)
    if (recipe.batch_size, recipe.batch_tokens) != (sized.recipe.batch_size, sized.recipe.batch_tokens):
        others[UPDATE] = updates(other)
    return Subject(sized.name, run, head.lessons(run, sized.train), None, []), others


# ------------------------------------------------------------------------------ the share


def spent(sized: Sized, rows: float, length: float, tokens: Sequence[int], costs: Costs) -> list[Spent]:
    """What the whole trial costs by each turn, whose step had so many tokens; rows and length as in `Sized.whole`."""
    steps, whole = sized.whole(rows, length)
    nothing = [harness.Cost(0.0, 0.0)] * len(tokens)
    turns = zip(tokens, costs[OURS], costs[TARGETS], costs.get(DEV, nothing), costs.get(UPDATE, nothing), strict=True)
    return [
        Spent(
            training=whole * (step.cpu - update.cpu) / count + steps * update.cpu,
            targets=targets.cpu * sized.answered / len(sized.sample),
            dev=dev.cpu * sized.choices * sized.chosen_on / max(1, len(sized.dev)),
        )
        for count, step, targets, dev, update in turns
    ]


def measured(sized: Sized, folder: Path, steps: int, on: str, further: Sequence[Sized] = ()) -> Iterator[Measure]:
    """The share of a trial, and of further ones that cost as much by the step and the answer."""
    recipe = sized.short(steps)
    subject, others = taking(sized, folder, recipe)
    lengths = subject.lessons.tokens.lengths
    batches = list(plan(lengths, recipe, subject.run.seed))
    if sum(map(len, batches)) >= len(lengths):
        raise SystemExit(f"{len(lengths)} rows are too few for {steps} whole steps of {sized.name}, and the end of an epoch is a short one")
    tokens = [int(lengths[batch].sum()) for batch in batches][WARM:]
    costs = {name: found[WARM:] for name, found in side_by_side(subject, others).items()}
    rows, length = len(lengths) / len(sized.train), float(lengths.mean())
    sides = {name: tuple(found) for name, found in costs.items()}
    for one in (sized, *further):
        found = spent(one, rows, length, tokens, costs)
        bar = Bar(3.0, "most") if one is sized else None
        note = f"{one.whole(rows, length)[1] / 1e6:.0f} million tokens trained on, {one.answered:,} examples answered"
        yield Measure(f"evaluation's share of a trial, {one.name}, {on}", "%", tuple(each.share for each in found), bar, sides, note)
        if one.choices:
            note = f"{one.choices} times {one.chosen_on:,} of the source's dev set"
            yield Measure(
                f"the same with the choice of a checkpoint, {one.name}, {on}", "%", tuple(e.share_of_all for e in found), note=note
            )


# ------------------------------------------------------------------------------ the paper's trials


def pairs_on_mbert(setting: Setting) -> tuple[Sized, Sized, Sized]:
    """XNLI, Table 4 on its pairs, and PAWS-X, from English."""
    each, count, step = setting.size(8, 1), setting.size(800, 520), 128
    targets = texts.by_language(each, texts.PAIRS_SPLIT)
    languages, rows = len(targets), XNLI_PAIRS.rows
    xnli = Sized("mBERT on XNLI", XNLI, PAPER, step, texts.english(count), targets, languages * rows["test"], rows["train"])
    table4 = replace(xnli, name="mBERT on XNLI's test set, Table 4", answered=languages * rows["validation"], trained=rows["test"])
    held = {corpus: texts.spread(PAWSX_PAIRS(corpus, "validation"), 2 * each) for corpus in PAWSX_PAIRS.corpora("validation")}
    english, rows = texts.spread(PAWSX_PAIRS(Corpus("en"), "test"), count), PAWSX_PAIRS.rows
    return xnli, table4, Sized("mBERT on PAWS-X", PAWSX, PAPER, step, english, held, len(held) * rows["test"], rows["train"])


def questions(setting: Setting) -> tuple[Sized, Sized, Sized]:
    """XQuAD on mBERT and mT5, from English, and TyDi QA on mT5, from Finnish."""
    xquad = {corpus: XQUAD_QUESTIONS(corpus, "test") for corpus in XQUAD.targets}
    targets = {corpus: texts.spread(items, setting.size(2, 1)) for corpus, items in xquad.items()}
    answered, train, trained = sum(map(len, xquad.values())), texts.questions(setting.size(330, 140)), SQUAD.rows["train"]
    assert isinstance(trained, int)
    windows = Sized("mBERT on XQuAD", XQUAD, PAPER_QA, 32, train, targets, answered, trained)
    step, dev, chosen_on = setting.size(2**13, 2**10), texts.questions(setting.size(30, 4)), len(SQUAD(Corpus("en"), "validation"))
    words = Sized("mT5 on XQuAD", XQUAD, MT5_QA, step, train, targets, answered, dev=dev, chosen_on=chosen_on)
    tydiqa = {corpus: TYDIQA_QUESTIONS(corpus, "validation") for corpus in TYDIQA.targets}
    held = {corpus: texts.spread(items, max(1, len(items) // setting.size(150, 900))) for corpus, items in tydiqa.items()}
    finnish = texts.spread(tydiqa[Corpus("fi")], setting.size(390, 60))
    return windows, words, Sized("mT5 on TyDi QA", TYDIQA, MT5_TYDIQA, step, finnish, held, sum(map(len, tydiqa.values())))


def labels_on_mt5(setting: Setting) -> Sized:
    """XNLI from English."""
    targets = texts.by_language(setting.size(8, 1), texts.PAIRS_SPLIT)
    recipe, rows = replace(MT5, max_target_length=WRITTEN), XNLI_PAIRS.rows
    train, dev = texts.english(setting.size(1400, 150)), texts.english(setting.size(120, 10))
    step, answered = setting.size(2**13, 2**10), len(targets) * rows["test"]
    return Sized("mT5 on XNLI", XNLI, recipe, step, train, targets, answered, dev=dev, chosen_on=rows["validation"])


def benchmark(setting: Setting) -> Iterator[Measure]:
    """Three trials of mBERT, three of mT5, and one of Table 4."""
    steps = setting.size(6, 4)
    xnli, table4, pawsx = pairs_on_mbert(setting)
    windows, words, tydiqa = questions(setting)
    for threads in setting.threads:
        torch.set_num_threads(threads)
        on = f"{threads} thread{'s' if threads > 1 else ''}"
        mbert = shapes.bert(shapes.TINY if setting.quick else shapes.BASE, setting.scratch / "bert")
        yield from measured(xnli, mbert, steps, on, (table4,))
        for sized in (pawsx, windows):
            yield from measured(sized, mbert, steps, on)
        mt5 = shapes.mt5(setting.scratch / "mt5", tiny=setting.quick)
        for sized in (labels_on_mt5(setting), words, tydiqa):
            yield from measured(sized, mt5, steps, on)


if __name__ == "__main__":
    harness.run(__file__, __doc__, benchmark)
