"""The claims of Turc et al. 2021 (arXiv 2106.16171), one function each: does it hold of these models?

A claim is put as statistics that should be above 0; `verdicts` says what makes it hold.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from analysis.reproduce.evidence import Estimate, Evidence, contrast, estimated
from analysis.reproduce.verdicts import FAILS, HOLDS, NOT_RUN, OPEN, Finding, every, side, some
from analysis.significance import Contrast

TWIN = "mt5-proportional"  # the name under which a sweep has footnote 5's model, of which the paper prints no table
LOW_RESOURCE = ("sw-O",)  # of the targets of Tables 6 and 8, what §4 calls low-resource
Key = tuple[str, str, str]  # task, model, and HT or MT where Table 4 is meant


@dataclass(frozen=True)
class Seen:
    """All that is known: evidence by task, model and provenance; and the shares of ASCII-only answers of XQuAD's targets (Table 7)."""

    evidence: Mapping[Key, Evidence]
    ascii_only: Mapping[str, float] = field(default_factory=dict)
    beaten: Mapping[tuple[str, str], bool] = field(default_factory=dict)  # what Table 1 says

    def of(self, task: str, *models: str) -> tuple[Evidence, ...]:
        """The evidence of several models on a task; empty unless all of it is there."""
        found = [self.evidence.get((task, model, "")) for model in models]
        return tuple(one for one in found if one is not None) if None not in found else ()


@dataclass(frozen=True)
class Check:
    """A claim, where the paper makes it, of which task and models, and what was found."""

    claim: str
    where: str
    task: str
    models: tuple[str, ...]
    finding: Finding


Claim = Callable[[Seen], Iterator[Check]]


@dataclass(frozen=True)
class Of:
    """What a claim is of, and where the paper makes it."""

    where: str
    task: str
    models: tuple[str, ...]

    def judged(self, claim: str, seen: Seen, judge: Callable[..., Finding]) -> Check:
        """The claim with what the evidence of its models says, if all of it is there."""
        found = seen.of(self.task, *self.models)
        return Check(claim, self.where, self.task, self.models, judge(*found) if found else Finding(NOT_RUN))


def _named(evidence: Evidence, contrasts: Mapping[str, Contrast]) -> dict[str, Estimate]:
    return dict(zip(contrasts, estimated(evidence, list(contrasts.values())), strict=True))


def _gains(evidence: Evidence, group: str, sources: Sequence[str]) -> dict[str, Estimate]:
    """By source, its average advantage over the baseline   (Eq. 4)."""
    return _named(evidence, {source: contrast(source, evidence.groups[group], evidence.baseline) for source in sources})


# ------------------------------------------------------------------------------ claims


def english_is_out_performed(seen: Seen) -> Iterator[Check]:
    """Table 1: whether a source in another language has a higher mean over All, or over Other where values are not normalized (§3)."""

    def judge(evidence: Evidence) -> Finding:
        return some(_gains(evidence, "Other" if "Other" in evidence.groups else "All", evidence.others))

    for (task, model), beaten in seen.beaten.items():
        check = Of("Table 1", task, (model,)).judged("x: a source beats English", seen, judge)
        denied = replace(check, claim="check: no source beats English", finding=check.finding.denied())
        yield check if beaten else denied


def ahead_in_every_group(seen: Seen) -> Iterator[Check]:
    """§7.1: German and Russian gain in every group of targets (Tables 2, 3); the caption of Table 3 names German and French."""

    def judge(evidence: Evidence, languages: Sequence[str]) -> Finding:
        gains = {group: _gains(evidence, group, [evidence.in_language(one) for one in languages]) for group in evidence.groups}
        return every({f"{source} ->{group}": gain for group, found in gains.items() for source, gain in found.items()})

    stated = (("xnli", "Table 2, §7.1", ("de",)), ("xnli", "Table 2, §7.1", ("ru",)), ("pawsx", "Table 3, §7.1", ("de",)))
    for task, where, languages in (*stated, ("pawsx", "Table 3, caption", ("de", "fr"))):
        claim = f"{' and '.join(languages)} beat{'s' * (len(languages) == 1)} English in every group"
        for model in ("mbert", "mt5-base"):
            yield Of(where, task, (model,)).judged(claim, seen, partial(judge, languages=languages))


