"""What a search over mixtures has found: those that it tried, from the best down, and what the place of the first is worth."""

import math
import textwrap
from collections.abc import Mapping, Sequence

from analysis import outcomes, ranking, significance
from analysis.formats import STYLES, WIDTH, Sheet
from analysis.selection import Options, planned_scores, select
from xfer_ray import planfile
from xfer_ray.results import Results
from xfer_ray.search import Search, Tried
from xfer_ray.sources import Mixture


def text(name: str, asked: Search, tried: Tried, found: Results) -> str:
    """The mixtures that were tried, from the best down, and what the place of the first one is worth."""
    markup, page = STYLES["text"]
    values = {mixture: worth for mixture, worth in tried.items() if isinstance(worth, float)}
    ranked = sorted(values, key=lambda mixture: (-values[mixture], str(mixture)))
    rivals = _rivals(asked, ranked)
    limits, notes = _limits(asked, ranked, rivals, found)
    runs = len(asked.seeds)
    caption = f"{name}, {asked.model.name}, {asked.task.metrics[0]} x 100: mean over {asked.dev_sets}; {runs} run{'s' * (runs != 1)} each"
    rows = [(str(one), _points(values[one]), *(_over(values, one, rival, limits) for rival in rivals)) for one in ranked]
    header = ("mixture", "mean", *(f"over {rival if rival != asked.equal else 'all alike'}" for rival in rivals))
    table = page([Sheet(markup.escape(caption), header, tuple(rows), frozenset({0, 1}))], [*map(markup.escape, notes)])
    return table + _advice(asked, tried, ranked, rivals)


def _over(values: Mapping[Mixture, float], one: Mixture, rival: Mixture, limits: Mapping[tuple[Mixture, Mixture], str]) -> str:
    """+1.2 [-0.3, +2.7]; nothing where both are the same."""
    return "" if one == rival else f"{_points(values[one] - values[rival], '+')}{limits.get((one, rival), '')}"


def _points(fraction: float, sign: str = "") -> str:
    return f"{100 * fraction:{sign}.1f}"


def _rivals(asked: Search, ranked: Sequence[Mixture]) -> list[Mixture]:
    """What a mixture has to beat, as far as it was scored: the best single corpus, and all corpora alike."""
    return [*[one for one in ranked if len(one.corpora) == 1][:1], *[one for one in ranked if one == asked.equal]]


def _limits(
    asked: Search, ranked: Sequence[Mixture], rivals: Sequence[Mixture], found: Results
) -> tuple[dict[tuple[Mixture, Mixture], str], Sequence[str]]:
    """The 95 % interval of each difference, by mixture and rival, and what there is to say of them."""
    if not any(one != rival for one in ranked for rival in rivals):
        return {}, []
    plan = planfile.plan_of(asked.sweep(found.sweep, ranked), {})  # and not sweep.json, which holds other searches too
    options = Options(task=asked.judged.name, model=asked.model.name, metric=asked.task.metrics[0])
    known = outcomes.read(found, select(plan, planned_scores(found, plan, options), options), asked.model.name)
    pairs = [(one, rival) for one in ranked for rival in rivals if one != rival]
    if known is None:
        return {}, ["no intervals: no predictions are there"]
    over = significance.mean_over(known.targets)
    told = significance.estimate(significance.resample(known), [significance.Contrast(str(one), over, str(rival)) for one, rival in pairs])
    limits = {
        pair: f" [{_points(low, '+')}, {_points(high, '+')}]"
        for pair, low, high in zip(pairs, told.low, told.high, strict=True)
        if not math.isnan(low)
    }
    if not limits:
        return limits, known.notes
    alone = ", for these very models, since one seed tells nothing of others" * bool(told.conditional.any())
    drawn = "examples" if alone else "examples and seeds"
    return limits, [
        f"[ ]: 95 % limits, {drawn} drawn anew{alone}; of each difference by itself, as if it had not been chosen",
        *known.notes,
    ]


def _advice(asked: Search, tried: Tried, ranked: Sequence[Mixture], rivals: Sequence[Mixture]) -> str:
    """What failed, how the best is spelled, and why it is not yet an answer."""
    lines = [f"not scored: {mixture}: {worth}" for mixture, worth in tried.items() if isinstance(worth, str)]
    if len(tried) < asked.candidates:
        lines.append(f"ended with {len(tried)} of {asked.candidates} candidates: the searcher proposed nothing new any more")
    beside = " and ".join(str(rival) for rival in rivals if rival != ranked[0])
    warning = (
        f"The best of {len(ranked)} is chosen on noise too, so its lead is overstated (the winner's curse), and no target was looked at. "
        f"Run it in a sweep on the real targets{f' beside {beside}' * bool(beside)}."
    )
    best = sorted(ranking.leaders({str(mixture): worth for mixture, worth in tried.items() if isinstance(worth, float)}))
    lines += ["", f"best: {' = '.join(best)}"]
    return "\n".join([*lines, *textwrap.wrap(warning, WIDTH, break_on_hyphens=False)]) + "\n"
