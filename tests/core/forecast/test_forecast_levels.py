"""What a forecaster says as it comes to know more, and as what it knows stops to be true."""

from __future__ import annotations

import random
import subprocess
import sys
from statistics import median

import msgspec
import pytest
from trainings import GB, params, peak, told, trials

from scheduler.core.forecast import Forecaster, Observation
from scheduler.core.forecast.observation import LENT, LENT_OF_FEW

BIG = {"batch": 256, "width": 1024, "optimizer": "adam", "lr": 1e-3}
SMALL = {"batch": 16, "width": 64, "optimizer": "sgd", "lr": 1e-3}


def alike(count: int, size: int = 2 * GB) -> list[Observation]:
    chance = random.Random(0)
    return [
        Observation(params={"lr": chance.random()}, bytes=int(size * chance.gauss(1, 0.02)))
        for _ in range(count)
    ]


def test_nothing_known_is_no_forecast():
    assert Forecaster(promise_bytes=6 * GB).forecast(BIG) is None
    assert Forecaster(promise_bytes=None).forecast(None) is None


def test_a_given_promise_fades_with_the_first_peaks():
    promises = []
    for count in (1, 4, 7, 8):
        said = told(*alike(count), promise_bytes=6 * GB).forecast(None)
        assert said is not None
        promises.append((said.level, said.bytes))
    assert [level for level, _ in promises] == ["promise", "promise", "promise", "quantile"]
    sizes = [size for _, size in promises]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[2] > 3 * GB
    assert sizes[3] < 2.5 * GB


def test_the_first_peaks_are_no_reason_to_go_beyond_the_given_promise():
    """Of 5.5 GB each, more of which fit at once with 6 than with 8.25."""
    for count in range(1, 8):
        said = told(*alike(count, int(5.5 * GB)), promise_bytes=6 * GB).forecast(None)
        assert said is not None
        assert 5.5 * GB < said.bytes <= 6 * GB
    out = Observation(params={}, bytes=6 * GB, ran_out=True)
    said = told(*alike(3, 5 * GB), out, promise_bytes=6 * GB).forecast(None)
    assert said is not None
    assert said.bytes > 6 * GB


def test_a_peak_above_the_given_promise_is_believed_at_once():
    said = told(*alike(1, 8 * GB), promise_bytes=6 * GB).forecast(None)
    assert said is not None
    assert said.bytes > 8 * GB
    assert said.doubtful


def test_parameters_decide_once_they_forecast_better():
    forecaster = told(*trials(1, 40))
    assert forecaster.needs_params
    big, small = forecaster.forecast(BIG), forecaster.forecast(SMALL)
    assert big is not None
    assert small is not None
    assert big.level == "model"
    assert 1.3 * GB < small.bytes < 1.8 * GB
    assert 8 * GB < big.expected_bytes < big.bytes < 11 * GB


def test_parameters_not_known_yet_are_promised_the_quantile():
    said = told(*trials(1, 40)).forecast(None)
    assert said is not None
    assert said.level == "quantile"


def test_parameters_that_do_nothing_are_not_asked_for():
    forecaster = told(*alike(60))
    assert not forecaster.needs_params
    said = forecaster.forecast({"lr": 0.5})
    assert said is not None
    assert said.level == "quantile"
    assert 1.02 * 2 * GB < said.bytes < 1.08 * 2 * GB


def test_promises_hold_and_are_close():
    ratios, chance = [], random.Random(9)
    for seed in range(3):
        forecaster = told(*trials(seed, 50))
        for _ in range(100):
            drawn = params(chance)
            said = forecaster.forecast(drawn)
            assert said is not None
            ratios.append(said.bytes / peak(drawn, chance))
    assert sum(one >= 1 for one in ratios) / len(ratios) >= 0.98
    assert median(ratios) < 1.12


