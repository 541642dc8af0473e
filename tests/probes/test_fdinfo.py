"""What processes hold by their open DRM files: which keys count, once each; who may not look."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from probes.amdgpu import find
from probes.fdinfo import Client, Clients, parse, parse_size, read_clients, read_held
from probes.processes import read_all
from probes.reading import Held
from tests.probes.samples import (
    ADDRESS,
    GIB,
    Write,
    card_files,
    let_in,
    meminfo_files,
    node_files,
    process_files,
)

KIB, MIB = 1 << 10, 1 << 20
RENDER = "/dev/dri/renderD128"
OTHER_CARD = "0000:0c:00.0"


def info(client_id: int, *memory: str, address: str = ADDRESS) -> str:
    head = ("pos:\t0", "flags:\t02100002", "drm-driver:\tamdgpu", f"drm-client-id:\t{client_id}")
    return "\n".join((*head, f"drm-pdev:\t{address}", *memory, "drm-engine-gfx:\t5521 ns"))


def vram(client_id: int, mib: int, address: str = ADDRESS) -> str:
    return info(client_id, f"drm-memory-vram:\t{mib} MiB", address=address)


def regions(*memory: str) -> dict[str, int | None]:
    client = parse(info(1, *memory))
    assert client is not None
    return client.regions


@pytest.fixture
def opened(write: Write) -> Callable[..., Path]:
    """A process whose descriptors, from 3, are files of fdinfo (None: closed while we look)."""

    def opened(pid: int, *files: str | None, parent: int = 1, link: str = RENDER) -> Path:
        root = write({**process_files(pid, parent, pid), f"proc/{pid}/statm": "9 5 1 0 0 0 0"})
        folder = root / f"proc/{pid}"
        (folder / "fd").mkdir(exist_ok=True)
        (folder / "fd/0").symlink_to("/dev/null")
        (folder / "fd/1").symlink_to("socket:[123]")
        for number, text in enumerate(files, 3):
            (folder / f"fd/{number}").symlink_to(link)
            if text is not None:
                write({f"proc/{pid}/fdinfo/{number}": text})
        return root / "proc"

    return opened


# -- the text ----------------------------------------------------------------------------------


def test_a_client_is_known_by_card_and_id() -> None:
    text = info(77, "drm-memory-vram:\t3 KiB", address="0000:0A:00.0")
    assert parse(text) == Client(
        driver="amdgpu", address="0000:0a:00.0", client_id=77, regions={"vram": 3 * KIB}
    )


@pytest.mark.parametrize("family", ["resident", "memory", "total"])
def test_families_tell_of_the_same_bytes_and_the_most_exact_one_counts(family: str) -> None:
    told = {"total": "9 MiB", "memory": "5 MiB", "resident": "4 MiB"}
    exact = {"resident": 4, "memory": 5, "total": 9}
    for better in ("resident", "memory"):
        if better == family:
            break
        del told[better]
    lines = [f"drm-{name}-vram:\t{size}" for name, size in told.items()]
    assert regions(*lines, "drm-shared-vram:\t1 MiB") == {"vram": exact[family] * MIB}


def test_each_region_has_its_own_best_family() -> None:
    """A blank may stand before the tab, and units differ within a file."""
    seen = regions(
        "drm-total-gtt:\t3 MiB",
        "drm-resident-vram:\t40 KiB",
        "drm-memory-vram:\t48 KiB",
        "drm-memory-gtt: \t2048 KiB",
        "drm-total-gds:\t0",
    )
    assert seen == {"vram": 40 * KIB, "gtt": 2048 * KIB, "gds": 0}


@pytest.mark.parametrize(
    ("value", "size"),
    [("0", 0), ("4096", 4096), ("12 KiB", 12 * KIB), ("2 MiB", 2 * MIB), ("3 GiB", 3 * GIB)],
)
def test_sizes_have_units(value: str, size: int) -> None:
    assert parse_size(value) == size


@pytest.mark.parametrize(
    "value", ["", "N/A", "-4 KiB", "1.5 MiB", "12 kB", "12 KiB x", "²", "9" * 40]
)
def test_an_odd_size_is_unknown_not_zero_and_not_another_family_s(value: str) -> None:
    assert parse_size(value) is None
    assert regions(f"drm-resident-vram:\t{value}", "drm-memory-vram:\t5 KiB") == {"vram": None}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "pos:\t0\nflags:\t02\nmnt_id:\t24",
        "pdev:\t0000:03:00.0\npasid:\t32784\nvram mem:\t12 kB",  # amdgpu before Linux 5.19
        "drm-driver:\tamdgpu\ndrm-pdev:\t0000:03:00.0",
        "drm-client-id:\t5\ndrm-memory-vram:\t1 KiB",
        "drm-driver:\tamdgpu\ndrm-client-id:\tfive",
    ],
)
def test_what_does_not_say_which_client_it_is_is_none(text: str) -> None:
    assert parse(text) is None


LINES = st.builds(
    "{}{}:{}".format,
    st.sampled_from(["drm-memory-", "drm-resident-", "drm-total-", "drm-", ""]),
    st.sampled_from(["vram", "gtt", "client-id", "pdev", "driver", ""]),
    st.text(max_size=12) | st.from_regex(r"\s?[0-9]{1,22} ?([KMGT]iB)?", fullmatch=True),
)


@given(st.text(max_size=200) | st.lists(LINES, max_size=12).map("\n".join))
def test_no_text_breaks_the_parser(text: str) -> None:
    client = parse(text)
    if client is not None:
        assert all(size is None or size >= 0 for size in client.regions.values())


# -- trees -------------------------------------------------------------------------------------


def test_a_tree_holds_what_its_clients_on_this_card_hold(opened: Callable[..., Path]) -> None:
    opened(10, vram(1, 100), vram(2, 20), vram(3, 9, OTHER_CARD))
    opened(11, vram(4, 3), parent=10)
    opened(20)
    proc = opened(30, vram(5, 5000))
    assert read_held(ADDRESS, (20, 10), proc) == (
        Held(pid=20, held_bytes=0),
        Held(pid=10, held_bytes=123 * MIB),
    )


def test_one_client_counts_once_within_and_across_processes(opened: Callable[..., Path]) -> None:
    opened(10, vram(1, 100), vram(1, 100))
    opened(11, vram(1, 100), parent=10)
    proc = opened(20, vram(1, 100), vram(2, 7))
    assert read_held(ADDRESS, (20, 10), proc) == (
        Held(pid=20, held_bytes=107 * MIB),
        Held(pid=10, held_bytes=0),
    )


def test_clients_of_two_cards_may_have_one_id(opened: Callable[..., Path]) -> None:
    proc = opened(10, vram(1, 100), vram(1, 9, OTHER_CARD))
    assert read_held(ADDRESS, (10,), proc) == (Held(pid=10, held_bytes=100 * MIB),)
    assert read_held(OTHER_CARD, (10,), proc) == (Held(pid=10, held_bytes=9 * MIB),)


def test_gtt_is_another_number(opened: Callable[..., Path]) -> None:
    proc = opened(10, info(1, "drm-memory-vram:\t1 MiB", "drm-memory-gtt: \t7 MiB"))
    assert read_held(ADDRESS, (10,), proc, region="gtt") == (Held(pid=10, held_bytes=7 * MIB),)


@pytest.mark.parametrize("memory", ["drm-memory-vram:\tx", "drm-memory-gtt: \t7 MiB"])
def test_a_client_without_a_number_makes_its_tree_unknown(
    opened: Callable[..., Path], memory: str
) -> None:
    opened(10, info(1, memory), vram(2, 5))
    proc = opened(20, vram(3, 5))
    assert read_held(ADDRESS, (10, 20), proc) == (
        Held(pid=10, held_bytes=None),
        Held(pid=20, held_bytes=5 * MIB),
    )


def test_without_a_client_on_the_card_nothing_can_be_told(opened: Callable[..., Path]) -> None:
    """The kernel may be too old for the keys: 0 would make all that is used a stranger's."""
    opened(10, "pos:\t0\npdev:\t0000:03:00.0\nvram mem:\t9 kB", vram(1, 9, OTHER_CARD))
    opened(11, vram(2, 50), link="/tmp/not-a-card")
    proc = opened(30, vram(3, 9))
    assert read_held(ADDRESS, (10, 11), proc) is None
    assert read_held(ADDRESS, (), proc) is None


