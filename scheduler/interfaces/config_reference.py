"""docs/config.md, made from what ``settings`` says of each key.

python -m scheduler.interfaces.config_reference > docs/config.md
"""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator
from typing import Any

import msgspec

from scheduler.machine.config.settings import MANY, SECTIONS, Described, keys_of, variable

_WIDTH = 100

_HEAD = """\
# Configuration

Made from `scheduler/machine/config/settings.py`, which is what to change, by
`python -m scheduler.interfaces.config_reference`.

One TOML file, `~/.config/gpu-trial-scheduler/config.toml`, or the one that `$SCHEDULER_CONFIG`
names; `$XDG_CONFIG_HOME` is heeded. There need not be one. What a command's flag says goes first,
then the environment variable of a key, then the file, then the default. An empty variable is none;
lists are separated by commas in it, URLs by blanks. A file that others can write is refused.

    scheduler config check            # every key, its value and where it came from
    scheduler config check --json

Sizes are `"6GiB"`, `"6GB"`, `"512MiB"` or a number of bytes; durations `"90s"`, `"5min"`, `"2h"` or
a number of seconds. An unknown key is an error, and the nearest one is named. Commands read the
file each time; a supervisor that runs reads it at its start.
"""

_HEADERS = {"devices": '[devices."0000:03:00.0"]', "windows": "[[windows]]"}


def reference() -> str:
    """The whole document."""
    return _HEAD + "".join(f"{line}\n" for line in _sections())


def as_toml(value: Any) -> str:
    """A value of ours in TOML, which for all but tables is as in JSON."""
    if isinstance(value, dict):
        pairs = (f"{name} = {as_toml(one)}" for name, one in value.items())
        return f"{{{', '.join(pairs)}}}"
    return json.dumps(value, ensure_ascii=False)


def _sections() -> Iterator[str]:
    for name, kind in SECTIONS.items():
        yield ""
        yield f"## {_HEADERS.get(name, f'[{name}]')}"
        yield ""
        yield from _paragraph(_doc(kind))
        yield ""
        for key in keys_of(kind):
            yield from _key(name, key)
        yield ""
        yield from _example(name, list(keys_of(kind)))


def _doc(kind: type[msgspec.Struct]) -> str:
    return " ".join((kind.__doc__ or "").split())


def _key(section: str, key: Described) -> Iterator[str]:
    default = key.write(key.default)
    held = key.key.unset if default is None else f"`{as_toml(default)}`"
    named = "" if section in MANY else f" `${variable(section, key.name)}`."
    text = f"- `{key.name}`: {key.key.says} Default: {held}. Takes {key.key.form.wanted}.{named}"
    yield from _paragraph(text, hanging="  ")


def _example(section: str, keys: list[Described]) -> Iterator[str]:
    yield f"    {_HEADERS.get(section, f'[{section}]')}"
    for key in keys:
        yield f"    {key.name} = {key.key.example}"


def _paragraph(text: str, hanging: str = "") -> list[str]:
    return textwrap.wrap(
        text,
        _WIDTH,
        subsequent_indent=hanging,
        break_long_words=False,
        break_on_hyphens=False,
    )


if __name__ == "__main__":
    print(reference(), end="")
