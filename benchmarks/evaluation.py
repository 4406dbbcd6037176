"""The answers for XNLI's 15 targets in one pass, beside one language at a time in padded batches of 8.

Ours is what a trial asks: the `predictor` of its family over all targets at once. Theirs is what `run_xnli.py` does for one language
after another, in one process here: batches of 8 (Trainer's default), every row padded to 128. Both have their tokens ready, and the
answers are held against each other. The encoder is BERT-small with random weights.

The text-to-text model is shaped as mT5-small with random weights, so it never ends an answer by itself and writes the 3 tokens that
an answer in words and its end may have. Theirs is `model.generate` on batches of 8; ours writes too, or with decoding="labels"
takes the likeliest label after one decoder step, which is another way to answer and need not be equal.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

import torch

from benchmarks import harness, shapes, texts
from benchmarks.harness import OURS, Bar, Measure, Setting
from xfer_ray.contract import Predict
from xfer_ray.models import MT5, PAPER, pairs, text_to_text, wording
from xfer_ray.models.lessons import Run
from xfer_ray.sources import Corpus, Examples
from xfer_ray.tasks import XNLI

BATCH = 8  # per_device_eval_batch_size of Trainer
WRITTEN = 3  # tokens
THEIRS = f"a language at a time, batches of {BATCH}"
Answer = Callable[[], list[str]]


def ours(predict: Predict, targets: Mapping[Corpus, Examples]) -> Answer:
    """All targets in one pass."""
    everything = Examples(tuple(example for items in targets.values() for example in items))
    return lambda: list(predict(everything))


def theirs(run: Run, targets: Mapping[Corpus, Examples], question: Callable[[Examples], tuple[list[str], ...]]) -> Answer:
    """One language after another, in padded batches of a few."""
    model, width = run.model, run.recipe.max_length
    encoded = [run.tokenizer(*question(items), truncation=True, max_length=width) for items in targets.values()]
    rows = [[{name: one[name][i] for name in one} for i in range(len(one["input_ids"]))] for one in encoded]

    def answer() -> list[str]:
        model.eval()
        answers: list[str] = []
        with torch.no_grad():
            for language in rows:
                for start in range(0, len(language), BATCH):
                    answers += _answered(
                        run, run.tokenizer.pad(language[start : start + BATCH], padding="max_length", max_length=width, return_tensors="pt")
                    )
        return answers

    return answer


def _answered(run: Run, batch: Mapping[str, torch.Tensor]) -> list[str]:
    there = {name: tensor.to(run.model.device) for name, tensor in batch.items()}
    if not run.model.config.is_encoder_decoder:
        return [run.task.labels[index] for index in run.model(**there).logits.argmax(-1).tolist()]
    ids = run.model.generate(there["input_ids"], attention_mask=there["attention_mask"], max_new_tokens=run.recipe.max_target_length)
    label = dict(zip(run.task.verbalizers, run.task.labels, strict=True))
    written = run.tokenizer.batch_decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
    return [label.get(text, text) for text in written]


def both_texts(items: Examples) -> tuple[list[str], ...]:
    """What an encoder reads."""
    return [e.first for e in items], [e.second for e in items]


def in_words(items: Examples) -> tuple[list[str], ...]:
    """What a text-to-text model reads."""
    return ([wording.question(XNLI, e) for e in items],)


def demand_equal(one: Sequence[str], other: Sequence[str]) -> None:
    """Refuse to time two ways that give different answers."""
    differing = sum(a != b for a, b in zip(one, other, strict=True))
    if differing:
        raise SystemExit(f"{differing} of {len(one)} answers differ, so there is nothing to compare")


def benchmark(setting: Setting) -> Iterator[Measure]:
    """Classification, then generation and one-step scoring, with as many threads as are asked for."""
    targets = texts.by_language(setting.size(120, 8))
    few = texts.by_language(setting.size(40, 4))
    rounds = setting.size(4, 1)
    shape = shapes.TINY if setting.quick else shapes.SMALL
    encoder = shapes.encoder_run(shapes.bert(shape, setting.scratch / "bert"), XNLI, PAPER, setting.scratch / "tokens")
    recipe = replace(MT5, max_length=128, max_target_length=WRITTEN)
    writer = shapes.text_to_text_run(shapes.mt5(setting.scratch / "mt5", tiny=setting.quick), XNLI, recipe, setting.scratch / "tokens")
    labels = replace(writer, recipe=replace(recipe, decoding="labels"))
    for threads in setting.threads:
        torch.set_num_threads(threads)
        on = f"{threads} thread{'s' if threads > 1 else ''}"
        sides = {OURS: ours(pairs.predictor(encoder), targets), THEIRS: theirs(encoder, targets, both_texts)}
        demand_equal(*(side() for side in sides.values()))
        costs = harness.interleaved(sides, rounds, warm_up=0)
        yield harness.ratio(f"evaluation of 15 targets, encoder, {on}", costs, THEIRS, bar=Bar(2.7, goal=4.0))
        writing = theirs(writer, few, in_words)
        sides = {OURS: ours(text_to_text.predictor(writer), few), THEIRS: writing}
        demand_equal(*(side() for side in sides.values()))
        costs = harness.interleaved(sides, rounds, warm_up=0)
        yield harness.ratio(f"evaluation of 15 targets, text-to-text, both write, {on}", costs, THEIRS, bar=Bar(2.7, goal=4.0))
        sides = {OURS: ours(text_to_text.predictor(labels), few), THEIRS: writing}
        costs = harness.interleaved(sides, rounds)
        yield harness.ratio(f"evaluation of 15 targets, text-to-text, ours scores labels, {on}", costs, THEIRS)


if __name__ == "__main__":
    harness.run(__file__, __doc__, benchmark)
