"""Polls of an emulated NVIDIA machine: a real program is run, real processes hold its memory."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from probes.processes import read_kin
from probes.reading import Candidate, Held, Reading
from probes.tools import nvidia_smi
from probes.tools.command import Shared, ToolFailed
from probes.tools.nvidia_smi import NvidiaSmi, find, memory
from probes.tools.tool import MIB, ToolProbe
from tests.emulated.kernel import started_ticks
from tests.emulated.nvidia import EmulatedNvidia, Gpu
from tests.probes.samples import Write

pytestmark = pytest.mark.processes

GIB = 1 << 30
EIGHT = tuple(Gpu(address=f"00000000:{bus:02X}:00.0") for bus in range(0x10, 0x18))
GPU = Gpu()
KEY = "0000:3b:00.0"

#: Starts a child that waits, tells its pid, and waits itself.
PARENT = """
import subprocess, sys
wait = "import sys; sys.stdin.read()"
child = subprocess.Popen([sys.executable, "-SE", "-c", wait], stdin=subprocess.PIPE)
print(child.pid, flush=True)
sys.stdin.read()
child.communicate()
"""


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> EmulatedNvidia:
    made = EmulatedNvidia(tmp_path, GPU)
    monkeypatch.setenv("PATH", made.path())
    return made


@pytest.fixture
def family() -> Iterator[tuple[int, int]]:
    """(root, its child's pid), both alive."""
    with subprocess.Popen(
        [sys.executable, "-SE", "-c", PARENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as root:
        assert root.stdout is not None
        yield root.pid, int(root.stdout.readline())


@pytest.fixture
def container(tmp_path: Path, family: tuple[int, int]) -> Path:
    """A /proc of another PID namespace, where only the family and we live."""
    proc = tmp_path / "container"
    (proc / "self/ns").mkdir(parents=True)
    (proc / "self/ns/pid").symlink_to("pid:[4026532999]")
    for pid in (*family, os.getpid()):
        (proc / str(pid)).symlink_to(f"/proc/{pid}")
    return proc


def look(machine: EmulatedNvidia, tmp_path: Path, proc: Path = Path("/proc")) -> ToolProbe:
    tool = NvidiaSmi(proc=proc, dev=machine.dev)
    (gpu,), left_out = find(tmp_path / "sys", proc, tool)
    assert left_out == ()
    return probe_of(gpu)


def wait_gone(pid: int) -> None:
    deadline_s = time.monotonic() + 60
    while started_ticks(pid) is not None:
        assert time.monotonic() < deadline_s, f"{pid} is still there"
        time.sleep(0.01)


def probe_of(gpu: Candidate) -> ToolProbe:
    (probe,) = gpu.sources
    assert isinstance(probe, ToolProbe)
    return probe


def afresh(machine: EmulatedNvidia, probe: ToolProbe, *trees: int) -> Reading:
    """A reading that no earlier run answers."""
    before, deadline_s = len(machine.calls()), time.monotonic() + 30
    while time.monotonic() < deadline_s:
        reading = probe.read(trees)
        if len(machine.calls()) > before:
            return reading
        time.sleep(0.02)
    raise AssertionError("nvidia-smi was not run in 30 s")


def test_a_gpu_is_found_with_what_holds_trials_to_it(
    machine: EmulatedNvidia, tmp_path: Path
) -> None:
    device = look(machine, tmp_path).device
    assert (device.key, device.kind, device.name) == (KEY, "nvidia", GPU.name)
    assert (device.total_bytes, device.uuid, device.source) == (16376 * MIB, GPU.uuid, "nvidia-smi")
    assert device.environment == (("CUDA_VISIBLE_DEVICES", GPU.uuid),)


def test_what_a_tree_holds_is_seen_until_it_is_gone(
    machine: EmulatedNvidia, tmp_path: Path, family: tuple[int, int]
) -> None:
    root, child = family
    probe = look(machine, tmp_path)
    machine.hold(root, 1 * GIB)
    machine.hold(child, 2 * GIB)
    machine.hold(os.getpid(), 4 * GIB)
    reading = afresh(machine, probe, root, child)
    assert reading.held == (Held(pid=root, held_bytes=GIB), Held(pid=child, held_bytes=2 * GIB))
    reading = afresh(machine, probe, root)
    assert reading.held == (Held(pid=root, held_bytes=3 * GIB),)
    assert reading.used_bytes == 7 * GIB + (GPU.used_mib + GPU.reserved_mib) * MIB
    assert (reading.total_bytes, reading.problem) == (16376 * MIB, None)
    os.kill(child, 9)
    wait_gone(child)
    reading = afresh(machine, probe, root)
    assert reading.held == (Held(pid=root, held_bytes=1 * GIB),)
    assert reading.used_bytes == 5 * GIB + (GPU.used_mib + GPU.reserved_mib) * MIB


def test_a_size_that_is_not_told_is_unknown_for_its_tree_alone(
    machine: EmulatedNvidia, tmp_path: Path, family: tuple[int, int]
) -> None:
    probe = look(machine, tmp_path)
    machine.hold(family[1], None)
    machine.hold(os.getpid(), 4 * GIB)
    assert afresh(machine, probe, family[0]).held == (Held(pid=family[0], held_bytes=None),)


def test_eight_gpus_cost_two_runs_a_poll(
    machine: EmulatedNvidia, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However slow this machine is: what is shared here stays fresh for long."""
    monkeypatch.setattr(nvidia_smi, "Shared", partial(Shared, fresh_s=600.0))
    machine.set(*EIGHT)
    machine.hold(os.getpid(), GIB, EIGHT[3])
    gpus, _ = find(tmp_path / "sys", tool=NvidiaSmi(dev=machine.dev))
    assert len({gpu.device.environment for gpu in gpus}) == 8
    me = os.getpid()
    with ThreadPoolExecutor(8) as threads:
        readings = list(threads.map(lambda gpu: probe_of(gpu).read((me,)), gpus))
    mine = [reading.held for reading in readings]
    assert mine == [(Held(pid=me, held_bytes=GIB if gpu == 3 else 0),) for gpu in range(8)]
    assert machine.calls() == ["gpu", "compute-apps"]


def test_one_that_hangs_is_ended(machine: EmulatedNvidia) -> None:
    machine.set(mode="hang")
    began_s = time.monotonic()
    with pytest.raises(ToolFailed, match="nvidia-smi did not answer in 1 s"):
        NvidiaSmi(dev=machine.dev, limit_s=1.0).cards()
    assert time.monotonic() - began_s < 60
    (pid,) = machine.hanging()
    assert started_ticks(pid) is None


@pytest.mark.parametrize("mode", ["apps hang", "apps fail"])
def test_a_list_of_processes_that_fails_does_not_cost_the_memory(
    machine: EmulatedNvidia, mode: str
) -> None:
    machine.set(mode=mode)
    tool = NvidiaSmi(dev=machine.dev, limit_s=1.0)
    (card,) = tool.cards()
    assert (memory(card)[0], card.processes) == (16376 * MIB, None)


def test_a_list_that_hangs_is_not_asked_for_each_time(machine: EmulatedNvidia) -> None:
    machine.set(mode="apps hang")
    tool = NvidiaSmi(dev=machine.dev, limit_s=1.0)
    for _ in range(3):
        tool.cards()
    assert machine.calls() == ["gpu", "compute-apps", "gpu", "gpu"]


@pytest.mark.parametrize(
    ("mode", "reason"),
    [
        ("fail", "couldn't communicate with the NVIDIA driver"),
        ("mismatch", "version mismatch; reboot"),
        ("no devices", "No devices were found"),
    ],
)
def test_a_driver_that_fails_later_makes_the_reading_unknown(
    machine: EmulatedNvidia, tmp_path: Path, mode: str, reason: str
) -> None:
    probe = look(machine, tmp_path)
    machine.set(mode=mode)
    reading = afresh(machine, probe, os.getpid())
    assert (reading.total_bytes, reading.used_bytes, reading.held) == (None, None, None)
    assert reason in (reading.problem or "")
    machine.set()
    assert afresh(machine, probe).problem is None


def test_a_driver_that_fails_at_start_leaves_its_gpus_out(
    machine: EmulatedNvidia, tmp_path: Path
) -> None:
    machine.set(mode="mismatch")
    tool = NvidiaSmi(dev=machine.dev)
    gpus, (out,) = find(tmp_path / "sys", tool=tool)
    assert (gpus, out.key) == ((), "nvidia")
    assert "version mismatch; reboot" in out.because
    assert tool.version() is None


def test_a_driver_without_mig_is_asked_without_it(machine: EmulatedNvidia) -> None:
    machine.set(unknown=("mig.mode.current",))
    tool = NvidiaSmi(dev=machine.dev)
    for _ in range(2):
        (card,) = tool.cards()
        assert card.total_bytes == 16376 * MIB
    assert machine.calls() == ["gpu", "gpu", "compute-apps", "gpu", "compute-apps"]
    assert tool.version() == "550.90.07"


def test_gpus_that_cannot_be_devices_are_left_out_with_the_reason(
    machine: EmulatedNvidia, tmp_path: Path
) -> None:
    mig, small, lost = EIGHT[0], EIGHT[1], EIGHT[2]
    machine.set(
        Gpu(address=mig.address, mig="Enabled"),
        Gpu(address=small.address, total_mib=2048),
        Gpu(address=lost.address, lost=True),
        Gpu(name="NVIDIA GB10", memory="[N/A]"),
        EIGHT[3],
    )
    gpus, left_out = find(tmp_path / "sys", tool=NvidiaSmi(dev=machine.dev))
    assert {gpu.device.key: gpu.objection for gpu in gpus} == {
        "0000:11:00.0": (
            "2.0 GiB of memory is too little for trials; "
            "name it with --device 0000:11:00.0 to use it all the same"
        ),
        "0000:13:00.0": None,
    }
    assert {out.key: out.because for out in left_out} == {
        "0000:10:00.0": (
            "MIG is on: its instances' memory cannot be told by nvidia-smi's CSV; to use the whole "
            "GPU switch MIG off: nvidia-smi -i 0000:10:00.0 -mig 0"
        ),
        "0000:12:00.0": (
            "nvidia-smi: Unable to determine the device handle for GPU0000:12:00.0: Unknown Error"
        ),
        KEY: "its memory is the machine's RAM: host RAM is the device",
    }


def test_a_gpu_that_the_kernel_lists_too_is_one(
    machine: EmulatedNvidia, tmp_path: Path, write: Write
) -> None:
    listed = "proc/driver/nvidia/gpus"
    root = write({f"{listed}/{KEY}/information": "", f"{listed}/0000:99:00.0/information": ""})
    (gpu,), (out,) = find(root, root / "proc", NvidiaSmi(dev=machine.dev))
    assert (gpu.device.key, out.key) == (KEY, "0000:99:00.0")
    assert out.because == "nvidia-smi does not list it"


def test_mig_switched_on_later_makes_the_reading_unknown(
    machine: EmulatedNvidia, tmp_path: Path
) -> None:
    probe = look(machine, tmp_path)
    machine.set(Gpu(mig="Enabled"))
    reading = afresh(machine, probe)
    assert (reading.used_bytes, (reading.problem or "")[:9]) == (None, "MIG is on")


def test_in_a_container_an_empty_list_is_not_nothing(
    machine: EmulatedNvidia, tmp_path: Path, container: Path, family: tuple[int, int]
) -> None:
    machine.set(Gpu(used_mib=6000))
    reading = look(machine, tmp_path, container).read((family[0],))
    assert (reading.used_bytes, reading.held) == (6350 * MIB, None)


def test_in_a_container_pids_of_the_host_are_not_ours(
    machine: EmulatedNvidia, tmp_path: Path, container: Path, family: tuple[int, int]
) -> None:
    """Also on a GPU where the list is empty: one pid from elsewhere discredits it whole."""
    machine.set(GPU, EIGHT[0])
    machine.hold(family[1], GIB, GPU)
    machine.hold(4_000_000_000, GIB, GPU)
    tool = NvidiaSmi(proc=container, dev=machine.dev)
    gpus, _ = find(tmp_path / "sys", container, tool)
    assert [probe_of(gpu).read((family[0],)).held for gpu in gpus] == [None, None]


def test_in_a_container_a_list_of_its_own_processes_is_believed(
    machine: EmulatedNvidia, tmp_path: Path, container: Path, family: tuple[int, int]
) -> None:
    assert read_kin(family[1], container) is not None
    machine.hold(family[1], GIB)
    reading = look(machine, tmp_path, container).read((family[0],))
    assert reading.held == (Held(pid=family[0], held_bytes=GIB),)


def test_under_wsl_an_empty_list_is_not_nothing(machine: EmulatedNvidia, tmp_path: Path) -> None:
    (machine.dev / "nvidiactl").unlink()
    (machine.dev / "dxg").touch()
    assert look(machine, tmp_path).read((os.getpid(),)).held is None
