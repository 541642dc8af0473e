"""The doctor on GPUs: devices, drivers, device files and counters, on trees of files."""

from __future__ import annotations

import grp
import os
from pathlib import Path

import msgspec
import pytest

from probes.drm import AMD, NVIDIA
from probes.reading import LeftOut, Reading
from scheduler.interfaces.checkup import counters, devices, drivers, kernel, permissions
from scheduler.interfaces.checkup.findings import release_number
from scheduler.interfaces.checkup.permissions import File
from tests.emulated.card import EmulatedCard
from tests.emulated.tree import RX_7900_GRE, RYZEN_IGPU, Model
from tests.interfaces.checkup_samples import (
    CARD,
    GIB,
    HOST,
    Steady,
    folder_for_all,
    found,
    machine,
    only,
    put,
)
from tests.probes.conftest import as_nobody
from tests.probes.samples import card_files, node_files


def test_each_device_and_each_that_is_left_out_has_a_line() -> None:
    out = LeftOut(key="0000:0c:00.0", name="iGPU", because="too little")
    reading = Steady(CARD, GIB).read(())
    used, other = devices.judge((CARD,), (reading,), (out,))
    assert (used.state, used.seen) == (
        "ok",
        "0000:03:00.0  AMD GPU 0x744c (gfx1100): 1.0 GiB used of 16.0 GiB",
    )
    assert (other.state, other.seen) == ("skipped", "0000:0c:00.0  iGPU is left out: too little")


def test_a_device_that_cannot_be_read_is_a_problem(tmp_path: Path) -> None:
    blind = found(CARD)._replace(sources=((Steady(CARD, None),),))
    check = only(devices.check(machine(tmp_path, find_devices=lambda: blind)))
    assert check.state == "problem"
    assert "mem_info_vram_used: is empty" in check.seen
    assert devices.judge((), (), ())[0].state == "problem"
    second = found(CARD)._replace(sources=((Steady(CARD, None), Steady(CARD)),))
    assert only(devices.check(machine(tmp_path, find_devices=lambda: second))).state == "ok"


class Sleeper(Steady):
    def read(self, trees: tuple[int, ...]) -> Reading:
        return Reading(device=self.device.key, total_bytes=None, used_bytes=None, asleep=True)


def test_a_card_that_sleeps_is_neither_broken_nor_woken(tmp_path: Path) -> None:
    both = found(CARD)._replace(sources=((Sleeper(CARD), Steady(CARD)),))
    check = only(devices.check(machine(tmp_path, find_devices=lambda: both)))
    assert (check.state, "is asleep" in check.seen) == ("warning", True)


def test_host_ram_is_a_device_and_says_why(tmp_path: Path) -> None:
    host = msgspec.structs.replace(HOST, because="no GPU")
    check = only(devices.check(machine(tmp_path, host)))
    assert (check.state, check.seen) == ("ok", "host  host RAM: 1.0 GiB used of 8.0 GiB (no GPU)")


def pci(vendor: int, driver: str | None, address: str = "0000:03:00.0", kind: str = "030000"):
    folder = f"sys/bus/pci/devices/{address}"
    uevent = f"DRIVER={driver}\nPCI_CLASS=30000" if driver else "PCI_CLASS=30000"
    return {
        f"{folder}/vendor": f"0x{vendor:04x}",
        f"{folder}/class": f"0x{kind}",
        f"{folder}/uevent": uevent,
    }


LIVE = {"sys/module/amdgpu/initstate": "live"}


def test_a_card_with_its_driver_is_fine(tmp_path: Path) -> None:
    put(tmp_path, pci(AMD, "amdgpu") | LIVE | {"sys/module/amdgpu/version": "6.12.12"})
    check = only(drivers.check(machine(tmp_path)))
    assert check.state == "ok"
    assert check.seen == "0000:03:00.0 (AMD): amdgpu 6.12.12 is loaded and drives it"


def test_a_driver_built_into_the_kernel_is_loaded(tmp_path: Path) -> None:
    put(tmp_path, pci(AMD, "amdgpu") | {"sys/module/amdgpu/parameters/x": "1"})
    assert only(drivers.check(machine(tmp_path))).state == "ok"