def test_files_and_processes_that_end_while_we_look_hold_nothing(
    opened: Callable[..., Path],
) -> None:
    proc = opened(10, vram(1, 100), None)
    (proc / "12").mkdir()
    assert read_held(ADDRESS, (10, 12, 13), proc) == (
        Held(pid=10, held_bytes=100 * MIB),
        Held(pid=12, held_bytes=0),
        Held(pid=13, held_bytes=0),
    )


@pytest.mark.parametrize("closed", ["10/fd", "10/fdinfo/3"])
def test_a_process_that_may_not_be_read_makes_its_tree_unknown(
    opened: Callable[..., Path], nobody: Callable[[Callable[[], object]], object], closed: str
) -> None:
    opened(10, vram(1, 100))
    proc = opened(20, vram(2, 5))
    let_in(proc.parent)
    (proc / closed).chmod(0)
    assert nobody(lambda: read_held(ADDRESS, (10, 20), proc)) == (
        Held(pid=10, held_bytes=None),
        Held(pid=20, held_bytes=5 * MIB),
    )
    seen = nobody(lambda: read_clients(ADDRESS, proc))
    assert seen == Clients(held={20: 5 * MIB}, closed=1)


def test_a_folder_that_is_no_proc_tells_nothing(tmp_path: Path) -> None:
    assert read_held(ADDRESS, (1,), tmp_path / "proc") is None
    assert read_clients(None, tmp_path / "proc") == Clients(held={}, closed=0)


