"""What it costs to bring a batch of 128 pairs of XNLI before a model, and to tokenize a pair.

Feeding, ours: the rows of a batch from the token store, side by side as tensors. Theirs: a PyTorch DataLoader over a tokenized Hugging
Face data set with DataCollatorWithPadding, as Trainer makes it, in the same process. Both pad to the longest of the batch.

Tokenizing, ours: a corpus into the token store, where it was not before. Theirs: `datasets.map(tokenizer, batched=True)` as in
`run_xnli.py`, with its padding to 128 and without, uncached.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import datasets
import torch
from datasets import Dataset
from torch import Tensor
from torch.utils.data import DataLoader
from transformers import DataCollatorWithPadding

from benchmarks import harness, texts
from benchmarks.harness import OURS, Bar, Measure, Setting
from xfer_ray.models import PAPER
from xfer_ray.models.batches import Rows, padded, plan
from xfer_ray.models.tokens import Tokens, encoded
from xfer_ray.sources import Examples

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

LENGTH = 128
Batch = dict[str, Tensor]


def ours(tokens: Tokens, pad: int, batches: Sequence[Rows]) -> Iterator[Batch]:
    """The batches, from the token store."""
    for rows in batches:
        grid = padded(tokens, rows, pad)
        arrays = {"input_ids": grid.ids, "attention_mask": grid.mask, "token_type_ids": grid.segments}
        yield {name: torch.from_numpy(array) for name, array in arrays.items()}


def theirs(dataset: Dataset, tokenizer: PreTrainedTokenizerFast, batches: Sequence[Rows]) -> Iterator[Batch]:
    """The batches, through a DataLoader."""
    sampler = [rows.tolist() for rows in batches]
    return iter(DataLoader(dataset, batch_sampler=sampler, collate_fn=DataCollatorWithPadding(tokenizer)))


def mapped(tokenizer: PreTrainedTokenizerFast, raw: Dataset, *, pad: bool) -> Dataset:
    """A data set tokenized as the examples of transformers do it."""

    def tokenize(rows: dict[str, list[str]]) -> dict[str, list[list[int]]]:
        padding = "max_length" if pad else False
        return dict(tokenizer(rows["premise"], rows["hypothesis"], padding=padding, max_length=LENGTH, truncation=True))

    return raw.map(tokenize, batched=True, load_from_cache_file=False, remove_columns=raw.column_names)


def in_rows(examples: Examples) -> Dataset:
    """The pairs as a Hugging Face data set."""
    return Dataset.from_dict({"premise": [e.first for e in examples], "hypothesis": [e.second for e in examples]})


def into_store(tokenizer: PreTrainedTokenizerFast, examples: Examples, folder: Path) -> Callable[[], Tokens]:
    """Tokenizes the pairs into a store that does not have them, each time it is called."""
    fresh = itertools.count()
    return lambda: encoded(tokenizer, Examples(examples.items), LENGTH, folder / str(next(fresh)))


def benchmark(setting: Setting) -> Iterator[Measure]:
    """Feeding, then tokenizing."""
    datasets.disable_progress_bars()
    examples, tokenizer = texts.pairs(setting.size(15_000, 300)), texts.tokenizer()
    raw, rounds = in_rows(examples), setting.size(6, 2)
    tokens, rows = encoded(tokenizer, examples, LENGTH, setting.scratch / "fed"), mapped(tokenizer, raw, pad=False)
    recipe = replace(PAPER, epochs=1, batch_size=setting.size(128, 16))
    batches = list(plan(tokens.lengths, recipe, 0))
    feed = {
        OURS: lambda: list(ours(tokens, tokenizer.pad_token_id, batches)),
        "DataLoader": lambda: list(theirs(rows, tokenizer, batches)),
    }
    costs = harness.interleaved(feed, rounds)
    each = tuple(1000 * cost.wall / len(batches) for cost in costs[OURS])
    yield Measure(f"feeding a batch of {recipe.batch_size} pairs", "ms", each, Bar(0.5, "most"), {OURS: tuple(costs[OURS])})
    yield harness.ratio(f"feeding batches of {recipe.batch_size} pairs", costs, "DataLoader")

    padding, plain = "map, padded to 128", "map"
    ways = {
        OURS: into_store(tokenizer, examples, setting.scratch / "stores"),
        padding: lambda: mapped(tokenizer, raw, pad=True),
        plain: lambda: mapped(tokenizer, raw, pad=False),
    }
    costs = harness.interleaved(ways, rounds)
    each = tuple(1e6 * cost.cpu / len(examples) for cost in costs[OURS])
    yield Measure("tokenizing a pair, CPU time", "µs", each, None, {OURS: tuple(costs[OURS])})
    yield harness.ratio("tokenizing", costs, padding)
    yield harness.ratio("tokenizing", costs, plain)


if __name__ == "__main__":
    harness.run(__file__, __doc__, benchmark)
