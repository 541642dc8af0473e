"""What SIGTERM does in an attempt: it raises ``Stopped`` in the objective, so that it can save.

Once, in the main thread, and never in the middle of a question to the host: half a message would
leave the line useless for what a ``finally`` still wants to report. After that SIGTERM does
nothing; SIGKILL comes when the grace time is over. Before the objective's first line and after its
end is told, SIGTERM ends the process at once: nothing is there to be saved.

One process runs one attempt, so the state is the module's.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType

from scheduler import Stopped

_in_objective = False
_questions = 0  #: of the main thread's that are not answered: at most one, but for handlers
_received = False
_raised = False
_forking = threading.local()  #: the signals that the thread had blocked before


def was_received() -> bool:
    """Whether SIGTERM came while the objective ran."""
    return _received


@contextmanager
def raised_in_objective() -> Iterator[None]:
    """Around the objective. Nothing changes in a thread that Python hands no signals to.

    A handler that the objective sets stays until the process ends.
    """
    global _in_objective
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    _in_objective = True
    signal.signal(signal.SIGTERM, _on_sigterm)
    os.register_at_fork(
        before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork_in_child
    )
    try:
        yield
    finally:
        _in_objective = False


def end_at_once() -> None:
    """SIGTERM is what it is everywhere, unless the objective has set a handler of its own."""
    if signal.getsignal(signal.SIGTERM) is _on_sigterm:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _before_fork() -> None:
    """Not lost between a child's fork and its own handling: Python forgets what comes then."""
    _forking.mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})


def _after_fork() -> None:
    signal.pthread_sigmask(signal.SIG_SETMASK, _forking.mask)


def _after_fork_in_child() -> None:
    """``Process.terminate`` of a data loader's worker is to end it, without unwinding."""
    end_at_once()
    _after_fork()


def die() -> None:
    """End this process by SIGTERM, whatever handler there is: its parent sees what ended it."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.kill(os.getpid(), signal.SIGTERM)


class Undisturbed:
    """``with`` around a question to the host: what SIGTERM raises is raised after the answer."""

    def __enter__(self) -> None:
        global _questions
        if threading.current_thread() is threading.main_thread():
            _questions += 1

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        global _questions
        if threading.current_thread() is threading.main_thread():
            _questions -= 1
            if _received and kind is None:
                _raise()


def _on_sigterm(_number: int, _frame: FrameType | None) -> None:
    global _received
    if _in_objective:
        _received = True
        _raise()


def _raise() -> None:
    global _raised
    if not _questions and not _raised:
        _raised = True
        raise Stopped(128 + signal.SIGTERM)
