"""What is known of languages without a model: distances between them, their scripts, and how much of them a model was pre-trained on.

Distances are those of URIEL+ (Khan et al. 2025, aclanthology.org/2025.coling-main.463) over the tables of URIEL (Littell et al. 2017),
which come with the package `urielplus` under CC BY-SA 4.0. They are read from there as they are: the package's own calls copy its
tables into the installation first, and compute the same numbers (tested).
"""

import functools
import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from xfer_ray.errors import SetupError, unknown

DISTANCES = {  # kind -> the file of its features, and how their names begin
    "genetic": ("family_features.npz", "F_"),
    "geographic": ("geocoord_features.npz", "GC_"),
    "syntactic": ("features.npz", "S_"),
    "phonological": ("features.npz", "P_"),
    "inventory": ("features.npz", "INV_"),
}
UNKNOWN = -1.0  # as URIEL writes it


def is_language(code: str) -> bool:
    """Whether a code such as yo, fil or zh_Hant names a language."""
    import langcodes

    return langcodes.tag_is_valid(code)


def script(language: str) -> str:
    """The script that a language is commonly written in, as an ISO 15924 code: "ru" -> "Cyrl"; empty where nobody says."""
    import langcodes

    return langcodes.Language.get(language).maximize().script or ""


def iso3(language: str) -> str:
    """The ISO 639-3 code, by which URIEL knows a language: "de" -> "deu"; empty where there is none."""
    import langcodes

    try:
        return langcodes.Language.get(language).to_alpha3()
    except LookupError:
        return ""


def distances(languages: Sequence[str]) -> dict[str, pd.DataFrame]:
    """Kind -> (languages x languages), from 0, the same, to 1; NaN where URIEL knows nothing of both.

    The angle between two languages' features, over a right angle, as URIEL+ defines it; over the features known of both.
    """
    names = list(dict.fromkeys(languages))
    codes = tuple(map(iso3, names))
    found = {}
    for kind, (file, prefix) in DISTANCES.items():
        features, vectors = _vectors(file, codes)
        mine = np.array([feature.startswith(prefix) for feature in features])
        rows = [vectors[code][mine] if code in vectors else None for code in codes]
        found[kind] = pd.DataFrame([[_angle(a, b) for b in rows] for a in rows], index=names, columns=names, dtype=float)
    return found


def _angle(a: NDArray[np.float64] | None, b: NDArray[np.float64] | None) -> float:
    if a is None or b is None:
        return np.nan
    both = (a != UNKNOWN) & (b != UNKNOWN)
    if not both.any():
        return np.nan
    u, v = (vector[both] if vector[both].any() else np.ones(both.sum()) for vector in (a, b))
    cosine = float(u @ v / np.sqrt((u @ u) * (v @ v)))
    return 2 / np.pi * float(np.arccos(np.clip(cosine, -1, 1)))


@functools.lru_cache(maxsize=12)
def _vectors(file: str, codes: tuple[str, ...]) -> tuple[list[str], Mapping[str, NDArray[np.float64]]]:
    """The names of the features in a file, and ISO 639-3 code -> them: 1 where any source of URIEL says so, -1 where none says anything."""
    with np.load(tables() / file) as table:
        known = {str(language): i for i, language in enumerate(table["langs"])}
        held = [code for code in dict.fromkeys(codes) if code in known]
        data = table["data"][[known[code] for code in held]].max(axis=2).astype(float)
        return list(map(str, table["feats"])), dict(zip(held, data, strict=True))


def installed() -> bool:
    """Whether the extra `typology` is there."""
    return importlib.util.find_spec("urielplus") is not None


def tables() -> Path:
    """The folder of URIEL's tables."""
    found = importlib.util.find_spec("urielplus")  # not imported: it would set up logging for everyone
    if found is None or not found.submodule_search_locations:
        raise SetupError("typological distances need the package urielplus; pip install 'xfer-ray[typology]' gives it")
    folder = Path(found.submodule_search_locations[0]) / "database" / "original_uriel"
    if not folder.is_dir():
        raise SetupError(f"the installed urielplus has no tables in {folder.name}; pip install 'urielplus==1.3.2' gives those known here")
    return folder


# ------------------------------------------------------------------------------ pre-training


@dataclass(frozen=True)
class PreTraining:
    """A corpus that models are pre-trained on: how much text of each language it holds, in `unit`, and who says so."""

    name: str
    unit: str
    source: str
    checkpoints: tuple[str, ...]  # of models that were pre-trained on it in these proportions
    sizes: Mapping[str, float]


