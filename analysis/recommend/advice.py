"""A recommendation in words and as JSON: the answer in the first line, then the table, then what it rests on."""

import math
from collections.abc import Mapping, Sequence

from analysis.blocks import ALPHA
from analysis.formats import HOLE, STYLES, Sheet, wrapped
from analysis.recommend import Ranked, Recommendation
from analysis.recommend.unseen import Predicted
from analysis.render import KINDS

MARKUP, PAGE = STYLES["text"]
SHOWN = 3  # rivals in the first line; the table has all


def text(answers: Sequence[Recommendation]) -> str:
    """The recommendations of several models, one after the other."""
    return "\n".join(_answer(answer) for answer in answers)


def _answer(answer: Recommendation) -> str:
    parts = []
    if answer.sources:
        parts += [*wrapped(" ".join(_sentences(answer))), "", PAGE([_sheet(answer)], _legend(answer))]
    if answer.predicted:
        parts.append(_prediction(answer, answer.predicted))
    return "\n".join(parts)


def _sentences(answer: Recommendation) -> list[str]:
    best, *others = answer.sources
    model, over = MARKUP.escape(answer.model), _over(answer)
    if others and len(answer.equal) == len(others):
        return [f"No source of {model} differs from another: {_points(best.value)}, {over}."]
    if answer.equal:
        found = [f"Fine-tune {model} on {_listed([best.source, *answer.equal], ' or ')}, which are equal: {_points(best.value)}, {over}."]
    else:
        limits = "" if math.isnan(best.low) else f" {_limits(best.low, best.high)}"
        alone = all(math.isnan(other.value) for other in others)
        sure = "" if alone or math.isnan(best.p_best) else f", best with probability {_probability(best.p_best)}"
        found = [f"Fine-tune {model} on {best.source}: {_points(best.value)}{limits}, {over}{sure}."]
    worse = [other for other in others if other.source not in answer.equal and not math.isnan(other.behind)]
    second = next((other for other in worse if other.source == answer.baseline), worse[0] if worse else None)
    if second:
        by = f" {_limits(second.behind_low, second.behind_high)}" if not math.isnan(second.behind_low) else ""
        found.append(f"{second.source} is {_points(second.behind)} points behind{by}.")
    found += _rivals(answer) if answer.intervals else [_nothing_known(answer)]
    if answer.like_for_like:
        comes = "comes" if len(answer.like_for_like) == 1 else "come"
        found.append(f"Where its own language does not count (--zero-shot), {_listed(answer.like_for_like, ' and ')} {comes} first.")
    if answer.conditional:
        found.append("With one seed this holds for these very models: another seed may turn it.")
    return found


def _over(answer: Recommendation) -> str:
    """What a value is made of."""
    kind = "the least" if answer.measure == "worst" else "the mean" if len(set(answer.weights.values())) == 1 else "the weighted mean"
    many = len(answer.weights)
    over = f"{kind} over {many} target{'s' * (many != 1)}"
    if answer.unmeasured:
        over += f" with {100 * (1 - answer.unmeasured):.0f} % of the weight (nobody measured the rest, see below)"
    return over


def _nothing_known(answer: Recommendation) -> str:
    """Why there are no intervals at all."""
    if answer.lacking:
        reason = "there is one seed and no predictions" if answer.of_seeds else "a trial left no predictions"
        return f"Nothing is known of how sure this is, for of {_listed(answer.lacking)} {reason}."
    if any("no intervals" in note for note in answer.notes):
        return "Nothing is known of how sure this is; the notes say why there are no intervals."
    return "Neither predictions nor several seeds are stored, so nothing is known of how sure this is."


def _rivals(answer: Recommendation) -> list[str]:
    best, *others = (one for one in answer.sources if not math.isnan(one.value))
    if not others:
        return ["No other source is ranked, so there is nothing to compare it with."]
    untold = [other.source for other in others if math.isnan(other.p)]
    found = [f"Nothing is known of how sure the difference from {_listed(untold)} is."] if untold else []
    if answer.rivals:
        rivals = sorted(answer.rivals, key=lambda source: source != answer.baseline)  # what the last sentence told of comes first
        return [f"{best.source} cannot be told apart from {_listed(rivals)}.", *found]
    return found or ["Every other source is significantly worse."]


def _listed(names: Sequence[str], joint: str = ", ") -> str:
    """a, b, c and 4 more; `joint` stands before the last name, or the number of those that are not named."""
    shown = list(map(MARKUP.escape, names[:SHOWN]))
    if len(names) > SHOWN:
        return f"{', '.join(shown)}{joint if joint != ', ' else ' and '}{len(names) - SHOWN} more"
    return joint.join(filter(None, (", ".join(shown[:-1]), *shown[-1:])))


def _sheet(answer: Recommendation) -> Sheet:
    kind = KINDS[answer.kind][0]
    weighted = len(set(answer.weights.values())) > 1 and answer.measure == "average"
    targets = [f"{target} {weight:.3g}" if weighted else target for target, weight in answer.weights.items()]
    cells = "zero-shot cells only, " if answer.zero_shot else ""
    caption = f"{_name(answer)}, {answer.metric} x 100: {kind}, {cells}{answer.measure} over {', '.join(targets)}"
    sure = ("95 % limits", "P(best)", "behind", "95 % limits", "p") if answer.intervals else ("behind",)
    return Sheet(
        caption=MARKUP.escape(caption),
        header=("source", "value", *sure, "worst on", "value", "runs"),
        rows=tuple(_row(answer, source) for source in answer.sources if not math.isnan(source.value)),
        breaks=frozenset({0}),
    )


