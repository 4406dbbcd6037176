"""Reading in the miniature world: short stories, a question about each, and where the answer stands.

The stories exist in two authored sets: some were written in English, others in Russian, and no story is in both. An English
original has human and machine translations; a Russian one, which sets the scene first, has machine translations.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from random import Random

from xfer_ray.miniature.dictionary import gloss, translated
from xfer_ray.miniature.grammar import parts
from xfer_ray.miniature.lexicon import LANGUAGES, NOUNS, PLACES, QUALITIES, TIMES
from xfer_ray.miniature.meaning import NUMBERS, ROLES, Event, Phrase, fold, kind
from xfer_ray.miniature.questions import ASKED, Question, ask
from xfer_ray.miniature.telling import Line, Part, joined, line
from xfer_ray.recipe import Document

SENTENCES = 3
DOCUMENTS = 8_000
_PLACED = 0.7  # how many sentences say where
_TIMED = 0.6  # and when
_PATIENCE = 50


@dataclass(frozen=True)
class Story:
    """Different events in the order in which they are told, and a question about one of them."""

    events: tuple[Event, ...]
    question: Question


@dataclass(frozen=True)
class Reading:
    """A question, a context, the answer as it stands in the context, and the character at which it begins."""

    question: str
    context: str
    answer: str
    start: int


# ------------------------------------------------------------------------------ what is told


@functools.lru_cache(maxsize=8)  # every language asks for the same ones
def stories(seed: int, origin: str, split: str, count: int) -> tuple[Story, ...]:
    """`count` stories of one set, named by its origin; each event belongs to the one split that may tell it, see `fold`."""
    random = Random(f"{seed} {origin} {split} reading")
    told: set[Event] = set()
    found: list[Story] = []
    while len(found) < count:
        story = _story(random, split)
        if story and told.isdisjoint(story.events):  # an event is told once
            told.update(story.events)
            found.append(story)
    return tuple(found)


def _story(random: Random, split: str) -> Story | None:
    """One event is asked about; a second shares its verb, a third a participant that the question names. None if a fold lacks them.

    So no single word of the question finds the sentence that answers it: verb and participant together are in one only.
    """
    asked, verb = random.choice(ASKED), random.choice(list(ROLES))
    places, times = random.sample(list(PLACES), SENTENCES), random.sample(list(TIMES), SENTENCES)
    agent = _noun(random, ROLES[verb][0], set())
    patient = _noun(random, ROLES[verb][1], {agent})
    rival = _noun(random, ROLES[verb][0], {agent, patient})
    other = _noun(random, ROLES[verb][1], {agent, patient, rival})
    event = _event(random, split, Event(Phrase(agent), verb, Phrase(patient), places[0], times[0]), asked)
    second = _event(random, split, Event(Phrase(rival), verb, Phrase(other), places[1], times[1]), asked)
    if event is None or second is None:
        return None
    role = int(asked.startswith("agent"))  # of the participant that the question names: 0 the agent, 1 the patient
    known = event.patient if role else event.agent
    third_verb = random.choice([name for name, kinds in ROLES.items() if name != verb and kind(known.noun) in kinds[role]])
    partner = Phrase(_noun(random, ROLES[third_verb][1 - role], {agent, patient, rival, other}))
    pair = (partner, known) if role else (known, partner)
    third = _event(random, split, Event(pair[0], third_verb, pair[1], places[2], times[2]), asked, known)
    if third is None:
        return None
    return Story(tuple(random.sample([event, second, third], SENTENCES)), Question(event, asked))


def _noun(random: Random, kinds: Sequence[str], taken: set[str]) -> str:
    """A noun of these kinds that no other part of the story has; never a hypernym, which could mean another part."""
    return random.choice([noun for noun in NOUNS if kind(noun) in kinds and kind(noun) != noun and noun not in taken])


def _event(random: Random, split: str, draft: Event, asked: str, known: Phrase | None = None) -> Event | None:
    """The draft told with counts and qualities, here and there without place or time, but never without what is asked for."""
    for _ in range(_PATIENCE):
        agent, patient = (
            part if part is known else _phrase(random, part.noun, asked == f"{role}.count")
            for role, part in (("agent", draft.agent), ("patient", draft.patient))
        )
        place = draft.place if asked == "place" or random.random() < _PLACED else ""
        time = draft.time if asked == "time" or random.random() < _TIMED else ""
        event = replace(draft, agent=agent, patient=patient, place=place, time=time)
        if fold(event) == split:
            return event
    return None


def _phrase(random: Random, noun: str, counted: bool) -> Phrase:
    count = random.choice(NUMBERS) if counted or random.random() < 0.4 else "one"
    qualities = [quality for quality, word in QUALITIES.items() if word.kind == kind(noun)]
    return Phrase(noun, count, random.choice(qualities) if random.random() < 0.25 else "")


# ------------------------------------------------------------------------------ how it is told


def native(event: Event, language: str, *, original: bool) -> Line:
    """The sentence of a native speaker. A Russian original sets the scene; a translation into Russian keeps the place last.

    Врач увидел собаку в саду. -> В саду врач увидел собаку.
    """
    return line(_written(event, language) if original else parts(event, language), language)


def _written(event: Event, language: str) -> list[Part]:
    """The words of an original in order, each with the part of the event that it tells."""
    words = parts(event, language)
    if language != "ru":
        return words
    scene = [part for role in ("time", "place") for part in words if part[0] == role]
    return scene + [part for part in words if part not in scene]


def read(story: Story, language: str, provenance: str, origin: str) -> Reading:
    """A story and its question in one language: the original, a human or a machine translation of it.

    Args:
        story: what is told.
        language: in which it is told.
        provenance: O, HT or MT.
        origin: the language in which it was written, "en" or "ru".
    """
    if provenance == "MT":
        lines = [gloss(_written(event, origin), origin, language) for event in story.events]
        question = translated(ask(story.question, origin), origin, language)
    else:
        lines = [native(event, language, original=provenance == "O") for event in story.events]
        question = ask(story.question, language)
    context, starts = joined(lines, language)
    place = story.events.index(story.question.event)
    first, last = (starts[place] + at for at in lines[place].spans[story.question.asked])
    return Reading(question, context, context[first:last], first)


def documents(seed: int, count: int = DOCUMENTS) -> Sequence[Document]:
    """Unlabeled text: a question and the story about which it is asked, without the answer, in all languages; train events only."""
    return [{language: _own(story, language) for language in LANGUAGES} for story in stories(seed, "text", "train", count)]


def _own(story: Story, language: str) -> tuple[str, ...]:
    told = read(story, language, "O", language)
    return told.question, told.context