def _sizes(text: str) -> dict[str, float]:
    words = text.split()
    return {language: float(size) for language, size in zip(words[::2], words[1::2], strict=True)}


MC4 = PreTraining(
    name="mc4",
    unit="billion tokens",
    source="the appendix of Xue et al. 2021 (arXiv 2010.11934), as transcribed in github.com/mayhewsw/multilingual-data-stats 36e6dc3",
    checkpoints=("google/mt5-small", "google/mt5-base", "google/mt5-large", "google/mt5-xl", "google/mt5-xxl"),
    sizes=_sizes(
        "en 2733 ru 713 es 433 de 347 fr 318 ja 164 it 162 pt 146 pl 130 vi 116 nl 73 tr 71 id 69 cs 63 ar 57 fa 52 ro 52 sv 45 el 43 "
        "uk 41 zh 39 hu 39 da 29 no 27 ko 26 fi 25 hi 24 bg 22 sk 18 he 17 mr 14 ca 13 ms 13 th 11 lt 11 sl 8.8 bn 7.3 lv 7 et 6.9 "
        "mt 5.2 cy 4.9 az 4.4 sr 4.3 sq 4 ta 3.4 ne 3.2 kk 3.1 ml 2.7 is 2.6 ka 2.5 gl 2.4 hy 2.4 ur 2.4 fil 2.1 be 2 mk 1.8 mn 1.8 "
        "af 1.7 sd 1.6 eu 1.4 tg 1.4 so 1.4 la 1.3 te 1.3 kn 1.1 lb 1 ky 1 sw 1 my 0.9 uz 0.9 gu 0.8 si 0.8 eo 0.7 km 0.6 pa 0.6 "
        "ga 0.5 fy 0.4 ps 0.4 gd 0.4 ku 0.4 jv 0.3 am 0.3 yi 0.3 zu 0.2 co 0.2 ceb 0.2 mg 0.2 sn 0.2 hmn 0.2 ht 0.2 ha 0.2 su 0.1 "
        "ny 0.1 lo 0.1 mi 0.1 sm 0.09 ig 0.09 haw 0.09 st 0.08 xh 0.06 yo 0.05"
    ),
)
# Only languages that mBERT was pre-trained on. Of the sizes of the earlier dump that it read we know no source: that of 2020 stands for it.
WIKIPEDIA = PreTraining(
    name="wikipedia",
    unit="MB of text",
    source="extracted text of the Wikipedia dumps of 2020-10-01, from github.com/mayhewsw/multilingual-data-stats 0adee01",
    checkpoints=("google-bert/bert-base-multilingual-cased", "bert-base-multilingual-cased"),
    sizes=_sizes(
        "en 14204 de 5986 fr 4419 ja 3647 es 3730 ru 6244 it 3054 sv 2102 pt 1689 nl 1725 pl 1735 zh 1551 uk 2748 ca 1233 vi 806 ar 1580 "
        "cs 825 he 1231 hu 839 no 624 fa 846 sr 937 fi 743 id 606 ro 469 ko 1524 el 813 tr 486 bg 700 da 373 hr 317 gl 297 eu 305 th 512 "
        "hi 378 sl 242 bn 448 ta 477 te 373 ms 245 sk 228 et 257 mk 380 az 262 be 361 lt 206 kk 333 af 141 ml 281 ka 427 ur 173 kn 232 "
        "sq 116 lv 128 cy 80 hy 161 uz 81 my 134 tt 117 ky 120 mr 107 pa 91 is 52 gu 83 mg 43 tg 69 ne 66 jv 39 sw 35.2 ga 32.6 su 29.6 "
        "ht 12.7 yo 6.4"
    ),
)
PRETRAINING = (MC4, WIKIPEDIA)


def pretraining(checkpoint: str) -> PreTraining | None:
    """What a checkpoint was pre-trained on, where that is published by language; None where it is not known."""
    return next((corpus for corpus in PRETRAINING if checkpoint in corpus.checkpoints), None)


def named(name: str | None) -> PreTraining | None:
    """The corpus of this name; None for None."""
    if name is None:
        return None
    found = {corpus.name: corpus for corpus in PRETRAINING}
    if name not in found:
        raise unknown("pre-training corpus", name, found)
    return found[name]
