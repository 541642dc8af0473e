"""torch: is its build the one for the GPU that is used, and does it see that GPU?

torch is optional, and none of ours is installed by us: a wrong build is the usual reason why an AMD
card stays idle. Facts: torch_facts.
"""

from __future__ import annotations

import msgspec

from probes.reading import Device
from probes.tools.command import ToolFailed
from scheduler.interfaces.checkup.findings import (
    Check,
    Where,
    ok,
    problem,
    skipped,
    warning,
)
from scheduler.interfaces.checkup.torch_facts import LIMIT_S, Build, Sight, TorchDevice, read_build
from scheduler.interfaces.checkup.torch_facts import ask as ask_torch

NAME = "torch"
_INDEX = "https://download.pytorch.org/whl"
_OVERRIDE = "HSA_OVERRIDE_GFX_VERSION"


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """``sight`` None: it was not asked, or did not answer, and then ``failed`` says why."""

    build: Build | None
    devices: tuple[Device, ...]  #: ours, in our order
    python: str
    sight: Sight | None = None
    failed: str | None = None
    override: str | None = None  #: $HSA_OVERRIDE_GFX_VERSION

    @property
    def kinds(self) -> frozenset[str]:
        return frozenset(device.kind for device in self.devices if device.kind != "host")


def check(where: Where, limit_s: float = LIMIT_S) -> tuple[Check, ...]:
    return judge(read(where, limit_s))


def read(where: Where, limit_s: float = LIMIT_S) -> Facts:
    """torch is asked only where it could say something: with a GPU in use, and built for its
    maker."""
    found, build = where.find_devices(), read_build()
    facts = Facts(
        build=build,
        devices=found.devices,
        python=where.python,
        override=where.environment.get(_OVERRIDE),
    )
    if build is None or build.kind not in found.makers:
        return facts
    try:
        return msgspec.structs.replace(facts, sight=ask_torch(where.python, limit_s))
    except ToolFailed as failed:
        return msgspec.structs.replace(facts, failed=str(failed))


def judge(facts: Facts) -> tuple[Check, ...]:
    build = facts.build
    if build is None:
        return (skipped(NAME, "not installed here; trials that need it will say so"),)
    if not facts.kinds:
        return (ok(NAME, f"{build.words}; no GPU is used"),)
    if build.kind not in facts.kinds:
        return (_wrong_build(facts, build),)
    checks = [_judge_sight(facts, build)]
    others = facts.kinds - {build.kind}
    if others:
        keys = ", ".join(one.key for one in facts.devices if one.kind in others)
        seen = f"{build.words}: it cannot use {keys}, of another maker"
        mine = next(one.key for one in facts.devices if one.kind == build.kind)
        checks.append(warning(NAME, seen, f"Name the device: scheduler run --device {mine} ..."))
    return tuple(checks)


def _wrong_build(facts: Facts, build: Build) -> Check:
    """The index is text only: which of its builds fits depends on the driver and the card."""
    amd = "amd" in facts.kinds
    seen = f"{build.words}, but the GPU is {'AMD' if amd else 'NVIDIA'}'s: it cannot use it"
    builds = "rocmX.Y" if amd else "cuXYZ"
    todo = (
        f"{facts.python} -m pip uninstall torch && {facts.python} -m pip install torch"
        f" --index-url {_INDEX}/{builds}, with the version that https://pytorch.org names for"
        f" your {'ROCm' if amd else 'driver'}"
    )
    return problem(NAME, seen, todo)


def _judge_sight(facts: Facts, build: Build) -> Check:
    sight = facts.sight
    if sight is None:
        todo = f"Try it by hand: {facts.python} -c 'import torch; print(torch.cuda.is_available())'"
        return problem(NAME, f"{build.words}: {facts.failed or 'it was not asked'}", todo)
    if not sight.available or not sight.devices:
        todo = (
            f"Look at 'permissions' above; if {_OVERRIDE} is set, try without it; then: rocminfo"
            if build.kind == "amd"
            else "Look at 'permissions' above; its CUDA may be newer than the driver: nvidia-smi"
        )
        return problem(NAME, f"{build.words}: it sees no GPU", todo)
    strange = [one for one in sight.devices if one.gfx and not _is_built_for(one, sight)]
    if strange:
        name = strange[0].gfx.partition(":")[0]
        seen = f"{build.words}: it has no code for {strange[0].name} ({name})"
        todo = (
            f"Take a build that has; or try {_OVERRIDE} with the nearest that it has"
            f" ({', '.join(sight.built_for)}; 11.0.0 is gfx1100)"
        )
        return warning(NAME, seen, todo)
    return ok(NAME, f"{build.words}; {_listed(sight, facts)}")


def _is_built_for(device: TorchDevice, sight: Sight) -> bool:
    """gfx1100 itself, or a generic target of its family ("gfx11-generic"). Unknown is no reason."""
    name = device.gfx.partition(":")[0]
    names = [one.partition(":")[0] for one in sight.built_for]
    generic = any(
        name.startswith(one.removesuffix("-generic").replace("-", ""))
        for one in names
        if one.endswith("-generic")
    )
    return not names or name in names or generic


def _listed(sight: Sight, facts: Facts) -> str:
    """What torch counts, and whether our own list counts otherwise."""
    keys = [_key_of(one, facts.devices) for one in sight.devices]
    text = ", ".join(f"{number}: {one.name}" for number, one in enumerate(sight.devices))
    override = f"; {_OVERRIDE}={facts.override}" if facts.override else ""
    ours = [one.key for one in facts.devices if one.key in keys]
    theirs = [key for key in keys if key in ours]
    if theirs == ours and (not keys or keys[0] in ours or keys[0] is None):
        return f"it sees {text}{override}"
    first = keys[0] or sight.devices[0].name
    return (
        f"it sees {text}{override}; its device 0 is {first}, ours {facts.devices[0].key}: attempts"
        " get the right one by variable, and a script must use cuda:0"
    )


def _key_of(torchs: TorchDevice, devices: tuple[Device, ...]) -> str | None:
    """Our name for a GPU of torch's; None where torch says neither address nor UUID."""
    for device in devices:
        if device.uuid is not None and device.uuid == torchs.gpu_uuid:
            return device.key
    return torchs.address
