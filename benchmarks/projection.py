"""How fast translated answers are found again, and how many: `python -m benchmarks.projection FILE`.

FILE is a JSON file in the layout of SQuAD, such as a translation of its training set. Where an answer began in the original context is
not in such a file, so each is looked for near the beginning; the shares do not depend on that. One core.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path

from xfer_ray.translation import projection
from xfer_ray.translation.projection import BUCKETS, Found

PASSES = 5


def questions(file: Path) -> list[tuple[str, str]]:
    """The first answer of each question, and its context."""
    articles = json.loads(file.read_text(encoding="utf-8"))["data"]
    paragraphs = [paragraph for article in articles for paragraph in article["paragraphs"]]
    return [(asked["answers"][0]["text"], paragraph["context"]) for paragraph in paragraphs for asked in paragraph["qas"]]


def pass_over(asked: list[tuple[str, str]]) -> list[Found | None]:
    """Find every answer once."""
    return [projection.find(answer, context, 0.0) for answer, context in asked]


def speed(asked: list[tuple[str, str]]) -> float:
    """Questions a second, the median of a few passes."""
    seconds = []
    for _ in range(PASSES):
        before = time.perf_counter()
        pass_over(asked)
        seconds.append(time.perf_counter() - before)
    return len(asked) / statistics.median(seconds)


def shares(asked: list[tuple[str, str]]) -> list[str]:
    """Lines that say how many answers are found at which distance, and how many of each length of those that are not exact."""
    found = [(len(answer.strip()), projection.bucket(answer), place) for (answer, _), place in zip(asked, pass_over(asked), strict=True)]
    near = [(length, name, place) for length, name, place in found if place]
    lines = [f"exact       {_percent(sum(place.method == 'exact' for *_, place in near), len(asked))}"]
    for most in (1, 2, 3, 5, 10):
        lines.append(f"kept at {most:>2}  {_percent(sum(place.distance <= most for *_, place in near), len(asked))}")
    for name in BUCKETS:
        closest = [place for _, held, place in near if held == name and place.method == "closest"]
        kept = sum(place.distance <= 5 for place in closest)
        lines.append(f"{name:>5} characters, not exact: {len(closest):>4}, kept at 5 {_percent(kept, len(closest))}")
    accepted = [(length, place) for length, _, place in near if place.method == "closest" and place.distance <= 5]
    noisy = sum(place.distance >= length / 2 for length, place in accepted)
    return [*lines, f"of {len(accepted)} that are kept at 5 and not exact, {noisy} are at a distance of half their length or more"]


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:5.1f} % ({part} of {whole})" if whole else "  none"


def main() -> None:
    """Print both."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("file", type=Path, metavar="FILE")
    asked = questions(parser.parse_args().file)
    print(f"{len(asked)} questions, {speed(asked):,.0f} a second (median of {PASSES} passes, one core)")
    print("\n".join(shares(asked)))


if __name__ == "__main__":
    main()