def _row(answer: Recommendation, one: Ranked) -> tuple[str, ...]:
    sure: tuple[str, ...] = (_points(one.behind),)
    if answer.intervals:
        behind = (_points(one.behind), _limits(one.behind_low, one.behind_high))
        sure = (_limits(one.low, one.high), _probability(one.p_best), *behind, _p(one.p))
    worst = (MARKUP.escape(one.worst_target), _points(one.worst))
    return (MARKUP.escape(one.source), _points(one.value), *sure, *worst, str(one.runs))


def _legend(answer: Recommendation) -> list[str]:
    lines = []
    if answer.intervals:
        lines += [
            f"P(best): how often the source is best when {_drawn(answer)} are drawn anew",
            f"p: of no difference from the best, which the data chose, so corrected for all pairs of sources (Holm); above {ALPHA} "
            "the two cannot be told apart",
        ]
    if answer.zero_shot and answer.measure == "average":
        lines.append("values by value ~ source + target without a source's own language, for plain means would be over different targets")
    elif not answer.zero_shot:
        own = " (there its relative ability is 100)" if answer.kind == "relative" else ""
        lines.append(f"a source's own language counts, as it would be served{own}; --zero-shot leaves it out")
    holes = [one.source for one in answer.sources if math.isnan(one.value)]
    if holes:
        lines.append(f"not ranked, for a value is missing: {', '.join(map(MARKUP.escape, holes))}")
    return lines


def _drawn(answer: Recommendation) -> str:
    if answer.of_seeds:
        return "seeds alone, on these very examples,"
    several = [one.runs > 1 for one in answer.sources if not math.isnan(one.value)]
    return "examples and seeds" if all(several) else "examples, and seeds where there are several," if any(several) else "examples"


# ------------------------------------------------------------------------------ targets never measured


def _prediction(answer: Recommendation, predicted: Predicted) -> str:
    languages = ", ".join(predicted.weights)
    used = f"Prediction, not a measurement, for {languages}: from {', '.join(predicted.names)}"
    used += f" (without {', '.join(predicted.lacking)}, not known of all languages)" if predicted.lacking else ""
    lines = [*wrapped(f"{_name(answer)}. {used}.")]
    lines += wrapped(_of_skill(predicted))
    if predicted.values:
        rows = tuple((MARKUP.escape(source), _points(value)) for source, value in predicted.values.items())
        caption = f"predicted {KINDS[answer.kind][0]} x 100, mean over {languages}"
        lines += ["", PAGE([Sheet(MARKUP.escape(caption), ("source", "value"), rows, frozenset({0}))], [])]
    return "\n".join(lines) + "\n" * (not predicted.values)


def _of_skill(predicted: Predicted) -> str:
    skill, source = predicted.as_target, predicted.as_source
    if skill is None:
        return "Too few languages were measured to leave one out, so nothing is predicted."
    errors = f"With each of {skill.languages} languages left out, differences between sources on it err by {_points(skill.between)} points"
    errors += f" (by the mean of each source alone: {_points(skill.mean_between)}), and values by {_points(skill.error)}"
    errors += f" ({_points(skill.mean_error)})"
    errors += f"; values of it as a source by {_points(source.error)} ({_points(source.mean_error)})." if source else "."
    if skill.beats_the_mean:
        return errors
    return (
        f"{errors} That does not beat the mean by more than its standard error, so no ranking is given: "
        "the best guess is the ranking over the targets that were measured, which `recommend` prints without --targets and --weights."
    )


# ------------------------------------------------------------------------------ JSON


def json(answer: Recommendation) -> dict[str, object]:
    """As `recommend --json` prints it: fractions; what is unknown is null."""
    return {
        "task": answer.task,
        "model": answer.model,
        "metric": answer.metric,
        "values": answer.kind,
        "targets": list(answer.weights),
        "weights": dict(answer.weights),
        "measure": answer.measure,
        "zero_shot": answer.zero_shot,
        "conditional": answer.conditional,
        "sources": [_json_source(one) for one in answer.sources],
        "not_worse": list(answer.rivals) if answer.intervals else None,
        "predicted": _json_predicted(answer.predicted) if answer.predicted else None,
        "unmeasured": answer.unmeasured,
        "notes": list(answer.notes),
    }


def _json_source(one: Ranked) -> dict[str, object]:
    numbers = ("value", "low", "high", "p_best", "worst", "behind", "behind_low", "behind_high", "p")
    found = {"source": one.source, "worst_target": one.worst_target or None, "runs": one.runs}
    return {**found, **{name: _or_null(getattr(one, name)) for name in numbers}}


def _json_predicted(predicted: Predicted) -> Mapping[str, object]:
    skills = {"as_target": predicted.as_target, "as_source": predicted.as_source}
    return {
        "weights": dict(predicted.weights),
        "features": list(predicted.names),
        "lacking": list(predicted.lacking),
        "beats_the_mean": bool(predicted.as_target and predicted.as_target.beats_the_mean),
        **{role: None if skill is None else dict(skill.__dict__) for role, skill in skills.items()},
        "sources": [{"source": source, "value": value} for source, value in predicted.values.items()],
    }


def _or_null(number: float) -> float | None:
    return None if math.isnan(number) else number


# ------------------------------------------------------------------------------ names and numbers


def _name(answer: Recommendation) -> str:
    return MARKUP.escape(f"{answer.task}, {answer.model}")


def _points(fraction: float) -> str:
    return HOLE if math.isnan(fraction) else f"{100 * fraction:.1f}"


def _limits(low: float, high: float) -> str:
    return HOLE if math.isnan(low) else f"[{_points(low)}, {_points(high)}]"


def _probability(number: float) -> str:
    return HOLE if math.isnan(number) else ">0.99" if number > 0.99 else f"{number:.2f}"


def _p(number: float) -> str:
    return HOLE if math.isnan(number) else "<0.001" if number < 0.001 else f"{number:.3f}"