def test_a_driver_that_is_going_is_not_loaded(tmp_path: Path) -> None:
    put(tmp_path, pci(AMD, "amdgpu") | {"sys/module/amdgpu/initstate": "going"})
    assert only(drivers.check(machine(tmp_path))).state == "problem"


@pytest.mark.parametrize(
    ("files", "todo"),
    [
        ({}, "sudo modprobe amdgpu; if that fails"),
        ({"etc/modprobe.d/x.conf": "# note\nblacklist amdgpu"}, "etc/modprobe.d/x.conf. Take that"),
        ({"etc/modprobe.d/x.conf": "#blacklist amdgpu"}, "sudo modprobe amdgpu; if"),
        ({"etc/modprobe.d/x.conf": "install amdgpu /bin/false"}, "etc/modprobe.d/x.conf. Take"),
        ({"proc/cmdline": "ro nomodeset"}, "nomodeset on the kernel's command line"),
        ({"proc/cmdline": "modprobe.blacklist=a,amdgpu"}, "modprobe.blacklist=a,amdgpu on the"),
        ({"modules/6.18.4-generic/modules.dep": "kernel/radeon.ko.zst:"}, "has no amdgpu: install"),
        (
            {"modules/6.18.4-generic/modules.dep": "updates/dkms/amdgpu.ko.zst: x.ko"},
            "sudo modprobe amdgpu; if",
        ),
        (
            {f"sys/{drivers._SECURE_BOOT}": "\x06\0\0\0\x01"},
            "Secure Boot is on",
        ),
    ],
)
def test_a_driver_that_is_not_loaded_is_told_with_the_way_to_load_it(
    tmp_path: Path, files: dict[str, object], todo: str
) -> None:
    put(tmp_path, pci(AMD, None) | files)
    for path in (tmp_path / "sys/firmware").rglob("SecureBoot*"):
        path.write_bytes(path.read_bytes()[:5])
    check = only(drivers.check(machine(tmp_path)))
    assert check.state == "problem"
    assert check.seen == "0000:03:00.0 (AMD): amdgpu is not loaded"
    assert todo in (check.todo or "")


def test_an_nvidia_card_that_nouveau_drives_needs_nvidias(tmp_path: Path) -> None:
    put(tmp_path, pci(NVIDIA, "nouveau", kind="030200"))
    check = only(drivers.check(machine(tmp_path)))
    assert check.state == "problem"
    assert check.seen.endswith("nvidia is not loaded, nouveau drives it")
    put(tmp_path, pci(NVIDIA, "nvidia") | {"proc/driver/nvidia/version": "NVRM"})
    assert only(drivers.check(machine(tmp_path))).state == "ok"


def test_a_second_card_without_driver_stops_nothing(tmp_path: Path) -> None:
    put(tmp_path, pci(AMD, "amdgpu") | LIVE | pci(NVIDIA, "nouveau", "0000:04:00.0"))
    states = [check.state for check in drivers.check(machine(tmp_path))]
    assert states == ["ok", "warning"]
    put(tmp_path, pci(NVIDIA, "vfio-pci", "0000:04:00.0"))
    assert [check.state for check in drivers.check(machine(tmp_path))] == ["ok", "skipped"]


def test_what_is_no_gpu_is_not_looked_at(tmp_path: Path) -> None:
    sound, npu = pci(AMD, None, kind="040300"), pci(AMD, None, "0000:04:00.0", "118000")
    put(tmp_path, sound | npu | pci(0x8086, "i915", "0000:05:00.0"))
    assert only(drivers.check(machine(tmp_path))).state == "skipped"
    put(tmp_path, pci(AMD, "amdgpu", kind="120000") | LIVE)
    assert only(drivers.check(machine(tmp_path))).state == "ok"


def test_a_card_bound_to_another_driver_is_told(tmp_path: Path) -> None:
    put(tmp_path, pci(AMD, "radeon") | LIVE)
    check = only(drivers.check(machine(tmp_path)))
    assert check.seen == "0000:03:00.0 (AMD): amdgpu is loaded, but radeon drives this card"


