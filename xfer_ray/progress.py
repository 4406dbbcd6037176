"""What a person sees of a running sweep, on stderr: a live view in a terminal, plain lines elsewhere."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable
from types import TracebackType

from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from xfer_ray import records
from xfer_ray.results import Results

SECONDS_BETWEEN_NOTES = 30.0  # where there is no terminal to redraw


class Progress:
    """Counts trials as they start, finish, fail, or are tried again; shows steps from the heartbeat files."""

    def __init__(self, found: Results, *, total: int, done: int, to_run: dict[str, str], console: Console | None = None) -> None:
        """`to_run` maps each trial to its model: the time left is reckoned by model."""
        self._found, self._total, self._done = found, total, done
        self._waiting = dict(to_run)
        self._models = dict(to_run)
        self._ahead = Counter(to_run.values())  # of those waiting, by model: the time left is asked at every trial's end
        self._running: dict[str, float] = {}
        self._seconds: dict[str, tuple[int, float]] = {}  # by model: trials that ended, and what they took
        self._failed = self._slots = 0
        self._listeners: list[Callable[[str, str], None]] = []
        self._note, self._noted = "", -SECONDS_BETWEEN_NOTES
        self._console = console or Console(stderr=True)
        self._live = Live(self, console=self._console, refresh_per_second=2, transient=True) if self._console.is_terminal else None

    def __enter__(self) -> Progress:
        """Begin to show."""
        if self._live:
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Stop showing; what was printed stays."""
        if self._live:
            self._live.stop()

    @property
    def done(self) -> int:
        """How many trials are done."""
        return self._done

    def listen(self, listener: Callable[[str, str], None]) -> None:
        """Call `listener(trial, state)` when a trial is `started`, `retried` or `interrupted`, and when it ends, with its outcome."""
        self._listeners.append(listener)

    def _tell(self, trial: str, state: str) -> None:
        for listener in self._listeners:
            try:
                listener(trial, state)
            except Exception:
                logging.getLogger(__name__).exception("a listener failed; the trial did not")

    def say(self, line: str) -> None:
        """A line that stays."""
        self._console.print(escape(line), highlight=False, soft_wrap=True)

    def note(self, text: str) -> None:
        """What is going on beside the trials, such as pre-training; an empty text ends it."""
        if text and not self._live and time.monotonic() - self._noted > SECONDS_BETWEEN_NOTES:
            self.say(text)
            self._noted = time.monotonic()
        self._note = text

    def started(self, trial: str) -> None:
        """A worker took this trial."""
        self._no_longer_waits(trial)
        self._running[trial] = time.monotonic()
        self._slots = max(self._slots, len(self._running))
        self._tell(trial, "started")

    def finished(self, trial: str, state: str, reason: str = "") -> None:
        """A trial ended: committed (or found committed), or failed for good."""
        seconds = time.monotonic() - self._running.pop(trial, time.monotonic())
        self._no_longer_waits(trial)
        self._tell(trial, state)
        if state in ("storage", "interrupted"):  # the run ends here and says so
            return
        if state == "failed":
            self._failed += 1
            self.say(f"failed   {trial}: {reason}")
            return
        self._done += 1
        if state != "done":
            model = self._models.get(trial, "")
            number, total = self._seconds.get(model, (0, 0.0))
            self._seconds[model] = (number + 1, total + seconds)
        if state == "conflict":
            self.say(f"conflict {trial}: it was committed with other scores; those stay, see conflicts/{trial}.json")
        elif not self._live:
            self.say(f"[{self._done}/{self._total}] {trial} {seconds:.1f} s{self._left(', about {} left')}")

    def retried(self, trial: str, reason: str, *, interrupted: bool = False) -> None:
        """A trial failed, or was asked to leave if `interrupted`, and will be tried again."""
        self._tell(trial, "interrupted" if interrupted else "retried")
        self._no_longer_waits(trial)
        self._waiting[trial] = self._models.get(trial, "")
        self._ahead[self._waiting[trial]] += 1
        self._running.pop(trial, None)
        self.say(f"again    {trial}: {reason}")

    def _no_longer_waits(self, trial: str) -> None:
        model = self._waiting.pop(trial, None)
        if model is not None:
            self._ahead[model] -= 1

    def _left(self, phrase: str) -> str:
        """Time left at the pace of this run, reckoned by model; empty until every model to run has been seen, and at the end."""
        ahead = {model: number for model, number in self._ahead.items() if number}
        models = {*ahead, *(self._models[trial] for trial in self._running)}
        if not models or models - set(self._seconds):
            return ""
        mean = {model: total / number for model, (number, total) in self._seconds.items()}
        now = time.monotonic()
        work = sum(mean[model] * number for model, number in ahead.items())
        work += sum(max(0.0, mean[self._models[trial]] - (now - since)) for trial, since in self._running.items())
        return phrase.format(duration(work / max(1, self._slots)))

    def __rich__(self) -> Group:
        """The live view: a bar, the note, and the running trials with their steps."""
        head = Table.grid(padding=(0, 1))
        failed = f", {self._failed} failed" if self._failed else ""
        head.add_row(
            ProgressBar(self._total, self._done, width=30), f"{self._done}/{self._total} trials{failed}{self._left(', about {} left')}"
        )
        rows = Table.grid(padding=(0, 2))
        now = time.monotonic()
        for trial, since in sorted(self._running.items()):
            heartbeat = records.read_running(self._found, trial)
            step = f"step {heartbeat.step}/{heartbeat.steps}" if heartbeat else "starting"
            rows.add_row("  " + escape(trial), step, duration(now - since))
        return Group(head, *([Text("  " + self._note)] if self._note else []), rows)


def duration(seconds: float) -> str:
    """42 -> 42 s, 150 -> 2 min 30 s, 8000 -> 2 h 13 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
