"""Notifications, to a receiver that listens on this machine."""

from __future__ import annotations

import datetime
import http.server
import itertools
import json
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from scheduler.machine.chronicle.entries import Entry, Kind
from scheduler.machine.config.settings import EVENTS, TOLD, NotifySettings
from scheduler.machine.notify import notifier as notify
from scheduler.machine.notify.notifier import (
    Notifier,
    NotSent,
    digest,
    event_of,
    next_digest,
    problem_of,
    send_by_apprise,
)

BERLIN = ZoneInfo("Europe/Berlin")
WaitFor = Callable[..., Any]
Build = Callable[..., Notifier]


def entry(kind: Kind, what: str, text: str = "", **more: Any) -> Entry:
    return Entry(number=1, at_s=0.0, kind=kind, what=what, text=text or f"{kind} {what}", **more)


class Receiver:
    """An HTTP server; ``codes`` are its answers, the last one for ever."""

    def __init__(self) -> None:
        self.heard: list[dict[str, Any]] = []
        self.codes = [200]
        receiver = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                length = int(self.headers["Content-Length"])
                receiver.heard.append(json.loads(self.rfile.read(length)))
                codes = receiver.codes
                self.send_response(codes.pop(0) if len(codes) > 1 else codes[0])
                self.end_headers()

            def log_message(self, format: str, *arguments: Any) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"json://user:t0ken@127.0.0.1:{self.server.server_port}/t0ken"

    def texts(self) -> list[str]:
        return [one["message"] for one in self.heard]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    pytest.importorskip("apprise")
    one = Receiver()
    thread = threading.Thread(target=one.server.serve_forever, args=(0.01,))
    thread.start()
    yield one
    one.server.shutdown()
    thread.join()
    one.server.server_close()


class Sent:
    """Takes the place of apprise; ``fails`` is asked first."""

    def __init__(self, fails: Callable[[str], bool] = lambda url: False) -> None:
        self.fails = fails
        self.texts: list[tuple[str, str]] = []

    def __call__(self, url: str, title: str, text: str) -> None:
        if self.fails(url):
            raise NotSent("was not taken")
        self.texts.append((url, text))


def config(*urls: str, **more: Any) -> NotifySettings:
    return NotifySettings(urls=urls, **({"digest_min": None} | more))


@pytest.fixture
def build() -> Iterator[Callable[..., Notifier]]:
    """Makes notifiers, which are stopped in the end with all of their threads."""
    made: list[Notifier] = []

    def make(*arguments: Any, **more: Any) -> Notifier:
        made.append(Notifier(*arguments, **more))
        return made[-1]

    yield make
    for notifier in made:
        notifier.stop(patience_s=20)
    assert not threads()


def threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "notify"]


@pytest.mark.parametrize(
    ("one", "name"),
    [
        (entry("run", "finished"), "run finished"),
        (entry("trial", "best"), "best"),
        (entry("run", "best"), "best"),
        (entry("change", "at once"), "change"),
        (entry("device", "out of service"), "device out of service"),
        (entry("trial", "held"), "trial held"),
    ],
)
def test_what_an_entry_is_called(one: Entry, name: str) -> None:
    assert event_of(one) == name
    assert (name in EVENTS) == (name != "trial held")


@pytest.mark.processes
def test_by_default_what_matters_is_told(
    build: Build, receiver: Receiver, wait_for: WaitFor
) -> None:
    notifier = build(config(receiver.url))
    notifier.start()
    notifier.tell([entry("trial", "started"), entry("run", "finished", "digits-1 is finished")])
    wait_for(lambda: receiver.heard, "a message")
    notifier.stop()
    assert receiver.texts() == ["digits-1 is finished"]
    assert receiver.heard[0]["title"] == f"trials on {socket.gethostname()}"
    assert not threads()


def test_only_what_is_asked_for(build: Build) -> None:
    sent = Sent()
    notifier = build(config("json://a", events=("best",)), sent)
    notifier.tell([entry("run", "finished"), entry("run", "best", "digits-1: 0.9")])
    notifier.start()
    notifier.stop()
    assert sent.texts == [("json://a", "digits-1: 0.9")]


