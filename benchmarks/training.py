"""A training step as a trial takes it, beside the same step on a padded batch.

Ours is `xfer_ray.models.training.train`, everything that it does included. Theirs is the step that Hugging Face's Trainer takes:
every row padded to the longest that there may be (`run_xnli.py`, `run_qa.py` and their kin with pad_to_max_length), the model's own
loss, gradients clipped, fused AdamW (Trainer's default) or Adafactor; a third side pads to the longest row of the batch instead. All
start with the same weights and take the same batches, the whole vocabulary's embeddings in theirs. After each pair of our steps
theirs takes the same two in reverse order; the first pair does not count. Reading and tokenizing are not in it.

Pairs: BERT-small (4 layers of 512; Turc et al. 2019) on batches of 128 pairs of XNLI, 128 tokens at most: in English, whose pairs are the
shortest, and in all 15 languages, mixed. Windows: the same on batches of 32 windows of SQuAD, 384 tokens at most. Text-to-text: a
model shaped as mT5-small on 128 pairs of XNLI in words, 128 tokens at most, and an answer of 8 at most. The vocabulary is mBERT's, the
weights are random.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from transformers import (
    Adafactor,
    AutoModelForQuestionAnswering,
    AutoModelForSeq2SeqLM,
    AutoModelForSequenceClassification,
    DataCollatorForSeq2Seq,
    get_scheduler,
)

from benchmarks import harness, shapes, texts
from benchmarks.harness import OURS, Bar, Costs, Measure, Setting
from xfer_ray.models import MT5, PAPER, PAPER_QA, pairs, spans, text_to_text, training, wording
from xfer_ray.models.batches import Rows, plan
from xfer_ray.models.lessons import Lessons, Run
from xfer_ray.models.windows import answer_columns, windowed
from xfer_ray.recipe import Recipe
from xfer_ray.sources import Examples
from xfer_ray.tasks import XNLI, XQUAD

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Features = list[dict[str, list[int] | int]]
Step = Callable[[Rows], object]
ANSWER_LENGTH = 8  # tokens of a padded answer, which has 3
IGNORED = -100  # a label that asks for nothing


@dataclass(frozen=True)
class Subject:
    """What is trained: our run and its lessons, the class of the same model in transformers, and what that reads for each row.

    `shorter` are the same features where their labels need not be padded to one length.
    """

    name: str
    run: Run
    lessons: Lessons
    kind: Any
    features: Features
    shorter: Features = field(default_factory=list)


# ------------------------------------------------------------------------------ subjects


def of_pairs(folder: Path, examples: Examples, recipe: Recipe, name: str = "pairs") -> Subject:
    """Classification of pairs on an encoder."""
    run = shapes.encoder_run(folder, XNLI, recipe, folder.parent / "tokens")
    encoded = run.tokenizer([e.first for e in examples], [e.second for e in examples], truncation=True, max_length=recipe.max_length)
    labels = [XNLI.labels.index(e.answers[0]) for e in examples]
    features = [{**{name: encoded[name][i] for name in encoded}, "labels": label} for i, label in enumerate(labels)]
    return Subject(name, run, pairs.lessons(run, examples), AutoModelForSequenceClassification, features)


def of_windows(folder: Path, examples: Examples, recipe: Recipe) -> Subject:
    """Extractive question answering on an encoder; the windows of both are ours."""
    run = shapes.encoder_run(folder, XQUAD, recipe, folder.parent / "tokens")
    windows = windowed(run.tokenizer, examples, recipe, run.context.cache)
    columns, _ = answer_columns(windows, examples)
    features: Features = []
    for row, (start, end) in enumerate(columns.tolist()):
        ids = windows.ids[windows.offsets[row] : windows.offsets[row + 1]].tolist()
        second = int(windows.seconds[row])
        segments = [0] * second + [1] * (len(ids) - second)
        features.append({"input_ids": ids, "token_type_ids": segments, "start_positions": start, "end_positions": end})
    return Subject("windows", run, spans.lessons(run, examples), AutoModelForQuestionAnswering, features)


def of_words(folder: Path, examples: Examples, recipe: Recipe) -> Subject:
    """Classification of pairs by a text-to-text model."""
    run = shapes.text_to_text_run(folder, XNLI, recipe, folder.parent / "tokens")
    asked = run.tokenizer([wording.question(XNLI, e) for e in examples], truncation=True, max_length=recipe.max_length).input_ids
    answers = run.tokenizer([wording.answer(XNLI, e) for e in examples]).input_ids
    bare: Features = [{"input_ids": ids, "labels": answer} for ids, answer in zip(asked, answers, strict=True)]
    filled = [{**one, "labels": one["labels"] + [IGNORED] * (ANSWER_LENGTH - len(one["labels"]))} for one in bare]  # type: ignore[operator,arg-type]
    return Subject("text-to-text", run, text_to_text.lessons(run, examples), AutoModelForSeq2SeqLM, filled, bare)


# ------------------------------------------------------------------------------ theirs


@dataclass(frozen=True)
class Theirs:
    """What a Trainer takes its steps with; `batch` pads the rows of a batch."""

    model: PreTrainedModel
    recipe: Recipe
    optimizer: torch.optim.Optimizer
    rates: torch.optim.lr_scheduler.LRScheduler
    batch: Callable[[Rows], Mapping[str, Tensor]]

    def __call__(self, rows: Rows) -> None:
        """One step."""
        batch = {name: tensor.to(self.model.device) for name, tensor in self.batch(rows).items()}
        with training.autocast(self.model, self.recipe):
            loss = self.model(**batch).loss
        loss.backward()
        if self.recipe.clip_norm > 0:
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.recipe.clip_norm)
        self.optimizer.step()
        self.rates.step()
        self.optimizer.zero_grad()


def theirs(subject: Subject, width: int | None, steps: int) -> Theirs:
    """The steps of a Trainer on a copy of our model, every row padded to so many tokens, or to the longest of the batch."""
    run, recipe = subject.run, subject.run.recipe
    model = subject.kind.from_pretrained(run.context.checkpoint, config=run.model.config)
    model.load_state_dict(run.model.state_dict())
    model.to(run.model.device).train()
    optimizer = _optimizer(model, recipe)
    rates = get_scheduler(recipe.schedule, optimizer, recipe.warmup_steps, steps)
    return Theirs(model, recipe, optimizer, rates, _padding(subject, width))


def _padding(subject: Subject, width: int | None) -> Callable[[Rows], Mapping[str, Tensor]]:
    tokenizer = subject.run.tokenizer
    if width is None:
        collate = DataCollatorForSeq2Seq(tokenizer, label_pad_token_id=IGNORED) if subject.shorter else tokenizer.pad
        features = subject.shorter or subject.features
        return lambda rows: dict(collate([features[row] for row in rows], return_tensors="pt"))
    return lambda rows: dict(
        tokenizer.pad([subject.features[row] for row in rows], padding="max_length", max_length=width, return_tensors="pt")
    )


def _optimizer(model: PreTrainedModel, recipe: Recipe) -> torch.optim.Optimizer:
    if recipe.optimizer == "adafactor":
        scaled, rate = recipe.scale_parameter, recipe.learning_rate
        adafactor: torch.optim.Optimizer = Adafactor(model.parameters(), lr=rate, scale_parameter=scaled, relative_step=False)
        return adafactor
    plain = [p for name, p in model.named_parameters() if "bias" in name or "LayerNorm" in name]
    decayed = [p for name, p in model.named_parameters() if not ("bias" in name or "LayerNorm" in name)]
    groups = [{"params": decayed, "weight_decay": recipe.weight_decay}, {"params": plain, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=recipe.learning_rate, eps=recipe.adam_epsilon, fused=True)


# ------------------------------------------------------------------------------ side by side


def side_by_side(subject: Subject, others: Mapping[str, Step]) -> Costs:
    """Train as a trial does, and let the others take every step too: A B C C B A for each two steps, where A is ours."""
    run = subject.run
    batches = list(plan(subject.lessons.tokens.lengths, run.recipe, run.seed))
    costs: Costs = {name: [] for name in (OURS, *others)}
    before = harness.now()

    def report(step: int, steps: int) -> None:
        nonlocal before
        costs[OURS].append(harness.since(before))
        if step % 2:  # of each pair of steps ours comes first and last
            for number in range(2):
                for name in harness.in_order(list(others), number):
                    start = harness.now()
                    others[name](batches[step - 1 + number])
                    costs[name].append(harness.since(start))
        before = harness.now()

    told = replace(run, context=replace(run.context, report=report))
    with training.seeded(0):
        training.train(told, subject.lessons)
    return costs


def measured(subject: Subject, threads: int) -> Iterator[Measure]:
    """The ratios of a subject over its longest and over its batches' longest row, the first two steps left out."""
    recipe = subject.run.recipe
    assert recipe.steps is not None
    assert recipe.steps % 2 == 0
    torch.set_num_threads(threads)
    whole, batch = f"padded to {recipe.max_length}", "padded to the batch's longest"
    others = {whole: theirs(subject, recipe.max_length, recipe.steps), batch: theirs(subject, None, recipe.steps)}
    costs = {name: costs[2:] for name, costs in side_by_side(subject, others).items()}
    bar = Bar(2.7, goal=3.5) if subject.name.startswith("pairs") else Bar(2.0)
    title = f"training step, {subject.name}, {threads} thread{'s' if threads > 1 else ''}"
    tokens = subject.lessons.tokens.lengths.mean()
    yield harness.ratio(title, costs, whole, bar=bar, note=f"{harness.number(tokens)} tokens a row")
    yield harness.ratio(title, costs, whole, by="wall")
    yield harness.ratio(title, costs, batch)


