"""How a model is trained: the hyper-parameters of a fine-tuning run, and of the pre-training that may come before it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from xfer_ray.errors import demand, is_count, unknown
from xfer_ray.identity import declaration, digest


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """The hyper-parameters of a fine-tuning run; each literal says where its numbers come from.

    Give `epochs` or `steps`, and `batch_size` in examples or `batch_tokens` in tokens of the first text and the second;
    neither depends on the device. `precision="bf16"` means bf16 autocast over fp32 weights on a GPU, and fp32 on a CPU.
    `dropout=None` keeps the checkpoint's own. With `select_every` a checkpoint is scored every so many steps on the
    source's dev set, and the best is kept, of equals the earliest; without it the last.

    Question answering on encoders: `doc_stride`, `max_query_length`, `n_best`, `max_answer_length`, all but `n_best` in
    tokens. Text-to-text models: `max_target_length` in tokens; `scale_parameter` multiplies Adafactor's step by the norm of
    each tensor, as the original does (False: the variant that transformers documents for T5); `decoding="labels"` answers
    with the likeliest verbalizer after one decoder step.
    """

    learning_rate: float
    batch_size: int | None = None
    batch_tokens: int | None = None
    epochs: int | None = None
    steps: int | None = None
    select_every: int | None = None
    max_length: int = 128
    optimizer: Literal["adamw", "adafactor"] = "adamw"
    warmup_steps: int = 0
    schedule: Literal["linear", "constant"] = "linear"
    weight_decay: float = 0.0
    adam_epsilon: float = 1e-8
    clip_norm: float = 1.0
    dropout: float | None = None
    precision: Literal["bf16", "fp32"] = "bf16"
    doc_stride: int = 128
    max_query_length: int = 64
    n_best: int = 20
    max_answer_length: int = 30
    max_target_length: int = 128
    scale_parameter: bool = True
    decoding: Literal["greedy", "labels"] = "greedy"

    def __post_init__(self) -> None:
        for one, other in (("epochs", "steps"), ("batch_size", "batch_tokens")):
            first, second = getattr(self, one), getattr(self, other)
            demand((first is None) != (second is None), f"a recipe has {one} or {other}: found {one}={first}, {other}={second}")
        for name in _COUNTS:
            value = getattr(self, name)
            demand((value is None and name in _OPTIONAL) or is_count(value), f"{name} is {value!r}; give a positive integer")
        rate = self.learning_rate
        demand(
            isinstance(rate, int | float) and math.isfinite(rate) and 0 < rate < 1,
            f"learning_rate is {rate!r}; give a number between 0 and 1, such as 3e-5",
        )
        demand(is_count(self.warmup_steps, 0), f"warmup_steps is {self.warmup_steps!r}; give 0 or a positive integer")
        for name in ("weight_decay", "adam_epsilon", "clip_norm"):
            value = getattr(self, name)
            demand(
                isinstance(value, int | float) and math.isfinite(value) and value >= 0, f"{name} is {value!r}; give a number of at least 0"
            )
        demand(
            self.dropout is None or 0 <= self.dropout < 1,
            f"dropout is {self.dropout!r}; give a fraction below 1, or None for the checkpoint's",
        )
        demand(str(self.precision) != "fp16", "precision 'fp16' overflows in T5's feed-forward layers and gives nan; give 'bf16' or 'fp32'")
        for name, possible in _CHOICES.items():
            if getattr(self, name) not in possible:
                raise unknown(name, str(getattr(self, name)), possible)
        demand(
            self.batch_tokens is None or (self.steps is not None and self.batch_tokens >= self.max_length),
            f"batch_tokens {self.batch_tokens} needs steps, and at least max_length ({self.max_length}) tokens: found steps={self.steps}",
        )
        demand(
            self.select_every is None or self.steps is None or self.select_every <= self.steps,
            f"select_every {self.select_every} lies beyond the last of {self.steps} steps, so no checkpoint would be scored",
        )


_OPTIONAL = ("epochs", "steps", "batch_size", "batch_tokens", "select_every")
_COUNTS = (*_OPTIONAL, "max_length", "doc_stride", "max_query_length", "n_best", "max_answer_length", "max_target_length")
_CHOICES = {
    "optimizer": ("adamw", "adafactor"),
    "schedule": ("linear", "constant"),
    "precision": ("bf16", "fp32"),
    "decoding": ("greedy", "labels"),
}

Document = Mapping[str, tuple[str, ...]]
Texts = Sequence[Document] | Mapping[str, Iterable[str]]

_TEXT_TO_TEXT = ("t5", "mt5", "umt5")
_OBJECTIVES = {"mlm+rtd": ("bert",), "mlm": (), "span_corruption": _TEXT_TO_TEXT, "translation": _TEXT_TO_TEXT}
_SAMPLINGS = ("uniform", "proportional")


@dataclass(frozen=True, kw_only=True)
class Pretraining:
    """A checkpoint that is made, not fetched; its identity is its declaration. Without steps it is left random.

    `architecture` holds fields of the transformers configuration, `model_type` among them. `text(seed)` gives documents, the same
    sentences by language, or for each language its documents, lazily, as often as it is asked. `vocabulary` is a number of
    pieces to learn from the text, or the name of a checkpoint whose tokenizer serves. `initialize` names a checkpoint to go on
    from.

    `objective`: "mlm+rtd", masked and replaced tokens of pairs of sentences; "mlm", masked tokens (Devlin et al. 2019);
    "span_corruption" (Raffel et al. 2020, section 3.1.4). These two read packed rows of `max_length` tokens, each in one language,
    and take `tokens`, a budget of batch_size x max_length a step, in place of `steps`. "translation" reads pairs of sentences: from
    the first language of a document into each of its others, which `sampling` weighs; pairs beyond `max_length` are left out.

    `sampling` over languages: weights by language (default: all alike); "uniform"; "proportional" to the characters of text,
    n; or the exponent alpha of p ~ n^alpha (Xue et al. 2021, section 3.1, take 0.3). `schedule`: "linear" up over `warmup_steps` and
    down to 0, or "inverse_square_root": learning_rate x sqrt(k / max(step, k)) with k = warmup_steps. `precision` as in a Recipe.
    `start="mimetic"` lets a small text-to-text model begin as trained ones are (models/mimetic.py); "mlm+rtd" always does so, and
    "translation" begins word by word (models/word_by_word.py).
    `micro_batch` says how a batch meets the device.
    """

    architecture: Mapping[str, str | int | float | bool]
    vocabulary: int | str
    text: Callable[[int], Texts] | None = None
    sampling: Mapping[str, float] | str | float = field(default_factory=dict)
    steps: int = 0
    seed: int = 0
    batch_size: int = 48
    learning_rate: float = 2e-3
    warmup_steps: int = 50
    objective: Literal["mlm+rtd", "mlm", "span_corruption", "translation"] = "mlm+rtd"
    tokens: int = 0
    max_length: int = 128
    optimizer: Literal["adamw", "adafactor"] = "adamw"
    schedule: Literal["linear", "inverse_square_root"] = "linear"
    precision: Literal["bf16", "fp32"] = "bf16"
    initialize: str = ""
    start: Literal["random", "mimetic"] = "random"
    micro_batch: int | None = field(default=None, metadata={"identity": False})

    def __post_init__(self) -> None:
        for name in ("batch_size", "learning_rate"):
            value = getattr(self, name)
            sound = isinstance(value, int | float) and math.isfinite(value) and value > 0
            demand(sound, f"{name} of a Pretraining is {value!r}; give a positive number")
        self._demand_choices()
        self._demand_sampling()
        demand("model_type" in self.architecture, "architecture of a Pretraining lacks 'model_type', such as 'bert'")
        for name in ("steps", "tokens", "warmup_steps"):
            demand(is_count(getattr(self, name), 0), f"{name} of a Pretraining is {getattr(self, name)!r}; give 0 or a positive integer")
        for name in ("max_length", "micro_batch"):
            value = getattr(self, name)
            demand(
                is_count(value) or (name, value) == ("micro_batch", None), f"{name} of a Pretraining is {value!r}; give a positive integer"
            )
        demand(not (self.steps and self.tokens), f"a Pretraining has steps or tokens: found steps={self.steps}, tokens={self.tokens}")
        demand(self.total_steps == 0 or self.text is not None, f"a Pretraining with {'steps' if self.steps else 'tokens'} needs text")
        demand(isinstance(self.vocabulary, str) or self.text is not None, "a Pretraining that learns its vocabulary needs text")
        if self.total_steps:
            self._demand_fit()

    def _demand_choices(self) -> None:
        for name, possible in _PRETRAINING_CHOICES.items():
            if getattr(self, name) not in possible:
                raise unknown(f"{name} of a Pretraining", str(getattr(self, name)), possible)

    def _demand_sampling(self) -> None:
        if isinstance(self.sampling, str):
            if self.sampling not in _SAMPLINGS:
                raise unknown("sampling of a Pretraining", self.sampling, _SAMPLINGS)
        elif isinstance(self.sampling, Mapping):
            weights = self.sampling.values()
            demand(
                all(isinstance(w, int | float) and math.isfinite(w) and w >= 0 for w in weights),
                f"sampling of a Pretraining is {dict(self.sampling)!r}; give weights of at least 0 by language",
            )
        else:
            alpha = self.sampling
            demand(
                isinstance(alpha, int | float) and not isinstance(alpha, bool) and 0 <= alpha <= 1,
                f"sampling of a Pretraining is {alpha!r}; an exponent lies between 0 (uniform) and 1 (proportional)",
            )

    def _demand_fit(self) -> None:
        """The objective fits the architecture and what it reads."""
        kind, objective = self.architecture["model_type"], self.objective
        fits = kind not in _TEXT_TO_TEXT if objective == "mlm" else kind in _OBJECTIVES[objective]
        fitting = "span_corruption, translation" if kind in _TEXT_TO_TEXT else "mlm, mlm+rtd" if kind == "bert" else "mlm"
        demand(fits, f"objective {objective!r} does not pre-train model_type {kind!r}; possible for it: {fitting}")
        demand(
            objective != "mlm+rtd" or not (self.tokens or self.initialize or self.optimizer != "adamw" or self.schedule != "linear"),
            "objective 'mlm+rtd' starts anew, counts steps, and knows adamw and the linear schedule only; objective 'mlm' has the others",
        )
        demand(objective != "translation" or not self.tokens, "objective 'translation' counts steps; give steps in place of tokens")
        demand(
            self.start == "random" or (objective == "span_corruption" and not self.initialize),
            "start 'mimetic' is for objective 'span_corruption' without initialize; give start='random'",
        )
        room = self.architecture.get("max_position_embeddings", self.max_length)
        demand(
            objective != "mlm" or not isinstance(room, int) or self.max_length <= room,
            f"max_length {self.max_length} of a Pretraining is more than max_position_embeddings {room}; give at most that",
        )
        demand(self.max_length >= 16 or objective == "mlm+rtd", f"max_length {self.max_length} of a Pretraining is less than 16 tokens")
        demand(
            not self.initialize or isinstance(self.vocabulary, str),
            f"checkpoint {self.initialize!r} to go on from has a vocabulary; give its name, not a number of pieces to learn",
        )

    @property
    def total_steps(self) -> int:
        """The steps that are declared, or those that spend the token budget, the last one included."""
        return self.steps or -(-self.tokens // (self.batch_size * self.max_length))

    @property
    def digest(self) -> str:
        """12 hex digits over the whole declaration; names the folder `<storage>/pretrained/<digest>`."""
        return digest(declaration(self))


_PRETRAINING_CHOICES = {
    "objective": tuple(_OBJECTIVES),
    "optimizer": ("adamw", "adafactor"),
    "schedule": ("linear", "inverse_square_root"),
    "precision": ("bf16", "fp32"),
    "start": ("random", "mimetic"),
}
