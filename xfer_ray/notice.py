"""Ending from outside what trains: a notice to leave, which it heeds at its next step, and a watch over what has stalled."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from typing import Any

GRACE_SECONDS = 30.0  # what a stopping command gives to what it runs
STALLED = 75  # how a process ends whose trial has stalled: EX_TEMPFAIL, try again
LAST_WORDS_SECONDS = 30.0
_given = threading.Event()


class Interrupted(Exception):
    """A run was asked to leave and left; what it had learned is in its last checkpoint."""


class Leaving:
    """Whether a trial is to leave: asked at the end of each step, so that the next one saves a checkpoint and is the last."""

    def __init__(self, asked: Callable[[], bool]) -> None:
        self._asked, self.told = asked, False

    def heed(self, step: int, steps: int) -> None:
        """Called after each step; raises Interrupted after the first one that began with the notice known."""
        if step == steps:
            return
        if self.told:
            raise Interrupted(f"asked to leave at step {step} of {steps}, and goes on from its last checkpoint")
        self.told = self._asked()


def given() -> bool:
    """Whether this process got a signal that was a notice to it."""
    return _given.is_set()


@contextlib.contextmanager
def heeded() -> Iterator[None]:
    """Within the block SIGTERM, which announces the end of a spot machine or of an allocation, is a notice and not the end."""
    _given.clear()
    before = signal.signal(signal.SIGTERM, lambda number, frame: _given.set())
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextlib.contextmanager
def soft(say: Callable[[str], None], pass_on: Callable[[], object] = lambda: None) -> Iterator[None]:
    """Within the block the first Ctrl-C or SIGTERM is a notice, which `pass_on` carries further; at its end it does what it did before.

    So does a second one at once, which comes by itself after the grace.
    """
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    after = {number: signal.default_int_handler if action == signal.SIG_IGN else action for number, action in before.items()}
    noted: list[int] = []
    late = threading.Timer(GRACE_SECONDS, lambda: os.kill(os.getpid(), noted[0]))
    late.daemon = True

    def note(number: int, frame: object) -> None:
        noted.append(number)
        _given.set()
        _let(after)  # also where it was ignored, as in the background of a script
        late.start()
        threading.Thread(target=pass_on, daemon=True).start()  # this one may be in the middle of anything
        say(f"stopping: what is running saves itself, for at most {GRACE_SECONDS:.0f} s; once more stops at once")

    _given.clear()
    _let(dict.fromkeys(before, note))
    try:
        yield
    except Interrupted:
        if not noted:
            raise
    finally:
        late.cancel()
        if not noted:
            _let(before)
    if noted:
        signal.raise_signal(noted[0])


def _let(actions: Mapping[signal.Signals, Any]) -> None:
    for number, action in actions.items():
        signal.signal(number, action)


@contextlib.contextmanager
def watch(seconds: float, stalled: Callable[[str], None]) -> Iterator[Callable[[], None]]:
    """Gives a function for signs of life. Without one for so long, `stalled` gets the stacks and this process ends; 0: never."""
    last, over = time.monotonic(), threading.Event()

    def alive() -> None:
        nonlocal last
        last = time.monotonic()

    def look() -> None:
        while not over.wait(min(10.0, seconds / 10)):
            if time.monotonic() - last > seconds:
                last_words = threading.Thread(target=stalled, args=(_stacks(),), daemon=True)  # the disk may be what hangs
                last_words.start()
                last_words.join(LAST_WORDS_SECONDS)
                os._exit(STALLED)

    if seconds > 0:
        threading.Thread(target=look, name="stall watch", daemon=True).start()
    try:
        yield alive
    finally:
        over.set()


def _stacks() -> str:
    """What each thread of this process is doing."""
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    frames = [(names.get(ident, str(ident)), frame) for ident, frame in sys._current_frames().items()]
    return "\n".join(f"thread {name}:\n{''.join(traceback.format_stack(frame))}" for name, frame in frames if name != "stall watch")
