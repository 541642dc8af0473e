"""Which parameters a trial is likely to suggest."""

from __future__ import annotations

from typing import Any

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from scheduler.study.forecasting.space import ALIKE, Space, space_of

OPTIMIZERS = CategoricalDistribution(["adam", "sgd"])
DISTRIBUTIONS: dict[str, BaseDistribution] = {
    "opt": OPTIMIZERS,
    "momentum": FloatDistribution(0, 1),
    "layers": IntDistribution(1, 3),
    "units_1": IntDistribution(8, 512),
    "units_2": IntDistribution(8, 512),
    "units_3": IntDistribution(8, 512),
}


def space(*trials: dict[str, Any]) -> Space:
    return space_of([(one, {name: DISTRIBUTIONS[name] for name in one}) for one in trials])


def sgd(n: int) -> dict[str, Any]:
    return {"momentum": 0.5, "opt": "sgd"} if n % 2 else {"opt": "adam"}


def test_what_all_trials_have_is_foretold_and_what_is_known_is_not() -> None:
    found = space({"opt": "sgd", "momentum": 0.5})
    assert list(found.foretold({})) == ["opt", "momentum"]
    assert list(found.foretold({"opt": "adam"})) == ["momentum"]


def test_a_parameter_that_no_trial_alike_had_is_left_out() -> None:
    found = space(*(sgd(n) for n in range(2 * ALIKE)))
    assert list(found.foretold({"opt": "adam"})) == []
    assert list(found.foretold({"opt": "sgd"})) == ["momentum"]


def test_too_few_trials_alike_say_nothing() -> None:
    found = space(*(sgd(n) for n in range(2 * ALIKE - 2)))
    assert list(found.foretold({"opt": "adam"})) == ["momentum"]


def test_as_many_units_as_there_are_layers() -> None:
    def net(layers: int) -> dict[str, Any]:
        return {"layers": layers} | {f"units_{n}": 8 for n in range(1, layers + 1)}

    found = space(*(net(1 + n % 3) for n in range(3 * ALIKE)))
    assert list(found.foretold({"layers": 2})) == ["units_1", "units_2"]


def test_what_decides_is_drawn_before_what_depends_on_it() -> None:
    """What is put into the known values meanwhile is heeded."""
    found, known, drawn = space(*(sgd(n) for n in range(2 * ALIKE))), {}, []
    for name in found.foretold(known):
        drawn.append(name)
        known[name] = "adam"
    assert drawn == ["opt"]


def test_the_newest_range_holds() -> None:
    old, new = FloatDistribution(0, 1), FloatDistribution(0, 2)
    found = space_of([({"x": 0.5}, {"x": old}), ({"x": 1.5}, {"x": new})])
    assert found.distributions == {"x": new}
