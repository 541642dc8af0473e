"""Orders of the command line to the supervisor, and how they fail."""

from __future__ import annotations

from typing import Any

from scheduler.interfaces.client import NoAnswer, Refused, order
from scheduler.interfaces.errors import BadInput, Failed
from scheduler.machine.state import StateFolder

NO_SUPERVISOR = "no supervisor is running; start one with: scheduler start"


def give(state: StateFolder, path: str, body: dict[str, Any] | None = None) -> None:
    """Has the supervisor do what POST *path* stands for.

    Raises BadInput where what was named is not there or not to be had, Failed for the rest.
    """
    try:
        if not order(state, path, body):
            raise Failed(NO_SUPERVISOR)
    except Refused as error:
        raise (Failed if error.status == 503 else BadInput)(str(error)) from None
    except NoAnswer as error:
        raise Failed(str(error)) from None


def device_path(device: str, verb: str) -> str:
    """A device's key comes from the user and may hold anything."""
    from urllib.parse import quote

    return f"/v1/devices/{quote(device, safe=':')}/{verb}"
