"""Which source is the denominator of a column, and which the baseline of a row."""

from collections.abc import Iterable, Mapping, Sequence

from analysis.transfer import corpus_of, language, languages, source_of
from xfer_ray.errors import DeclarationError, unknown
from xfer_ray.planfile import Plan
from xfer_ray.sources import Corpus, Mixture, Source, parse_source


def known_source(spelling: str, sources: Sequence[str]) -> str:
    """A corpus or mixture that the user named, refused unless it is one of the sources."""
    source = str(parse_source(spelling))
    if source not in sources:
        raise unknown("source", source, sources)
    return source


def is_control(source: str) -> bool:
    """A mixture, a labeled variant, or a chain that returns to its origin's language: counts only where it is named."""
    corpus = source_of(source)
    if isinstance(corpus, Mixture):
        return True
    return bool(corpus.label) or (corpus.length > 0 and corpus.root.language == corpus.language)


def stands_for(spoken: str, sources: Iterable[str], prefer: str = "") -> str | None:
    """The source whose model is M^T for a target language: its original, else its only source; None if there is none.

    With `prefer` ("HT" or "MT"): the source of that provenance, else the original.
    """
    own = [s for s in sources if not is_control(s) and language(s) == spoken]
    for provenances in ([prefer], ["O"]) if prefer else (["O"], ["HT", "MT"]):
        found = [s for s in own if corpus_of(s).provenance in provenances]
        if len(found) > 1:
            raise DeclarationError(
                f"several sources could be the denominator for {spoken}: {', '.join(found)}; name one with --denominators, or HT or MT"
            )
        if found:
            return found[0]
    return None


def denominators(targets: Sequence[str], sources: Sequence[str], *, declared: Sequence[str], choice: str | None) -> dict[str, str | None]:
    """Target -> the source that is its denominator, or None where no source has its language.

    Args:
        targets: the columns.
        sources: every planned source of the task.
        declared: what the task names.
        choice: what the user names: "HT", "MT", or corpora separated by commas; it goes before the task's.
    """
    if choice in ("HT", "MT"):
        return {t: stands_for(language(t), sources, choice) for t in targets}
    chosen = [known_source(name.strip(), sources) for name in choice.split(",")] if choice else []
    named = {**_by_language(declared), **_by_language(chosen)}
    return {t: named.get(language(t)) or stands_for(language(t), sources) for t in targets}


def planned_denominators(plan: Plan) -> list[dict[str, str | None]]:
    """What will divide each column of every model: task, model, target, source; source None: a hole, or several could.

    Tasks that are not normalized have none.
    """
    found = []
    for task, facts in plan.tasks.items():
        trials = [trial for trial in plan.trials if trial.task == task]
        sources = tuple(dict.fromkeys(trial.source for trial in trials))
        planned = {(trial.model, trial.source) for trial in trials}
        for model in dict.fromkeys(trial.model for trial in trials) if facts.normalized else ():
            for target in facts.targets:
                source = _unless_several(target, sources, facts.denominators)
                found.append({"task": task, "model": model, "target": target, "source": source if (model, source) in planned else None})
    return found


def _unless_several(target: str, sources: Sequence[str], declared: Sequence[str]) -> str | None:
    try:
        return denominators([target], sources, declared=declared, choice=None)[target]
    except DeclarationError:
        return None


def _by_language(named: Sequence[str]) -> Mapping[str, str]:
    found: dict[str, str] = {}
    for source in named:
        for spoken in languages(source):
            other = found.setdefault(spoken, source)
            if other != source:
                raise DeclarationError(f"{other} and {source} are both named as the denominator for {spoken}; name one")
    return found


def baseline(source: str, sources: Sequence[str], named: str | None) -> str | None:
    """What a source is compared with: the named one; else English of the same ultimate origin by the shortest chain; else en-O.

    de-MT-en -> en-O        de-MT-fi, fi-O -> en-MT-fi        None where the sweep has none of these. Under a total, English under
    the same total goes before English whole: de-MT-en+ru-MT-en@5000 -> en-O@5000, else en-O.
    """
    if named:
        return named
    mine = source_of(source)
    roots = {corpus.root.language for corpus in mine.corpora}
    english = [{s: corpus for s in sources if (corpus := _english(source_of(s), total))} for total in dict.fromkeys((mine.total, None))]
    for held in english:
        akin = {s: corpus.length for s, corpus in held.items() if roots == {corpus.root.language} and not corpus.label}
        found = [s for s, length in akin.items() if length == min(akin.values())]
        if len(found) > 1:
            raise DeclarationError(f"several sources could be the baseline of {source}: {', '.join(found)}; name one with --baseline")
        if found:
            return found[0]
    return next((s for held in english for s, corpus in held.items() if corpus == Corpus("en")), None)


def _english(source: Source, total: int | None) -> Corpus | None:
    """The corpus of a source that is English alone, with that total."""
    alone = source.total == total and len(source.corpora) == 1 and source.languages == ("en",)
    return source.corpora[0] if alone else None
