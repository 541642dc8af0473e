"""Capacity windows: which of them are in force, and a wake at their edges.

What is in force is computed from the clock each time that it is asked; nothing is remembered, so a
machine that slept over an edge, or whose clock was set, is right at its next poll. The edges only
wake the loop, so that it need not wait for that poll.
"""

from __future__ import annotations

import datetime
import logging
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import TYPE_CHECKING

from scheduler.core.model import Rule
from scheduler.machine.config.settings import Config, WindowSettings
from scheduler.machine.config.written import DAYS, Hours, write_days, write_hours
from scheduler.machine.sizes import format_size

if TYPE_CHECKING:
    from apscheduler.schedulers.background import BackgroundScheduler

_log = logging.getLogger(__name__)

_DAY_MIN = 24 * 60
_ONE_DAY = datetime.timedelta(days=1)


def local_zone() -> datetime.tzinfo:
    """The machine's time zone with its rules; as it stands now for ever, where they are not
    known."""
    from zoneinfo import ZoneInfoNotFoundError

    import tzlocal

    try:
        return tzlocal.get_localzone()
    except (ZoneInfoNotFoundError, OSError, ValueError, LookupError) as error:
        _log.warning("the local time zone is not known: %s", error)
        fixed = datetime.datetime.now().astimezone().tzinfo
        return datetime.UTC if fixed is None else fixed


def in_force(
    windows: Sequence[WindowSettings], at: datetime.datetime
) -> tuple[WindowSettings, ...]:
    """Those of *windows* that hold at *at*, which knows its zone, in their order. Pure."""
    if at.tzinfo is None:
        raise ValueError(f"{at} has no time zone")
    return tuple(window for window in windows if _holds(window, at, at.tzinfo))


def _holds(window: WindowSettings, at: datetime.datetime, zone: datetime.tzinfo) -> bool:
    # In one zone datetimes are compared by what the clock shows, which may be shown twice.
    now = at.astimezone(datetime.UTC)
    for day in (at.date() - _ONE_DAY, at.date()):
        if day.weekday() not in window.days:
            continue
        begin, end = span(window.hours, day, zone)
        if begin <= now < end:
            return True
    return False


def span(
    hours: Hours, day: datetime.date, zone: datetime.tzinfo
) -> tuple[datetime.datetime, datetime.datetime]:
    """When *hours* begin on *day*, and when they end, in UTC.

    Where the clock shows the beginning twice, the first counts, of an end the second: a window is
    one stretch. A time that the clock leaves out is the moment of the jump.
    """
    length_min = (hours.ends_min - hours.begins_min - 1) % _DAY_MIN + 1
    begin = instant(day, hours.begins_min, zone, last=False)
    return begin, instant(day, hours.begins_min + length_min, zone, last=True)


def instant(
    day: datetime.date, minutes: int, zone: datetime.tzinfo, *, last: bool
) -> datetime.datetime:
    """When the clock of *zone* shows *minutes* after *day*'s midnight (more than a day's too)."""
    wall = datetime.datetime.combine(day, datetime.time()) + datetime.timedelta(minutes=minutes)
    first = wall.replace(tzinfo=zone, fold=0).astimezone(datetime.UTC)
    second = wall.replace(tzinfo=zone, fold=1).astimezone(datetime.UTC)
    if first <= second:  # shown once or twice (PEP 495)
        return second if last else first
    # Left out: with fold 0 it is counted from before the jump, so it is after it, and the other
    # way round.
    return _first_at_least(wall, second, first, zone)


