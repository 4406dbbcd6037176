"""Make a checkpoint: learn a vocabulary, draw the weights, and pre-train them on sentence pairs in several languages.

Three objectives share each forward pass: masked tokens, replaced tokens of the second sentence, and, from the pooled
first token, whether the second sentence had any replaced. The last two teach the comparison of two sentences.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from xfer_ray.core import Document, Pretraining, demand

if TYPE_CHECKING:
    from transformers import BertModel, BertTokenizer

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
CROSS_LINGUAL = (0.0, 0.5)  # pairs whose sentences differ in language
MASKED = 0.15
CORRUPTED = 0.5  # pairs with replaced tokens
REPLACED = 0.2  # of the tokens of such a second sentence
REPLACED_WEIGHT = 5.0
POOLED_WEIGHT = 1.0


def make(pretraining: Pretraining, folder: Path, report: Callable[[int, int], None]) -> None:
    """Write a folder that `from_pretrained` loads. On one thread the same declaration gives the same bytes."""
    documents = pretraining.text(pretraining.seed) if pretraining.text else ()
    tokenizer = _tokenizer(pretraining.vocabulary, documents)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(pretraining.seed)
        model = _start(pretraining, len(tokenizer))
        if pretraining.steps:
            _train(model, _Text(tokenizer, documents, pretraining), pretraining, report)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


# ------------------------------------------------------------------------------ vocabulary


def _tokenizer(vocabulary: int | str, documents: Sequence[Document]) -> BertTokenizer:
    from transformers import AutoTokenizer, BertTokenizer

    from xfer_ray.models.checkpoints import locate

    if isinstance(vocabulary, str):
        return AutoTokenizer.from_pretrained(locate(vocabulary, None))
    settings = {"do_lower_case": False, "strip_accents": False}
    blank = BertTokenizer(**settings)
    return BertTokenizer(vocab=_vocabulary(blank, documents, vocabulary), **settings)


def _vocabulary(blank: BertTokenizer, documents: Sequence[Document], size: int) -> dict[str, int]:
    from tokenizers.trainers import WordPieceTrainer

    trainer = WordPieceTrainer(vocab_size=size, special_tokens=list(SPECIAL), show_progress=False)
    sentences = (sentence for document in documents for told in document.values() for sentence in told)
    backend = blank.backend_tokenizer
    backend.train_from_iterator(sentences, trainer)
    return backend.get_vocab()


# ------------------------------------------------------------------------------ weights


def _start(pretraining: Pretraining, vocabulary: int) -> BertModel:
    from transformers import AutoConfig, AutoModel

    fields = dict(pretraining.architecture)
    config = AutoConfig.for_model(str(fields.pop("model_type")), vocab_size=vocabulary, **fields)
    model = AutoModel.from_config(config)
    if config.model_type == "bert":
        _mimetic(model)
    return model


EMB = (0.08, 0.02, 0.04)


def _mimetic(model: BertModel) -> None:
    """Start where trained attention tends to arrive: a token attends to its likes, so that pairs can be compared."""
    embeddings = model.embeddings
    for table, deviation in (
        (embeddings.word_embeddings, EMB[0]),
        (embeddings.position_embeddings, EMB[1]),
        (embeddings.token_type_embeddings, EMB[2]),
    ):
        nn.init.normal_(table.weight, std=deviation)
    for depth, layer in enumerate(model.encoder.layer):
        attention = layer.attention.self
        nn.init.orthogonal_(attention.query.weight, gain=0.7 if depth else 1.0)
        with torch.no_grad():
            attention.key.weight.copy_(attention.query.weight)


class _Heads(nn.Module):
    """What only pre-training needs: which token was masked, which was replaced, whether any was."""

    def __init__(self, model: BertModel) -> None:
        super().__init__()
        width = model.config.hidden_size
        self.masked = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.LayerNorm(width))
        self.vocabulary = model.embeddings.word_embeddings.weight
        self.bias = nn.Parameter(torch.zeros(len(self.vocabulary)))
        self.replaced = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.Linear(width, 1))
        self.pooled = nn.Linear(width, 1)

    def loss(self, model: BertModel, batch: _Batch) -> Tensor:
        out = model(batch.ids, attention_mask=batch.ids.ne(0), token_type_ids=batch.segments)
        hidden = out.last_hidden_state
        logits = self.masked(hidden[batch.masked]) @ self.vocabulary.T + self.bias
        self.parts = [nn.functional.cross_entropy(logits, batch.labels)]
        second = batch.judged
        self.parts.append(
            nn.functional.binary_cross_entropy_with_logits(self.replaced(hidden[second]).squeeze(-1), batch.replaced[second].float())
        )
        any_replaced = batch.replaced.any(dim=1).float()
        self.parts.append(nn.functional.binary_cross_entropy_with_logits(self.pooled(out.pooler_output).squeeze(-1), any_replaced))
        m, r, p = self.parts
        return m + REPLACED_WEIGHT * r + POOLED_WEIGHT * p


# ------------------------------------------------------------------------------ batches


@dataclass(frozen=True)
class _Batch:
    """Pairs as `[CLS] first [SEP] second [SEP]`; all tensors (batch, length), labels one per masked token."""

    ids: Tensor
    segments: Tensor
    masked: Tensor
    labels: Tensor
    replaced: Tensor
    judged: Tensor


class _Text:
    """The sentences as token ids by language and story, and batches drawn from them."""

    def __init__(self, tokenizer: BertTokenizer, documents: Sequence[Document], pretraining: Pretraining) -> None:
        self.special = tuple(tokenizer.convert_tokens_to_ids(list(SPECIAL)))
        self.limit = (int(pretraining.architecture.get("max_position_embeddings", 512)) - 3) // 2
        self.pretraining = pretraining
        self.size = len(tokenizer)
        self.random = np.random.default_rng(pretraining.seed)
        sentences = sorted({s for document in documents for told in document.values() for s in told})
        encoded = tokenizer.backend_tokenizer.encode_batch_fast(sentences, add_special_tokens=False)
        ids = {s: np.array(e.ids[: self.limit]) for s, e in zip(sentences, encoded, strict=True)}
        self.stories = [{language: [ids[s] for s in told] for language, told in document.items()} for document in documents]
        self.tokens = {}
        for story in self.stories:
            for language, told in story.items():
                self.tokens.setdefault(language, []).extend(told)
        self.tokens = {language: np.concatenate(told) for language, told in self.tokens.items()}

    def batches(self) -> Iterator[_Batch]:
        steps, size = self.pretraining.steps, self.pretraining.batch_size
        done = 0
        while done < steps:
            self.progress = done / steps
            count = min(50, steps - done)
            pairs = [self.pair() for _ in range(count * size)]
            pairs.sort(key=lambda pair: len(pair[0]) + len(pair[1]))
            for start in self.random.permutation(count):
                yield self.batch(pairs[start * size : (start + 1) * size])
            done += count

    def pair(self):
        story = self.stories[self.random.integers(len(self.stories))]
        languages = list(story)
        weights = np.array([self.pretraining.sampling.get(l, 1.0) for l in languages])
        first = second = languages[self.random.choice(len(languages), p=weights / weights.sum())]
        if self.random.random() < CROSS_LINGUAL[0] + (CROSS_LINGUAL[1] - CROSS_LINGUAL[0]) * self.progress:
            second = languages[self.random.choice(len(languages), p=weights / weights.sum())]
        a, b = story[first], story[second]
        if self.random.random() < 0.5:
            return a[0], b[-1], second
        return a[-1], b[0], second

    def batch(self, pairs) -> _Batch:
        pad, _, cls, sep, mask = self.special
        random = self.random
        width = max(len(a) + len(b) for a, b, _ in pairs) + 3
        ids = np.full((len(pairs), width), pad)
        segments = np.zeros_like(ids)
        replaced = np.zeros(ids.shape, bool)
        special = np.ones(ids.shape, bool)
        for row, (a, b, language) in enumerate(pairs):
            start, end = len(a) + 2, len(a) + 2 + len(b)
            ids[row, 0], ids[row, start - 1], ids[row, end] = cls, sep, sep
            ids[row, 1 : start - 1] = a
            segments[row, start : end + 1] = 1
            special[row, 1 : start - 1] = False
            special[row, start:end] = False
            if random.random() < CORRUPTED:
                chosen = random.random(len(b)) < REPLACED
                chosen[random.integers(len(b))] = True
                new = np.where(chosen, random.choice(self.tokens[language], len(b)), b)
                ids[row, start:end] = new
                replaced[row, start:end] = new != b
            else:
                ids[row, start:end] = b
        masked = (random.random(ids.shape) < MASKED) & ~special & ~replaced
        labels = ids[masked]
        ids[masked] = mask
        judged = (segments == 1) & ~special & ~masked
        t = torch.from_numpy
        return _Batch(t(ids), t(segments), t(masked), t(labels), t(replaced), t(judged))


def _train(model: BertModel, text: _Text, pretraining: Pretraining, report: Callable[[int, int], None]) -> None:
    heads = _Heads(model)
    parameters = [*model.parameters(), *heads.parameters()]
    parameters = list(dict.fromkeys(parameters))
    optimizer = torch.optim.AdamW(parameters, lr=pretraining.learning_rate, weight_decay=0.01, fused=True)
    steps, warmup = pretraining.steps, pretraining.warmup_steps
    model.train()
    for step, batch in enumerate(text.batches(), 1):
        rate = pretraining.learning_rate * min(step / warmup, (steps - step) / max(1, steps - warmup))
        for group in optimizer.param_groups:
            group["lr"] = rate
        loss = heads.loss(model, batch)
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        report(step, steps)
        if step % 100 == 0:
            print(step, [round(p.item(), 3) for p in heads.parts], flush=True)