@pytest.mark.processes
def test_a_refused_message_is_sent_again(
    build: Build, receiver: Receiver, wait_for: WaitFor, caplog: pytest.LogCaptureFixture
) -> None:
    receiver.codes = [503, 200]
    clock_s = [0.0]
    notifier = build(config(receiver.url), clock=lambda: clock_s[0], slice_s=0.01)
    notifier.start()
    notifier.say("one")
    wait_for(lambda: "was not taken; it is tried again" in caplog.text, "the first to fail")
    notifier.say("two")
    clock_s[0] += 60
    wait_for(lambda: len(receiver.heard) == 2, "a second one")
    notifier.stop()
    assert receiver.texts() == ["one", "one\ntwo"]


@pytest.mark.processes
def test_a_server_that_hangs_delays_neither_others_nor_us(
    build: Build, receiver: Receiver, wait_for: WaitFor
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        hanging = f"json://127.0.0.1:{silent.getsockname()[1]}/"
        notifier = build(config(hanging, receiver.url))
        notifier.start()
        began_s = time.monotonic()
        for number in range(1000):
            notifier.tell([entry("run", "finished", str(number))])
        told_s = time.monotonic() - began_s
        wait_for(lambda: receiver.heard, "a message")
        began_s = time.monotonic()
        assert all(thread.daemon for thread in threads()), "the process can end without them"
        notifier.stop(patience_s=0.2)
        assert told_s < 10
        assert time.monotonic() - began_s < 20


@pytest.mark.processes
def test_no_secret_is_in_the_log(
    build: Build,
    receiver: Receiver,
    wait_for: WaitFor,
    caplog: pytest.LogCaptureFixture,
) -> None:
    receiver.codes = [500]
    caplog.set_level(logging.DEBUG)
    # A port that nobody listens on, and a server that refuses.
    with socket.create_server(("127.0.0.1", 0)) as free:
        nowhere = f"json://user:t0ken@127.0.0.1:{free.getsockname()[1]}/t0ken"

    def send(url: str, title: str, text: str) -> None:
        try:
            send_by_apprise(url, title, text)
        except NotSent:
            raise ValueError(url) from None

    notifier = build(config(receiver.url, nowhere), send)
    notifier.start()
    notifier.say("one")
    wait_for(lambda: caplog.text.count("is tried again") == 2, "both to fail")
    notifier.stop()
    assert "failed (ValueError)" in caplog.text
    assert "t0ken" not in caplog.text


@pytest.mark.processes
def test_to_a_url_that_is_none_nothing_more_is_sent(
    build: Build, wait_for: WaitFor, caplog: pytest.LogCaptureFixture
) -> None:
    pytest.importorskip("apprise")
    notifier = build(config("discord://t0ken"))
    notifier.start()
    notifier.say("one")
    wait_for(lambda: not threads(), "its thread to end")
    assert caplog.messages == [
        "a notification to discord://*** cannot be sent: apprise does not know such a URL;"
        " nothing more is sent there"
    ]


def test_only_the_first_failure_is_logged(
    build: Build, wait_for: WaitFor, caplog: pytest.LogCaptureFixture
) -> None:
    times = itertools.count(0.0, 100.0)
    tries: list[str] = []

    def fails(url: str) -> bool:
        tries.append(url)
        return True

    notifier = build(config("json://a"), Sent(fails), clock=lambda: next(times), slice_s=0.001)
    notifier.start()
    notifier.say("one")
    wait_for(lambda: len(tries) >= 5, "five tries")
    notifier.stop()
    assert len(caplog.messages) == 1


def test_without_urls_there_is_no_thread(build: Build) -> None:
    notifier = build(NotifySettings(), past=lambda since_s: ())
    notifier.start()
    notifier.tell([entry("run", "finished")])
    assert not threads()
    notifier.stop()


def test_a_missing_apprise_is_said_once(
    build: Build,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    notifier = build(config("json://a"))
    notifier.start()
    notifier.say("one")
    notifier.stop()
    assert caplog.messages == [f"no notifications: {notify.MISSING}"]
    assert problem_of("json://a") == notify.MISSING


@pytest.mark.parametrize(
    "url",
    [
        "discord://4174216298/JHMHI8qBe7bk2ZwO5U711o3dV_js",
        "https://discord.com/api/webhooks/123456789012345678/abcdefghijklmnopqrstuvwxyz",
    ],
)
def test_a_discord_web_hook_is_one_url(url: str) -> None:
    pytest.importorskip("apprise")
    assert problem_of(url) is None


@pytest.mark.parametrize("url", ["discord://t0ken", "nosuch://t0ken", "t0ken"])
def test_a_url_that_apprise_does_not_know_is_told_masked(url: str) -> None:
    pytest.importorskip("apprise")
    problem = problem_of(url)
    assert problem is not None
    assert "is no URL that apprise knows" in problem
    assert "t0ken" not in problem


DAY = [
    entry("trial", "finished"),
    entry("trial", "finished"),
    entry("trial", "put back"),
    entry("trial", "held"),
    entry("trial", "best", "digits-1: best 0.8 in trial 3", run="digits-1"),
    entry("trial", "best", "digits-1: best 0.9 in trial 7", run="digits-1"),
    entry("run", "finished", "ppo-2 is finished"),
    entry("device", "out of service", "0000:03:00.0 is out of service: two faults"),
    entry("change", "at once"),
]


def test_the_digest_of_a_day() -> None:
    assert digest(DAY) == (
        "the last day:\n"
        "trials: 2 finished, 1 put back\n"
        "digits-1: best 0.9 in trial 7\n"
        "ppo-2 is finished\n"
        "0000:03:00.0 is out of service: two faults\n"
        "decisions changed: 1"
    )


def test_a_day_without_anything_has_none() -> None:
    assert digest([]) is None
    assert digest([entry("trial", "held"), entry("supervisor", "started")]) is None


@pytest.mark.parametrize(
    ("after", "due"),
    [
        ("2026-11-23T07:59+01:00", "2026-11-23T08:00+01:00"),
        ("2026-11-23T08:00+01:00", "2026-11-24T08:00+01:00"),
        ("2026-03-28T12:00+01:00", "2026-03-29T08:00+02:00"),
    ],
)
def test_when_the_next_digest_is_due(after: str, due: str) -> None:
    at = datetime.datetime.fromisoformat(after).astimezone(BERLIN)
    assert next_digest(at, 8 * 60) == datetime.datetime.fromisoformat(due)


def test_in_the_hour_that_comes_twice_there_is_one_digest() -> None:
    at = datetime.datetime(2026, 10, 24, 12, tzinfo=BERLIN)
    first = next_digest(at, 150)
    assert first.isoformat() == "2026-10-25T00:30:00+00:00"
    assert next_digest(first.astimezone(BERLIN), 150).isoformat() == "2026-10-26T01:30:00+00:00"


def test_the_digest_goes_out_when_it_is_due(build: Build, wait_for: WaitFor) -> None:
    at = datetime.datetime(2026, 11, 23, 7, 59, tzinfo=BERLIN).timestamp()
    clock_s = [at]
    asked: list[float] = []

    def past(since_s: float) -> list[Entry]:
        asked.append(since_s)
        return DAY

    sent = Sent()
    notifier = build(
        config("json://a", digest_min=8 * 60),
        sent,
        past=past,
        clock=lambda: clock_s[0],
        zone=BERLIN,
        slice_s=0.001,
    )
    notifier.start()
    clock_s[0] += 3600
    wait_for(lambda: sent.texts, "a digest")
    clock_s[0] += 24 * 3600
    wait_for(lambda: len(sent.texts) == 2, "the next day's")
    notifier.stop()
    assert sent.texts[0] == ("json://a", digest(DAY))
    assert asked == [at + 3600 - 86400, at + 3600]


def test_entries_that_cannot_be_read_cost_the_digest_only(
    build: Build, wait_for: WaitFor, caplog: pytest.LogCaptureFixture
) -> None:
    clock_s = [datetime.datetime(2026, 11, 23, 7, 59, tzinfo=BERLIN).timestamp()]

    def past(since_s: float) -> list[Entry]:
        raise OSError("disk")

    notifier = build(
        config("json://a", digest_min=8 * 60),
        Sent(),
        past=past,
        clock=lambda: clock_s[0],
        zone=BERLIN,
        slice_s=0.001,
    )
    notifier.start()
    clock_s[0] += 3600
    wait_for(lambda: "no digest today" in caplog.text, "the log")
    assert len(threads()) == 2
    notifier.stop()
    assert not threads()


def test_what_is_told_by_default_can_be_chosen() -> None:
    assert set(TOLD) < set(EVENTS)
