"""Which devices this machine has, which are used, and why the others are not.

AMD's and NVIDIA's GPUs come first; without one the host's RAM is the device. A maker that is added
later is one more line in ``_find_gpus``.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from probes import amd, host
from probes.reading import Absent, Candidate, LeftOut
from probes.tools import nvidia_smi
from probes.tools.amd_smi import AmdSmi
from probes.tools.amdsmi_library import AmdSmiLibrary
from probes.tools.nvidia_smi import NvidiaSmi
from probes.tools.rocm_smi import RocmSmi
from probes.tools.tool import Tool


class Machine(NamedTuple):
    """What was found. ``left_out`` has a reason for all that is not used, also for those that are
    there on request."""

    used: tuple[Candidate, ...]
    on_request: tuple[Candidate, ...]  #: for runs that name them
    left_out: tuple[LeftOut, ...]
    absent: tuple[Absent, ...]  #: tools of the makers that were seen here


class Tools(NamedTuple):
    """The tools that are looked for, those of AMD with the preferred first."""

    amd: tuple[Tool, ...]
    nvidia: NvidiaSmi

    def all(self) -> tuple[Tool, ...]:
        return (*self.amd, self.nvidia)


def tools() -> Tools:
    return Tools(amd=(AmdSmiLibrary(), RocmSmi(), AmdSmi()), nvidia=NvidiaSmi())


def choose(
    *,
    sysfs: Path = Path("/sys"),
    proc: Path = Path("/proc"),
    groups: Path = Path("/sys/fs/cgroup"),
    looked_for: Tools | None = None,
) -> Machine:
    """Look at the machine. Takes milliseconds, and as long as a tool where one has to be asked."""
    looked_for = tools() if looked_for is None else looked_for
    gpus, left_out, absent = _find_gpus(sysfs, proc, looked_for)
    used = tuple(gpu for gpu in gpus if gpu.objection is None)
    left_out = (*left_out, *(gpu.left_out() for gpu in gpus if gpu.objection is not None))
    if used:
        # RAM by name means trials on the CPU: a GPU that nobody watches is hidden from them.
        ram = host.HostRam(because="asked for by name", proc=proc, groups=groups, hides_gpus=True)
        because = f"GPUs are used; name --device {host.KEY} to use RAM"
        on_request = [Candidate((ram,), because)]
        left_out = (*left_out, on_request[0].left_out())
    else:
        # The last resort hides nothing: the script may well use a GPU that we cannot read.
        because = f"no GPU to use was found{_seen(left_out)}; host RAM is the device"
        ram = host.HostRam(because=because, proc=proc, groups=groups)
        used, on_request = (Candidate((ram,)),), []
    return Machine(
        used=used,
        on_request=(*(gpu for gpu in gpus if gpu.objection is not None), *on_request),
        left_out=left_out,
        absent=absent,
    )


def _find_gpus(
    sysfs: Path, proc: Path, looked_for: Tools
) -> tuple[tuple[Candidate, ...], tuple[LeftOut, ...], tuple[Absent, ...]]:
    """The GPUs of all makers, and the tools of those makers that cannot be asked here."""
    nvidia, nvidia_out = nvidia_smi.find(sysfs, proc, looked_for.nvidia)
    able = [tool for tool in looked_for.amd if tool.missing() is None]
    has_card = any(gpu.objection is None for gpu in nvidia)
    amds, amd_out = amd.find(sysfs, proc, able, has_card=has_card)
    wanted = list(looked_for.amd if amds or amd_out else ())
    wanted += [looked_for.nvidia] if nvidia or nvidia_out else []
    reasons = ((tool.name, tool.missing()) for tool in wanted)
    absent = (Absent(source=name, because=why) for name, why in reasons if why is not None)
    return (*amds, *nvidia), (*amd_out, *nvidia_out), tuple(absent)


def _seen(left_out: tuple[LeftOut, ...]) -> str:
    return "".join(f"; {out.key} ({out.name}): {out.because}" for out in left_out)
