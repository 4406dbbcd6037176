"""What a user runs instead: fine-tune with Hugging Face's Trainer, evaluate, or both.

After `run_xnli.py` of transformers: every pair padded to 128, or with --dynamic to the longest of its batch, and Trainer's defaults
otherwise. Texts come from JSON files with premise, hypothesis and label.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from datasets import Dataset, load_dataset
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    DataCollatorWithPadding,
    EvalPrediction,
    Trainer,
    TrainingArguments,
    default_data_collator,
    set_seed,
)


def accuracy(found: EvalPrediction) -> dict[str, float]:
    """The share of right labels."""
    return {"accuracy": float((np.argmax(found.predictions, axis=1) == found.label_ids).mean())}


def options() -> argparse.Namespace:
    """The command line; names are those of `run_xnli.py` where it has them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model_name_or_path", required=True)
    parser.add_argument("--train_file", type=Path)
    parser.add_argument("--eval_files", nargs="*", default=[], type=Path)
    parser.add_argument("--dynamic", action="store_true")
    parser.add_argument("--output_dir", type=Path, required=True)
    parser.add_argument("--max_seq_length", type=int, default=128)
    parser.add_argument("--per_device_train_batch_size", type=int, default=8)
    parser.add_argument("--per_device_eval_batch_size", type=int, default=8)
    parser.add_argument("--learning_rate", type=float, default=5e-5)
    parser.add_argument("--num_train_epochs", type=float, default=3.0)
    parser.add_argument("--seed", type=int, default=42)
    return parser.parse_args()


def main() -> None:
    """Train if there is something to train on, evaluate if there is something to evaluate on."""
    given = options()
    set_seed(given.seed)
    config = AutoConfig.from_pretrained(given.model_name_or_path, num_labels=3)
    tokenizer = AutoTokenizer.from_pretrained(given.model_name_or_path)
    model = AutoModelForSequenceClassification.from_pretrained(given.model_name_or_path, config=config)

    def tokenize(rows: dict[str, list[str]]) -> dict[str, list[list[int]]]:
        padding = False if given.dynamic else "max_length"
        texts = rows["premise"], rows["hypothesis"]
        return dict(tokenizer(*texts, padding=padding, max_length=given.max_seq_length, truncation=True))

    def read(file: Path) -> Dataset:
        return load_dataset("json", data_files=str(file), split="train").map(tokenize, batched=True)

    trainer = Trainer(
        model=model,
        args=TrainingArguments(
            output_dir=str(given.output_dir),
            per_device_train_batch_size=given.per_device_train_batch_size,
            per_device_eval_batch_size=given.per_device_eval_batch_size,
            learning_rate=given.learning_rate,
            num_train_epochs=given.num_train_epochs,
            seed=given.seed,
            report_to="none",
        ),
        train_dataset=read(given.train_file) if given.train_file else None,
        compute_metrics=accuracy,
        processing_class=tokenizer,
        data_collator=DataCollatorWithPadding(tokenizer) if given.dynamic else default_data_collator,
    )
    if given.train_file:
        trainer.train()
        trainer.save_model()
        trainer.save_state()
    for file in given.eval_files:
        (given.output_dir / f"{file.stem}.json").write_text(json.dumps(trainer.evaluate(read(file))))


if __name__ == "__main__":
    main()
