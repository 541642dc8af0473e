"""What the configuration says of runs and devices where flags say nothing."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from probes.reading import Device, LeftOut
from scheduler.core.model import Budget, Run
from scheduler.machine.budgets import Here, budget_for
from scheduler.machine.config.defaults import budgets_with, here_with, not_here, run_defaults
from scheduler.machine.config.settings import Config, DeviceSettings, RunSettings, WindowSettings

GIB = 1 << 30
CARD = "0000:03:00.0"


def budget(key: str = CARD, total_gib: int = 16, **more: Any) -> Budget:
    kind = "host" if key == "host" else "amd"
    device = Device(key=key, kind=kind, name="", total_bytes=total_gib * GIB, source="", because="")
    return budget_for(device, 8, **more)


def test_without_a_word_nothing_changes() -> None:
    run, devices = Run(id="a", max_attempts=2), (budget(), budget("host", 32, on_request=True))
    assert run_defaults(Config(), run) == run
    assert budgets_with(Config(), devices) == devices


def test_flags_go_before_the_file_and_the_file_before_the_defaults() -> None:
    config = Config(run=RunSettings(max_attempts=3, containment=False))
    assert run_defaults(config, Run(id="a")) == Run(id="a", max_attempts=3, contain=False)
    assert run_defaults(config, Run(id="a", max_attempts=1)).max_attempts == 1
    assert run_defaults(Config(), Run(id="a", contain=False)).contain is False


def test_a_device_goes_before_the_runs_section() -> None:
    config = Config(
        run=RunSettings(promise_bytes=7 * GIB, reserve_bytes=2 * GIB),
        devices={CARD: DeviceSettings(promise_bytes=5 * GIB, max_attempts=2)},
    )
    card, host = budgets_with(config, [budget(), budget("host", 32)])
    assert (card.promise_bytes, card.reserve_bytes, card.max_attempts) == (5 * GIB, 2 * GIB, 2)
    assert (host.promise_bytes, host.reserve_bytes, host.max_attempts) == (7 * GIB, 2 * GIB, 8)


def test_a_large_reserve_makes_the_default_promise_smaller() -> None:
    config = Config(devices={CARD: DeviceSettings(reserve_bytes=12 * GIB)})
    (card,) = budgets_with(config, [budget()])
    assert card.promise_bytes == 3 * GIB


def test_a_promise_that_was_asked_for_is_not_made_smaller() -> None:
    config = Config(devices={CARD: DeviceSettings(promise_bytes=15 * GIB)})
    assert budgets_with(config, [budget()])[0].promise_bytes == 15 * GIB


@pytest.mark.parametrize(
    ("use", "on_request"), [(True, False), ("on request", True), (None, True), (False, None)]
)
def test_use(use: Any, on_request: bool | None) -> None:
    config = Config(devices={"host": DeviceSettings(use=use)})
    found = budgets_with(config, [budget(), budget("host", on_request=True)])
    assert [one.on_request for one in found[1:]] == ([] if on_request is None else [on_request])


def here() -> Here:
    budgets = (budget(), budget("host", 32, on_request=True))
    left_out = (LeftOut(key="host", name="RAM", because="GPUs are used"),)
    return Here(budgets, (("card's source",), ("RAM's source",)), left_out, ())  # type: ignore[arg-type]


def test_sources_stay_beside_their_devices() -> None:
    config = Config(devices={CARD: DeviceSettings(use=False), "host": DeviceSettings(use=True)})
    found = here_with(config, here())
    assert [one.device.key for one in found.budgets] == ["host"]
    assert found.sources == (("RAM's source",),)
    (left_out,) = found.left_out
    assert (left_out.key, left_out.because) == (CARD, "the configuration says use = false")


def test_on_request_only_is_left_out_with_the_reason() -> None:
    config = Config(devices={CARD: DeviceSettings(use="on request")})
    found = here_with(config, here())
    assert len(found.sources) == len(found.budgets) == 2
    assert [one.key for one in found.left_out] == ["host", CARD]
    assert here_with(Config(), here()) == here()


def test_devices_that_are_not_here_are_named() -> None:
    window = WindowSettings(device="0000:0b:00.0", max_attempts=1)
    config = Config(devices={CARD: DeviceSettings()}, windows=(window,))
    assert not_here(config, [CARD, "host"]) == ["0000:0b:00.0"]
    assert not_here(msgspec.structs.replace(config, windows=()), [CARD]) == []
