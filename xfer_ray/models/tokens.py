"""The token store: pairs of texts encoded once per (tokenizer, examples, length), shared by all trials of a node.

Flat arrays on disk, memory-mapped, so that a training set costs a worker no memory of its own. How they come there is `made`:
`once` on this node, or from other nodes too (tokenized.py).
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from xfer_ray.models import checkpoints
from xfer_ray.sources import Example, Examples

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

Write = Callable[[Path], None]
Made = Callable[[Path, Write], Path]
"""Gives a folder, which the function fills where it is nowhere to be had."""

CHUNK = 4096  # pairs encoded at a time: enough for the tokenizer's threads, little memory


@dataclass(frozen=True)
class Tokens:
    """Encoded examples: row i is `ids[offsets[i]:offsets[i + 1]]`, and its second text begins `seconds[i]` tokens in.

    Where the tokenizer does not tell its segments apart, as XLM-R's does not, `seconds[i]` is the length of row i.
    """

    ids: NDArray[np.int32]
    offsets: NDArray[np.int64]
    seconds: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.seconds)

    @functools.cached_property
    def lengths(self) -> NDArray[np.int64]:
        """The number of tokens of each row."""
        return np.diff(self.offsets)


def once(folder: Path, write: Write) -> Path:
    """A folder, complete: made by one process of this node, for which the others wait. One that dies lets the next go on."""
    if folder.is_dir():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    lock = folder.parent / f".{folder.name}.lock"
    with lock.open("w") as held:
        with contextlib.suppress(OSError):  # a file system without locks: then several make it, and one of the equals stays
            fcntl.flock(held, fcntl.LOCK_EX)
        checkpoints.made(folder, write)
        lock.unlink(missing_ok=True)
    return folder


def kept_tokenizer(folder: Path, read: Callable[[Path], PreTrainedTokenizerFast]) -> PreTrainedTokenizerFast:
    """The tokenizer of a checkpoint, kept for the next trial of this worker, since reading mBERT's takes 0.4 s; not to be changed."""
    files = tuple(sorted((file.name, file.stat().st_mtime_ns, file.stat().st_size) for file in folder.iterdir() if file.is_file()))
    return _kept(folder, read, files)


@functools.lru_cache(maxsize=1)
def _kept(
    folder: Path, read: Callable[[Path], PreTrainedTokenizerFast], files: tuple[tuple[str, int, int], ...]
) -> PreTrainedTokenizerFast:
    return read(folder)


def key_of(tokenizer: PreTrainedTokenizerFast, *settings: object) -> str:
    """The name of a folder of the store: of the tokenizer, the version of what runs it, and the settings."""
    import tokenizers

    parts = " ".join(map(str, (tokenizers.__version__, *settings)))
    return hashlib.sha256(f"{tokenizer.backend_tokenizer.to_str()} {parts}".encode()).hexdigest()[:32]


def encoded(
    tokenizer: PreTrainedTokenizerFast, examples: Sequence[Example], max_length: int, cache: Path, made: Made | None = None
) -> Tokens:
    """The tokens of these examples, from the store or put there; truncated as transformers' `longest_first` does."""
    items = examples if isinstance(examples, Examples) else Examples(tuple(examples))
    segments = "token_type_ids" in tokenizer.model_input_names
    key = key_of(tokenizer, segments, max_length, items.fingerprint)
    return _read((made or once)(cache / key, lambda fresh: _write(fresh, _rows(tokenizer, items, max_length), segments)))


def _read(folder: Path) -> Tokens:
    return Tokens(*(np.load(folder / f"{name}.npy", mmap_mode="r") for name in ("ids", "offsets", "seconds")))


def encoded_texts(
    tokenizer: PreTrainedTokenizerFast, texts: Sequence[str], max_length: int, cache: Path, made: Made | None = None
) -> tuple[Tokens, NDArray[np.int64]]:
    """The tokens of single texts with the tokenizer's own end, from the store or put there, and where each text had to be cut.

    That is the character from which on a text is not read: its length where all of it is.
    """
    digest = hashlib.sha256()
    for text in texts:
        digest.update(f"{len(text)} {text}".encode(errors="surrogatepass"))

    def rows() -> Iterator[tuple[list[int], list[int]]]:
        from tokenizers import Tokenizer

        copy = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
        copy.no_padding()
        copy.enable_truncation(max_length)
        for start in range(0, len(texts), CHUNK):
            chunk = list(texts[start : start + CHUNK])
            for text, encoding in zip(chunk, copy.encode_batch(chunk), strict=True):
                ends.append(max(end for _, end in encoding.offsets) if encoding.overflowing else len(text))
                yield encoding.ids, []

    ends: list[int] = []

    def write(fresh: Path) -> None:
        _write(fresh, rows(), segments=False)
        np.save(fresh / "ends.npy", np.array(ends, dtype=np.int64))

    folder = (made or once)(cache / key_of(tokenizer, "text ends", max_length, digest.hexdigest()), write)
    return _read(folder), np.load(folder / "ends.npy")


def _rows(tokenizer: PreTrainedTokenizerFast, items: Examples, max_length: int) -> Iterator[tuple[list[int], list[int]]]:
    """Ids and segments of each pair, special tokens included."""
    from tokenizers import Tokenizer

    # A copy, for the settings of a tokenizer's backend are its own and it may be saved later.
    backend = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
    backend.no_padding()
    backend.enable_truncation(max_length, strategy="longest_first")
    for start in range(0, len(items), CHUNK):
        pairs = [(item.first, item.second) for item in items[start : start + CHUNK]]
        for encoding in backend.encode_batch_fast(pairs):
            yield encoding.ids, encoding.type_ids


def _write(folder: Path, rows: Iterator[tuple[list[int], list[int]]], segments: bool) -> None:
    ids: list[NDArray[np.int32]] = []
    seconds: list[int] = []
    for row, types in rows:
        ids.append(np.asarray(row, dtype=np.int32))
        seconds.append(types.index(1) if segments and 1 in types else len(row))
    np.save(folder / "ids.npy", np.concatenate(ids or [np.empty(0, np.int32)]))
    np.save(folder / "offsets.npy", np.cumsum([0, *map(len, ids)], dtype=np.int64))
    np.save(folder / "seconds.npy", np.asarray(seconds, dtype=np.int32))
