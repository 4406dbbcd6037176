"""The equations of Turc et al. 2021 (arXiv 2106.16171), one function each, pure.

A matrix is a DataFrame: one row per source corpus, one column per target corpus, both in corpus spelling; values are
fractions, NaN is a hole. A hole stays a hole: no function fills it, and no mean over targets is taken over one.
"""

import functools
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from xfer_ray.errors import DataError
from xfer_ray.sources import Corpus, Source, parse_source

Groups = Mapping[str, Sequence[str]]  # name -> target spellings


@functools.cache
def source_of(spelling: str) -> Source:
    """The corpus or mixture of a spelling; a table asks for each of a few spellings thousands of times."""
    return parse_source(spelling)


@functools.cache
def corpus_of(spelling: str) -> Corpus:
    """The corpus of a spelling, such as a target's; a mixture is refused."""
    return Corpus.parse(spelling)


def language(spelling: str) -> str:
    """The language of a corpus, such as a target: "de-HT-en" -> "de"; a mixture is refused."""
    return corpus_of(spelling).language


def languages(spelling: str) -> tuple[str, ...]:
    """The languages of a source: "de-MT-en" -> ("de",), "de-MT-en+ru-MT-en@5000" -> ("de", "ru")."""
    return source_of(spelling).languages


def at_home(source: str, target: str) -> bool:
    """Whether a target is in a language of the source, so that its cell is not zero-shot."""
    return language(target) in languages(source)


def ability(scores: pd.DataFrame) -> pd.DataFrame:
    """E(M^S,T): the matrix of a long table with columns source, target, score; its seeds are averaged."""
    return scores.groupby(["source", "target"], sort=False)["score"].mean().unstack("target")


def runs(scores: pd.DataFrame) -> pd.DataFrame:
    """How many seeds stand behind each E(M^S,T): a matrix of counts, 0 for a hole."""
    return scores.groupby(["source", "target"], sort=False)["seed"].nunique().unstack("target").fillna(0)


def diagonal(matrix: pd.DataFrame, denominators: Mapping[str, str]) -> pd.Series:
    """The value of each target's own model, E(M^T,T); `denominators`: target -> source. NaN where there is none."""
    own = {t: matrix.at[s, t] for t, s in denominators.items() if s in matrix.index and t in matrix.columns}
    return pd.Series(own, dtype=float).reindex(matrix.columns)


def relative_ability(matrix: pd.DataFrame, denominators: Mapping[str, str]) -> pd.DataFrame:
    """Relative zero-shot ability Z(S→T) = E(M^S,T) / E(M^T,T)   (Eq. 1).

    Args:
        matrix: abilities, (sources x targets).
        denominators: target -> the source whose model stands for M^T; a target without one becomes a column of holes.
    """
    own = diagonal(matrix, denominators)
    for target in own.index[own == 0]:
        raise DataError(
            f"the denominator of column {target} is 0: the model fine-tuned on {denominators[target]} scores nothing there, "
            "so no relative ability exists; `xfer-ray tables --values ability` shows the scores themselves"
        )
    return matrix / own


def advantage(matrix: pd.DataFrame, over: str) -> pd.DataFrame:
    """Zero-shot advantage Z(S→T) - Z(en→T)   (Eq. 2; Eq. 4 once averaged). Without denominators the matrix is E (§3)."""
    return matrix - matrix.loc[over]


def average(matrix: pd.DataFrame, groups: Groups) -> pd.DataFrame:
    """Z(S→𝓛), the unweighted mean over the targets of each group   (Eq. 3; Eq. 4 of a matrix of advantages).

    -> one row per source, one column per group; NaN where a target of the group is a hole, or the group is empty.
    """
    means = {name: matrix[list(targets)].mean(axis=1, skipna=False) for name, targets in groups.items()}
    return pd.DataFrame(means, index=matrix.index, dtype=float)


def common_targets(source: str, over: str, targets: Sequence[str]) -> tuple[str, ...]:
    """The targets that are zero-shot for both: all but those in a language of the source or of its baseline."""
    return tuple(t for t in targets if not at_home(source, t) and not at_home(over, t))


def common_target_advantage(matrix: pd.DataFrame, over: str, groups: Groups) -> pd.DataFrame:
    """Eq. 4 with the same targets in both sums: none in S's own language, of a mixture in any of its own, nor in the baseline's.

    -> one row per source, one column per group. Compares a source with the baseline, not sources with each other:
    each row has targets of its own; for a ranking see `source_effects`.
    """
    gains = advantage(matrix, over)
    rows = [
        average(gains.loc[[source]], {name: common_targets(source, over, targets) for name, targets in groups.items()})
        for source in matrix.index
    ]
    return pd.concat(rows)


def source_effects(matrix: pd.DataFrame) -> pd.Series:
    """How much each source adds in value ~ source + target, by least squares over the cells off the diagonal.

    Cells of a source's own languages and holes are left out. -> a fraction per source; their mean is 0. NaN for a source of which no
    cell is left, such as a mixture in all languages of the targets, and throughout where too few are left to compare the others.
    """
    cells = matrix.rename_axis("source").rename_axis("target", axis=1).stack().dropna()
    zero_shot = [not at_home(s, t) for s, t in cells.index]
    cells = cells[zero_shot]
    left = matrix.index[matrix.index.isin(cells.index.get_level_values("source"))]
    source = pd.get_dummies(cells.index.get_level_values("source"), dtype=float).reindex(columns=left)
    target = pd.get_dummies(cells.index.get_level_values("target"), dtype=float)
    design = np.hstack([source.to_numpy(), target.to_numpy()])
    if cells.empty or np.linalg.matrix_rank(design) < design.shape[1] - 1:  # one degree of freedom is the constant
        return pd.Series(np.nan, index=matrix.index)
    solution = np.linalg.lstsq(design, cells.to_numpy(dtype=float), rcond=None)[0][: len(left)]
    return pd.Series(solution - solution.mean(), index=left).reindex(matrix.index)


def transfer_gap(matrix: pd.DataFrame) -> pd.DataFrame:
    """Cross-lingual transfer gap of XTREME, E(M^S,S) - E(M^S,T), per cell   (footnote 2; averaged by `average`).

    `matrix` holds abilities. A source without exactly one target of its own language is a row of holes.
    """
    own = {s: [t for t in matrix.columns if at_home(s, t)] for s in matrix.index}
    homes = {s: matrix.at[s, targets[0]] if len(targets) == 1 else np.nan for s, targets in own.items()}
    return matrix.rsub(pd.Series(homes, dtype=float), axis=0)
