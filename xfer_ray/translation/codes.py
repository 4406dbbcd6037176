"""Languages as this project spells them, and as translation models do: de, zh_Hant; deu_Latn, zho_Hans, de_DE, cmn_Hans, pt_br."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from xfer_ray.errors import DeclarationError

SHOWN = 30  # codes that an error lists
# What langcodes keeps apart and translation models do not: the member of a group that stands for it, and M2M100's own ns.
_SAME = {"nb": "no", "pbt": "ps", "fuv": "ff", "ns": "nso"}
_SAME_SCRIPT = {"Hang": "Kore"}


class Tongue(NamedTuple):
    """What a code says: the language, its script (the likely one where it names none), and whether it named script and territory."""

    language: str
    script: str
    named: bool
    territory: str


@functools.cache
def tongue(code: str) -> Tongue | None:
    """A code as one tongue whatever its spelling; None for what is no language, such as "ROMANCE", "mul" or "roa".

    zh, zho, cmn, zh_CN -> zh Hans; zh_Hant, zh_TW -> zh Hant; arb_Arab -> ar Arab; swh_Latn, sw_KE -> sw Latn; nob_Latn -> no Latn
    """
    import langcodes
    from langcodes.data_dicts import LIKELY_SUBTAGS

    try:
        found = langcodes.Language.get(code)
    except ValueError:  # LanguageTagError is one
        return None
    whole = found.prefer_macrolanguage().maximize()
    language, script = whole.language or "", whole.script or ""
    # maximize() gives what it does not know the script and territory of English.
    if not {found.language, language} & LIKELY_SUBTAGS.keys() and not found.script:
        return None
    return Tongue(_SAME.get(language, language), _SAME_SCRIPT.get(script, script), found.script is not None, found.territory or "")


def is_same(one: str, other: str) -> bool:
    """Whether two codes name one language in one script; codes of groups, such as "ROMANCE", name none."""
    first, second = tongue(one), tongue(other)
    return first is not None and second is not None and first[:2] == second[:2]


def chosen(language: str, known: Sequence[str]) -> str | None:
    """The spelling among those that a model knows which stands for the language; None if there is none.

    zh of cmn, cmn_Hans, cmn_Hant, yue_Hant -> cmn_Hans; pt of pt_br, por -> por; prs of pes_Arab, prs_Arab -> prs_Arab
    """
    wanted = tongue(language)
    if wanted is None:
        return None
    fitting = [(code, found) for code in known if (found := tongue(code)) is not None and found[:2] == wanted[:2]]

    def rank(item: tuple[str, Tongue]) -> tuple[bool, bool, bool, str]:
        code, found = item
        return found.territory != wanted.territory, code != language, not found.named, code

    return min(fitting, key=rank)[0] if fitting else None


def demanded(language: str, known: Mapping[str, str] | Iterable[str], what: str) -> str:
    """The spelling that stands for the language; DeclarationError that lists what the translator knows."""
    names = sorted(known)
    found = chosen(language, names)
    if found is None:
        shown = ", ".join(names[:SHOWN]) + (", …" if len(names) > SHOWN else "")
        raise DeclarationError(f"{what} knows no language {language!r}; it knows {len(names)}: {shown or 'none'}")
    return found