def _first_at_least(
    wall: datetime.datetime,
    early: datetime.datetime,
    late: datetime.datetime,
    zone: datetime.tzinfo,
) -> datetime.datetime:
    """The first second after *early*, by *late*, at which the clock shows *wall* or more."""
    while (late - early).total_seconds() > 1:
        middle = early + datetime.timedelta(seconds=int((late - early).total_seconds()) // 2)
        if middle.astimezone(zone).replace(tzinfo=None) >= wall:
            late = middle
        else:
            early = middle
    return late


def rules_in_force(
    config: Config, at: datetime.datetime, running: Collection[str]
) -> tuple[Rule, ...]:
    """What windows and exclusive programs want now. *running*: names of [neighbours] exclusive
    that are seen to run. Pure."""
    windows = (_window_rule(window) for window in in_force(config.windows, at))
    names = (name for name in config.neighbours.exclusive if name in running)
    return (*windows, *(_program_rule(name) for name in names))


def _window_rule(window: WindowSettings) -> Rule:
    return Rule(
        source="window",
        device=window.device,
        max_attempts=window.max_attempts,
        reserve_bytes=window.reserve_bytes,
        stops=window.stop,
        because=f"the window {write_days(window.days)} {write_hours(window.hours)}"
        f" ({', '.join(_limits(window))})",
    )


def _limits(window: WindowSettings) -> Iterable[str]:
    if window.max_attempts is not None:
        yield f"at most {window.max_attempts} at once"
    if window.reserve_bytes is not None:
        yield f"{format_size(window.reserve_bytes)} kept free"


def _program_rule(name: str) -> Rule:
    because = f"{name} runs, and has the devices to itself ([neighbours] exclusive)"
    return Rule(source="program", max_attempts=0, stops=True, because=because)


class Edges:
    """Calls *wake*, on a thread of its own, when a window begins or ends.

    Without windows it does nothing and imports nothing. Not for use in a process that forks.
    """

    def __init__(
        self,
        windows: Sequence[WindowSettings],
        wake: Callable[[], None],
        zone: datetime.tzinfo | None = None,
    ) -> None:
        self._windows = windows
        self._wake = wake
        self._zone = zone
        self._scheduler: BackgroundScheduler | None = None

    def start(self) -> None:
        """Once."""
        if not self._windows:
            return
        from apscheduler.executors.debug import DebugExecutor
        from apscheduler.schedulers.background import BackgroundScheduler

        self._scheduler = BackgroundScheduler(
            timezone=self._zone or local_zone(),
            # A wake is short: it needs no pool of threads beside the scheduler's own.
            executors={"default": DebugExecutor()},
            # After a sleep over many edges one wake, however late, says all there is to say.
            job_defaults={"coalesce": True, "misfire_grace_time": None, "max_instances": 1},
        )
        for trigger in edge_triggers(self._windows):
            self._scheduler.add_job(self._wake, "cron", **trigger)
        self._scheduler.start()

    def next_wakes(self) -> tuple[datetime.datetime, ...]:
        """The next time of each edge, soonest first."""
        if self._scheduler is None:
            return ()
        return tuple(job.next_run_time for job in self._scheduler.get_jobs())

    def stop(self) -> None:
        """Returns when its thread has ended; does nothing where there is none."""
        if self._scheduler is not None:
            self._scheduler.shutdown()
            self._scheduler = None


def edge_triggers(windows: Sequence[WindowSettings]) -> list[dict[str, str | int]]:
    """Cron fields of all edges, without those that are twice. Pure.

    Days go by their names: to APScheduler 0 is Monday, to cron it is Sunday.
    """
    found: dict[tuple[str, int], dict[str, str | int]] = {}
    for window in windows:
        hours = window.hours
        begin, length = hours.begins_min, (hours.ends_min - hours.begins_min - 1) % _DAY_MIN + 1
        for minutes in (begin, begin + length):
            days = sorted({(day + minutes // _DAY_MIN) % 7 for day in window.days})
            names, minute = ",".join(DAYS[day] for day in days), minutes % _DAY_MIN
            fields: dict[str, str | int] = {"day_of_week": names}
            fields |= {"hour": minute // 60, "minute": minute % 60}
            found[names, minute] = fields
    return list(found.values())
