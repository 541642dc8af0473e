"""What can be configured: every section and key, what it means, its form and its default.

The one place that documents them: `scheduler config check` and docs/config.md are made from it.
How a file becomes these values is in ``config``. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal, NamedTuple, get_args

import msgspec

from scheduler.machine.config.forms import (
    CLOCK,
    DAYS_FORM,
    DURATION,
    FLAG,
    HOURS,
    KEY,
    PERCENT,
    PROGRAMS,
    SIZE,
    URLS,
    choice,
    count,
    words,
)
from scheduler.machine.config.keys import Key
from scheduler.machine.config.strategies import BudgetSettings, PruningSettings, RangesSettings
from scheduler.machine.config.written import Hours
from scheduler.strategies.asked import SUBJECTS, Subject

#: What can be told by notifications; see ``notify.event_of``.
EVENTS = (
    "run started",
    "run finished",
    "run failed",
    "run halted",
    "run cancelled",
    "run interrupted",
    "best",
    "trial failed",
    "trial put back",
    "change",
    "device out of service",
    "device in service",
)
TOLD = tuple(
    name
    for name in EVENTS
    if name not in {"run started", "run interrupted", "trial failed", "trial put back"}
)


_field = msgspec.field


class RunSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What `scheduler run` and `scheduler submit` do where their flags say nothing."""

    promise_bytes: Annotated[
        int | None,
        Key(
            SIZE,
            "What a trial is promised until its peak is known. A device's own number goes first.",
            '"6GiB"',
            "6GiB on a GPU, 1GiB on host RAM",
        ),
    ] = _field(default=None, name="memory_per_trial")
    reserve_bytes: Annotated[
        int | None,
        Key(
            SIZE,
            "Kept free on each device for everybody else. A device's own number goes first.",
            '"2GiB"',
            "10 %, on a GPU at least 512MiB",
        ),
    ] = _field(default=None, name="reserve")
    max_attempts: Annotated[
        int | None,
        Key(
            count(1),
            "At most so many trials of a run at once. As the flag does, it overrules the devices'"
            " `max_trials`.",
            "3",
            "memory decides",
        ),
    ] = _field(default=None, name="max_trials")
    start: Annotated[
        Literal["auto", "fork", "re-run"],
        Key(
            choice("auto", "fork", "re-run"),
            "How a trial's process comes to be; auto: forked where that is safe.",
            '"auto"',
        ),
    ] = "auto"
    containment: Annotated[bool, Key(FLAG, "Cap a trial a tenth above its promise.", "true")] = True
    overrun_share: Annotated[
        float,
        Key(
            PERCENT,
            "So many trials may need more than they are promised; they come back with a larger"
            " promise. Less wastes memory, more wastes time.",
            '"2%"',
        ),
    ] = _field(default=0.02, name="overrun")
    fixed: Annotated[
        tuple[Subject, ...],
        Key(words(*SUBJECTS), "What is never changed by itself.", '["pruning"]'),
    ] = _field(default=(), name="no_rollback")


class DeviceSettings(msgspec.Struct, frozen=True, kw_only=True):
    """One device, named by the key that `scheduler devices` shows: a PCI address, or `host`."""

    promise_bytes: Annotated[
        int | None,
        Key(SIZE, "What a trial is promised on this device.", '"5GiB"', "as in [run]"),
    ] = _field(default=None, name="memory_per_trial")
    reserve_bytes: Annotated[
        int | None, Key(SIZE, "Kept free on this device.", '"1GiB"', "as in [run]")
    ] = _field(default=None, name="reserve")
    max_attempts: Annotated[
        int | None,
        Key(
            count(1),
            "At most so many trials at once on this device, unless a run has a number of its own.",
            "2",
            "memory decides; on host RAM one a core too",
        ),
    ] = _field(default=None, name="max_trials")
    use: Annotated[
        bool | Literal["on request"] | None,
        Key(
            choice(True, False, "on request"),
            'true: for all runs; "on request": only for runs that name it; false: never.',
            '"on request"',
            "as `scheduler devices` shows it",
        ),
    ] = None


class QueueSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The queue of submitted runs."""

    runs_at_once: Annotated[
        int, Key(count(1, 64), "At most so many runs have their script running at once.", "4")
    ] = 4


class AttemptSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The processes that run trials, and how they leave the desktop responsive."""

    nice: Annotated[int, Key(count(0, 19), "CPU niceness; 19 yields to everything else.", "10")] = (
        10
    )
    io: Annotated[
        Literal["idle", "best-effort", "none"],
        Key(
            choice("idle", "best-effort", "none"),
            "Class of disk access; idle: only when nobody else reads or writes; best-effort: the"
            " lowest level of the usual class; none: as it was inherited.",
            '"idle"',
        ),
    ] = "best-effort"
    stop_grace_s: Annotated[
        float,
        Key(
            DURATION,
            "How long a trial that has to stop has after SIGTERM, to write a checkpoint.",
            '"30s"',
        ),
    ] = _field(default=30.0, name="stop_grace")
    threads: Annotated[
        int | None,
        Key(
            count(1, 1024),
            "CPU threads of a trial's process. What the script or OMP_NUM_THREADS says goes first.",
            "2",
            "the cores are shared out",
        ),
    ] = None


class NeighbourSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Who goes first on this machine."""

    exclusive: Annotated[
        tuple[str, ...],
        Key(
            PROGRAMS,
            "While one of these programs runs, the devices are emptied for it: trials are stopped"
            " and come back when it has ended. A name without a slash is compared with the"
            " program's name, with one it is the whole path.",
            '["steam", "blender"]',
        ),
    ] = ()


class WindowSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Hours in which less may be used, one table each. Where several hold, the least counts."""

    days: Annotated[
        tuple[int, ...],
        Key(
            DAYS_FORM,
            "On which days it begins.",
            '"mon-fri"',
        ),
    ] = tuple(range(7))
    hours: Annotated[
        Hours,
        Key(
            HOURS,
            "From when to when, by the local clock. Past midnight it belongs to the day on which"
            " it began.",
            '"09:00-18:00"',
        ),
    ] = Hours(0, 24 * 60)
    max_attempts: Annotated[
        int | None,
        Key(
            count(0),
            "At most so many trials at once on a device; 0: nothing new starts.",
            "1",
            "no limit of its own",
        ),
    ] = _field(default=None, name="max_trials")
    reserve_bytes: Annotated[
        int | None, Key(SIZE, "At least this is kept free.", '"8GiB"', "as at other times")
    ] = _field(default=None, name="reserve")
    device: Annotated[
        str | None,
        Key(KEY, "Only for this device, by its key.", '"0000:03:00.0"', "all devices"),
    ] = None
    stop: Annotated[
        bool,
        Key(
            FLAG,
            "What is beyond the limit when it begins: true: it is stopped and comes back later;"
            " false: it may finish.",
            "true",
        ),
    ] = False


class NotifySettings(msgspec.Struct, frozen=True, kw_only=True):
    """Messages to your phone or chat. They need the extra: pip install '.[notify]'."""

    urls: Annotated[
        tuple[str, ...],
        Key(
            URLS,
            "Where to, as apprise URLs (https://github.com/caronc/apprise/wiki); a Discord web"
            " hook's address is one. They hold secrets: chmod 600 the file.",
            '["discord://ID/TOKEN"]',
        ),
    ] = ()
    events: Annotated[tuple[str, ...], Key(words(*EVENTS), "What is told.", '["run failed"]')] = (
        TOLD
    )
    digest_min: Annotated[
        int | None,
        Key(
            CLOCK,
            'When a summary of the last day is sent, by the local clock; "off": never. A day on'
            " which nothing happened has none.",
            '"08:00"',
        ),
    ] = _field(default=8 * 60, name="digest")


class ApiSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The control API beside its unix socket."""

    port: Annotated[
        int | None,
        Key(
            count(1024, 65535),
            "Listen on this port of 127.0.0.1 too; callers need the token.",
            "8123",
            "the unix socket only",
        ),
    ] = None


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """All that can be configured, with the defaults where nothing is."""

    run: RunSettings = RunSettings()
    devices: dict[str, DeviceSettings] = {}
    queue: QueueSettings = QueueSettings()
    attempts: AttemptSettings = AttemptSettings()
    neighbours: NeighbourSettings = NeighbourSettings()
    windows: tuple[WindowSettings, ...] = ()
    notify: NotifySettings = NotifySettings()
    api: ApiSettings = ApiSettings()
    pruning: PruningSettings = PruningSettings()
    ranges: RangesSettings = RangesSettings()
    budget: BudgetSettings = BudgetSettings()


#: Sections by name. Of "devices" there is one for each device, of "windows" as many as are wanted.
SECTIONS: dict[str, type[msgspec.Struct]] = {
    "run": RunSettings,
    "devices": DeviceSettings,
    "queue": QueueSettings,
    "attempts": AttemptSettings,
    "neighbours": NeighbourSettings,
    "windows": WindowSettings,
    "notify": NotifySettings,
    "api": ApiSettings,
    "pruning": PruningSettings,
    "ranges": RangesSettings,
    "budget": BudgetSettings,
}
MANY = frozenset({"devices", "windows"})


class Described(NamedTuple):
    """One key of a section as it is read: the key's name, and the attribute it becomes."""

    name: str
    attribute: str
    key: Key
    default: Any

    def write(self, value: Any) -> Any:
        """*value* as TOML would hold it, without what is secret; None: not set."""
        return None if value is None and self.key.unset else self.key.form.write(value)


def keys_of(section: type[msgspec.Struct]) -> Iterator[Described]:
    """In the order of the file."""
    for field in msgspec.structs.fields(section):
        key = get_args(field.type)[1]
        made = field.default_factory
        default = field.default if made is msgspec.NODEFAULT else made()
        yield Described(field.encode_name, field.name, key, default)


def variable(section: str, name: str) -> str:
    """The environment variable of a key."""
    return f"SCHEDULER_{section}_{name}".upper()
