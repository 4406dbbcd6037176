"""Extractive question answering on an encoder: where in the context the answer begins and ends.

As run_squad.py of BERT (Devlin et al. 2019) and XTREME do it, but for one thing: an answer is cut from the original context by
the offsets of its tokens, so that no accent, space or letter is gained or lost in any script.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from xfer_ray.contract import Predict
from xfer_ray.errors import XferRayError
from xfer_ray.models import states
from xfer_ray.models.batches import NOTHING, Grid, Part, Rows, by_length, padded
from xfer_ray.models.lessons import Lessons, Run
from xfer_ray.models.memory import in_groups
from xfer_ray.models.training import autocast, budget, inputs
from xfer_ray.models.windows import Ints, Windows, answer_columns, windowed
from xfer_ray.sources import Example, Examples

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Floats = NDArray[np.float32]


def lessons(run: Run, train: Examples) -> Lessons:
    """Each window is a row; what is learned is where the first answer begins and ends, the mean of two cross entropies.

    A window that does not hold the whole answer has both at its first token.
    """
    windows = windowed(run.tokenizer, train, run.recipe, run.context.cache, run.context.made)
    columns, absent = answer_columns(windows, train)
    if len(absent):
        logging.getLogger(__name__).warning(
            "%d of %d answers lie whole in no window of max_length %d tokens, such as that of example %r",
            len(absent),
            len(train),
            run.recipe.max_length,
            train[int(absent[0])].id,
        )

    def asked(grid: Grid, rows: Rows) -> tuple[Part, ...]:
        return (Part(columns[rows], NOTHING, "sequences"),)

    def loss(model: PreTrainedModel, grid: Grid, wanted: Any) -> Tensor:  # noqa: ANN401 - an array or a tensor
        both = [
            nn.functional.cross_entropy(scores, column, reduction="sum")
            for scores, column in zip(logits(model, grid), states.tensor(model, wanted).T, strict=True)
        ]
        return (both[0] + both[1]) / 2

    return Lessons(windows.tokens, run.tokenizer.pad_token_id, np.ones(len(windows)), loss, asked)


def predictor(run: Run) -> Predict:
    """The function that answers with the best span over all windows, cut from the original context."""

    def predict(examples: Sequence[Example]) -> list[str]:
        windows = windowed(run.tokenizer, examples, run.recipe, run.context.cache, run.context.made)
        scores, found, spans = best_in_windows(run, windows)
        # By example, spans among the n best before others, then by score, then by position.
        order = np.lexsort((-scores, ~found, windows.example))
        best = order[np.unique(windows.example[order], return_index=True)[1]]
        odd = np.flatnonzero(~np.isfinite(scores[best]))
        if len(odd):
            raise XferRayError(f"the model's scores for example {examples[int(odd[0])].id!r} are not finite, so it gives no answer")
        begin, end = windows.characters[spans[best, 0], 0].tolist(), windows.characters[spans[best, 1], 1].tolist()
        return [item.second[low:high] for item, low, high in zip(examples, begin, end, strict=True)]

    return predict


def best_in_windows(run: Run, windows: Windows) -> tuple[Floats, NDArray[np.bool_], Ints]:
    """The best span of each window: its score, whether it is among the n best, and its first and last token in `characters`.

    Computed longest first so that little is padding.
    """
    scores = np.empty(len(windows), dtype=np.float32)
    found = np.empty(len(windows), dtype=np.bool_)
    spans = np.empty((len(windows), 2), dtype=np.int64)

    def compute(rows: Rows) -> None:
        grid = padded(windows.tokens, rows, run.tokenizer.pad_token_id)
        starts, ends = (side.cpu().numpy() for side in logits(run.model, grid))
        _forbid(starts, ends, windows, rows)
        scores[rows], found[rows], columns = best_columns(starts, ends, run.recipe.n_best, run.recipe.max_answer_length)
        spans[rows] = columns + (windows.first - windows.column)[rows, None]

    run.model.eval()
    with torch.inference_mode(), autocast(run.model, run.recipe):
        in_groups(run, windows.tokens.lengths, by_length(windows.tokens.lengths, budget(run.model)), compute)
    return scores, found, spans


def _forbid(starts: Floats, ends: Floats, windows: Windows, rows: Rows) -> None:
    """Put minus infinity where no answer may begin or end: outside the context, where no text is, where another window knows more."""
    column = np.arange(starts.shape[1])
    place = column - windows.column[rows, None]
    inside = (place >= 0) & (place < windows.size[rows, None])
    inside &= windows.solid[np.where(inside, windows.first[rows, None] + place, 0)]
    ends[~inside] = -np.inf
    starts[~(inside & (windows.owned_from[rows, None] <= place) & (place < windows.owned_to[rows, None]))] = -np.inf


def best_columns(starts: Floats, ends: Floats, n_best: int, longest: int) -> tuple[Floats, NDArray[np.bool_], Ints]:
    """The span with the largest sum of scores in each row, the earliest of equals.

    A span begins at one of the `n_best` columns for a beginning and ends at one of the `n_best` for an end, at most `longest`
    columns in all, as in run_squad; in a row where no such pair is a span, it is the best of all spans.

    Args:
        starts: score of each column as the first, (rows, width), minus infinity where that cannot be.
        ends: the same for the last.
        n_best: how many of each are tried.
        longest: of a span, in columns.

    Returns:
        The score (rows,), whether it is a pair of the n best (rows,), and the first and last column (rows, 2).
    """
    high, low = _largest(starts, n_best), _largest(ends, n_best)
    total = np.take_along_axis(starts, high, 1)[:, :, None] + np.take_along_axis(ends, low, 1)[:, None, :]
    gap = low[:, None, :] - high[:, :, None]
    total[(gap < 0) | (gap >= longest)] = -np.inf
    flat = total.reshape(len(total), -1)
    best = flat.argmax(1)
    row = np.arange(len(flat))
    scores = flat[row, best]
    columns = np.stack([high[row, best // low.shape[1]], low[row, best % low.shape[1]]], axis=1)
    found = np.isfinite(scores)
    if not found.all():
        scores[~found], columns[~found] = _best_of_all(starts[~found], ends[~found], longest)
    return scores, found, columns


def _largest(scores: Floats, count: int) -> Ints:
    """The columns of the largest scores of each row, from left to right."""
    if scores.shape[1] <= count:
        return np.broadcast_to(np.arange(scores.shape[1]), scores.shape)
    return np.sort(np.argpartition(scores, -count, axis=1)[:, -count:], axis=1)


def _best_of_all(starts: Floats, ends: Floats, longest: int) -> tuple[Floats, Ints]:
    """The best span of each row, whatever its rank, of equals the shortest; minus infinity where there is none."""
    rows, width = starts.shape
    scores = np.full(rows, -np.inf, dtype=np.float32)
    columns = np.zeros((rows, 2), dtype=np.int64)
    for length in range(min(longest, width)):
        total = starts[:, : width - length] + ends[:, length:]
        first = total.argmax(1)
        here = total[np.arange(rows), first]
        better = here > scores
        scores[better] = here[better]
        columns[better] = np.stack([first, first + length], axis=1)[better]
    return scores, columns


def logits(model: PreTrainedModel, grid: Grid) -> tuple[Tensor, Tensor]:
    """The scores of each token as the first and as the last of the answer: (sequences, width) each, minus infinity for padding."""
    if states.are_ours(model, grid):
        told = model.qa_outputs(states.all_states(model, grid))
    else:
        output = model(**inputs(model, grid))
        told = torch.stack([output.start_logits, output.end_logits], dim=-1)
    padding = (states.tensor(model, grid.owner) < 0)[..., None]
    start, end = states.by_sequence(model, grid, told.float().masked_fill(padding, -torch.inf), -torch.inf).unbind(-1)
    return start, end
