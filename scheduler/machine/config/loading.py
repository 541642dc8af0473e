"""The configuration: one TOML file and the environment, read into ``settings.Config``.

Flags go before environment variables, these before the file, the file before the defaults. All
mistakes of a file are told at once. Here is which file, and who wrote it; its text is read in
``reading``, and what the keys mean is in ``settings``.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from pathlib import Path

import msgspec

from scheduler.machine.config.defaults import budgets_with as budgets_with
from scheduler.machine.config.defaults import here_with as here_with
from scheduler.machine.config.defaults import run_defaults as run_defaults
from scheduler.machine.config.reading import DEFAULT, Reader
from scheduler.machine.config.reading import ConfigError as ConfigError
from scheduler.machine.config.reading import Problem as Problem
from scheduler.machine.config.settings import SECTIONS, keys_of
from scheduler.machine.config.settings import Config as Config

VARIABLE = "SCHEDULER_CONFIG"
MOST_BYTES = 1 << 20  #: a larger file is something else


class Loaded(msgspec.Struct, frozen=True, kw_only=True):
    """A configuration, and for each key (``run.reserve``, ``windows.1.days``) where it came from:
    "default", "the file PATH" or "$VARIABLE"."""

    config: Config
    origins: dict[str, str]
    path: str | None = None  #: the file that was read; None: there is none
    warnings: tuple[str, ...] = ()


def find(environ: Mapping[str, str] = os.environ) -> Path:
    """The file in force, there or not."""
    named = environ.get(VARIABLE)
    if named:
        return Path(named).absolute()
    from platformdirs import user_config_path

    return user_config_path("gpu-trial-scheduler") / "config.toml"


def load(path: Path | None = None, environ: Mapping[str, str] = os.environ) -> Loaded:
    """The configuration in force; defaults where there is no file.

    Raises ConfigError where the file cannot be trusted or read, where anything in it or in the
    environment is wrong, and where $SCHEDULER_CONFIG names a file that is not there.
    """
    named = path is None and bool(environ.get(VARIABLE))
    path = find(environ) if path is None else path
    text = _read(path, must_exist=named)
    reader = Reader(str(path), text or "")
    config = reader.take(environ)
    if reader.problems:
        raise ConfigError(tuple(reader.problems))
    warnings = reader.warnings
    if text is not None and config.notify.urls and path.stat().st_mode & 0o044:
        warnings.append(f"{path} holds secrets and others can read it; run: chmod 600 {path}")
    return Loaded(
        config=config,
        origins=reader.origins,
        path=None if text is None else str(path),
        warnings=tuple(warnings),
    )


#: What a file for one script may say; the rest is the whole supervisor's.
OF_RUNS = ("run", "pruning", "ranges", "budget")


def load_settings(path: Path, base: Loaded) -> Config:
    """*base* with what the file at *path* says of runs, unless the environment says otherwise.

    The file may be anybody's, as a script may: it can name no address and no program.
    Raises ConfigError.
    """
    try:
        text = path.read_bytes()[:MOST_BYTES].decode()
    except OSError as error:
        seen = f"cannot be read: {error.strerror}"
        raise _refused(path, seen, "a file as `scheduler init` writes it") from None
    except UnicodeDecodeError:
        raise _refused(path, "is not UTF-8", "text in UTF-8, as TOML is") from None
    reader = Reader(str(path), text, sections=OF_RUNS)
    config = reader.take({})
    if reader.problems:
        raise ConfigError(tuple(reader.problems))
    changed = {name: _over(name, base, config, reader.origins) for name in OF_RUNS}
    return msgspec.structs.replace(base.config, **changed)


def _over(section: str, base: Loaded, config: Config, origins: dict[str, str]) -> msgspec.Struct:
    """One section of *base*, with those keys of *config* that were not left to the default."""
    theirs: msgspec.Struct = getattr(base.config, section)
    found = {
        one.attribute: getattr(getattr(config, section), one.attribute)
        for one in keys_of(SECTIONS[section])
        if origins[f"{section}.{one.name}"] != DEFAULT
        and not base.origins[f"{section}.{one.name}"].startswith("$")
    }
    return msgspec.structs.replace(theirs, **found)


def _read(path: Path, *, must_exist: bool) -> str | None:
    """The text; None: there is no file. Raises ConfigError."""
    try:
        # A FIFO would block here for ever.
        opened = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            if str(path) == os.devnull:
                return None
            _check_trust(path, os.fstat(opened))
            with open(opened, "rb", closefd=False) as file:
                return file.read(MOST_BYTES).decode()
        finally:
            os.close(opened)
    except FileNotFoundError:
        if must_exist:
            raise _refused(path, "is not there", f"a file, or no {VARIABLE}") from None
        return None
    except OSError as error:
        seen = f"cannot be read: {error.strerror}"
        raise _refused(path, seen, "a file that you can read") from None
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise _refused(path, "is not UTF-8", "text in UTF-8, as TOML is", line) from None


def _check_trust(path: Path, found: os.stat_result) -> None:
    """Raises ConfigError where somebody else could say what we do, and to whom we tell it."""
    if not stat.S_ISREG(found.st_mode):
        raise _refused(path, "is not a file", "a TOML file")
    if found.st_size > MOST_BYTES:
        raise _refused(path, f"has {found.st_size} bytes", f"a file of at most {MOST_BYTES} bytes")
    if found.st_uid not in (os.getuid(), 0):
        raise _refused(path, f"belongs to uid {found.st_uid}", "a file of yours or of root's")
    if found.st_mode & 0o022:
        mode = f"{stat.S_IMODE(found.st_mode):04o}"
        remedy = f"one that only you can write; run: chmod go-w {path}"
        raise _refused(path, f"can be written by others (mode {mode})", remedy)
    if path.parent.stat().st_mode & (0o002 | stat.S_ISVTX) == 0o002:
        remedy = f"a folder that only you can write; run: chmod o-w {path.parent}"
        raise _refused(path, "is in a folder that everybody can write", remedy)


def _refused(path: Path, seen: str, wanted: str, line: int | None = None) -> ConfigError:
    problem = Problem(source=str(path), key=None, line=line, seen=seen, wanted=wanted)
    return ConfigError((problem,))
