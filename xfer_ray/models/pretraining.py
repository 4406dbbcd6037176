"""Make a checkpoint: learn a vocabulary or take one, draw the weights or take them, and pre-train them on text.

Pretraining -> vocabulary.py, streams.py -> objectives.py or stories.py -> pretraining_loop.py -> a folder for from_pretrained
"""

from __future__ import annotations

import csv
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from xfer_ray.contract import Keeper
from xfer_ray.errors import DeclarationError, demand
from xfer_ray.models import mimetic, objectives, parallel, stories, streams, vocabulary
from xfer_ray.models.checkpoints import locate
from xfer_ray.models.pretraining_loop import Course, Hooks, Point, Taken, rank, shared, train
from xfer_ray.recipe import Document, Pretraining, Texts

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerFast

TEXT_TO_TEXT = ("t5", "mt5", "umt5")
EVALUATED = 16  # rows of held-out text a language
TEXT_FOR_VOCABULARY = (1_000_000, 50)  # characters: so many, and so many for each piece
PADDED_TO = 128  # a table of embeddings may be longer than its vocabulary, up to the next multiple; mT5's is

__all__ = ["Hooks", "Point", "make", "rank", "shared"]


def make(pretraining: Pretraining, folder: Path, hooks: Hooks) -> None:
    """Write a folder that `from_pretrained` loads. On one thread the same declaration gives the same bytes.

    Beside the checkpoint of an objective over rows of text lie `losses.csv` (step, language, loss, tokens) and `languages.csv`
    (language, probability, held-out loss); beside a translator `losses.csv` with pairs in place of tokens. Of several workers the
    first one writes.
    """
    from transformers.utils import logging

    logging.disable_progress_bar()
    text = _heard(pretraining.text(pretraining.seed), hooks.alive) if pretraining.text else ()
    tokenizer = shared(lambda: _kept(hooks.keeper) or _tokenizer(pretraining, text))
    gpu = [torch.cuda.current_device()] if torch.cuda.is_available() else []
    with torch.random.fork_rng(devices=gpu):
        torch.manual_seed(pretraining.seed)
        model = _start(pretraining, tokenizer)
        course = _course(pretraining, model, tokenizer, text) if pretraining.total_steps else None
        points = train(course, pretraining, hooks, tokenizer.save_pretrained) if course else []
    if rank():
        return
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    if isinstance(course, _Rows):
        _write_csv(folder / "losses.csv", Point._fields, ([p.step, p.language, f"{p.loss:.6f}", p.tokens] for p in points))
        _write_csv(folder / "languages.csv", ("language", "probability", "held_out_loss"), course.evaluated())
    if isinstance(course, parallel.Translations):
        rows = ([p.step, p.language, f"{p.loss:.6f}", p.tokens // pretraining.max_length] for p in points)
        _write_csv(folder / "losses.csv", ("step", "language", "loss", "pairs"), rows)


def _write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows([header, *rows])


# ------------------------------------------------------------------------------ vocabulary


def _tokenizer(pretraining: Pretraining, text: Texts) -> PreTrainedTokenizerFast:
    from transformers import AutoTokenizer

    size, kind = pretraining.vocabulary, pretraining.architecture["model_type"]
    if isinstance(size, str):
        return AutoTokenizer.from_pretrained(locate(size, None))
    if pretraining.objective == "mlm+rtd" and kind not in TEXT_TO_TEXT:
        return stories.tokenizer(_documents(text), size)
    least, each = TEXT_FOR_VOCABULARY
    if pretraining.objective == "translation":
        return parallel.tokenizer(text, size, least + each * size)
    possible = ("bert", *TEXT_TO_TEXT)
    demand(
        kind in possible, f"no vocabulary can be learned for model_type {kind!r}; name a tokenizer, or take one of {', '.join(possible)}"
    )
    told = streams.by_language(text)
    shares = streams.probabilities(pretraining.sampling, list(told), lambda: streams.characters(told))
    texts = list(streams.sample(told, shares, least + each * size))
    return vocabulary.wordpiece(texts, size) if kind == "bert" else vocabulary.unigram(texts, size)


def _documents(text: Texts) -> Sequence[Document]:
    if isinstance(text, Mapping):
        raise DeclarationError(
            "objective 'mlm+rtd' reads pairs of sentences, and this text has documents by language; declare objective='mlm'"
        )
    return text


def _kept(keeper: Keeper | None) -> PreTrainedTokenizerFast | None:
    """The tokenizer of the newest checkpoint: it is not learned again."""
    from transformers import AutoTokenizer

    step = keeper.latest() if keeper else None
    return None if keeper is None or step is None else AutoTokenizer.from_pretrained(keeper.fetch(step))


def _demand_belongs(tokenizer: PreTrainedTokenizerFast, size: int, where: str) -> None:
    """Refuse a table of embeddings that is not this vocabulary's."""
    most = -(-len(tokenizer) // PADDED_TO) * PADDED_TO
    demand(
        len(tokenizer) <= size <= most,
        f"the vocabulary does not belong to the {where}: it has {len(tokenizer)} tokens and vocab_size is {size}; "
        f"possible: {len(tokenizer)} to {most}",
    )


# ------------------------------------------------------------------------------ weights


def _start(pretraining: Pretraining, tokenizer: PreTrainedTokenizerFast) -> PreTrainedModel:
    """The model before its first step."""
    import transformers

    kind = str(pretraining.architecture["model_type"])
    plain = transformers.AutoModelForMaskedLM if pretraining.objective == "mlm" else transformers.AutoModel
    automatic = transformers.AutoModelForSeq2SeqLM if kind in TEXT_TO_TEXT else plain
    if pretraining.initialize:
        model = automatic.from_pretrained(locate(pretraining.initialize, None))
        _demand_same(pretraining, model.config)
        _demand_belongs(tokenizer, model.config.vocab_size, f"checkpoint {pretraining.initialize!r}")
        return model
    model = automatic.from_config(_config(pretraining.architecture, tokenizer))
    if kind == "bert" and pretraining.objective == "mlm+rtd":
        mimetic.bert(model)
    if kind in ("mt5", "umt5") and not pretraining.architecture.get("tie_word_embeddings"):
        _untie(model)
    if pretraining.start == "mimetic":
        mimetic.text_to_text(model)
    return model


def _untie(model: PreTrainedModel) -> None:
    """Give the output a table of its own, as mT5 has it (Xue et al. 2021): transformers would tie it to that of the input.

    Drawn as T5X draws it; a checkpoint that holds both tables is loaded with both.
    """
    table = torch.empty_like(model.lm_head.weight)
    nn.init.normal_(table, std=table.shape[1] ** -0.5)
    model.lm_head.weight = nn.Parameter(table)


def _config(architecture: Mapping[str, str | int | float | bool], tokenizer: PreTrainedTokenizerFast) -> PretrainedConfig:
    from transformers import AutoConfig

    fields = dict(architecture)
    kind = str(fields.pop("model_type"))
    size = int(fields.pop("vocab_size", len(tokenizer)))
    _demand_belongs(tokenizer, size, "architecture")
    if kind == "umt5":
        fields = {"tie_word_embeddings": False, **fields}  # it scales what it gives where they are tied
    if kind in TEXT_TO_TEXT:
        fields |= {"decoder_start_token_id": tokenizer.pad_token_id, "eos_token_id": tokenizer.eos_token_id}
    return AutoConfig.for_model(kind, vocab_size=size, pad_token_id=tokenizer.pad_token_id, **fields)


def _demand_same(pretraining: Pretraining, config: PretrainedConfig) -> None:
    for name, declared in pretraining.architecture.items():
        found = getattr(config, name, None)
        demand(found == declared, f"checkpoint {pretraining.initialize!r} has {name}={found!r}, and the architecture declares {declared!r}")


# ------------------------------------------------------------------------------ text


@dataclass(frozen=True)
class _Heard:
    """Documents whose reading is a sign of life: before the first step all of them may be read."""

    documents: Iterable[str]
    alive: Callable[[], None]

    def __iter__(self) -> Iterator[str]:
        for document in self.documents:
            self.alive()
            yield document


def _heard(text: Texts, alive: Callable[[], None]) -> Texts:
    if not isinstance(text, Mapping):
        return text  # it is here already
    return {language: _Heard(documents, alive) for language, documents in text.items()}


def _course(pretraining: Pretraining, model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, text: Texts) -> Course:
    if pretraining.objective == "mlm+rtd":
        return stories.Stories(model, tokenizer, _documents(text), pretraining)
    if pretraining.objective == "translation":
        return parallel.Translations(pretraining, model, tokenizer, text)
    return _Rows(pretraining, model, tokenizer, text)


class _Rows:
    """A `Course` over packed rows of text, each in one language."""

    def __init__(self, pretraining: Pretraining, model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, text: Texts) -> None:
        self._pretraining, self._text = pretraining, streams.by_language(text)
        spans = pretraining.objective == "span_corruption"
        self._objective = (objectives.Spans if spans else objectives.Masking)(tokenizer, pretraining.max_length)
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.module: nn.Module = (objectives.SpansLoss if spans else objectives.MaskedLoss)(model).to(device)
        self._encode = streams.encoder(tokenizer)
        shares = streams.probabilities(pretraining.sampling, list(self._text), lambda: streams.characters(self._text))
        self.shares = {language: share for language, share in shares.items() if share}
        self.languages = tuple(self.shares)
        self._streams: list[streams.Stream] = []

    def _opened(self) -> list[streams.Stream]:
        length, between = self._objective.length, self._objective.between
        return [streams.Stream(language, self._text[language], self._encode, length, between) for language in self.languages]

    def take(self, step: int) -> Taken:
        """The batch of a step: languages by lot, then a row of each."""
        if not self._streams:
            self._streams = self._opened()
            for number, stream in enumerate(self._streams):
                stream.start((self._pretraining.seed, number))
        random = np.random.default_rng([self._pretraining.seed, step])
        languages = random.choice(len(self.languages), self._pretraining.batch_size, p=list(self.shares.values()))
        return self._taken(self._objective.batch(np.stack([self._streams[one].draw() for one in languages]), languages, random))

    def _taken(self, batch: objectives.Batch) -> Taken:
        device = next(self.module.parameters()).device

        def part(rows: slice) -> tuple[Any, ...]:
            return tuple(torch.from_numpy(one[rows]).to(device) for one in (batch.inputs, batch.labels))

        return Taken((batch.labels != objectives.NOTHING).sum(1), batch.languages, part)

    def state(self) -> dict[str, Any]:
        """Where each language's stream is."""
        return {language: stream.state() for language, stream in zip(self.languages, self._streams, strict=True)}

    def restore(self, step: int, state: Mapping[str, Any]) -> None:
        """Go on from there."""
        self._streams = self._opened()
        for language, stream in zip(self.languages, self._streams, strict=True):
            stream.restore(state[language])

    @torch.no_grad()
    def evaluated(self) -> list[tuple[str, str, str]]:
        """The share of each language, and its loss on text that was never trained on; empty where there is too little of it."""
        self.module.eval()
        rows = []
        for number, (language, share) in enumerate(self.shares.items()):
            text = streams.blocks(streams.held_out(self._text[language]), self._encode, self._objective.length, self._objective.between)
            blocks = list(itertools.islice(text, EVALUATED))
            loss = ""
            if blocks:
                random = np.random.default_rng([self._pretraining.seed, 0, number])
                taken = self._taken(self._objective.batch(np.stack(blocks), np.full(len(blocks), number), random))
                losses = self.module(*taken.part(slice(None)))
                loss = f"{losses.double().sum().item() / max(1, taken.counts.sum()):.6f}"
            rows.append((language, f"{share:.6f}", loss))
        return rows