def benchmark(setting: Setting) -> Iterator[Measure]:
    """All subjects, with as many threads as are asked for."""
    shape, steps = (shapes.TINY if setting.quick else shapes.SMALL), setting.size(6, 4)
    read, english = texts.pairs(setting.size(3000, 150)), texts.english(setting.size(1500, 50))
    asked = texts.questions(setting.size(600, 20))
    batch, windows = setting.size(128, 16), setting.size(32, 8)
    classify = replace(PAPER, epochs=None, steps=steps, batch_size=batch)
    find = replace(PAPER_QA, epochs=None, steps=steps, batch_size=windows, warmup_steps=0)
    write = replace(MT5, batch_tokens=None, select_every=None, steps=4, batch_size=batch, max_length=128)
    for threads in setting.threads:
        bert = shapes.bert(shape, setting.scratch / "bert")
        yield from measured(of_pairs(bert, english, classify, "pairs in English"), threads)
        yield from measured(of_pairs(bert, read, classify, "pairs in 15 languages"), threads)
        yield from measured(of_windows(bert, asked, find), threads)
        yield from measured(of_words(shapes.mt5(setting.scratch / "mt5", tiny=setting.quick), read, write), threads)


if __name__ == "__main__":
    harness.run(__file__, __doc__, benchmark)
