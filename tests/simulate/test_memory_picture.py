from __future__ import annotations

from xml.etree import ElementTree

import pytest

from scheduler.simulate.outcome import play
from scheduler.simulate.picture import picture
from scheduler.simulate.workload import CardSpec, Job, Workload

GIB = 1 << 30
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def drawing() -> ElementTree.Element:
    """Two cards; one trial of eight does not fit anywhere."""
    card = CardSpec(total_bytes=8 * GIB, promise_bytes=3 * GIB, strangers=((0.0, GIB),))
    jobs = [Job(peak_bytes=(20 if n == 2 else 2) * GIB, duration_s=60) for n in range(8)]
    workload = Workload(cards=(card, card), trials=tuple(jobs))
    given = iter(workload.jobs(8, 0))
    cards = [one.card(number) for number, one in enumerate(workload.cards)]
    outcome = play(cards, workload.run(), lambda: next(given), 8, traced=True)
    text = picture(outcome, "a <workload> & what it took")
    assert len(text) < 20_000
    return ElementTree.fromstring(text)


def test_it_is_whole_and_says_what_it_shows(drawing):
    assert drawing.tag == f"{SVG}svg"
    assert drawing.find(f"{SVG}title").text == "a <workload> & what it took"
    said = [one.text for one in drawing.iter(f"{SVG}text")]
    assert "card0, 8 GiB" in said
    assert "card1, 8 GiB" in said
    assert not [
        one for one in drawing.iter() if "href" in str(one.attrib) or "url(" in (one.text or "")
    ]


def test_each_attempt_is_an_area_inside_its_panel_and_each_trial_a_colour(drawing):
    areas = [one for one in drawing.iter(f"{SVG}path") if one.get("class") == "t"]
    trials = {one.find(f"{SVG}title").text.split(".")[0] for one in areas}
    assert len(trials) == len({one.get("fill") for one in areas}) == 8
    for area in areas:
        numbers = [float(n) for n in area.get("d")[1:-1].replace("L", " ").split()]
        assert all(64 <= x <= 944 for x in numbers[::2])
        assert all(46 <= y <= 460 for y in numbers[1::2])


def test_ends_for_want_of_memory_are_marked(drawing):
    assert [one for one in drawing.iter(f"{SVG}path") if one.get("class") == "oom"]
