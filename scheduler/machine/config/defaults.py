"""What the configuration says where flags say nothing: of a run, and of the devices. Pure."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from probes.reading import LeftOut
from scheduler.core.model import Budget, Run
from scheduler.machine.budgets import Here
from scheduler.machine.config.settings import Config, DeviceSettings


def run_defaults(config: Config, run: Run) -> Run:
    """*run* with the file's word where its flags said nothing. Pure.

    Promise and reserve are the devices' affair (``budgets_with``): what stands in [devices] is
    nearer than what stands in [run].
    """
    wished = config.run.max_attempts if run.max_attempts is None else run.max_attempts
    contain = run.contain and config.run.containment
    return msgspec.structs.replace(run, max_attempts=wished, contain=contain)


class _Use(NamedTuple):
    budget: Budget
    settings: DeviceSettings


def budgets_with(config: Config, budgets: Sequence[Budget]) -> tuple[Budget, ...]:
    """*budgets*, in their order, with what [run] and [devices] say; without those that are never
    to be used. Pure."""
    both = [_Use(one, config.devices.get(one.device.key, DeviceSettings())) for one in budgets]
    return tuple(_budget(config, *one) for one in both if one.settings.use is not False)


def _budget(config: Config, budget: Budget, settings: DeviceSettings) -> Budget:
    reserve = _first(settings.reserve_bytes, config.run.reserve_bytes)
    promise = _first(settings.promise_bytes, config.run.promise_bytes)
    if reserve is not None:
        budget = msgspec.structs.replace(budget, reserve_bytes=reserve)
        total = budget.device.total_bytes
        if total is not None:
            # As where the default reserve holds: a quarter of the rest is left to strangers.
            most = max(0, (total - reserve) * 3 // 4)
            budget = msgspec.structs.replace(budget, promise_bytes=min(budget.promise_bytes, most))
    if promise is not None:
        budget = msgspec.structs.replace(budget, promise_bytes=promise)
    if settings.max_attempts is not None:
        budget = msgspec.structs.replace(budget, max_attempts=settings.max_attempts)
    if settings.use is not None:
        budget = msgspec.structs.replace(budget, on_request=settings.use == "on request")
    return budget


def _first(*values: int | None) -> int | None:
    return next((value for value in values if value is not None), None)


def here_with(config: Config, here: Here) -> Here:
    """This machine's devices as the configuration has them: those that are never used are among
    the left out, and those that it wants used, or only on request, are told so."""
    budgets = budgets_with(config, here.budgets)
    sources = dict(zip((one.device.key for one in here.budgets), here.sources, strict=True))
    kept = {one.device.key: one for one in budgets}
    left_out = [one for one in here.left_out if one.key not in kept or kept[one.key].on_request]
    known = {one.key for one in left_out}
    for device in (one.device for one in here.budgets):
        settings = config.devices.get(device.key)
        if settings is None or settings.use in (None, True) or device.key in known:
            continue
        because = f"the configuration says use = {json.dumps(settings.use)}"
        left_out.append(LeftOut(key=device.key, name=device.name, because=because))
    return Here(budgets, tuple(sources[key] for key in kept), tuple(left_out), here.absent)


def not_here(config: Config, keys: Sequence[str]) -> list[str]:
    """Devices that the configuration names and that are none of *keys*."""
    named = [*config.devices, *(one.device for one in config.windows if one.device is not None)]
    return [key for key in dict.fromkeys(named) if key not in keys]
