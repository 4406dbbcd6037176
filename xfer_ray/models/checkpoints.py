"""Where a checkpoint lies and which commit it is: a folder, the mirror, or the hub. Weights are safetensors only."""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from xfer_ray.errors import SetupError
from xfer_ray.identity import digest

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

PAUSES = (1.0, 2.0, 4.0, 8.0, 16.0)  # seconds between attempts at a hub that is out of order
_COMMIT = re.compile(r"[0-9a-f]{40}")
_SAFE = ("model.safetensors", "model.safetensors.index.json")
_PICKLED = "pytorch_model.bin"
_BYTES = frozenset(f"<0x{byte:02X}>" for byte in range(256))
# What a tokenizer and a configuration of BERT's, XLM-R's, T5's and Marian's kin are made of; a repository holds much else besides.
_SMALL = (
    "config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "vocab.txt",
    "sentencepiece.bpe.model", "spiece.model", "vocab.json", "target_vocab.json", "source.spm",
    "target.spm", "generation_config.json", "README.md",
)  # fmt: skip
# By name and revision, where a process has its checkpoints: a warm worker asks the hub once, and is not slowed down when it is away.
_held: dict[tuple[str, str], Path] = {}


def locate(name: str, revision: str | None = None) -> str:
    """The folder of a checkpoint, in place or under $XFER_RAY_MIRROR; without either its hub id.

    A mirror stands for the whole hub, so `revision` chooses on the hub only.
    """
    if Path(name).is_dir():
        return str(Path(name).resolve())
    mirror = os.environ.get("XFER_RAY_MIRROR")
    if mirror:
        folder = Path(mirror) / name
        if not folder.is_dir():
            raise SetupError(f"checkpoint {name!r} is not in the mirror: no folder {folder}")
        return str(folder.resolve())
    if not re.fullmatch(r"[\w-][\w.-]*(/[\w-][\w.-]*)?", name):
        raise SetupError(f"checkpoint {name!r} is no folder and no hub id such as 'google-bert/bert-base-multilingual-cased'")
    return name


def resolve(name: str, revision: str | None = None) -> str:
    """The commit that the hub gives, 40 hex digits; `mirror` under a mirror, `local` for a folder."""
    if Path(name).is_dir():
        return "local"
    if Path(locate(name, revision)).is_dir():
        return "mirror"
    if revision is not None and _COMMIT.fullmatch(revision):
        return revision
    return _download(name, revision, ["config.json"]).name


def fetched(name: str, revision: str | None = None) -> Path:
    """A local folder with the checkpoint's files, from the hub's cache or the hub where it is in no folder."""
    located = locate(name, revision)
    if Path(located).is_dir():
        return Path(located)
    pinned = (located, str(revision))
    if pinned not in _held or not _held[pinned].is_dir():
        folder = _download(located, revision, [*_SMALL, *_SAFE, "model-*.safetensors"])
        _held[pinned] = folder if _has_safetensors(folder) else _download(located, revision, [_PICKLED])
    return _held[pinned]


def loadable(name: str, revision: str | None, cache: Path) -> Path:
    """A folder whose weights are safetensors; a checkpoint with only a `pytorch_model.bin` is converted under `cache`, once."""
    folder = fetched(name, revision)
    if _has_safetensors(folder):
        return folder
    if (folder / _PICKLED).is_file():
        stat = (folder / _PICKLED).stat()
        return converted(folder, cache / "converted" / digest([str(folder), stat.st_size, stat.st_mtime_ns]))
    raise SetupError(
        f"checkpoint {name!r} has no weights: neither model.safetensors nor {_PICKLED} in {folder}; "
        "a Pretraining with steps=0 makes a random one"
    )


def converted(folder: Path, into: Path) -> Path:
    """The same checkpoint with its pickled weights as safetensors, made once; nothing in the pickle is executed."""
    import pickle

    import torch
    from safetensors.torch import save_file

    def write(fresh: Path) -> None:
        try:
            weights = torch.load(folder / _PICKLED, map_location="cpu", weights_only=True)
        except (pickle.UnpicklingError, EOFError, RuntimeError):
            raise SetupError(
                f"{folder / _PICKLED} is damaged, or holds more than weights, and is not read; give a model.safetensors"
            ) from None
        # A copy of each, for safetensors refuses tensors that share memory, as tied ones do.
        save_file({key: value.clone().contiguous() for key, value in weights.items()}, fresh / "model.safetensors", {"format": "pt"})
        for name in _SMALL:
            if (folder / name).is_file():
                shutil.copyfile(folder / name, fresh / name)

    return made(into, write)


