"""Which windows are in force, over midnight and where the clock is put forward and back."""

from __future__ import annotations

import datetime
import itertools
import threading
from datetime import UTC, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.core.model import Rule
from scheduler.machine.config.settings import Config, NeighbourSettings, WindowSettings
from scheduler.machine.config.written import Hours, parse_days, parse_hours
from scheduler.machine.windows import (
    Edges,
    edge_triggers,
    in_force,
    instant,
    local_zone,
    rules_in_force,
    span,
)

BERLIN = ZoneInfo("Europe/Berlin")
LORD_HOWE = ZoneInfo("Australia/Lord_Howe")  # half an hour: +10:30 and +11
APIA = ZoneInfo("Pacific/Apia")  # had no 30 December 2011
SPRING, AUTUMN = datetime.date(2026, 3, 29), datetime.date(2026, 10, 25)  # Sundays, in Berlin


def window(days: str, hours: str, **more: object) -> WindowSettings:
    limits = {"max_attempts": 1} | more
    return WindowSettings(days=parse_days(days), hours=parse_hours(hours), **limits)  # type: ignore[arg-type]


def holds(one: WindowSettings, text: str, zone: ZoneInfo = BERLIN, fold: int = 0) -> bool:
    at = datetime.datetime.fromisoformat(text).replace(tzinfo=zone, fold=fold)
    return in_force([one], at) == (one,)