def bulgarian_and_chinese_lead(seen: Seen) -> Iterator[Check]:
    """Not the paper's words but its figures, against the headline of §8: on mT5, Table 2 ranks bg and zh above ru and de."""

    def judge(evidence: Evidence) -> Finding:
        pairs = [(evidence.in_language(a), evidence.in_language(b)) for a in ("bg", "zh") for b in ("ru", "de")]
        return every(_named(evidence, {f"{a} over {b}": contrast(a, evidence.groups["All"], b) for a, b in pairs}))

    yield Of("Table 2, against §8", "xnli", ("mt5-base",)).judged("bg and zh beat ru and de", seen, judge)


def alike_by_people_and_machines(seen: Seen) -> Iterator[Check]:
    """Table 4: the same languages out-perform English, whether people or a machine translated the training set."""
    task, claim = "xnli-swapped", "the same beat English by HT and by MT"
    both = [model for of, model, kind in seen.evidence if of == task and kind == "HT" and (task, model, "MT") in seen.evidence]
    for model in both:
        yield Check(claim, "Table 4", task, (model,), _alike(seen.evidence[task, model, "HT"], seen.evidence[task, model, "MT"]))
    if not both:
        yield Check(claim, "Table 4", task, (), Finding(NOT_RUN))


def _alike(people: Evidence, machine: Evidence) -> Finding:
    """Whether by language the two advantages are on the same side of 0; two that are surely on different sides deny it, uncorrected."""
    ht, mt = ({source.partition("-")[0]: gain for source, gain in _gains(one, "All", one.others).items()} for one in (people, machine))
    gains = {language: (ht[language], mt[language]) for language in ht if language in mt}
    if all(math.isnan(one.value) for pair in gains.values() for one in pair):
        return Finding(NOT_RUN)
    sides = {language: tuple(map(side, pair)) for language, pair in gains.items()}
    apart = [language for language, pair in sides.items() if None not in pair and pair[0] != pair[1]]
    agree = [language for language, pair in sides.items() if None not in pair and pair[0] == pair[1]]
    told = [f"{language} {100 * gains[language][0].value:+.1f} HT, {100 * gains[language][1].value:+.1f} MT" for language in apart]
    verdict = FAILS if apart else HOLDS if len(agree) == len(people.others) else OPEN
    alone = any(math.isnan(one.low) and not math.isnan(one.value) for pair in gains.values() for one in pair)
    return Finding(verdict, "; ".join([f"{len(agree)} of {len(people.others)} languages agree", *told]), alone=alone)


def mbert_spreads_wider(seen: Seen) -> Iterator[Check]:
    """§7.1: the gap between the best and the worst source is larger on mBERT than on mT5, in both tasks.

    Best and worst are those of the same figures, which makes each gap look somewhat wider than it is.
    """

    def judge(one: Evidence, other: Evidence) -> Finding:
        if any(evidence.values.isna().any(axis=None) for evidence in (one, other)):
            return Finding(OPEN, "not every source was run")
        (name, wide), (against, narrow) = _spread(one), _spread(other)
        return every({f"{name}; {against}": wide - narrow})

    for task, number in (("xnli", 2), ("pawsx", 3)):
        of = Of(f"Table {number}, §7.1", task, ("mbert", "mt5-base"))
        yield of.judged("mBERT's sources spread wider than mT5's", seen, judge)


def _spread(evidence: Evidence) -> tuple[str, Estimate]:
    """How much the best source is better than the worst, over all targets."""
    means = evidence.values[list(evidence.groups["All"])].mean(axis=1)
    best, worst = str(means.idxmax()), str(means.idxmin())
    return f"{best.partition('-')[0]} over {worst.partition('-')[0]}", estimated(evidence, [contrast(best, evidence.groups["All"], worst)])[
        0
    ]


def thai_gains_most(seen: Seen) -> Iterator[Check]:
    """Table 5, §7.2: fine-tuned on Russian, mBERT gains more on Thai than on any other target."""

    def judge(evidence: Evidence) -> Finding:
        return every(_beside(evidence, evidence.in_language("ru"), "th-HT-en"))

    yield Of("Table 5, §7.2", "xquad", ("mbert",)).judged("from ru, th gains most", seen, judge)


