"""What a host and the supervisor say to each other: one JSON object a line, on a unix socket.

A host sends events (the supervisor stamps the time), the supervisor sends the core's actions. The
host speaks first, with ``Joined``; the answer is ``Welcome`` or ``Refused``. After a lost
connection the host connects again and joins anew, with all that it runs.
"""

from __future__ import annotations

import msgspec

from scheduler.core.actions import Halt, Hold, Note, Refuse, Settle, Start, Stop
from scheduler.core.events import (
    Exited,
    Joined,
    Left,
    Limited,
    Offered,
    Progressed,
    Saved,
    Started,
    Withdrawn,
)
from scheduler.core.model import Budget


class Welcome(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The host is known; these are the devices it may be given."""

    supervisor_pid: int
    budgets: tuple[Budget, ...]


class Refused(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The host is not taken, for a reason that its user can act on."""

    error: str


FromHost = Joined | Limited | Offered | Withdrawn | Started | Exited | Saved | Progressed | Left
ToHost = Welcome | Refused | Start | Hold | Stop | Settle | Refuse | Halt | Note

_encoder = msgspec.json.Encoder()
_from_host: msgspec.json.Decoder[FromHost] = msgspec.json.Decoder(FromHost)
_to_host: msgspec.json.Decoder[ToHost] = msgspec.json.Decoder(ToHost)


def encode(message: FromHost | ToHost) -> bytes:
    """One line, newline included."""
    return _encoder.encode(message) + b"\n"


def parse_from_host(line: bytes) -> FromHost:
    """Raises msgspec.ValidationError or DecodeError on anything else."""
    return _from_host.decode(line)


def parse_to_host(line: bytes) -> ToHost:
    """Raises msgspec.ValidationError or DecodeError on anything else."""
    return _to_host.decode(line)
