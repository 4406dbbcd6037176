"""How the families of translation models are told the languages: by a token before the source, or one that the target begins with."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xfer_ray.errors import DeclarationError, SetupError
from xfer_ray.translation.codes import chosen, demanded, is_same, tongue

FAMILIES = "OPUS-MT (Marian), M2M100, NLLB, MADLAD (T5 with <2de> tokens) and mBART-50"
_MARIAN = re.compile(r">>(.+)<<")
_NLLB = re.compile(r"[a-z]{3}_[A-Z][a-z]{3}")
_MBART = re.compile(r"[a-z]{2}_[A-Z]{2}")
_MADLAD = re.compile(r"<2([A-Za-z_]+)>")


@dataclass(frozen=True)
class Speech:
    """A tokenizer that has been told the source language, and what tells the model the target language.

    `prefix` is put before every text; `begin` is the token, by number, that every translation has to begin with.
    """

    tokenizer: Any
    prefix: str = ""
    begin: int | None = None
    is_marian: bool = False

    def encoded(self, text: str) -> list[int]:
        """The tokens of a text, those of the languages and the end included."""
        ids: list[int] = self.tokenizer(self.prefix + text, truncation=False).input_ids
        return ids

    def length(self, text: str) -> int:
        """How many tokens those are."""
        return len(self.encoded(text))

    def decoded(self, ids: Sequence[int]) -> str:
        """The text that the tokens of a translation spell, special tokens left out."""
        # transformers would spell Marian's target with the pieces of the source. The clean-up of some tokenizers moves spaces.
        options = {"use_source_tokenizer": False} if self.is_marian else {}
        text: str = self.tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False, **options)
        return text.strip()


def speech(folder: Path, source: str, target: str) -> Speech:
    """The tokenizer of a checkpoint, told to read the source language and to write the target language."""
    tokenizer = _tokenizer(folder)
    known: dict[str, Callable[[Any, str, str, str], Speech]] = {
        "MarianTokenizer": _marian,
        "M2M100Tokenizer": _m2m100,
        "NllbTokenizer": _nllb,
        "MBart50Tokenizer": _mbart50,
    }
    what = f"the translator in {folder}"
    family = known.get(type(tokenizer).__name__.removesuffix("Fast"))
    if family is not None:
        return family(tokenizer, source, target, what)
    codes = _codes(tokenizer, _MADLAD)
    if not codes:
        raise SetupError(f"{what} has a {type(tokenizer).__name__} without language tokens; possible: {FAMILIES}")
    demanded(source, codes, what)
    return Speech(tokenizer, prefix=f"<2{demanded(target, codes, what)}> ")


def _tokenizer(folder: Path) -> Any:  # noqa: ANN401  # transformers has no type for all of its tokenizers
    import warnings

    import transformers

    transformers.logging.set_verbosity_error()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Marian's recommends a package that it no longer calls
            # OPUS-MT's files do not name their class, and beside a converted model no configuration does.
            kind = transformers.MarianTokenizer if (folder / "source.spm").is_file() else transformers.AutoTokenizer
            return kind.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, ImportError) as error:
        raise SetupError(
            f"the translator in {folder} has no tokenizer that can be read: {type(error).__name__}: {' '.join(str(error).split())}"
        ) from error


def _codes(tokenizer: Any, pattern: re.Pattern[str]) -> dict[str, str]:  # noqa: ANN401
    """Code -> token, of the tokens of the vocabulary that stand for languages."""
    found = [(pattern.fullmatch(token), token) for token in tokenizer.get_vocab()]
    return {(match.group(1) if pattern.groups else token): token for match, token in found if match}


# ------------------------------------------------------------------------------ families


def _marian(tokenizer: Any, source: str, target: str, what: str) -> Speech:  # noqa: ANN401
    """One pair of languages, or many targets, each with a token before the text; groups such as "ROMANCE" are not checked."""
    declared = (tokenizer.source_lang, tokenizer.target_lang)
    codes = _codes(tokenizer, _MARIAN)
    code = chosen(target, list(codes))
    wrong = [_differs(declared[0], source), _differs(declared[1], target) and not code]
    if any(wrong):
        raise DeclarationError(f"{what} translates from {declared[0]} to {declared[1]}, not from {source} to {target}")
    if code is None and codes and not (declared[1] and is_same(declared[1], target)):
        demanded(target, codes, what)  # says what there is
    return Speech(tokenizer, prefix=f"{codes[code]} " if code else "", is_marian=True)


def _differs(declared: str | None, asked: str) -> bool:
    return bool(declared) and tongue(str(declared)) is not None and not is_same(str(declared), asked)


def _m2m100(tokenizer: Any, source: str, target: str, what: str) -> Speech:  # noqa: ANN401
    codes: dict[str, str] = tokenizer.lang_code_to_token
    tokenizer.src_lang = demanded(source, codes, what)
    return Speech(tokenizer, begin=tokenizer.get_lang_id(demanded(target, codes, what)))


def _nllb(tokenizer: Any, source: str, target: str, what: str) -> Speech:  # noqa: ANN401
    return _begun(tokenizer, _codes(tokenizer, _NLLB), (source, target), what)


def _mbart50(tokenizer: Any, source: str, target: str, what: str) -> Speech:  # noqa: ANN401
    return _begun(tokenizer, _codes(tokenizer, _MBART), (source, target), what)


def _begun(tokenizer: Any, codes: dict[str, str], languages: tuple[str, str], what: str) -> Speech:  # noqa: ANN401
    source, target = (demanded(language, codes, what) for language in languages)
    tokenizer.src_lang = source
    return Speech(tokenizer, begin=tokenizer.convert_tokens_to_ids(target))
