"""Sends one message by apprise, in a process of its own: [URL, title, text] as JSON on stdin.

Apprise costs 21 MB once it has sent something, and a server that answers byte by byte holds it for
ever; so it lives in a process that ends, by itself at the latest after a minute. The address comes
on stdin because arguments can be read by every user. Nothing is printed: it could hold a secret.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys

LIMIT_S = 60
ARRIVED, NOT_TAKEN, NO_URL, NO_APPRISE = 0, 1, 3, 4  #: exit codes; 2 is Python's own


def ask_to_send(url: str, title: str, text: str) -> int | None:
    """Starts the process and waits for it: its exit code; None: it had to be ended.

    Raises OSError where it cannot be started.
    """
    command = [sys.executable, "-P", "-m", "scheduler.machine.notify.herald"]
    try:
        ended = subprocess.run(
            command,
            input=json.dumps([url, title, text]).encode(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # a ^C in the supervisor's terminal is not meant for it
            timeout=LIMIT_S + 5,
        )
    except subprocess.TimeoutExpired:
        return None
    return ended.returncode if ended.returncode >= 0 else None


def _send(url: str, title: str, text: str) -> int:
    try:
        import apprise
    except ImportError:
        return NO_APPRISE
    address = apprise.Apprise()
    if not address.add(url):
        return NO_URL
    plain = apprise.NotifyFormat.TEXT
    return ARRIVED if address.notify(text, title=title, body_format=plain) else NOT_TAKEN


if __name__ == "__main__":
    signal.alarm(LIMIT_S)
    with contextlib.suppress(OSError):
        os.nice(10)
    sys.exit(_send(*json.load(sys.stdin)))
