"""A random text-to-text model that takes its target language as MADLAD-400 does: `<2de> Text`."""

from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast, T5Config, T5ForConditionalGeneration

TEXT = ["The train has 12 trees.", "There are 3 trees in it.", "Der Zug hat 40 Bäume.", "Es gibt 5 Bäume.", "У поезда деревья 678 и 9."]


def make(folder: Path, languages: tuple[str, ...] = ("en", "de", "ru"), seed: int = 0) -> Path:
    """A checkpoint of a few thousand parameters and its tokenizer."""
    special = ["<pad>", "</s>", "<unk>", *(f"<2{language}>" for language in languages)]
    # The pieces are told, not trained: trainers number them anew in each process, and a random model would then write another text.
    pieces = sorted({"\u2581", *"".join(TEXT).replace(" ", "")})
    tokenizer = Tokenizer(models.Unigram([*((token, 0.0) for token in special), *((piece, -1.0) for piece in pieces)], unk_id=2))
    tokenizer.add_special_tokens(special)
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    torch.manual_seed(seed)
    config = T5Config(
        vocab_size=tokenizer.get_vocab_size(),
        d_model=16,
        d_kv=8,
        d_ff=32,
        num_layers=1,
        num_decoder_layers=1,
        num_heads=2,
        dropout_rate=0.0,
        pad_token_id=0,
        eos_token_id=1,
        decoder_start_token_id=0,
        tie_word_embeddings=False,
    )
    model = T5ForConditionalGeneration(config)
    with torch.no_grad():
        model.lm_head.weight[: len(special)] = 0  # some piece is always likelier than a token that leaves no text
    model.save_pretrained(folder)
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        eos_token="</s>",
        unk_token="<unk>",
        additional_special_tokens=[f"<2{language}>" for language in languages],
        model_max_length=512,
    ).save_pretrained(folder)
    return folder