def with_files(tmp_path: Path, mode: int) -> None:
    put(tmp_path, {"dev/kfd": "", "dev/dri/renderD128": "", "sys/class/kfd/x": ""})
    put(tmp_path, {"sys/class/drm/renderD128/device/vendor": "0x1002"})
    put(tmp_path, {"sys/class/drm/renderD129/device/vendor": "0x8086"})
    for name in ("dev/kfd", "dev/dri/renderD128"):
        (tmp_path / name).chmod(mode)


def test_files_that_we_may_open_are_fine(tmp_path: Path) -> None:
    with_files(tmp_path, 0o600)
    check = only(permissions.check(machine(tmp_path)))
    assert check.state == "ok"
    assert check.seen.endswith(f"{tmp_path}/dev/kfd, {tmp_path}/dev/dri/renderD128")


@pytest.mark.skipif(os.getuid() != 0, reason="gives files to another group")
def test_files_that_we_may_not_open_are_told_with_group_and_mode() -> None:
    with folder_for_all() as path:
        with_files(path, 0o660)
        for name in ("dev/kfd", "dev/dri/renderD128"):
            os.chown(path / name, 0, grp.getgrnam("video").gr_gid)
        facts = as_nobody(lambda: permissions.read(machine(path)))
    check = only(permissions.judge(facts))
    assert check.state == "problem"
    assert f"nobody may not read and write {path}/dev/kfd (group video, mode 0660)" in check.seen
    assert check.todo == "sudo usermod -aG video nobody, then log out and in again"


def facts_of(*files: File, **changes: object) -> permissions.Facts:
    given = permissions.Facts(
        amd=files, nvidia=(), user="ann", gids=frozenset({1000}), listed_gids=frozenset({1000})
    )
    return msgspec.structs.replace(given, **changes)


KFD = File(path="/dev/kfd", mode=0o660, gid=109, group="render")
RENDER = File(path="/dev/dri/renderD128", mode=0o660, gid=44, group="video")
OPEN = File(path="/dev/dri/renderD128", mode=0o666, gid=44, group="video", is_open_to_us=True)


@pytest.mark.parametrize(
    ("facts", "todo"),
    [
        (facts_of(KFD, RENDER), "sudo usermod -aG render,video ann, then log out and in again"),
        (facts_of(KFD, RENDER, listed_gids=frozenset({109, 44})), "log out and in again"),
        (facts_of(KFD, RENDER, listed_gids=frozenset({109})), "usermod -aG render,video ann"),
        (facts_of(msgspec.structs.replace(KFD, group=None)), "docker run --group-add 109"),
        (facts_of(msgspec.structs.replace(KFD, mode=0o600)), 'MODE="0660"'),
        (facts_of(msgspec.structs.replace(KFD, gid=0, group="root")), "/etc/udev/rules.d/"),
    ],
)
def test_closed_files_have_a_way_to_open_them(facts: permissions.Facts, todo: str) -> None:
    check = only(permissions.judge(facts))
    assert check.state == "problem"
    assert todo in (check.todo or "")


def test_a_container_without_the_files_is_told_how_to_get_them(tmp_path: Path) -> None:
    with EmulatedCard(tmp_path) as card:
        check = only(permissions.check(machine(tmp_path, sysfs=card.sysfs)))
    assert check.state == "problem"
    assert "--device=/dev/kfd --device=/dev/dri" in (check.todo or "")


def test_one_render_node_is_enough_for_trials() -> None:
    gone = File(path="/dev/dri/renderD129")
    kfd = msgspec.structs.replace(KFD, is_open_to_us=True)
    check = only(permissions.judge(facts_of(kfd, OPEN, gone)))
    assert (check.state, check.seen.split()[0]) == ("warning", gone.path)


def test_nvidias_files_are_named_by_the_drivers_own_number(tmp_path: Path) -> None:
    put(tmp_path, {"proc/driver/nvidia/gpus/0000:65:00.0/information": "Device Minor: \t 3"})
    put(tmp_path, {"dev/nvidiactl": "", "dev/nvidia3": ""})
    assert only(permissions.check(machine(tmp_path))).state == "ok"
    (tmp_path / "dev/nvidia3").unlink()
    check = only(permissions.check(machine(tmp_path)))
    assert (check.state, "docker run --gpus all" in (check.todo or "")) == ("problem", True)


