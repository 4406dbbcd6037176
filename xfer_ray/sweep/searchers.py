"""Who proposes the mixtures of a search: searchers of Ray Tune, over one integer for each corpus."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from typing import Any

import numpy as np
from ray import tune
from ray.tune.search import Searcher

from xfer_ray.errors import SetupError, unknown

SEARCHERS = ("optuna", "random")


class RandomSearch(Searcher):  # type: ignore[misc]
    """Draws every share by itself, all values alike, and learns nothing; Tune's own way of doing so is no Searcher."""

    def __init__(self, points_to_evaluate: Sequence[dict[str, int]], seed: int) -> None:
        super().__init__()
        self._first, self._random = iter(points_to_evaluate), np.random.default_rng(seed)
        self._space: dict[str, Any] = {}

    def set_search_properties(self, metric: str | None, mode: str | None, config: dict[str, Any], **spec: Any) -> bool:
        """Receive the space: what has to be drawn."""
        self._space = config
        return True

    def suggest(self, trial_id: str) -> dict[str, int]:
        """The next of the first points, then a drawn one."""
        drawn = next(self._first, None)
        return {name: int(domain.sample(random_state=self._random)) for name, domain in self._space.items()} if drawn is None else drawn

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Nothing to learn."""

    def save(self, checkpoint_path: str) -> None:
        """Nothing to keep: a search that is started again draws the same."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing to restore."""


def searcher(name: str, first: Sequence[dict[str, int]], *, shares: int, seed: int, metric: str) -> Any:
    """A searcher that proposes the points of `first`, then others of the same corpora, from 0 to `shares` each, to maximize `metric`."""
    if name not in SEARCHERS:
        raise unknown("searcher", name, SEARCHERS)
    made = _optuna(first, seed) if name == "optuna" else RandomSearch(first, seed)
    made.set_search_properties(metric, "max", {corpus: tune.randint(0, shares + 1) for corpus in first[0]})
    return made


def _optuna(first: Sequence[dict[str, int]], seed: int) -> Any:
    """Optuna's tree of Parzen estimators, which looks at shares jointly and spreads what it proposes before it is told."""
    if importlib.util.find_spec("optuna") is None:
        raise SetupError(
            "the searcher optuna needs the package optuna, which is not installed; pip install 'xfer-ray[search]' gives it, "
            "and --searcher random needs none"
        )
    import optuna
    from ray.tune.search.optuna import OptunaSearch

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return OptunaSearch(points_to_evaluate=list(first), seed=seed)
