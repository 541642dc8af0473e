"""AMD GPUs from a tree of files: which are used, by which name, and what each poll says."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from probes.amdgpu import AmdGpu, Pool, find, objection, used_of_ram
from probes.reading import Held, LeftOut
from tests.probes.samples import (
    ADDRESS,
    DEVICE,
    GIB,
    TOTAL,
    USED,
    Write,
    card_files,
    let_in,
    meminfo_files,
    node_files,
    process_files,
)


def gpus(root: Path) -> tuple[AmdGpu, ...]:
    return find(root, root / "proc")[0]


def left_out(root: Path) -> tuple[LeftOut, ...]:
    return find(root, root / "proc")[1]


def objections(root: Path, *, has_card: bool = False) -> dict[str, str]:
    found = ((gpu.device.key, objection(gpu, has_card=has_card)) for gpu in gpus(root))
    return {key: because for key, because in found if because is not None}


@pytest.fixture
def card(write: Write) -> Path:
    return write({**card_files(), **node_files()})


def test_a_card_is_known_by_address_and_chosen_by_uuid(card: Path) -> None:
    (gpu,) = gpus(card)
    device = gpu.device
    assert (device.key, device.kind, device.source) == (ADDRESS, "amd", "amdgpu")
    assert device.name == "AMD GPU 0x744c (gfx1100)"
    assert device.total_bytes == 16 * GIB
    assert device.uuid == "GPU-e56b237e725ec427"
    assert device.environment == (
        ("ROCR_VISIBLE_DEVICES", "GPU-e56b237e725ec427"),
        ("HIP_VISIBLE_DEVICES", None),
        ("CUDA_VISIBLE_DEVICES", None),
        ("GPU_DEVICE_ORDINAL", None),
    )


def test_the_product_name_is_used_where_the_driver_has_one(card: Path) -> None:
    (card / DEVICE / "product_name").write_text("AMD Radeon PRO W7900\n")
    assert gpus(card)[0].device.name == "AMD Radeon PRO W7900"


def test_a_poll_says_total_used_and_what_each_tree_holds(card: Path, write: Write) -> None:
    write(
        {
            **process_files(10, 1, 10),
            "class/kfd/kfd/proc/10/vram_41000": 6 * GIB,
            USED: 7 * GIB,
        }
    )
    reading = gpus(card)[0].read((10, 20))
    assert (reading.device, reading.total_bytes, reading.used_bytes) == (
        ADDRESS,
        16 * GIB,
        7 * GIB,
    )
    assert reading.held == (Held(pid=10, held_bytes=6 * GIB), Held(pid=20, held_bytes=0))
    assert reading.problem is None


def test_without_kfd_processes_held_is_unknown_and_memory_is_not(card: Path) -> None:
    reading = gpus(card)[0].read((10,))
    assert (reading.held, reading.used_bytes) == (None, GIB)


@pytest.mark.parametrize(
    ("content", "seen"),
    [
        ("", "is empty"),
        ("garbage", "'garbage' is not a number"),
        ("-4096", "'-4096' is not a number"),
        (str(17 * GIB), f"says {17 * GIB} bytes of {16 * GIB} in all"),
    ],
)
def test_an_odd_used_is_unknown_with_the_reason(card: Path, content: str, seen: str) -> None:
    (gpu,) = gpus(card)
    (card / USED).write_text(content)
    reading = gpu.read(())
    assert (reading.total_bytes, reading.used_bytes) == (16 * GIB, None)
    assert reading.problem == f"{card / USED}: {seen}"


def test_used_a_rounding_above_total_is_full(card: Path) -> None:
    (gpu,) = gpus(card)
    (card / USED).write_text(str(16 * GIB + 4096))
    assert gpu.read(()).used_bytes == 16 * GIB


def test_a_file_that_is_gone_or_forbidden_is_unknown_and_comes_back(
    card: Path, nobody: Callable[[Callable[[], object]], object]
) -> None:
    (gpu,) = gpus(card)
    let_in(card)
    (card / USED).chmod(0)
    assert nobody(lambda: gpu.read(()).problem) == f"{card / USED}: permission denied"
    (card / USED).unlink()
    assert gpu.read(()).problem == f"{card / USED}: no such file or directory"
    (card / USED).write_text("5\n")
    assert (gpu.read(()).used_bytes, gpu.read(()).problem) == (5, None)


@pytest.mark.parametrize("content", ["0", "8589934592", "", "x"])
def test_a_total_that_is_not_what_it_was_makes_all_unknown(card: Path, content: str) -> None:
    (gpu,) = gpus(card)
    (card / TOTAL).write_text(content)
    reading = gpu.read(())
    assert (reading.total_bytes, reading.used_bytes) == (None, None)
    assert reading.problem is not None
    assert TOTAL in reading.problem


def test_a_card_that_vanishes_is_unknown(card: Path) -> None:
    (gpu,) = gpus(card)
    shutil.rmtree(card / "class")
    reading = gpu.read((1,))
    assert (reading.total_bytes, reading.used_bytes, reading.held) == (None, None, None)


def test_an_apu_works_from_ram(write: Write) -> None:
    """Phoenix: 4 GiB carved out, GTT is half the RAM, KFD's bank equals GTT, no unique id."""
    root = write(
        {
            **card_files(vram=4 * GIB, gtt=30 * GIB),
            **node_files(bank=30 * GIB, unique_id=0),
            **meminfo_files(total=60 * GIB, available=50 * GIB),
        }
    )
    (gpu,) = gpus(root)
    assert gpu.device.total_bytes == 30 * GIB
    assert dict(gpu.device.environment)["ROCR_VISIBLE_DEVICES"] == "0"
    assert gpu.read(()).used_bytes == GIB // 2
    write(meminfo_files(total=60 * GIB, available=6 * GIB))
    assert gpu.read(()).used_bytes == 24 * GIB
    (root / "proc/meminfo").unlink()
    reading = gpu.read(())
    assert (reading.used_bytes, reading.problem) == (
        None,
        f"{root}/proc/meminfo: no such file or directory",
    )


