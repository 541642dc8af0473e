"""Which devices are used, and that nothing is left out without a reason."""

from __future__ import annotations

from pathlib import Path

import pytest

from probes.choose import Machine, Tools, choose
from probes.host import NO_GPU
from probes.tools.nvidia_smi import NvidiaSmi
from probes.tools.tool import Tool
from tests.probes.samples import ADDRESS, GIB, Write, card_files, meminfo_files, node_files

SECOND = "0000:0a:00.0"
IGPU = "0000:0c:00.0"


def look(root: Path, *amd: Tool) -> Machine:
    """The machine at *root*, where nvidia-smi is not installed."""
    nvidia = NvidiaSmi(proc=root / "proc", dev=root / "dev", places=("/nowhere/nvidia-smi",))
    return choose(sysfs=root, proc=root / "proc", groups=root / "cg", looked_for=Tools(amd, nvidia))


def reasons(machine: Machine) -> dict[str, str]:
    return {out.key: out.because for out in machine.left_out}


def keys(machine: Machine) -> list[str]:
    return [one.device.key for one in machine.used]


@pytest.fixture
def two_cards(write: Write) -> Path:
    return write(
        {
            **card_files(),
            **node_files(),
            **card_files("class/drm/card2/device", address=SECOND),
            **node_files(2, location=0x0A00, unique_id=5, gpu_id=41001),
            **meminfo_files(),
        }
    )


def test_gpus_come_first_and_ram_is_left_out_with_the_way_to_get_it(two_cards: Path) -> None:
    machine = look(two_cards)
    assert keys(machine) == [ADDRESS, SECOND]
    assert reasons(machine) == {"host": "GPUs are used; name --device host to use RAM"}


def test_ram_by_name_hides_the_gpus_from_trials(two_cards: Path) -> None:
    (ram,) = look(two_cards).on_request
    assert (ram.device.key, ram.device.environment) == ("host", NO_GPU)
    assert ram.device.because == "asked for by name"
    assert ram.sources[0].read(()).total_bytes == 32 * GIB


def test_without_a_gpu_ram_is_the_device_and_says_so(write: Write) -> None:
    machine = look(write(meminfo_files()))
    (ram,) = machine.used
    assert ram.device.because == "no GPU to use was found; host RAM is the device"
    assert (ram.device.environment, machine.left_out, machine.on_request) == ((), (), ())


def test_ram_instead_of_a_gpu_says_why_the_gpu_is_not_used(write: Write) -> None:
    root = write({**card_files(vram=GIB), **node_files(bank=GIB), **meminfo_files()})
    machine = look(root)
    assert keys(machine) == ["host"]
    why = f"{ADDRESS} (AMD GPU 0x744c (gfx1100)): 1.0 GiB of memory is too little"
    assert why in machine.used[0].device.because
    assert [one.device.key for one in machine.on_request] == [ADDRESS]


def test_an_nvidia_gpu_that_cannot_be_asked_is_told_with_what_to_do(write: Write) -> None:
    """The driver's own list and DRM's are one card."""
    root = write(
        {
            **card_files(address="0000:01:00.0", vendor="0x10de", driver="nvidia"),
            "proc/driver/nvidia/gpus/0000:01:00.0/information": "Model: \t NVIDIA RTX 4090\nIRQ: 5",
            **meminfo_files(),
        }
    )
    machine = look(root)
    assert [absent.source for absent in machine.absent] == ["nvidia-smi"]
    (out,) = machine.left_out
    assert (out.key, out.name) == ("0000:01:00.0", "NVIDIA RTX 4090")
    assert "nvidia-smi is not on PATH" in out.because


def test_of_the_makers_that_are_here_missing_tools_are_told(write: Write) -> None:
    class Missing(NvidiaSmi):
        name = "amd-smi"

    tool = Missing(places=("/nowhere/amd-smi",))
    assert look(write(meminfo_files()), tool).absent == ()
    machine = look(write({**card_files(), **node_files()}), tool)
    assert [absent.source for absent in machine.absent] == ["amd-smi"]
    assert len(machine.used[0].sources) == 1