def test_a_category_never_seen_is_doubtful_and_gets_the_quantile():
    forecaster = told(*trials(1, 40))
    usual, odd = forecaster.forecast(SMALL), forecaster.forecast({**SMALL, "optimizer": "lion"})
    flat = forecaster.forecast(None)
    assert usual is not None
    assert odd is not None
    assert flat is not None
    assert (usual.doubtful, odd.doubtful) == (False, True)
    assert odd.bytes >= flat.bytes


@pytest.mark.parametrize("strange", [{"batch": 4096}, {"batch": 0}, {"batch": "all"}, {"new": 1}])
def test_what_lies_outside_is_doubtful(strange):
    said = told(*trials(1, 40)).forecast({**SMALL, **strange})
    assert said is not None
    assert said.doubtful


def test_parameters_that_are_there_only_sometimes():
    chance, seen = random.Random(4), []
    for _ in range(40):
        plain = chance.random() < 0.5
        heads = chance.choice((4, 8, 16))
        drawn = {"attention": "plain", "heads": heads} if plain else {"attention": "flash"}
        seen.append(Observation(params=drawn, bytes=(2 + heads * plain // 4) * GB + len(seen)))
    forecaster = told(*seen)
    small, big = (
        forecaster.forecast(one)
        for one in ({"attention": "flash"}, {"attention": "plain", "heads": 16})
    )
    assert small is not None
    assert big is not None
    assert 2 * GB <= small.bytes < 2.5 * GB
    assert 6 * GB <= big.bytes < 7 * GB


def test_bounds_teach_that_big_ones_do_not_fit():
    """Nothing above 5 GB was ever measured; what is told is that it ran out there."""
    seen = []
    for one in trials(2, 60):
        out = one.bytes > 5 * GB
        bound = Observation(params=one.params, bytes=min(one.bytes, 5 * GB), ran_out=out)
        seen += [bound] * (3 if out else 1)
    forecaster = told(*seen)
    big, small = forecaster.forecast(BIG), forecaster.forecast(SMALL)
    assert big is not None
    assert small is not None
    assert big.is_hopeless(5 * GB)
    assert not small.is_hopeless(5 * GB)
    assert small.bytes < 2 * GB
    assert forecaster.belief().ran_out > 0


def test_bounds_bend_what_the_peaks_alone_would_say():
    """From a batch of 256 on another kernel is used: no peak was ever seen of it."""
    seen = []
    for one in trials(2, 60):
        out = one.params["batch"] == 256
        size = 9 * GB if out else one.bytes
        seen.append(Observation(params=one.params, bytes=size, ran_out=out))
    bent, plain = (told(*some) for some in (seen, [one for one in seen if not one.ran_out]))
    high, low = (one.forecast({**SMALL, "batch": 256, "lr": 2e-4}) for one in (bent, plain))
    assert high is not None
    assert low is not None
    assert low.expected_bytes < 2 * GB
    assert high.expected_bytes > 5 * GB


def test_little_known_is_no_reason_to_refuse():
    said = told(*list(trials(1, 5))).forecast(BIG)
    assert said is not None
    assert not said.is_hopeless(GB)


def test_what_only_its_margin_makes_too_big_is_promised_what_it_most_likely_needs():
    said = told(*trials(1, 40)).forecast(BIG)
    assert said is not None
    needs, wants = said.expected_bytes, said.promise_bytes
    assert said.within(wants) == wants
    assert said.within(wants - 1) == min(int(1.05 * needs), wants - 1)
    assert said.within(needs) == needs
    assert said.within(needs - 1) == wants


def test_the_first_few_are_promised_the_most_that_one_has_needed():
    """What is beyond the largest of seven nobody knows, and a guess at it leaves memory idle."""
    sizes = [3 * GB, 9 * GB, 5 * GB, 4 * GB, 7 * GB, 6 * GB, 8 * GB, 2 * GB]
    peaks = [Observation(params={}, bytes=size) for size in sizes]
    few = told(*peaks[:-1]).forecast(None)
    assert few is not None
    assert (few.bytes, few.promise_bytes, few.doubtful) == (9 * GB, 9 * GB, True)
    more = told(*peaks).forecast(None)
    assert more is not None
    assert more.bytes > 9 * GB


def test_the_last_part_of_the_margin_is_lent_by_the_reserve():
    """Never below what is expected, nor below what one has needed. What many have shown is lent
    nothing of."""
    by_model = told(*trials(1, 40)).forecast(BIG)
    assert by_model is not None
    assert by_model.level == "model"
    lent = int(by_model.bytes / LENT)
    assert by_model.promise_bytes == max(lent, by_model.expected_bytes) < by_model.bytes
    few, many = told(*trials(1, 8)).forecast(None), told(*trials(1, 100)).forecast(None)
    assert few is not None
    assert many is not None
    assert few.level == many.level == "quantile"
    assert few.needed_bytes <= few.promise_bytes < few.bytes
    assert few.promise_bytes >= int(few.bytes / LENT_OF_FEW)
    assert many.promise_bytes == many.bytes


def test_one_in_25_needs_twice_as_much_and_no_promise_is_absurd():
    """What is 30 spreads off there would be thousands of GB where the spread is wide."""
    seen = [
        msgspec.structs.replace(one, bytes=one.bytes * (2 if number % 25 == 24 else 1))
        for number, one in enumerate(trials(3, 120))
    ]
    forecaster, ratios, chance = told(*seen), [], random.Random(8)
    for _ in range(60):
        said = forecaster.forecast(params(chance))
        assert said is not None
        ratios.append(said.bytes / said.expected_bytes)
    assert max(ratios) < 3


def test_more_data_half_way_is_noticed_and_learned():
    forecaster = told(*trials(1, 60), *trials(2, 12, times=1.5))
    belief = forecaster.belief()
    assert len(belief.drifts) == 1
    assert "1.5" in belief.drifts[0] or "1.4" in belief.drifts[0]
    chance, held = random.Random(5), 0
    for _ in range(50):
        drawn = params(chance)
        said = forecaster.forecast(drawn)
        assert said is not None
        need = 1.5 * peak(drawn, chance)
        held += said.bytes >= need
        assert said.bytes < 1.6 * need
    assert held >= 48


def test_noise_is_no_drift():
    assert told(*trials(0, 120)).belief().drifts == ()


def test_another_version_is_doubted_until_it_has_shown_the_same():
    old = list(trials(1, 60, version="a"))
    same, new = Forecaster(promise_bytes=None), Forecaster(promise_bytes=None, version="b")
    for one in old:
        same.add(one)
        new.add(one)
    before, after = same.forecast(BIG), new.forecast(BIG)
    assert before is not None
    assert after is not None
    assert after.bytes > 1.05 * before.bytes
    for one in trials(3, 20, version="b"):
        new.add(one)
    healed = new.forecast(BIG)
    assert healed is not None
    assert healed.bytes < 1.05 * before.bytes
    assert any("version" in one for one in new.belief().drifts)


def test_belief_names_what_drives_memory():
    belief = told(*trials(1, 80)).belief()
    shares = {one.name: one.share for one in belief.drivers}
    assert set(list(shares)[:2]) == {"batch", "width"}
    assert shares["lr"] < 0.02
    assert belief.model_error is not None
    assert belief.quantile_error is not None
    assert belief.model_error < 0.03 < 0.1 < belief.quantile_error
    assert belief.coverage is not None
    assert belief.coverage > 0.9
    assert belief.count == 80


def test_only_who_forecasts_needs_numpy():
    """The supervisor stays small, and so does a command that reads observations."""
    code = "import sys, scheduler.core.core, scheduler.daemon, scheduler.interfaces.cli;"
    code += "from scheduler.core.forecast import Observation; sys.exit('numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
