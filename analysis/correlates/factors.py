"""What advantages may go along with: facts of pairs of languages, of sources, and of targets and their test data."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from analysis import typology
from analysis.transfer import language
from analysis.typology import PreTraining
from xfer_ray.results import Results, from_bytes
from xfer_ray.text import is_ascii_only

Level = Literal["pair", "source", "target"]
UNTRANSLATED = "NS"  # what stands in PAWS-X where a sentence was not translated (its README)


@dataclass(frozen=True)
class Factor:
    """A number for each pair of languages, as a (languages x languages) table, or for each source or target language, as a series."""

    name: str
    level: Level
    values: pd.DataFrame | pd.Series


def of_languages(languages: Sequence[str], pretraining: PreTraining | None) -> list[Factor]:
    """Distances, shared scripts, and the logarithm of how much text pre-training had; NaN where it is not known."""
    names = list(dict.fromkeys(languages))
    found = [Factor(f"{kind} distance", "pair", table) for kind, table in typology.distances(names).items()]
    scripts = [typology.script(name) for name in names]
    same = [[float(a == b) for b in scripts] for a in scripts]
    found.append(Factor("same script", "pair", pd.DataFrame(same, index=names, columns=names)))
    if pretraining:
        amount = pd.Series({name: float(np.log(pretraining.sizes.get(name, np.nan))) for name in names})
        found += [Factor("pre-training of the source", "source", amount), Factor("pre-training of the target", "target", amount)]
    return found


def of_test_data(results: Results, task: str, targets: Sequence[str]) -> list[Factor]:
    """Shares of the examples of each target that the results hold.

    ASCII answers: where the answer is ASCII with a letter, in targets of another script than Latin (§7, Table 7). Defects: where a
    text is blank, was not translated, or is the same as the other.
    """
    ascii_only: dict[str, float] = {}
    defects: dict[str, float] = {}
    for target in targets:
        path = results.table("examples", f"{task}.{target}")
        if not results.storage.exists(path):
            continue
        examples = from_bytes(results.storage.read(path), path).to_pandas()
        if len(examples) == 0:
            continue
        defects[language(target)] = float(_is_defective(examples).mean())
        if typology.script(language(target)) != "Latn":
            first = [(json.loads(answers) or [""])[0] for answers in examples["answers"]]
            ascii_only[language(target)] = float(np.mean([is_ascii_only(answer) for answer in first]))
    shares = {"ASCII answers": ascii_only, "defects of the test data": defects}
    return [Factor(name, "target", pd.Series(share, dtype=float)) for name, share in shares.items() if share]


def _is_defective(examples: pd.DataFrame) -> pd.Series:
    first, second = examples["first"].str.strip(), examples["second"].str.strip()
    return first.isin(["", UNTRANSLATED]) | second.isin(["", UNTRANSLATED]) | (first == second)