def _beside(evidence: Evidence, source: str, target: str) -> dict[str, Estimate]:
    """By other target: how much more the source gains over the baseline on one target than on it."""
    others = [other for other in evidence.groups["All"] if other != target]
    return _named(evidence, {f"{source}: {other}": Contrast(source, {target: 1.0, other: -1.0}, evidence.baseline) for other in others})


def greek_loses_most(seen: Seen) -> Iterator[Check]:
    """Tables 5 and 7, §7.2: from German and from Russian, mT5 loses most on Greek, which has the most ASCII-only answers.

    The shares of answers are counts of a fixed set of questions and have no interval.
    """

    def judge(evidence: Evidence) -> Finding:
        both = [_beside(evidence, evidence.in_language(language), "el-HT-en") for language in ("de", "ru")]
        return every({name: -gain for found in both for name, gain in found.items()})

    yield Of("Table 5, §7.2", "xquad", ("mt5-base",)).judged("from de and ru, el loses most", seen, judge)
    greek = seen.ascii_only.get("el-HT-en", math.nan)
    leads = {other: Estimate(round(greek - share, 12)) for other, share in seen.ascii_only.items() if other != "el-HT-en"}
    yield Check("el has the most ASCII-only answers", "Table 7, §7.2", "xquad", (), every(leads))


def translated_english_wins(seen: Seen) -> Iterator[Check]:
    """Table 6, §7.2: mT5 transfers better from English that was translated from Finnish than from that Finnish (→Other)."""

    def judge(evidence: Evidence) -> Finding:
        return every({by: -gain for by, gain in _gains(evidence, "Other", ["fi-O"]).items()})

    yield Of("Table 6, §7.2", "tydiqa-fi", ("mt5-base",)).judged("en-MT-fi beats fi-O", seen, judge)


def uniform_narrows_the_gap(seen: Seen) -> Iterator[Check]:
    """Tables 5, 6, 8, §7.2: German and Russian stand better beside English (→Other) on mT5-Uniform than on mT5-Base."""

    def judge(uniform: Evidence, base: Evidence) -> Finding:
        sources = [base.in_language(language) for language in ("de", "ru")]
        here, there = _gains(uniform, "Other", sources), _gains(base, "Other", sources)
        return every({source: here[source] - there[source] for source in sources})

    for task, number in (("xquad", 5), ("tydiqa-fi", 6), ("tydiqa-ar", 8)):
        of = Of(f"Table {number}, §7.2", task, ("mt5-uniform", "mt5-base"))
        yield of.judged("mT5-Uniform narrows or reverses the gap", seen, judge)


def the_twin_degrades(seen: Seen) -> Iterator[Check]:
    """Footnote 5: pre-trained in proportion to the sizes of languages, the twin of mT5-Uniform transfers worse to low-resource targets.

    The paper names neither task nor target; here they are those of Tables 6 and 8, every source, and Swahili.
    """

    def judge(uniform: Evidence, twin: Evidence) -> Finding:
        sources = [str(source) for source in uniform.values.index]
        one, other = (_named(of, {source: contrast(source, LOW_RESOURCE) for source in sources}) for of in (uniform, twin))
        return every({source: one[source] - other[source] for source in sources})

    for task in ("tydiqa-fi", "tydiqa-ar"):
        yield Of("footnote 5", task, ("mt5-uniform", TWIN)).judged("the proportional twin is worse on sw", seen, judge)


CLAIMS: tuple[Claim, ...] = (
    english_is_out_performed,
    ahead_in_every_group,
    bulgarian_and_chinese_lead,
    alike_by_people_and_machines,
    mbert_spreads_wider,
    thai_gains_most,
    greek_loses_most,
    translated_english_wins,
    uniform_narrows_the_gap,
    the_twin_degrades,
)


def checks(seen: Seen) -> tuple[Check, ...]:
    """Every claim, in the paper's order."""
    return tuple(check for claim in CLAIMS for check in claim(seen))
