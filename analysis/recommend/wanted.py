"""Which targets a user asks for, and how much each of them counts: speakers, traffic, or equal weights."""

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from analysis import transfer, typology
from xfer_ray.errors import DeclarationError, unknown
from xfer_ray.sources import Corpus

NAMES, NUMBERS = ("target", "language"), ("weight", "speakers", "traffic")  # the columns of a file of weights


@dataclass(frozen=True)
class Wanted:
    """Targets with positive weights, which sum to 1 over both: those that the task measures, and languages that it does not."""

    measured: Mapping[str, float]
    unmeasured: Mapping[str, float]


def wanted(asked: Sequence[str], weights: Mapping[str, float] | None, targets: Sequence[str]) -> Wanted:
    """The targets that are asked for, by spelling or by language, with their shares of the weight.

    Args:
        asked: as the user names them; none: those that have a weight, else every target.
        weights: of targets or languages; of others than those asked for, they do not count.
        targets: what the task measures, in corpus spelling.
    """
    named = {_target(name, targets): name for name in weights or ()}
    if weights is not None and len(named) < len(weights):
        raise DeclarationError(f"the weights name one target twice, among {', '.join(map(repr, weights))}; give each of them once")
    chosen = [_target(name, targets) for name in asked] or list(named) or list(targets)
    for i, target in enumerate(chosen):
        if target in chosen[:i]:
            raise DeclarationError(f"target {target} is named twice; name it once, and give it a weight with --weights")
        if weights is not None and target not in named:
            raise DeclarationError(f"target {target} has no weight; those with a weight: {', '.join(weights)}")
    share = {target: 1.0 if weights is None else weights[named[target]] for target in chosen}
    total = math.fsum(share.values())
    if total <= 0:
        raise DeclarationError(f"the weights of {', '.join(chosen)} are all 0, so nothing counts; give at least one a positive weight")
    share = {target: weight / total for target, weight in share.items() if weight > 0}
    return Wanted(
        measured={target: weight for target, weight in share.items() if target in targets},
        unmeasured={target: weight for target, weight in share.items() if target not in targets},
    )


def _target(name: str, targets: Sequence[str]) -> str:
    """The target of this spelling or language; the language itself where no target has it."""
    if name in targets:
        return name
    found = [target for target in targets if transfer.language(target) == name]
    if len(found) > 1:
        raise DeclarationError(f"several targets are in {name}: {', '.join(found)}; name one by its spelling")
    if not found and not _is_language(name):
        raise unknown("target or language", name, targets)
    return found[0] if found else name


def _is_language(name: str) -> bool:
    try:
        return Corpus(name).language == name and typology.is_language(name)
    except DeclarationError:
        return False


def weights_of(text: str) -> dict[str, float]:
    """Weights by target or language, of a CSV file or written out: "de=0.5,fr=0.5".

    A file has a header with a column `target` or `language` and one `weight`, `speakers` or `traffic`; others are left alone.
    """
    file = Path(text)
    if "=" in text and not _is_file(file):
        pairs = [tuple(part.strip() for part in pair.partition("=")[::2]) for pair in text.split(",")]
    elif _is_file(file):
        pairs = _rows(file)
    else:
        raise DeclarationError(f"--weights {text!r} is neither a file nor weights such as de=0.5,fr=0.5")
    found: dict[str, float] = {}
    for name, number in pairs:
        if name in found:
            raise DeclarationError(f"--weights names {name!r} twice; give each target once")
        found[name] = _weight(name, number)
    if not found:
        raise DeclarationError(f"--weights {text!r} holds no weight; give at least one, such as de,0.5")
    if not math.isfinite(sum(found.values())):
        raise DeclarationError(f"the weights of --weights {text!r} add up to more than a number can hold; give smaller ones")
    return found


def _is_file(file: Path) -> bool:
    try:
        return file.is_file()
    except OSError:  # weights of fifteen targets are longer than any name of a file
        return False


def _weight(name: str, number: str) -> float:
    try:
        weight = float(number)
    except ValueError:
        weight = math.nan
    if not 0 <= weight < math.inf:
        raise DeclarationError(f"the weight of {name!r} is {number!r}; give a number of at least 0")
    return weight


def _rows(file: Path) -> list[tuple[str, ...]]:
    try:
        with file.open(encoding="utf-8-sig", newline="") as opened:
            reader = csv.DictReader(opened, strict=True)
            header = list(reader.fieldnames or ())
            columns = [[name for name in header if name.strip() in possible] for possible in (NAMES, NUMBERS)]
            if any(len(found) != 1 for found in columns):
                raise DeclarationError(
                    f"--weights {str(file)!r} has the columns {', '.join(map(repr, header)) or 'none'}; "
                    f"exactly one must be {' or '.join(NAMES)}, and exactly one {', '.join(NUMBERS[:-1])} or {NUMBERS[-1]}"
                )
            return [tuple((row[name] or "").strip() for (name,) in columns) for row in reader]
    except (UnicodeDecodeError, csv.Error) as error:
        raise DeclarationError(f"--weights {str(file)!r} is not a CSV file in UTF-8: {error}") from error