def stretches(one: WindowSettings, day: datetime.date, zone: ZoneInfo) -> list[str]:
    """When it is in force on a day, minute by minute in UTC, as the local clock shows it."""
    begin = instant(day, 0, zone, last=False)
    end = instant(day, 24 * 60, zone, last=False)
    minutes = [begin + timedelta(minutes=n) for n in range((end - begin) // timedelta(minutes=1))]
    found = []
    for held, group in itertools.groupby(
        minutes, lambda at: bool(in_force([one], at.astimezone(zone)))
    ):
        if held:
            whole = list(group)
            first, last = whole[0], whole[-1] + timedelta(minutes=1)
            texts = (at.astimezone(zone).strftime("%H:%M%z") for at in (first, last))
            found.append(" to ".join(texts))
    return found


def test_a_window_holds_from_its_first_minute_to_its_last() -> None:
    office = window("mon-fri", "09:00-18:00")
    assert not holds(office, "2026-11-23 08:59:59")
    assert holds(office, "2026-11-23 09:00:00")
    assert holds(office, "2026-11-23 17:59:59")
    assert not holds(office, "2026-11-23 18:00:00")
    assert not holds(office, "2026-11-22 12:00:00"), "a Sunday"


def test_past_midnight_it_belongs_to_the_day_on_which_it_began() -> None:
    friday = window("fri", "22:00-06:00")
    assert not holds(friday, "2026-11-27 03:00"), "the night of Thursday"
    assert holds(friday, "2026-11-27 23:00")
    assert holds(friday, "2026-11-28 05:59")
    assert not holds(friday, "2026-11-28 06:00")
    assert not holds(friday, "2026-11-28 23:00")


def test_a_whole_day_has_no_gap_at_midnight() -> None:
    weekend = window("sat,sun", "00:00-24:00")
    assert stretches(weekend, datetime.date(2026, 11, 28), BERLIN) == ["00:00+0100 to 00:00+0100"]
    assert not holds(weekend, "2026-11-27 23:59:59")
    assert holds(weekend, "2026-11-29 23:59:59")
    assert not holds(weekend, "2026-11-30 00:00")


@pytest.mark.parametrize(
    ("hours", "held"),
    [
        ("02:30-04:00", ["03:00+0200 to 04:00+0200"]),  # it begins with the jump
        ("01:00-02:30", ["01:00+0100 to 03:00+0200"]),  # and ends with it
        ("02:10-02:50", []),  # a time that does not exist
        ("01:30-03:30", ["01:30+0100 to 03:30+0200"]),
    ],
)
def test_in_spring_an_hour_does_not_exist(hours: str, held: list[str]) -> None:
    assert stretches(window("daily", hours), SPRING, BERLIN) == held


@pytest.mark.parametrize(
    ("hours", "held"),
    [
        ("02:30-04:00", ["02:30+0200 to 04:00+0100"]),  # one stretch, not two
        ("01:00-02:30", ["01:00+0200 to 02:30+0100"]),
        ("02:10-02:50", ["02:10+0200 to 02:50+0100"]),
        ("03:00-04:00", ["03:00+0100 to 04:00+0100"]),
    ],
)
def test_in_autumn_an_hour_comes_twice(hours: str, held: list[str]) -> None:
    assert stretches(window("daily", hours), AUTUMN, BERLIN) == held


def test_a_shift_of_half_an_hour() -> None:
    spring, autumn = datetime.date(2026, 10, 4), datetime.date(2026, 4, 5)
    one = window("daily", "01:45-02:15")
    assert stretches(one, spring, LORD_HOWE) == ["01:45+1030 to 02:30+1100"]
    assert stretches(one, autumn, LORD_HOWE) == ["01:45+1100 to 02:15+1030"]


def test_the_night_of_the_shift_keeps_its_clock_times() -> None:
    night = window("sat", "22:00-06:00")
    begin, end = span(night.hours, SPRING - timedelta(days=1), BERLIN)
    assert end - begin == timedelta(hours=7)
    begin, end = span(night.hours, AUTUMN - timedelta(days=1), BERLIN)
    assert end - begin == timedelta(hours=9)


@pytest.mark.parametrize("zone", [BERLIN, LORD_HOWE, APIA, ZoneInfo("America/Sao_Paulo"), UTC])
@given(
    day=st.dates(datetime.date(2011, 1, 1), datetime.date(2030, 1, 1)),
    hours=st.tuples(st.integers(0, 1439), st.integers(1, 1440)).filter(
        lambda one: one[0] != one[1]
    ),
)
def test_a_span_has_a_beginning_and_an_end_in_order(
    zone: datetime.tzinfo, day: datetime.date, hours: tuple[int, int]
) -> None:
    begin, end = span(Hours(*hours), day, zone)
    assert timedelta(0) <= end - begin <= timedelta(hours=26)
    shown = begin.astimezone(zone).replace(tzinfo=None)
    wanted = datetime.datetime.combine(day, datetime.time()) + timedelta(minutes=hours[0])
    assert shown >= wanted


def test_a_time_without_a_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="no time zone"):
        in_force([], datetime.datetime(2026, 1, 1))


def test_the_machines_zone_knows_the_time() -> None:
    now = datetime.datetime.now(UTC)
    assert now.astimezone(local_zone()).utcoffset() == now.astimezone().utcoffset()


def test_windows_and_programs_are_rules() -> None:
    config = Config(
        windows=(
            window("mon-fri", "09:00-18:00", reserve_bytes=8 << 30),
            window("daily", "18:00-22:00", stop=True),
            window("mon", "17:00-03:00", max_attempts=0, stop=True, device="0000:03:00.0"),
        ),
        neighbours=NeighbourSettings(exclusive=("steam", "blender")),
    )
    at = datetime.datetime(2026, 11, 23, 17, 30, tzinfo=BERLIN)
    assert rules_in_force(config, at, {"blender"}) == (
        Rule(
            source="window",
            max_attempts=1,
            reserve_bytes=8 << 30,
            because="the window mon-fri 09:00-18:00 (at most 1 at once, 8.0 GiB kept free)",
        ),
        Rule(
            source="window",
            device="0000:03:00.0",
            max_attempts=0,
            stops=True,
            because="the window mon 17:00-03:00 (at most 0 at once)",
        ),
        Rule(
            source="program",
            max_attempts=0,
            stops=True,
            because="blender runs, and has the devices to itself ([neighbours] exclusive)",
        ),
    )
    assert rules_in_force(Config(), at, {"blender"}) == ()


def test_edges_go_by_the_names_of_days() -> None:
    triggers = edge_triggers([window("sun", "22:00-06:00"), window("sun,mon", "00:00-24:00")])
    assert triggers == [
        {"day_of_week": "sun", "hour": 22, "minute": 0},
        {"day_of_week": "mon", "hour": 6, "minute": 0},
        {"day_of_week": "mon,sun", "hour": 0, "minute": 0},
        {"day_of_week": "mon,tue", "hour": 0, "minute": 0},
    ]


def test_the_next_edges_are_those_of_the_window() -> None:
    edges = Edges([window("wed", "22:00-06:00")], lambda: None, BERLIN)
    edges.start()
    try:
        found = sorted(at.strftime("%a %H:%M") for at in edges.next_wakes())
    finally:
        edges.stop()
    assert found == ["Thu 06:00", "Wed 22:00"]


def test_an_edge_wakes_and_no_thread_is_left() -> None:
    before = threading.enumerate()
    woken = threading.Event()
    edges = Edges([window("daily", "09:00-18:00")], woken.set, BERLIN)
    edges.start()
    assert edges._scheduler is not None
    for job in edges._scheduler.get_jobs():
        job.modify(next_run_time=datetime.datetime.now(UTC) - timedelta(hours=9))
    assert woken.wait(10), "an edge that was slept over wakes all the same"
    edges.stop()
    edges.stop()
    assert threading.enumerate() == before


def test_without_windows_nothing_is_started() -> None:
    before = threading.enumerate()
    edges = Edges([], lambda: None)
    edges.start()
    assert threading.enumerate() == before
    assert edges.next_wakes() == ()
    edges.stop()
