"""Which devices are used, and that nothing is left out without a reason."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from probes.choose import NoSuchDevice, choose, parse_nvidia_model
from probes.host import NO_GPU
from probes.reading import Choice, Probe
from tests.probes.samples import (
    ADDRESS,
    GIB,
    Write,
    card_files,
    meminfo_files,
    node_files,
)

SECOND = "0000:0a:00.0"


def look(root: Path, *wanted: str) -> tuple[Choice, tuple[Probe, ...]]:
    return choose(sysfs=root, proc=root / "proc", groups=root / "cg", wanted=wanted)


def reasons(choice: Choice) -> dict[str, str]:
    return {out.key: out.because for out in choice.left_out}


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
    choice, probes = look(two_cards)
    assert [device.key for device in choice.devices] == [ADDRESS, SECOND]
    assert tuple(probe.device for probe in probes) == choice.devices
    assert reasons(choice) == {"host": "GPUs are used; name --device host to use RAM"}


def test_only_what_is_asked_for_is_used(two_cards: Path) -> None:
    choice, probes = look(two_cards, SECOND.upper())
    assert [probe.device.key for probe in probes] == [SECOND]
    assert reasons(choice) == dict.fromkeys((ADDRESS, "host"), f"only {SECOND} asked for")


def test_ram_by_name_hides_the_gpus_from_trials(two_cards: Path) -> None:
    choice, probes = look(two_cards, "host")
    (device,) = choice.devices
    assert (device.key, device.environment, device.because) == ("host", NO_GPU, "asked for by name")
    assert probes[0].read(()).total_bytes == 32 * GIB
    assert set(reasons(choice)) == {ADDRESS, SECOND}


def test_without_a_gpu_ram_is_the_device_and_says_so(write: Write) -> None:
    root = write(meminfo_files())
    choice, _ = look(root)
    (device,) = choice.devices
    assert device.because == (f"no AMD GPU to use under {root}/class/drm; host RAM is the device")
    assert (device.environment, choice.left_out) == ((), ())


def test_ram_instead_of_a_gpu_says_why_the_gpu_is_not_used(write: Write) -> None:
    root = write({**card_files(vram=GIB), **node_files(bank=GIB), **meminfo_files()})
    choice, _ = look(root)
    (device,) = choice.devices
    assert device.key == "host"
    assert (
        f"{ADDRESS} (AMD GPU 0x744c (gfx1100)): 1.0 GiB of memory is too little" in device.because
    )


def test_an_nvidia_gpu_is_named_and_not_used(write: Write) -> None:
    """The driver's own list and DRM's are one card."""
    root = write(
        {
            **card_files(address="0000:01:00.0", vendor="0x10de", driver="nvidia"),
            "proc/driver/nvidia/gpus/0000:01:00.0/information": "Model: \t NVIDIA RTX 4090\nIRQ: 5",
            "proc/driver/nvidia/gpus/0000:02:00.0/information": "",
            **meminfo_files(),
        }
    )
    choice, _ = look(root)
    assert [(out.key, out.name) for out in choice.left_out] == [
        ("0000:01:00.0", "NVIDIA RTX 4090"),
        ("0000:02:00.0", "NVIDIA GPU"),
    ]
    assert {out.because for out in choice.left_out} == {"NVIDIA GPUs are not read yet"}


def test_a_name_that_is_not_here_is_an_error_that_tells_the_choice(two_cards: Path) -> None:
    with pytest.raises(NoSuchDevice) as caught:
        look(two_cards, "0000:99:00.0")
    assert str(caught.value) == (
        f"device 0000:99:00.0: there is no such device here; choose from {ADDRESS}, {SECOND}, host"
    )
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


def test_a_name_that_cannot_be_used_is_an_error_with_its_reason(write: Write) -> None:
    root = write({**card_files(driver="vfio-pci"), **meminfo_files()})
    with pytest.raises(NoSuchDevice, match="driven by vfio-pci, not by amdgpu; choose from host"):
        look(root, ADDRESS)


def test_a_model_line_is_found_or_none() -> None:
    assert parse_nvidia_model("IRQ: 1\nModel:  Tesla V100 \n") == "Tesla V100"
    assert parse_nvidia_model("Model:\n") is None
