"""From a declared translator to the function that translates; what it needs is imported now and not before."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from xfer_ray.errors import SetupError
from xfer_ray.translation.translator import Translate, Translation, Translator


def demand_languages(translator: Translator, *, source: str, target: str, folder: Path | None) -> None:
    """Refuse languages that a translator does not know, before it is loaded."""
    if translator.kind in ("checkpoint", "ctranslate2") and folder is not None and folder.is_dir():
        from xfer_ray.translation.families import speech

        if not (folder / "config.json").is_file():
            raise SetupError(f"translator {folder} is no checkpoint: the folder has no config.json")
        speech(folder, source, target)
    if translator.kind == "dictionary":
        from xfer_ray.miniature import dictionary

        dictionary.translated("a", source, target)


def open_translator(translator: Translator, *, source: str, target: str, folder: Path | None, threads: int | None = None) -> Translate:
    """The function that translates; `folder` holds the files of a checkpoint or a converted model, `threads` are its CPU threads."""
    if translator.kind == "dictionary":
        return _dictionary(source, target)
    if translator.kind == "file":
        from xfer_ray.translation import table

        return table.opened(Path(translator.name))
    if folder is None or not folder.is_dir():
        raise SetupError(f"translator {translator.name!r} has no folder of files: {folder} is none")
    if translator.kind == "ctranslate2":
        from xfer_ray.translation import converted

        return converted.opened(translator, source=source, target=target, folder=folder, threads=threads)
    from xfer_ray.translation import checkpoint

    return checkpoint.opened(translator, source=source, target=target, folder=folder, threads=threads)


def _dictionary(source: str, target: str) -> Translate:
    from xfer_ray.miniature import dictionary

    def translate(texts: Sequence[str]) -> list[Translation]:
        return [Translation(dictionary.translated(text, source, target)) for text in texts]

    return translate