def made(folder: Path, write: Callable[[Path], None]) -> Path:
    """`folder` as `write` fills it, complete or absent; when two processes make it at once, one of the equals stays."""
    if folder.is_dir():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(dir=folder.parent, prefix=".making-"))
    try:
        write(fresh)
        fresh.chmod(0o755)  # mkdtemp's 0700 would shut out the other users of a node
        try:
            fresh.rename(folder)
        except OSError:
            if not folder.is_dir():
                raise
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return folder


def demand_vocabulary(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """Refuse a tokenizer with more pieces than the model has embeddings; fewer are common, for tables are rounded up."""
    held = model.get_input_embeddings().num_embeddings
    if len(tokenizer) > held:
        raise SetupError(
            f"the vocabulary in {folder} does not belong to its weights: "
            f"the tokenizer has {len(tokenizer)} pieces and the model {held} embeddings"
        )


def tokenizer_of(folder: Path) -> PreTrainedTokenizerFast:
    """The tokenizer of a checkpoint, which spells by its bytes what has no piece, where its vocabulary has the bytes.

    SentencePiece does so for mT5 (Xue et al. 2021, section 3.1); transformers makes such a character unknown, and an answer loses it.
    """
    from tokenizers import decoders, models
    from transformers import AutoTokenizer

    tokenizer: PreTrainedTokenizerFast = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    backend = tokenizer.backend_tokenizer
    made_of = json.loads(backend.to_str())["model"]
    if made_of["type"] == "Unigram" and not made_of.get("byte_fallback"):
        pieces = [(piece, score) for piece, score in made_of["vocab"]]
        if {piece for piece, _ in pieces} >= _BYTES:
            backend.model = models.Unigram(pieces, made_of["unk_id"], byte_fallback=True)
            backend.decoder = decoders.Sequence([backend.decoder, decoders.ByteFallback(), decoders.Fuse()])
    return tokenizer


def _has_safetensors(folder: Path) -> bool:
    return any((folder / name).is_file() for name in _SAFE)


def _download(name: str, revision: str | None, files: Sequence[str]) -> Path:
    from huggingface_hub import snapshot_download

    # HTTPError is the base class of whichever HTTP library this version of the hub's client uses.
    from huggingface_hub.errors import (  # type: ignore[attr-defined]
        GatedRepoError,
        HFValidationError,
        HTTPError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
    )

    where = f"checkpoint {name!r}" + (f" at revision {revision}" if revision else "")
    # `from None`, and no word of the hub's own: its messages may quote headers, and a token stands in a header.
    try:
        return patiently(lambda: Path(snapshot_download(name, revision=revision, allow_patterns=list(files))))
    except GatedRepoError:
        raise SetupError(f"{where} is gated: accept its licence on the hub and set HF_TOKEN to a token that may read it") from None
    except (RepositoryNotFoundError, HFValidationError):
        raise SetupError(f"{where} is not on the hub, or HF_TOKEN may not read it") from None
    except LocalEntryNotFoundError:
        raise SetupError(
            f"{where} is not in the local cache and the hub cannot be reached; give a folder, or set XFER_RAY_MIRROR"
        ) from None
    except (HTTPError, OSError, TypeError, KeyError, ValueError) as error:
        raise SetupError(f"{where} could not be fetched from the hub: {_named(error)}; try again later, or set XFER_RAY_MIRROR") from None


def patiently(fetch: Callable[[], Path]) -> Path:
    """Fetch, once more after each pause while the hub says that the fault is its own (HTTP 500 and above)."""
    for pause in PAUSES:
        try:
            return fetch()
        except OSError as error:
            if _status(error) < 500:
                raise
            time.sleep(pause)
    return fetch()


def _status(error: Exception) -> int:
    return int(getattr(getattr(error, "response", None), "status_code", 0) or 0)


def _named(error: Exception) -> str:
    """What kind of error it is; no word of the hub's own."""
    return f"HTTP {_status(error)}" if _status(error) else type(error).__name__
