"""The tables that papers print, as plain data in corpus spelling, to compare a sweep's own with.

turc2021: Turc et al. 2021, Revisiting the Primacy of English in Zero-shot Cross-lingual Transfer (arXiv 2106.16171), Tables 1 to 8.
One row contradicts itself: in Table 2, mT5 from hi-MT, hi-HT is printed as +1.0 and vi-HT as +0.6. Z(hi→hi) is 100, so with the 93.0
of English the first must be +7.0; the printed averages of the row then fit if the second is -0.6, and no other change of one sign.
The tables hold what is printed, and `REPAIRS` what must have been meant.
"""

import csv
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.resources import files

import pandas as pd

from xfer_ray.errors import unknown

PAPERS = {"turc2021": "Turc et al. 2021 (arXiv 2106.16171)"}
MODELS = {"mBERT": "mbert", "mT5": "mt5-base", "mT5-Base": "mt5-base", "mT5-Uniform": "mt5-uniform"}
ROUNDING = 0.0005  # values x 100 are printed to one decimal
REPAIRS = {2: {("mt5-base", "hi-MT-en"): {"hi-HT-en": 0.07, "vi-HT-en": -0.006}}}

Row = tuple[str, str]  # model, source


@dataclass(frozen=True, kw_only=True)
class Printed:
    """One table of a paper; values are fractions.

    `rows`: (model, source) -> column -> value, the columns targets and ->GROUPs; the row of the `baseline` is absolute (Z where
    `normalized`, else E), the others are differences from it. `n`: examples of each target. Table 4 prints averages only, and its
    model is not stated: "".
    """

    number: int
    task: str
    baseline: str
    normalized: bool
    groups: Mapping[str, tuple[str, ...]]
    n: Mapping[str, int]
    rows: Mapping[Row, Mapping[str, float]] = field(default_factory=dict)

    @property
    def targets(self) -> tuple[str, ...]:
        """The columns, in the order of print."""
        return self.groups["All"]

    @property
    def metrics(self) -> tuple[str, ...]:
        """By which its values are: accuracy in Tables 2 to 4, else F1, of which mT5's authors score padded text."""
        return ("accuracy",) if self.number in (2, 3, 4) else ("f1", "f1_padded")

    @property
    def models(self) -> tuple[str, ...]:
        """By the names of `xfer_ray.models`."""
        return tuple(dict.fromkeys(model for model, _ in self.rows))

    def sources(self, model: str) -> tuple[str, ...]:
        """Those of a model, the baseline among them."""
        return tuple(dict.fromkeys((self.baseline, *(source for of, source in self.rows if of == model))))

    def matrix(self, model: str) -> pd.DataFrame:
        """Z or E (sources x targets) that the printed cells of a model amount to."""
        found = pd.DataFrame({source: self.rows[model, source] for source in self.sources(model)}).T[list(self.targets)]
        absolute = found.loc[[self.baseline]]
        return pd.concat([absolute, found.drop(self.baseline) + absolute.loc[self.baseline]])


def _translated(languages: str) -> tuple[str, ...]:
    """The targets "de es" -> en-O, de-HT-en, es-HT-en."""
    return "en-O", *(f"{language}-HT-en" for language in languages.split())


def _originals(languages: str) -> tuple[str, ...]:
    """The targets "en ru" -> en-O, ru-O."""
    return tuple(f"{language}-O" for language in languages.split())


_XNLI = _translated("de es fr sw tr vi ar bg el hi ru ur th zh")
_PAWSX = _translated("de es fr zh ja ko")
_XQUAD = _translated("de ru ar el es hi th tr vi zh")
_FINNISH = _originals("en ru fi ar bn id ko sw te")
_ARABIC = _originals("en ru ar bn fi id ko sw te")
_TYDIQA_N = {"en": 440, "ru": 812, "fi": 782, "ar": 921, "bn": 113, "id": 565, "ko": 276, "sw": 499, "te": 669}  # its data card

# Groups are those that the printed averages fit, and no others do; the numbers of examples are those of the public test sets.
TURC2021 = (
    Printed(
        number=2,
        task="xnli",
        baseline="en-O",
        normalized=True,
        groups={"LH": _XNLI[:4], "LL": _XNLI[4:7], "M": _XNLI[7:], "All": _XNLI},
        n=dict.fromkeys(_XNLI, 5_010),
    ),
    Printed(
        number=3,
        task="pawsx",
        baseline="en-O",
        normalized=True,
        groups={"Latin": _PAWSX[:4], "CJK": _PAWSX[4:], "All": _PAWSX},
        n=dict.fromkeys(_PAWSX, 2_000),
    ),
    Printed(number=4, task="xnli-swapped", baseline="en-O", normalized=True, groups={"All": _XNLI}, n=dict.fromkeys(_XNLI, 2_490)),
    Printed(
        number=5,
        task="xquad",
        baseline="en-O",
        normalized=False,
        groups={"Other": _XQUAD[3:], "All": _XQUAD},
        n=dict.fromkeys(_XQUAD, 1_190),
    ),
    *(
        Printed(
            number=number,
            task=f"tydiqa-{origin}",
            baseline=f"en-MT-{origin}",
            normalized=False,
            groups={"Other": targets[3:], "All": targets},
            n={target: _TYDIQA_N[target.partition("-")[0]] for target in targets},
        )
        for number, origin, targets in ((6, "fi", _FINNISH), (8, "ar", _ARABIC))
    ),
)


def load(paper: str, *, repaired: bool = False) -> dict[int, Printed]:
    """The tables of scores of a paper, by number; as printed, or with the one possible repair of what contradicts itself."""
    known(paper)
    tables = {}
    for table in TURC2021:
        rows = {_row(record): _values(record) for record in _records(paper, table.number)}
        for row, cells in REPAIRS.get(table.number, {}).items() if repaired else ():
            rows[row] = {**rows[row], **cells}
        tables[table.number] = Printed(**{**table.__dict__, "rows": rows})
    return tables


def known(paper: str) -> str:
    """How to cite a paper whose tables are here."""
    if paper not in PAPERS:
        raise unknown("paper", paper, PAPERS)
    return PAPERS[paper]


def outperformed(paper: str) -> dict[tuple[str, str], bool]:
    """Table 1: (task, model) -> whether another source out-performs English."""
    return {(task, MODELS[row["model"]]): mark == "x" for row in _records(paper, 1) for task, mark in row.items() if task != "model"}


def ascii_only(paper: str) -> dict[str, float]:
    """Table 7: target of XQuAD -> the share of answers that are ASCII only and hold a letter, a fraction."""
    return {row["target"]: float(row["ascii_only"]) / 100 for row in _records(paper, 7)}


def _records(paper: str, number: int) -> list[dict[str, str]]:
    text = files("analysis.reproduce.printed").joinpath(paper, f"table{number}.csv").read_text(encoding="utf-8")
    return list(csv.DictReader(text.splitlines()))


def _row(record: Mapping[str, str]) -> Row:
    return MODELS.get(record.get("model", ""), ""), record["source"]


def _values(record: Mapping[str, str]) -> dict[str, float]:
    return {column: float(value) / 100 for column, value in record.items() if column not in ("model", "source")}
