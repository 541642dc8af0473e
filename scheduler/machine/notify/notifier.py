"""Notifications: what happened, told to the addresses of [notify] by apprise.

Beside the work: ``tell`` only puts into queues, and each address has a thread of its own, so that
a server that hangs delays nobody but itself. What waits when the supervisor ends is lost, after a
few seconds in which it may still go. An address is a secret: it is in no log and no error.
"""

from __future__ import annotations

import datetime
import functools
import importlib.util
import logging
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence

from scheduler.machine.chronicle.entries import Entry
from scheduler.machine.config.settings import NotifySettings
from scheduler.machine.config.written import mask_url
from scheduler.machine.notify import herald
from scheduler.machine.notify.outbox import BACKOFF_S, Outbox
from scheduler.machine.windows import instant, local_zone

_log = logging.getLogger(__name__)

MISSING = "apprise is not installed; run: pip install 'optuna-gpu-trial-scheduler[notify]'"
_SLICE_S = 30.0  #: a wait in one piece; the clock that it goes by stands still in a suspend
_DAY_S = 24 * 3600.0
_DIGEST_LINES = 5  #: of bests, of runs that ended, of devices: the latest

_REASONS = {
    herald.NOT_TAKEN: "was not taken",
    herald.NO_URL: "cannot be sent: apprise does not know such a URL",
    herald.NO_APPRISE: f"cannot be sent: {MISSING}",
    None: f"took more than {herald.LIMIT_S} s",
}

Send = Callable[[str, str, str], None]  #: (URL, title, text); raises where it does not arrive
Past = Callable[[float], Iterable[Entry]]  #: entries since a time


def event_of(entry: Entry) -> str:
    """What an entry is called in [notify] events. Pure."""
    if entry.what == "best" or entry.kind == "change":
        return "best" if entry.what == "best" else "change"
    return f"{entry.kind} {entry.what}"


def digest(entries: Sequence[Entry]) -> str | None:
    """One message about *entries*, a day of them; None where there is nothing to tell. Pure."""
    counted = Counter(event_of(entry) for entry in entries)
    trials = [
        f"{counted[f'trial {what}']} {what}"
        for what in ("finished", "failed", "put back", "too big")
        if counted[f"trial {what}"]
    ]
    lines = [f"trials: {', '.join(trials)}"] if trials else []
    latest = {entry.run: entry.text for entry in entries if event_of(entry) == "best"}
    ends = {"run finished", "run failed", "run halted", "run cancelled"}
    lines += list(latest.values())[-_DIGEST_LINES:]
    lines += [one.text for one in entries if event_of(one) in ends][-_DIGEST_LINES:]
    lines += [one.text for one in entries if one.kind == "device"][-_DIGEST_LINES:]
    if counted["change"]:
        lines.append(f"decisions changed: {counted['change']}")
    return "\n".join(["the last day:", *lines]) if lines else None


def next_digest(after: datetime.datetime, minutes: int) -> datetime.datetime:
    """The first time after *after*, which knows its zone, when its clock shows *minutes* after
    midnight; in UTC. Pure."""
    zone = after.tzinfo
    if zone is None:
        raise ValueError(f"{after} has no time zone")
    now = after.astimezone(datetime.UTC)
    days = (after.date() + datetime.timedelta(days=n) for n in range(3))
    times = (instant(day, minutes, zone, last=False) for day in days)
    return next(one for one in times if one > now)


def problem_of(url: str) -> str | None:
    """Why nothing can be sent to *url*, without what is secret of it; None: it looks right."""
    if importlib.util.find_spec("apprise") is None:
        return MISSING
    import apprise

    # At its lower levels it logs whole URLs.
    logging.getLogger("apprise").setLevel(logging.CRITICAL + 1)
    known = apprise.Apprise.instantiate(url) is not None
    return None if known else f"{mask_url(url)} is no URL that apprise knows"


class NotSent(Exception):
    """Takes why, without what is secret, and whether it is so for good."""

    def __init__(self, why: str, for_good: bool = False) -> None:
        super().__init__(why, for_good)
        self.for_good = for_good

    def __str__(self) -> str:
        return str(self.args[0])


def send_by_apprise(url: str, title: str, text: str) -> None:
    """Returns when it has arrived, after a second or so. Raises NotSent or OSError."""
    code = herald.ask_to_send(url, title, text)
    if code != herald.ARRIVED:
        for_good = code in (herald.NO_URL, herald.NO_APPRISE)
        raise NotSent(_REASONS.get(code, f"failed with exit code {code}"), for_good)


