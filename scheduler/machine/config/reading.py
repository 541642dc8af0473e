"""One configuration file's text and the environment, read into ``settings.Config``.

All mistakes are noted, so that they can be told at once. Pure.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import msgspec

from scheduler.machine.config.settings import (
    MANY,
    SECTIONS,
    Config,
    Described,
    DeviceSettings,
    WindowSettings,
    keys_of,
    variable,
)
from scheduler.machine.config.toml_lines import line_of
from scheduler.machine.config.written import mask_url

DEFAULT = "default"


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """One mistake. ``source`` is the file or the variable."""

    source: str
    key: str | None
    line: int | None
    seen: str
    wanted: str

    def __str__(self) -> str:
        where = self.source if self.line is None else f"{self.source}, line {self.line}"
        return f"{where}: {self.key or 'it'} {self.seen}; wanted: {self.wanted}"


class ConfigError(Exception):
    """The configuration cannot be used. Takes all that is wrong with it."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        super().__init__(problems)
        self.problems = problems

    def __str__(self) -> str:
        return "\n".join(map(str, self.problems))


class Reader:
    """Takes one file's text and the environment, and notes all that is wrong."""

    def __init__(self, path: str, text: str, sections: Collection[str] = SECTIONS) -> None:
        self._path = path
        self._sections = sections
        self._text = text
        self.problems: list[Problem] = []
        self.warnings: list[str] = []
        self.origins: dict[str, str] = {}

    def take(self, environ: Mapping[str, str]) -> Config:
        """Worth nothing where there are problems."""
        tables = self._parse()
        self._nearest(tables, self._sections, "", "a section")
        values: dict[str, Any] = {}
        for name, kind in SECTIONS.items():
            if name in MANY:
                continue
            values[name] = self._section(name, kind, tables.get(name, {}), environ)
        values["devices"] = dict(self._devices(tables.get("devices", {})))
        values["windows"] = tuple(self._windows(tables.get("windows", [])))
        self._look_at(environ)
        return Config(**values)

    def _parse(self) -> dict[str, Any]:
        try:
            return tomllib.loads(self._text)
        except tomllib.TOMLDecodeError as error:
            found = re.search(r" \(at (?:line (\d+), column \d+|end of document)\)$", str(error))
            line = None
            if found is not None:
                line = int(found[1]) if found[1] else self._text.count("\n") + 1
            said = str(error)[: found.start()] if found else str(error)
            self._wrong(None, f"is not TOML: {said}", "TOML (https://toml.io)", line=line)
            return {}

    def _section(
        self, name: str, kind: type[msgspec.Struct], table: Any, environ: Mapping[str, str]
    ) -> msgspec.Struct:
        found = self._table(name, (name,), kind, table)
        for described in keys_of(kind):
            named = variable(name, described.name)
            if environ.get(named):
                key, origin = f"{name}.{described.name}", f"${named}"
                value = described.key.form.from_text(environ[named])
                found |= self._value(key, described, value, origin, None)
                self.origins[key] = origin
        return kind(**found)

    def _devices(self, tables: Any) -> Iterator[tuple[str, DeviceSettings]]:
        if not isinstance(tables, dict):
            self._wrong("devices", f"is {_type(tables)}", 'tables such as [devices."0000:03:00.0"]')
            return
        for device, table in tables.items():
            path = ("devices", device)
            found = self._table(f'devices."{device}"', path, DeviceSettings, table)
            yield device.lower(), DeviceSettings(**found)

    def _windows(self, tables: Any) -> Iterator[WindowSettings]:
        if not isinstance(tables, list):
            self._wrong("windows", f"is {_type(tables)}", "tables that begin with [[windows]]")
            return
        for number, table in enumerate(tables):
            name = f"windows.{number + 1}"
            path = ("windows", number)
            window = WindowSettings(**self._table(name, path, WindowSettings, table))
            if window.max_attempts is None and window.reserve_bytes is None:
                line = line_of(self._text, path)
                self._wrong(name, "limits nothing", "max_trials, reserve or both", line=line)
            yield window

    def _table(
        self, name: str, path: tuple[str | int, ...], kind: type[msgspec.Struct], table: Any
    ) -> dict[str, Any]:
        """The attributes that *table* sets, as far as they are right."""
        described = {one.name: one for one in keys_of(kind)}
        for key in described:
            self.origins[f"{name}.{key}"] = DEFAULT
        if not isinstance(table, dict):
            line = line_of(self._text, path)
            self._wrong(name, f"is {_type(table)}", f"a table, [{name}]", line=line)
            return {}
        self._nearest(table, described, f"{name}.", "a key", path)
        found: dict[str, Any] = {}
        for key in described.keys() & table.keys():
            line = line_of(self._text, (*path, key))
            found |= self._value(f"{name}.{key}", described[key], table[key], self._path, line)
            self.origins[f"{name}.{key}"] = f"the file {self._path}"
        return found

    def _value(
        self, key: str, described: Described, value: Any, source: str, line: int | None
    ) -> dict[str, Any]:
        form = described.key.form
        try:
            return {described.attribute: form.read(value)}
        except TypeError:
            seen = f"is {_type(value)}"
        except ValueError:
            seen = f"is {_shown(value, secret=form.secret)}"
        self._wrong(key, seen, form.wanted, source=source, line=line)
        return {}

    def _nearest(
        self,
        found: Mapping[str, Any],
        known: Collection[str],
        prefix: str,
        what: str,
        path: tuple[str | int, ...] = (),
    ) -> None:
        """Tells of names that are not *known*."""
        for name in found.keys() - set(known):
            near = difflib.get_close_matches(name.lower(), known, n=1)
            wanted = f'"{near[0]}"?' if near else "one of " + ", ".join(known)
            line = line_of(self._text, (*path, name))
            self._wrong(f"{prefix}{name}", f"is not {what} that is known", wanted, line=line)

    def _look_at(self, environ: Mapping[str, str]) -> None:
        """A variable may be somebody else's, so a name that is nearly one of ours only warns."""
        known = {
            variable(section, one.name)
            for section, kind in SECTIONS.items()
            if section not in MANY
            for one in keys_of(kind)
        }
        prefixes = tuple(variable(section, "") for section in SECTIONS)
        for name in sorted(environ):
            if not name.startswith(prefixes) or name in known:
                continue
            near = difflib.get_close_matches(name, known, n=1)
            also = f"; ${near[0]} is" if near else ""
            self.warnings.append(f"${name} is no key of the configuration{also}")

    def _wrong(
        self,
        key: str | None,
        seen: str,
        wanted: str,
        *,
        source: str | None = None,
        line: int | None = None,
    ) -> None:
        source = self._path if source is None else source
        self.problems.append(Problem(source=source, key=key, line=line, seen=seen, wanted=wanted))


def _type(value: Any) -> str:
    """What TOML calls it; the value itself may be a secret."""
    names = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}
    names |= {list: "a list", dict: "a table"}
    return names.get(type(value), "a date or a time")


def _shown(value: Any, *, secret: bool) -> str:
    if secret:
        urls = value if isinstance(value, list) else [value]
        return ", ".join(mask_url(str(url)) for url in urls)
    return repr(value) if len(repr(value)) < 80 else f"{repr(value)[:77]}..."
