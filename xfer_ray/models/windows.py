"""The token store of question answering: each context cut into sliding windows beside its question.

Encoded once per (tokenizer, examples, settings), flat arrays on disk, memory-mapped, shared by all trials of a node. A context
that several questions share is encoded once.

    question "Where?"   context "In Köln, on the Rhine."   ->   [CLS] Where ? [SEP] In Köln , on the [SEP]
                                                                 [CLS] Where ? [SEP] , on the Rhine . [SEP]

`doc_stride` is the STEP from one window's start to the next, as in run_squad.py of BERT (Devlin et al. 2019) and of XTREME
(github google-research/xtreme, third_party/processors/squad.py); `stride` of a transformers tokenizer is the OVERLAP, which is what
a window holds minus the step.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from xfer_ray.errors import DataError, DeclarationError, SetupError
from xfer_ray.models.characters import covered
from xfer_ray.models.tokens import CHUNK, Made, Tokens, key_of, once
from xfer_ray.recipe import Recipe
from xfer_ray.sources import Example, Examples

if TYPE_CHECKING:
    from pathlib import Path

    from tokenizers import Encoding, Tokenizer
    from transformers import PreTrainedTokenizerFast

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Windows:
    """Windows as rows of tokens, and where each lies in the text.

    Per row: `example`, whose window it is, ascending; `column`, at which token of the row its context begins; `size`, how many
    tokens of the context it holds; `first`, where the first of them stands in `characters`; `owned_from` and `owned_to`, which
    of them, counted from the first, have the most context in this window (run_squad's "max context").

    `characters` (tokens of all distinct contexts, 2): from which character of the context to which each token reaches;
    nowhere, if both are equal. `contexts` (examples, 2): the tokens of each example's context.
    """

    ids: NDArray[np.int32]
    offsets: Ints
    seconds: NDArray[np.int32]
    example: Ints
    column: Ints
    size: Ints
    first: Ints
    owned_from: Ints
    owned_to: Ints
    characters: NDArray[np.int32]
    contexts: Ints

    def __len__(self) -> int:
        return len(self.seconds)

    @functools.cached_property
    def tokens(self) -> Tokens:
        """The rows as a model reads them."""
        return Tokens(self.ids, self.offsets, self.seconds)

    @functools.cached_property
    def solid(self) -> NDArray[np.bool_]:
        """Whether a token of `characters` covers any text, so that an answer may begin or end with it."""
        return np.asarray(self.characters[:, 0] < self.characters[:, 1])


def windowed(
    tokenizer: PreTrainedTokenizerFast, examples: Sequence[Example], recipe: Recipe, cache: Path, made: Made | None = None
) -> Windows:
    """The windows of these examples, from the store or put there.

    Raises:
        SetupError: the tokenizer gives no offsets.
        DeclarationError: the recipe's lengths leave no room for a context.
        DataError: a context from which no answer could be cut.
    """
    if not getattr(tokenizer, "is_fast", False):
        raise SetupError(
            f"the tokenizer {type(tokenizer).__name__} does not say which characters a token covers, so no answer can be cut from a "
            "context; give a checkpoint with a fast tokenizer (a tokenizer.json)"
        )
    items = examples if isinstance(examples, Examples) else Examples(tuple(examples))
    segments = "token_type_ids" in tokenizer.model_input_names
    settings = ("windows", segments, recipe.max_length, recipe.doc_stride, recipe.max_query_length)

    def write(fresh: Path) -> None:
        for name, array in _arrays(tokenizer.backend_tokenizer.to_str(), segments, items, recipe).items():
            np.save(fresh / f"{name}.npy", array)

    folder = (made or once)(cache / key_of(tokenizer, *settings, items.fingerprint), write)
    return Windows(*(np.load(folder / f"{item.name}.npy", mmap_mode="r") for item in fields(Windows)))


def answer_columns(windows: Windows, examples: Sequence[Example]) -> tuple[Ints, Ints]:
    """What a model is to learn: where in each window the first answer of its example begins and ends.

    Returns:
        The columns (rows, 2) of the first and last token of the smallest span that covers the answer; 0, the first token of
        the row, where a window does not hold all of it, as in run_squad. And the examples no window of which does.

    Raises:
        DataError: an example without an answer, or an answer that is not where its start says.
    """
    spans = np.array([_answer_tokens(windows, *pair) for pair in enumerate(examples)], dtype=np.int64).reshape(-1, 2)
    inside = spans[windows.example] - windows.first[:, None]
    first, last = inside.T
    held = (first >= 0) & (first <= last) & (last < windows.size)
    columns: Ints = np.where(held[:, None], inside + windows.column[:, None], 0)
    absent = np.bincount(windows.example, held, minlength=len(examples)) == 0
    return columns, np.flatnonzero(absent)


def _answer_tokens(windows: Windows, number: int, item: Example) -> tuple[int, int]:
    """The first and last token of the smallest span over the first answer; the last before the first if nothing covers it."""
    begin, end = _answer_characters(item)
    low, high = windows.contexts[number]
    starts, ends = windows.characters[low:high].T
    return int(low + np.searchsorted(ends, begin, "right")), int(low + np.searchsorted(starts, end, "left")) - 1


def _answer_characters(item: Example) -> tuple[int, int]:
    """Where the first answer stands in its context, white space at its ends apart."""
    if not item.answers:
        raise DataError(f"example {item.id!r} has no answer; extractive training needs one that stands in the context")
    if len(item.starts) != len(item.answers):
        raise DataError(
            f"example {item.id!r} has {len(item.answers)} answers and {len(item.starts)} starts; give one start for each answer"
        )
    answer, start = item.answers[0], item.starts[0]
    found = item.second[start : start + len(answer)] if start >= 0 else ""
    if start < 0 or found != answer:
        raise DataError(
            f"example {item.id!r} has {found!r} at character {start} of its context and not its answer {answer!r}; "
            "starts count characters, not bytes, of the very same text"
        )
    if not answer.strip():
        raise DataError(f"example {item.id!r} has an answer without text: {answer!r}; give a span with a letter or digit")
    return start + len(answer) - len(answer.lstrip()), start + len(answer.rstrip())


# ------------------------------------------------------------------------------ making them


@dataclass(frozen=True)
class _Frame:
    """The special tokens before, between and after two texts; the second segment begins `segment` tokens into `between`."""

    before: list[int]
    between: list[int]
    after: list[int]
    segment: int | None

    @property
    def size(self) -> int:
        return len(self.before) + len(self.between) + len(self.after)


def _frame(backend: Tokenizer, text: str, segments: bool) -> _Frame:
    """What the tokenizer's own post-processor puts around a pair, as it stands around this text twice."""
    pair = backend.encode(text, text)
    whose = pair.sequence_ids
    first, second = (([i for i, owner in enumerate(whose) if owner == part]) for part in (0, 1))
    between = slice(first[-1] + 1, second[0])
    types = [*pair.type_ids[between], pair.type_ids[second[0]]]
    return _Frame(pair.ids[: first[0]], pair.ids[between], pair.ids[second[-1] + 1 :], types.index(1) if segments and 1 in types else None)


def _arrays(tokenizer: str, segments: bool, items: Examples, recipe: Recipe) -> dict[str, NDArray[np.generic]]:
    """Every field of `Windows` for these examples."""
    from tokenizers import Tokenizer

    # A copy, for the settings of a tokenizer's backend are its own and it may be saved later.
    backend = Tokenizer.from_str(tokenizer)
    backend.no_padding()
    backend.no_truncation()
    held = _contexts(backend, items)
    frame = _frame(backend, next((item.second for item in items), "a"), segments)
    _demand_room(recipe, frame)
    ids: list[NDArray[np.int32]] = []
    seconds: list[int] = []
    facts: list[tuple[int, ...]] = []
    for number, (item, question) in enumerate(zip(items, _encodings(backend, [item.first for item in items]), strict=True)):
        asked = [*frame.before, *question.ids[: recipe.max_query_length]]
        head = np.array([*asked, *frame.between], dtype=np.int32)
        context, low, _ = held[item.second]
        room = recipe.max_length - len(head) - len(frame.after)
        for start, size, *owned in cuts(len(context), room, recipe.doc_stride):
            ids.append(np.concatenate([head, context[start : start + size], np.array(frame.after, dtype=np.int32)]))
            seconds.append(len(ids[-1]) if frame.segment is None else len(asked) + frame.segment)
            facts.append((number, len(head), size, low + start, *owned))
    columns = np.array(facts, dtype=np.int64).reshape(-1, 6).T
    whole = [(low, low + len(context)) for context, low, _ in (held[item.second] for item in items)]
    return {
        "ids": np.concatenate(ids or [np.empty(0, np.int32)]),
        "offsets": np.cumsum([0, *map(len, ids)], dtype=np.int64),
        "seconds": np.array(seconds, dtype=np.int32),
        **dict(zip(("example", "column", "size", "first", "owned_from", "owned_to"), columns, strict=True)),
        "characters": np.concatenate([borders for _, _, borders in held.values()] or [np.empty((0, 2), np.int32)]),
        "contexts": np.array(whole, dtype=np.int64).reshape(-1, 2),
    }


def _contexts(backend: Tokenizer, items: Examples) -> dict[str, tuple[NDArray[np.int32], int, NDArray[np.int32]]]:
    """The ids of each distinct context, how many tokens come before it, and what its tokens cover."""
    texts = list(dict.fromkeys(item.second for item in items))
    held, low = {}, 0
    for text, encoding in zip(texts, _encodings(backend, texts), strict=True):
        borders = covered(text, encoding.offsets)
        if not (borders[:, 0] < borders[:, 1]).any():
            bare = next(item for item in items if item.second == text)
            raise DataError(f"example {bare.id!r} has a context from which no answer can be cut: {text[:40]!r}")
        held[text] = (np.array(encoding.ids, dtype=np.int32), low, borders)
        low += len(borders)
    return held


def _encodings(backend: Tokenizer, texts: Sequence[str]) -> Iterator[Encoding]:
    for start in range(0, len(texts), CHUNK):
        yield from backend.encode_batch(texts[start : start + CHUNK], add_special_tokens=False)


def _demand_room(recipe: Recipe, frame: _Frame) -> None:
    if recipe.max_length <= recipe.max_query_length + frame.size:
        raise DeclarationError(
            f"max_length {recipe.max_length} leaves no room for a context beside max_query_length {recipe.max_query_length} and "
            f"{frame.size} special tokens; give at least {recipe.max_query_length + frame.size + 1}, or a smaller max_query_length"
        )


@functools.lru_cache(maxsize=2**14)
def cuts(length: int, room: int, step: int) -> tuple[tuple[int, int, int, int], ...]:
    """The windows of a context of `length` tokens: at most `room` in each, begun `step` apart, up to the first that reaches the end.

    cuts(7, 4, 2) -> ((0, 4, 0, 3), (2, 4, 1, 3), (4, 3, 1, 3))

    Each is (start, size, owned from, owned to), the last two counted from its start. A token belongs to the window where the
    smaller of its contexts to the left and right is largest, with a hundredth of the window's size added (run_squad's
    `_check_is_max_context`); of equals, to the earliest. So what a window owns is one stretch, and not empty.
    """
    if length <= room:
        return ((0, length, 0, length),)
    starts = [0]
    while starts[-1] + room < length:
        starts.append(starts[-1] + min(step, room))
    best, owner = np.full(length, -1), np.zeros(length, dtype=np.int64)
    for window, start in enumerate(starts):
        inside = np.arange(min(room, length - start))
        worth = 100 * np.minimum(inside, inside[::-1]) + len(inside)
        here = slice(start, start + len(inside))
        owner[here][worth > best[here]] = window
        best[here] = np.maximum(best[here], worth)
    edges = np.searchsorted(owner, range(len(starts) + 1)).tolist()
    return tuple(
        (start, min(room, length - start), low - start, high - start)
        for start, low, high in zip(starts, edges[:-1], edges[1:], strict=True)
    )
