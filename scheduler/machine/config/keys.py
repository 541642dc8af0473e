"""What is said of one key of the configuration, beside its type and default."""

from __future__ import annotations

import msgspec

from scheduler.machine.config.forms import Form


class Key(msgspec.Struct, frozen=True):
    """One key's form and meaning. ``unset`` says what holds where there is no value."""

    form: Form
    says: str
    example: str  #: as TOML
    unset: str = ""