def test_without_a_gpu_there_are_no_files_to_open(tmp_path: Path) -> None:
    assert only(permissions.check(machine(tmp_path))).state == "skipped"
    assert only(counters.check(machine(tmp_path))).state == "skipped"


def counted(tmp_path: Path, namespace: str = "pid:[4026531836]"):
    put(tmp_path, {"proc/7/stat": ""})
    (tmp_path / "proc/self/ns").mkdir(parents=True)
    (tmp_path / "proc/self/ns/pid").symlink_to(namespace)
    return machine(tmp_path)


def card_tree(tmp_path: Path) -> None:
    files = card_files() | node_files() | {"class/kfd/kfd/proc/7/vram_41000": 0}
    put(tmp_path / "sys", files)


def test_a_card_whose_counters_can_be_read_is_fine(tmp_path: Path) -> None:
    card_tree(tmp_path)
    card, processes = counters.check(counted(tmp_path))
    assert (card.state, processes.state) == ("ok", "ok")
    assert "1 listed now" in processes.seen


def test_a_counter_that_cannot_be_read_is_a_problem(tmp_path: Path) -> None:
    card_tree(tmp_path)
    put(tmp_path / "sys", {"class/drm/card1/device/mem_info_vram_used": "junk"})
    card = counters.check(counted(tmp_path))[0]
    assert (card.state, "mem_info_vram_used 'junk' is not a number" in card.seen) == (
        "problem",
        True,
    )


def test_a_card_that_the_compute_driver_does_not_list_is_told(tmp_path: Path) -> None:
    put(tmp_path / "sys", card_files())
    card, processes = counters.check(counted(tmp_path))
    assert (card.state, "KFD) is not there" in card.seen) == ("problem", True)
    assert processes.state == "warning"
    put(tmp_path / "sys", node_files(location=0x0400))
    assert "does not list it" in counters.check(machine(tmp_path))[0].seen


@pytest.mark.parametrize(
    ("pid", "namespace", "seen"),
    [
        (8, "pid:[4026531836]", "none of the 1 processes that KFD lists"),
        (None, "pid:[4026532999]", "our PID namespace is a private one"),
    ],
)
def test_pids_of_another_namespace_are_told(
    tmp_path: Path, pid: int | None, namespace: str, seen: str
) -> None:
    put(tmp_path / "sys", card_files() | node_files())
    listed = tmp_path / "sys/class/kfd/kfd/proc" / (str(pid) if pid else "")
    listed.mkdir(parents=True)
    processes = counters.check(counted(tmp_path, namespace))[1]
    assert (processes.state, seen in processes.seen) == ("warning", True)
    assert "--pid=host" in (processes.todo or "")


APU = Model(
    address=RYZEN_IGPU.address, total_bytes=GIB // 2, product=0x1900, gfx=110003, gtt_bytes=8 * GIB
)


@pytest.mark.parametrize(
    ("model", "device", "release", "state"),
    [
        (RX_7900_GRE, CARD, "5.8.0", "warning"),
        (RX_7900_GRE, CARD, "5.9.0", "ok"),
        (RX_7900_GRE, HOST, "5.8.0", "ok"),
        (APU, CARD, "6.9.1-arch1-1", "warning"),
        (APU, CARD, "6.10.0-rc1", "ok"),
        (APU, CARD, "strange", "ok"),
    ],
)
def test_a_kernel_is_told_only_where_it_lacks_what_is_needed(
    tmp_path: Path, model: Model, device: object, release: str, state: str
) -> None:
    with EmulatedCard(tmp_path, model) as card:
        where = machine(tmp_path, device, sysfs=card.sysfs, release=release)
        assert only(kernel.check(where)).state == state


def test_the_dmem_cgroup_is_seen(tmp_path: Path) -> None:
    assert only(kernel.check(machine(tmp_path))).seen.endswith("; without dmem cgroup")
    put(tmp_path, {"sys/fs/cgroup/cgroup.controllers": "cpu dmem"})
    assert only(kernel.check(machine(tmp_path))).seen.endswith(", dmem cgroup")


def test_a_release_has_two_numbers() -> None:
    assert release_number("6.10-rc1") == (6, 10)
    assert release_number("6.18.44-fc-v669") == (6, 18)
    assert release_number("next-2026") is None