@pytest.mark.parametrize(
    ("vram", "gtt", "bank", "total"),
    [
        (8 * GIB, 8 * GIB, 8 * GIB, 8 * GIB),  # a Vega: all equal, the pool is VRAM
        (48 * GIB, 40 * GIB, 48 * GIB, 48 * GIB),  # an APU with a large carve-out
        (GIB // 2, 128 * GIB, 62 * GIB, 32 * GIB),  # Strix Halo: GTT beyond the RAM
        (GIB // 2, 128 * GIB, 24 * GIB, 24 * GIB),  # HIP offers less than GTT
    ],
)
def test_the_pool_is_what_hip_allocates_from(
    write: Write, vram: int, gtt: int, bank: int, total: int
) -> None:
    root = write({**card_files(vram=vram, gtt=gtt), **node_files(bank=bank), **meminfo_files()})
    assert gpus(root)[0].device.total_bytes == total


@given(*[st.integers(0, 200 * GIB)] * 4)
def test_used_of_ram_is_never_outside_the_pool(
    counter: int, limit: int, used: int, available: int
) -> None:
    pool = Pool(total_path="", used_path="", counter_bytes=counter, limit_bytes=limit, is_ram=True)
    seen = used_of_ram(pool, used_bytes=used, available_bytes=available)
    assert 0 <= seen <= limit
    assert limit - seen <= min(available, max(counter - used, 0))


def test_a_small_integrated_gpu_is_for_those_who_name_it(card: Path, write: Write) -> None:
    write(
        {
            **card_files("class/drm/card0/device", address="0000:0c:00.0", vram=GIB // 2),
            **node_files(2, location=0x0C00, bank=GIB // 2, unique_id=0, gpu_id=41001),
        }
    )
    (because,) = objections(card).values()
    assert because.startswith("0.5 GiB of memory is too little")
    assert "--device 0000:0c:00.0" in because
    found = {gpu.device.key: dict(gpu.device.environment) for gpu in gpus(card)}
    assert found["0000:0c:00.0"]["ROCR_VISIBLE_DEVICES"] == "1"


def test_an_integrated_gpu_with_half_the_ram_is_not_used_beside_a_card(
    card: Path, write: Write
) -> None:
    """Since Linux 6.10 the two-core GPU of a Ryzen desktop offers 16 GiB: trials there crawl."""
    write(
        {
            **card_files("class/drm/card0/device", address="0000:0c:00.0", vram=GIB // 2),
            f"{'class/drm/card0/device'}/mem_info_gtt_total": 16 * GIB,
            **node_files(2, location=0x0C00, bank=16 * GIB, unique_id=0, gpu_id=41001),
            **meminfo_files(),
        }
    )
    assert objections(card) == {}
    assert "integrated" in objections(card, has_card=True)["0000:0c:00.0"]


def test_a_card_that_rocm_cannot_use_is_for_those_who_name_it(write: Write) -> None:
    root = write(card_files())
    assert "KFD" in objections(root)[ADDRESS]
    (gpu,) = gpus(root)
    assert gpu.device.environment == ()


@pytest.mark.parametrize(
    ("files", "because"),
    [
        (card_files(driver="radeon"), "driven by radeon, not by amdgpu"),
        (card_files(address="nonsense"), "no PCI address"),
        (card_files(vram=""), "mem_info_vram_total: is empty"),
        (card_files(vram=0), "mem_info_vram_total: says 0 bytes"),
        (card_files(vram="N/A"), "'N/A' is not a number"),
    ],
)
def test_a_card_that_cannot_be_read_is_left_out(
    write: Write, files: dict[str, object], because: str
) -> None:
    root = write({**node_files(bank=0), **files})
    assert gpus(root) == ()
    assert because in left_out(root)[0].because


def test_cards_of_other_makers_are_not_ours(write: Write) -> None:
    root = write(card_files(vendor="0x8086", driver="i915"))
    assert find(root, root / "proc") == ((), ())


def test_of_a_partitioned_card_the_first_partition_is_used(write: Write) -> None:
    """CPX: one set of counters for all; the first partition's bank is the limit."""
    root = write(
        {
            **card_files(vram=192 * GIB, address="0000:05:00.0"),
            **node_files(2, location=0x0500, bank=48 * GIB, gpu_id=11),
            **node_files(3, location=0x0501, bank=48 * GIB, gpu_id=12),
            **node_files(4, location=0x0500, bank=48 * GIB, gpu_id=13),
        }
    )
    (gpu,) = gpus(root)
    assert gpu.device.total_bytes == 48 * GIB
    assert gpu.device.uuid is None  # all partitions have the same
    assert dict(gpu.device.environment)["ROCR_VISIBLE_DEVICES"] == "0"
    assert [(out.key, out.because) for out in left_out(root)] == [
        (key, "it is a partition of 0000:05:00.0 without memory counters of its own")
        for key in ("0000:05:00.1/1", "0000:05:00.0/2")
    ]
    (root / USED).write_text(str(100 * GIB))
    assert gpu.read(()).used_bytes == 48 * GIB