class Notifier:
    """Tells of entries. Threads start with ``start``; without URLs there are none.

    *past* gives the entries since a time, for the digest; without it there is no digest. *clock*
    gives seconds since the epoch.
    """

    def __init__(
        self,
        config: NotifySettings,
        send: Send = send_by_apprise,
        *,
        past: Past | None = None,
        clock: Callable[[], float] = time.time,
        zone: datetime.tzinfo | None = None,
        slice_s: float = _SLICE_S,
    ) -> None:
        self._config = config
        self._events = frozenset(config.events)
        self._send = send
        self._past = past
        self._clock = clock
        self._zone = zone
        self._slice_s = slice_s
        self._stopping = threading.Event()
        title = f"trials on {socket.gethostname()}"
        self._senders = [_Sender(url, title, send, clock, slice_s) for url in config.urls]
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Once. Says in the log what will not work."""
        is_missing = self._send is send_by_apprise and importlib.util.find_spec("apprise") is None
        if self._senders and is_missing:
            _log.warning("no notifications: %s", MISSING)
            self._senders = []
        works: list[Callable[[], None]] = [sender.work for sender in self._senders]
        if self._senders and self._past is not None and self._config.digest_min is not None:
            zone = self._zone or local_zone()
            works.append(functools.partial(self._digests, zone, self._next_digest(zone)))
        for work in works:
            # A daemon's thread: one that hangs in a server's answer must not keep the process.
            thread = threading.Thread(target=work, name="notify", daemon=True)
            thread.start()
            self._threads.append(thread)

    def tell(self, entries: Iterable[Entry]) -> None:
        """Takes those that [notify] events names. Returns at once, from any thread."""
        for entry in entries:
            if event_of(entry) in self._events:
                self.say(entry.text)

    def say(self, text: str) -> None:
        """Tells it, whatever [notify] events says; lines of one text stay together."""
        for sender in self._senders:
            sender.put(text)

    def stop(self, patience_s: float = 5.0) -> None:
        """What can be sent now is still sent, for *patience_s* at most."""
        self._stopping.set()
        for sender in self._senders:
            sender.close()
        until_s = time.monotonic() + patience_s
        for thread in self._threads:
            thread.join(max(0.0, until_s - time.monotonic()))

    def _digests(self, zone: datetime.tzinfo, due: datetime.datetime) -> None:
        while not self._stopping.is_set():
            wait_s = due.timestamp() - self._clock()
            if wait_s > _DAY_S * 1.5:  # the clock was set back
                due = self._next_digest(zone)
            elif wait_s > 0:
                self._stopping.wait(min(wait_s, self._slice_s))
            else:
                self._send_digest()
                due = self._next_digest(zone)

    def _next_digest(self, zone: datetime.tzinfo) -> datetime.datetime:
        assert self._config.digest_min is not None
        now = datetime.datetime.fromtimestamp(self._clock(), zone)
        return next_digest(now, self._config.digest_min)

    def _send_digest(self) -> None:
        assert self._past is not None
        try:
            text = digest(tuple(self._past(self._clock() - _DAY_S)))
        except Exception:
            _log.exception("no digest today")
            return
        if text is not None:
            self.say(text)


class _Sender:
    """One address and its thread."""

    def __init__(
        self, url: str, title: str, send: Send, clock: Callable[[], float], slice_s: float
    ) -> None:
        self._url = url
        self._title = title
        self._send = send
        self._clock = clock
        self._slice_s = slice_s
        self._outbox = Outbox()
        self._changed = threading.Condition()
        self._closing = False

    def put(self, text: str) -> None:
        with self._changed:
            for line in text.splitlines():
                self._outbox.put(line, self._clock())
            self._changed.notify()

    def close(self) -> None:
        with self._changed:
            self._closing = True
            self._changed.notify()

    def work(self) -> None:
        """Until it is closed, or nothing can ever be sent there."""
        for message in self._messages():
            why = self._try(message)
            with self._changed:
                if why is None:
                    self._outbox.sent(self._clock())
                    continue
                is_first = self._outbox.failed(self._clock()) == BACKOFF_S
            if why.for_good or is_first:
                ending = "nothing more is sent there" if why.for_good else "it is tried again"
                _log.warning("a notification to %s %s; %s", mask_url(self._url), why, ending)
            if why.for_good:
                return

    def _messages(self) -> Iterator[str]:
        """Each when it may be sent, until it is closed and none may be sent now."""
        while True:
            with self._changed:
                message = self._outbox.take(self._clock())
                while message is None:
                    if self._closing:
                        return
                    wait_s = self._outbox.due_in_s(self._clock())
                    self._changed.wait(None if wait_s is None else min(wait_s, self._slice_s))
                    message = self._outbox.take(self._clock())
            yield message

    def _try(self, message: str) -> NotSent | None:
        """Why it has not arrived; None: it has."""
        try:
            self._send(self._url, self._title, message)
        except NotSent as error:
            return error
        except Exception as error:  # its text may hold the URL
            return NotSent(f"failed ({type(error).__name__})")
        return None
