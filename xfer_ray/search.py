"""A search over mixtures of corpora under a budget: a sweep whose trials are declared one round after another.

    asked of the searcher -> mixtures -> trials of an ordinary sweep -> committed scores -> told to the searcher -> asked again

Every mixture is judged by the dev sets of all corpora of the pool. No target of the task is in reach: in their place the trials have
those dev sets. What is asked next depends on the seed and on the committed scores alone, so nothing else is kept: a search that is
started again asks for the same mixtures, finds them done, and goes on.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from xfer_ray import compact, planfile, results
from xfer_ray.core import Model, Sweep, Task, Trial
from xfer_ray.errors import DataError, demand, is_count, one_each
from xfer_ray.planfile import Plan, PlannedTrial
from xfer_ray.results import Results
from xfer_ray.sources import LARGEST_SHARE, Corpus, Mixture, parse_source

SCORE = "score"  # what the searcher is told, and is to make large
MOST_REPEATS = 200  # so many askings in a row that bring nothing new end a search
Point = dict[str, int]  # the share of each corpus of the pool, by spelling
Tried = dict[Mixture, float | str]  # what a mixture is worth, a fraction; or why that cannot be told
Evaluate = Callable[[Sequence[Mixture]], Tried]


class Searcher(Protocol):
    """The part of Ray Tune's interface of the same name that a search needs."""

    def suggest(self, trial_id: str) -> Point:
        """The next point, under a name of its own."""

    def on_trial_complete(self, trial_id: str, result: Mapping[str, float] | None = None, error: bool = False) -> None:
        """What became of it."""


@dataclass(frozen=True, kw_only=True)
class Search:
    """What is searched, and for how long: mixtures of `examples` examples from the corpora of `pool`, for one task and model.

    A share is an integer from 0 to `shares`. `candidates` mixtures are tried at most, with each of `seeds`; after the first ones, which
    are known beforehand, `together` of them are asked for before any is told.
    """

    task: Task
    model: Model
    pool: tuple[Corpus, ...]
    examples: int
    seeds: tuple[int, ...] = (0,)
    candidates: int = 20
    shares: int = 4
    together: int = 4

    def __post_init__(self) -> None:
        one_each("corpora to search mixtures of", self.pool)
        one_each("seeds", self.seeds)
        object.__setattr__(self, "pool", tuple(sorted(self.pool, key=str)))
        demand(len(self.pool) > 1, f"mixtures have two corpora or more, and there is only {self.pool[0]}; name others with --sources")
        demand(
            is_count(self.shares) and self.shares <= LARGEST_SHARE,
            f"shares of a search go from 0 to {self.shares!r}; give an integer from 1 to {LARGEST_SHARE}",
        )
        demand(is_count(self.together), f"a round of a search has {self.together!r} mixtures; give a positive integer")
        self._demand_dev_sets()
        self._demand_room()
        unequal = Mixture(tuple((corpus, max(1, self.shares - (i == 0))) for i, corpus in enumerate(self.pool)), self.examples)
        Trial(self.task, self.model, unequal, self.seeds[0])  # refuses what the task cannot hold
        self.trials(unequal)  # and names that are too long: none is longer

    def _demand_room(self) -> None:
        least = self.shares * len(self.pool)
        demand(
            is_count(self.examples, least),
            f"{self.examples} examples are too few for shares from 0 to {self.shares} of {len(self.pool)} corpora; give at least {least}",
        )
        demand(
            is_count(self.candidates, len(self.first)),
            f"{self.candidates} candidates leave out some of those that come first, {len(self.pool)} single corpora and the equal mixture; "
            f"give at least {len(self.first)}",
        )

    def _demand_dev_sets(self) -> None:
        task, model = self.task, self.model
        demand(
            task.select_split != task.eval_split,
            f"task {task.name} is evaluated on {task.eval_split!r}, which a search would judge by and so use up; "
            "declare another select_split, held out of the training sets",
        )
        demand(
            model.recipe.select_every is None,
            f"model {model.name} chooses its step on dev sets, and a search judges by them, so mixtures would be judged on what they were "
            f"fitted to; search with a variant of another name whose recipe has select_every=None, which keeps the last step",
        )

    @property
    def judged(self) -> Task:
        """The task with the dev sets of the pool in place of its targets, each once; scores are compared as they are."""
        dev = dict.fromkeys(one for corpus in self.pool for one in self.task.select_corpus(corpus).corpora)
        return dataclasses.replace(
            self.task,
            name=f"{self.task.name}-dev",
            targets=tuple(dev),
            eval_split=self.task.select_split,
            groups={},
            normalized=False,  # what would divide is a whole corpus, and none is trained on
        )

    @property
    def dev_sets(self) -> str:
        """What candidates are judged on, in words."""
        return f"{self.judged.eval_split} of {', '.join(map(str, self.judged.targets))}"

    @property
    def first(self) -> tuple[Point, ...]:
        """What any other mixture has to beat: each corpus by itself, and all alike."""
        single = tuple({str(other): int(other == corpus) for other in self.pool} for corpus in self.pool)
        return *single, dict.fromkeys(map(str, self.pool), 1)

    @property
    def equal(self) -> Mixture:
        """All corpora of the pool alike."""
        return Mixture(tuple((corpus, 1) for corpus in self.pool), self.examples)

    def mixture(self, point: Point) -> Mixture | None:
        """The mixture of these shares, in lowest terms; None where all of them are 0."""
        shares = tuple((corpus, point[str(corpus)]) for corpus in self.pool if point[str(corpus)])
        return Mixture(shares, self.examples) if shares else None

    def sweep(self, name: str, mixtures: Sequence[Mixture]) -> Sweep:
        """The trials of some mixtures, under a name."""
        return Sweep(name, tuple(trial for mixture in mixtures for trial in self.trials(mixture)))

    def trials(self, mixture: Mixture) -> tuple[Trial, ...]:
        """The trials of a mixture, one for each seed."""
        return tuple(Trial(self.judged, self.model, mixture, seed) for seed in self.seeds)


