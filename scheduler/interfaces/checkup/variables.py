"""Variables of the environment that choose GPUs: what is set, and what it does here.

ROCR_VISIBLE_DEVICES filters first; HIP_ and CUDA_VISIBLE_DEVICES count what is left anew from 0
(ROCm docs, GPU isolation). An attempt gets the one that its device needs, and loses the others.
"""

from __future__ import annotations

from collections.abc import Mapping

from scheduler.interfaces.checkup.findings import Check, Where, ok, warning
from scheduler.interfaces.checkup.torch_facts import VARIABLES

NAME = "variables"
_OVERRIDE = "HSA_OVERRIDE_GFX_VERSION"


def check(where: Where) -> tuple[Check, ...]:
    return judge(where.environment, uses_gpu=bool(where.find_devices().makers))


def judge(environment: Mapping[str, str], *, uses_gpu: bool) -> tuple[Check, ...]:
    set_here = [name for name in VARIABLES if name in environment]
    shown = [
        f"{name}={environment[name]}" for name in (*set_here, _OVERRIDE) if name in environment
    ]
    seen = ", ".join(shown)
    if not shown:
        return (ok(NAME, "none that chooses GPUs is set"),)
    if not uses_gpu or not set_here:
        return (ok(NAME, seen),)
    todo = f"unset {' '.join(set_here)}; a device is named with: scheduler run --device KEY"
    above = [name for name in set_here if name != "ROCR_VISIBLE_DEVICES"]
    if "ROCR_VISIBLE_DEVICES" in set_here and above:
        seen += f": they add up; {above[0]} counts what ROCR_VISIBLE_DEVICES leaves, from 0"
    else:
        seen += ": attempts get the device that is chosen here all the same"
    return (warning(NAME, seen, todo),)