# -- all processes -----------------------------------------------------------------------------


def test_all_clients_by_process_on_one_card_or_on_all(opened: Callable[..., Path]) -> None:
    opened(10, vram(1, 100), vram(1, 100), vram(2, 1))
    opened(20, vram(1, 9, OTHER_CARD), info(4))
    proc = opened(30)
    assert read_clients(ADDRESS, proc).held == {10: 101 * MIB, 20: None}
    assert read_clients(OTHER_CARD, proc).held == {20: 9 * MIB}
    assert read_clients(None, proc).held == {10: 101 * MIB, 20: None}


def test_a_card_opened_for_another_counts_for_the_receiver(opened: Callable[..., Path]) -> None:
    """logind opens the card, the compositor gets the file and fills it."""
    opened(5, vram(1, 300))
    proc = opened(40, vram(1, 300), vram(2, 20))
    assert read_clients(ADDRESS, proc).held == {40: 320 * MIB}


def test_the_kernel_s_own_threads_are_not_counted_as_closed(
    opened: Callable[..., Path], nobody: Callable[[Callable[[], object]], object], write: Write
) -> None:
    proc = opened(10, vram(1, 1))
    opened(2)
    write({"proc/2/statm": "0 0 0 0 0 0 0"})
    let_in(proc.parent)
    (proc / "2/fd").chmod(0)
    assert nobody(lambda: read_clients(ADDRESS, proc)) == Clients(held={10: MIB}, closed=0)


def test_this_machine_can_be_asked(nobody: Callable[[Callable[[], object]], object]) -> None:
    proc = Path("/proc")
    trees = (os.getpid(), *list(read_all(proc))[:5])
    for read in (lambda: read_clients(None, proc), lambda: read_clients(ADDRESS, proc)):
        assert isinstance(read(), Clients)
        assert isinstance(nobody(read), Clients)
    assert read_held(ADDRESS, trees, proc) is None
    assert nobody(lambda: read_held(ADDRESS, trees, proc)) is None


# -- as an AMD GPU asks ------------------------------------------------------------------------


def test_kfd_is_asked_first_and_the_files_where_it_cannot_tell(
    opened: Callable[..., Path], write: Write
) -> None:
    kfd = "class/kfd/kfd/proc"
    proc = opened(10, vram(1, 100))
    root = write({**card_files(), **node_files()})
    ((gpu,), _) = find(root, proc)
    assert gpu.read((10,)).held == (Held(pid=10, held_bytes=100 * MIB),)
    write({f"{kfd}/10/vram_41000": 5})
    assert gpu.read((10,)).held == (Held(pid=10, held_bytes=5),)
    (root / kfd / "99999").mkdir()  # another PID namespace
    assert gpu.read((10,)).held == (Held(pid=10, held_bytes=100 * MIB),)
    assert gpu.read((20,)).held is None


def test_on_an_apu_what_is_mapped_of_the_ram_is_held(
    opened: Callable[..., Path], write: Write
) -> None:
    proc = opened(10, info(1, "drm-memory-vram:\t1 MiB", "drm-memory-gtt: \t7 MiB"))
    files = {**card_files(vram=GIB, gtt=16 * GIB), **node_files(bank=16 * GIB), **meminfo_files()}
    root = write(files)
    ((gpu,), _) = find(root, proc)
    assert gpu.read((10,)).held == (Held(pid=10, held_bytes=7 * MIB),)


@pytest.mark.parametrize("name", ["mem_info_vram_used", "mem_info_vram_total"])
@pytest.mark.parametrize("status", ["suspended", "active", None])
def test_only_a_suspended_card_that_refuses_is_asleep(
    write: Write,
    nobody: Callable[[Callable[[], object]], object],
    name: str,
    status: str | None,
) -> None:
    device = "class/drm/card1/device"
    root = write({**card_files(), **node_files()})
    if status is not None:
        write({f"{device}/power/runtime_status": status})
    ((gpu,), _) = find(root, root / "proc")
    let_in(root)
    (root / device / name).chmod(0)
    asleep, problem = nobody(
        lambda: ((reading := gpu.read(())).asleep, reading.problem)  # type: ignore[misc]
    )
    asleep_problem = "is asleep (runtime-suspended) and is not woken to be read"
    if status == "suspended":
        assert (asleep, problem) == (True, asleep_problem)
    else:
        assert (asleep, problem) == (False, f"{root}/{device}/{name}: permission denied")


def test_a_suspended_card_that_answers_is_not_asleep(write: Write) -> None:
    root = write({**card_files(), **node_files()})
    write({"class/drm/card1/device/power/runtime_status": "suspended"})
    ((gpu,), _) = find(root, root / "proc")
    assert (gpu.read(()).asleep, gpu.read(()).used_bytes) == (False, GIB)
    (root / "class/drm/card1/device/mem_info_vram_used").unlink()
    assert gpu.read(()).asleep is False