# ------------------------------------------------------------------------------ searching


def search(asked: Search, searcher: Searcher, evaluate: Evaluate) -> Tried:
    """Every mixture that was tried, in that order; fewer than were allowed where the searcher has nothing new.

    DataError where the first ones have all failed: then so would others.
    """
    names, tried = map(str, itertools.count()), Tried()
    while len(tried) < asked.candidates:
        wanted = min(asked.together, asked.candidates - len(tried)) if tried else len(asked.first)
        proposed = _ask(asked, searcher, names, tried, wanted)
        if not proposed:
            break
        tried |= evaluate(tuple(dict.fromkeys(proposed.values())))
        for name, mixture in proposed.items():
            _tell(searcher, name, tried[mixture])
        if all(isinstance(worth, str) for worth in tried.values()):
            reason = next(iter(tried.values()))
            raise DataError(f"none of the first {len(tried)} candidates could be scored, so there is nothing to search by: {reason}")
    return tried


def _ask(asked: Search, searcher: Searcher, names: Iterator[str], tried: Tried, wanted: int) -> dict[str, Mixture]:
    """So many new mixtures, by the names under which the searcher proposed them; fewer where it repeats itself.

    One that was tried is told at once, and one of no corpus fails.
    """
    proposed: dict[str, Mixture] = {}
    repeats = 0
    while len(set(proposed.values())) < wanted and repeats < MOST_REPEATS:
        name = next(names)
        mixture = asked.mixture(searcher.suggest(name))
        known = mixture is None or mixture in tried
        repeats = repeats + 1 if known or mixture in proposed.values() else 0
        if mixture is None or known:
            _tell(searcher, name, "no corpus" if mixture is None else tried[mixture])
        else:
            proposed[name] = mixture
    return proposed


def _tell(searcher: Searcher, name: str, worth: float | str) -> None:
    if isinstance(worth, str):
        searcher.on_trial_complete(name, error=True)
    else:
        searcher.on_trial_complete(name, result={SCORE: worth})


def planned(asked: Search, found: Results, mixtures: Sequence[Mixture], revisions: Mapping[str, str]) -> Plan:
    """What is planned with these mixtures. What earlier searches of this name have planned stays: a plan does not shrink.

    DeclarationError where the folder holds other things than a search of this task and model over these corpora.
    """
    fresh = planfile.plan_of(asked.sweep(found.sweep, mixtures), revisions)
    if not planfile.has_plan(found):
        return fresh
    before = planfile.read_plan(found)
    there, ours = (({name: facts.targets for name, facts in plan.tasks.items()}, set(plan.models)) for plan in (before, fresh))
    demand(
        there == ours,
        f"{found.url} holds {', '.join(before.tasks)} by {', '.join(before.models)}, evaluated on "
        f"{', '.join(dict.fromkeys(itertools.chain(*there[0].values())))}; "
        f"this search is of {asked.judged.name} by {asked.model.name}, judged on {asked.dev_sets}: give it another --name",
    )
    names = {trial.trial for trial in fresh.trials}
    kept = (trial for trial in before.trials if trial.trial not in names and _as_declared(asked, trial))
    return dataclasses.replace(fresh, trials=(*kept, *fresh.trials))


def _as_declared(asked: Search, planned: PlannedTrial) -> bool:
    """Whether a trial is still that of its source and seed."""
    return Trial(asked.judged, asked.model, parse_source(planned.source), planned.seed).id == planned.trial


def worths(asked: Search, found: Results, mixtures: Sequence[Mixture], failed: Mapping[str, str]) -> Tried:
    """The mean of the task's first metric over dev sets and seeds, from the committed scores; `failed` says why by trial."""
    trials = {mixture: [trial.id for trial in asked.trials(mixture)] for mixture in mixtures}
    done = results.done(found)
    scores = compact.read_scores(found, sorted(done.intersection(*[itertools.chain(*trials.values())])))
    scores = scores[scores["metric"] == asked.task.metrics[0]]
    tried = Tried()
    for mixture, wanted in trials.items():
        missing = [trial for trial in wanted if trial not in done]
        each = scores.loc[scores["trial"].isin(wanted), "score"]
        tried[mixture] = failed.get(missing[0], "it was not run") if missing else math.fsum(each) / len(each)
    return tried
