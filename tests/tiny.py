"""Tiny encoders and a task that they learn in a second: what the tests of the models share."""

from pathlib import Path
from random import Random

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers
from transformers import BertConfig, BertForMaskedLM, PreTrainedTokenizerFast, XLMRobertaConfig, XLMRobertaForMaskedLM

from xfer_ray.contract import Context
from xfer_ray.core import Task
from xfer_ray.recipe import Recipe
from xfer_ray.sources import Corpus, Example, Examples

torch.set_num_threads(1)  # two processes of two threads each on two cores wait for one another
LABELS = ("entailment", "neutral", "contradiction")
NOUNS = ("cat", "dog", "bird", "horse", "fish", "house", "tree", "river")
VERBS = ("sees", "likes", "finds", "follows", "paints")
ADVERBS = ("", " often", " very often now", " today in the garden by the old stone wall")


def _unreadable(corpus: Corpus, split: str) -> list[Example]:
    raise AssertionError(f"fine-tuning asked for {split} of {corpus}")


TASK = Task(name="tiny", sources=(Corpus("en"),), targets=(Corpus("de"),), load=_unreadable, labels=LABELS)
RECIPE = Recipe(epochs=8, learning_rate=2e-3, batch_size=16, max_length=32, dropout=0.0)


def examples(count: int, seed: int = 0) -> Examples:
    """Pairs of uneven lengths whose label the second sentence gives away: a "not", a "maybe", or neither."""
    draw = Random(seed)

    def sentence() -> str:
        return f"the {draw.choice(NOUNS)} {draw.choice(VERBS)} the {draw.choice(NOUNS)}{draw.choice(ADVERBS)}"

    marks = {"entailment": "", "neutral": "maybe ", "contradiction": "not "}
    labels = [draw.choice(LABELS) for _ in range(count)]
    return Examples(tuple(Example(str(i), sentence(), marks[label] + sentence(), (label,)) for i, label in enumerate(labels)))


def bert(folder: Path, seed: int = 0) -> Path:
    """A random BERT without a pooler, as masked language models come, and its tokenizer."""
    tokenizer = _words(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"], "[UNK]", "[CLS] $A [SEP] $B:1 [SEP]:1")
    torch.manual_seed(seed)
    config = BertConfig(vocab_size=tokenizer.get_vocab_size(), pad_token_id=0, type_vocab_size=2, max_position_embeddings=64, **_SIZE)
    BertForMaskedLM(config).save_pretrained(folder)
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]", mask_token="[MASK]"
    ).save_pretrained(folder)
    return folder


def xlmr(folder: Path, seed: int = 0) -> Path:
    """A random XLM-R and its tokenizer: padding id 1, one segment, positions counted from the padding id."""
    tokenizer = _words(["<s>", "<pad>", "</s>", "<unk>", "<mask>"], "<unk>", "<s> $A </s> </s> $B </s>")
    torch.manual_seed(seed)
    config = XLMRobertaConfig(
        vocab_size=tokenizer.get_vocab_size(),
        pad_token_id=1,
        bos_token_id=0,
        eos_token_id=2,
        type_vocab_size=1,
        max_position_embeddings=66,
        **_SIZE,
    )
    XLMRobertaForMaskedLM(config).save_pretrained(folder)
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<s>",
        eos_token="</s>",
        cls_token="<s>",
        sep_token="</s>",
        pad_token="<pad>",
        unk_token="<unk>",
        mask_token="<mask>",
        model_input_names=["input_ids", "attention_mask"],
    ).save_pretrained(folder)
    return folder


def context(folder: Path, cache: Path, micro_batch: int | None = None) -> Context:
    """Where a tiny trial runs."""
    return Context(str(folder), None, cache, micro_batch)


_SIZE = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64, "initializer_range": 0.2}


def _words(special: list[str], unknown: str, pair: str) -> Tokenizer:
    tokenizer = Tokenizer(models.WordLevel(unk_token=unknown))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    text = [f"{item.first} {item.second}" for item in examples(400, seed=1)] + ["poison unseen words"]
    tokenizer.train_from_iterator(text, trainers.WordLevelTrainer(special_tokens=special))
    marks = sorted({part.split(":")[0] for part in pair.split() if "$" not in part})
    tokenizer.post_processor = processors.TemplateProcessing(
        single=pair.split(" $B")[0].removesuffix(" </s>"), pair=pair, special_tokens=[(mark, tokenizer.token_to_id(mark)) for mark in marks]
    )
    return tokenizer
