"""Who else is on a device: the sources joined, our trees left out, names that are safe to print."""

from __future__ import annotations

import os
import pwd
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from probes.reading import Device, Kind
from probes.strangers import (
    MOST_NAME,
    Others,
    Stranger,
    parse_command,
    printable,
    read_command,
    read_strangers,
    read_user,
)
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

MIB = 1 << 20
PAGE = os.sysconf("SC_PAGE_SIZE")
KFD = "class/kfd/kfd/proc"


def device(kind: Kind) -> Device:
    key = "host" if kind == "host" else ADDRESS
    return Device(key=key, kind=kind, name="", total_bytes=None, source="test", because="")


def process(pid: int, command: str, parent: int = 1, *, uid: int = 0) -> dict[str, object]:
    return {
        **process_files(pid, parent, pid),
        f"proc/{pid}/cmdline": command.replace(" ", "\0") + "\0",
        f"proc/{pid}/comm": "comm",
        f"proc/{pid}/status": f"Name:\tx\nUid:\t7\t{uid}\t7\t7\nGid:\t7\t7\t7\t7",
        f"proc/{pid}/statm": "9 5 1 0 0 0 0",
    }


def draws(write: Write, pid: int, mib: int, *, region: str = "vram") -> None:
    """Give a process a file of the card, with so much memory behind it."""
    folder = write({}) / f"proc/{pid}/fd"
    folder.mkdir()
    (folder / "3").symlink_to("/dev/dri/renderD128")
    head = f"drm-driver:\tamdgpu\ndrm-pdev:\t{ADDRESS}\ndrm-client-id:\t{pid}"
    write({f"proc/{pid}/fdinfo/3": f"{head}\ndrm-memory-{region}:\t{mib} MiB"})


@pytest.fixture
def desk(write: Write) -> Path:
    """A card with a trial (10, its worker 11), another's training, a game and a compositor."""
    root = write(
        {
            **card_files(),
            **node_files(),
            **process(10, "/usr/bin/python3 tune.py"),
            **process(11, "/usr/bin/python3 tune.py", parent=10),
            **process(20, "/opt/venv/bin/python -u /home/ada/train.py --lr 1"),
            **process(30, "/usr/bin/blender"),
            **process(40, "/usr/bin/gnome-shell"),
            f"{KFD}/10/vram_41000": 900 * MIB,
            f"{KFD}/11/vram_41000": 900 * MIB,
            f"{KFD}/20/vram_41000": 500 * MIB,
            f"{KFD}/30/vram_41000": 100 * MIB,
            f"{KFD}/40/vram_41001": 7,  # of another card
        }
    )
    (root / "proc/self/ns").mkdir(parents=True)
    (root / "proc/self/ns/pid").symlink_to("pid:[4026531836]")
    draws(write, 11, 900)
    draws(write, 20, 480)
    draws(write, 30, 700)
    draws(write, 40, 200)
    return root


def ask(root: Path, kind: Kind = "amd", **options: object) -> Others:
    proc = root / "proc"
    return read_strangers(device(kind), (10,), sysfs=root, proc=proc, **options)  # type: ignore[arg-type]


def short(others: Others) -> list[tuple[str, int | None]]:
    return [(one.command, one.held_bytes) for one in others.named]


# -- GPUs --------------------------------------------------------------------------------------


def test_compute_and_graphics_are_joined_by_the_larger_and_our_trees_left_out(desk: Path) -> None:
    assert ask(desk) == Others(
        named=(
            Stranger(pid=30, command="blender", held_bytes=700 * MIB, user="root"),
            Stranger(pid=20, command="python train.py", held_bytes=500 * MIB, user="root"),
            Stranger(pid=40, command="gnome-shell", held_bytes=200 * MIB, user="root"),
        )
    )


def test_the_rest_is_counted(desk: Path) -> None:
    others = ask(desk, at_most=1)
    assert short(others) == [("blender", 700 * MIB)]
    assert (others.more, others.more_bytes) == (2, 700 * MIB)


def test_a_size_that_is_not_said_is_last_and_not_zero(desk: Path, write: Write) -> None:
    write({f"{KFD}/50/vram_41000": "garbage", **process(50, "odd")})
    assert short(ask(desk))[-1] == ("odd", None)
    others = ask(desk, at_most=1)
    assert (others.more, others.more_bytes) == (3, None)


def test_who_has_ended_and_not_given_back_has_no_name(desk: Path, write: Write) -> None:
    write({f"{KFD}/60/vram_41000": 3 * GIB})
    others = ask(desk, at_most=1)
    assert short(others) == [("blender", 700 * MIB)]
    assert (others.unnamed, others.unnamed_bytes) == (1, 3 * GIB)


def test_pids_of_another_namespace_name_nobody(desk: Path) -> None:
    """In a container KFD lists our own processes too, by other numbers: they are not strangers."""
    (desk / "proc/self/ns/pid").unlink()
    for folder in list((desk / KFD).iterdir()):
        folder.rename(folder.parent / f"99{folder.name}")
    (desk / KFD / "9970").mkdir()
    (desk / KFD / "9970/vram_41000").write_text("5\n")
    others = ask(desk)
    assert short(others)[0] == ("blender", 700 * MIB)
    assert [pid for one in others.named for pid in [one.pid]] == [30, 20, 40]
    assert (others.unnamed, others.unnamed_bytes) == (1, 5)


def test_on_an_apu_the_ram_that_is_mapped_is_what_is_held(write: Write) -> None:
    root = write(
        {
            **card_files(vram=GIB, gtt=16 * GIB),
            **node_files(bank=16 * GIB),
            **meminfo_files(),
            **process(30, "game"),
        }
    )
    draws(write, 30, 64, region="gtt")
    assert short(ask(root)) == [("game", 64 * MIB)]


def test_other_makers_gpus_are_told_of_by_a_tool(desk: Path) -> None:
    listed = [(10, 9 * GIB), (11, 8 * GIB), (30, None), (20, 5 * MIB), (40, 0)]
    others = ask(desk, "nvidia", listed=listed)
    assert short(others) == [("python train.py", 5 * MIB), ("blender", None)]
    assert ask(desk, "nvidia") == Others()


def test_without_kfd_a_tool_s_list_is_joined_with_the_files(write: Write) -> None:
    root = write({**process(20, "trainer"), **process(30, "game")})
    draws(write, 30, 64)
    assert short(ask(root, listed=[(20, GIB)])) == [("trainer", GIB), ("game", 64 * MIB)]


def test_processes_that_are_closed_to_us_are_counted(
    desk: Path, nobody: Callable[[Callable[[], object]], object]
) -> None:
    let_in(desk)
    (desk / "proc/30/fd").chmod(0)
    others = nobody(lambda: ask(desk))
    assert isinstance(others, Others)
    assert others.closed == 1
    assert ("blender", 100 * MIB) in short(others)


@pytest.mark.parametrize("kind", ["amd", "nvidia", "host"])
def test_where_there_is_nothing_nobody_is_named(tmp_path: Path, kind: Kind) -> None:
    assert ask(tmp_path, kind) == Others()


# -- RAM ---------------------------------------------------------------------------------------


def ram(pid: int, pages: int, shared: int, pss_kib: int | None, name: str) -> dict[str, object]:
    files = {**process(pid, name), f"proc/{pid}/statm": f"99 {pages} {shared} 0 0 0 0"}
    if pss_kib is not None:
        files[f"proc/{pid}/smaps_rollup"] = f"00-ff ---p 0 00:00 0 [rollup]\nPss: {pss_kib} kB"
    return files


def test_ram_is_shared_out_where_it_can_be_seen_and_counted_in_full_where_not(
    write: Write,
) -> None:
    root = write(
        {
            **ram(10, 9000, 0, 9000, "ours"),
            **ram(20, 5000, 0, 100, "sharing"),
            **ram(30, 4000, 0, None, "closed"),
            **ram(2, 0, 0, None, "kthread"),
        }
    )
    assert short(ask(root, "host")) == [("closed", 4000 * PAGE), ("sharing", 100 * 1024)]


def test_only_the_largest_are_walked(write: Write) -> None:
    """Of the rest what they share with files is not theirs."""
    root = write({})
    for pid in range(100, 106):
        write(ram(pid, 1000 + pid, 7, 8 * (pid - 99), f"p{pid}"))
    others = ask(root, "host", at_most=2)
    # 102 to 105 are walked; of 100 and 101 all that is not shared counts.
    assert short(others) == [("p101", 1094 * PAGE), ("p100", 1093 * PAGE)]
    assert (others.more, others.more_bytes) == (4, 8 * (3 + 4 + 5 + 6) * 1024)


@pytest.mark.processes
def test_a_real_process_is_found_and_no_longer_once_it_is_ours() -> None:
    script = "held = bytearray(50 << 20); print(flush=True); input()"
    child = subprocess.Popen(
        [sys.executable, "-c", script],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        assert child.stdout is not None
        child.stdout.readline()
        proc = Path("/proc")
        options = {"sysfs": Path("/sys"), "proc": proc, "at_most": 10_000}
        seen = {one.pid: one for one in read_strangers(device("host"), (), **options).named}  # type: ignore[arg-type]
        mine = seen[child.pid]
        assert mine.command == f"{Path(sys.executable).name} -c"
        assert mine.user == pwd.getpwuid(os.getuid()).pw_name
        assert 50 * MIB <= (mine.held_bytes or 0) < 200 * MIB
        rest = read_strangers(device("host"), (child.pid,), **options).named  # type: ignore[arg-type]
        assert child.pid not in {one.pid for one in rest}
    finally:
        child.kill()
        child.communicate()


@pytest.mark.parametrize("kind", ["amd", "nvidia", "host"])
def test_this_machine_can_be_asked_by_anybody(
    nobody: Callable[[Callable[[], object]], object], kind: Kind
) -> None:
    def read() -> Others:
        return read_strangers(device(kind), (), sysfs=Path("/sys"), proc=Path("/proc"))

    assert isinstance(read(), Others)
    assert isinstance(nobody(read), Others)


# -- names -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        (["/usr/bin/blender", "-b", "x.blend"], "blender"),
        (["/usr/bin/Xwayland", ":0"], "Xwayland"),
        (["python3", "train.py"], "python3 train.py"),
        (["python", "-u", "-X", "dev", "-Wignore", "runs/train.py", "-m"], "python train.py"),
        (
            ["python3.12", "-m", "torch.distributed.run", "x.py"],
            "python3.12 -m torch.distributed.run",
        ),
        (["python", "-c", "import os"], "python -c"),
        (["python"], "python"),
        (["/bin/bash", "./run.sh"], "bash run.sh"),
        (["bash", "/dev/fd/3"], "bash"),
        (["-bash"], "bash"),
        (["/opt/google/chrome/chrome --type=gpu-process --x=/home/a/b"], "chrome"),
        (["/home/ada/My Games/doom", "-fast"], "doom"),
        (["Z:\\games\\Elden Ring\\eldenring.exe"], "eldenring.exe"),
        (["postgres: ada db 10.0.0.1/32 idle"], "postgres: ada db 10.0.0.1/32 idle"),
        (["/proc/self/exe", "--type=gpu-process"], ""),
        ([""], ""),
    ],
)
def test_programs_go_by_the_name_that_people_know(arguments: list[str], name: str) -> None:
    assert parse_command("".join(f"{argument}\0" for argument in arguments)) == name


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31;1mred\x1b[0m", "red"),
        ("a\x1b]0;title\x07b\x1b]8;;http://x\x1b\\c", "abc"),
        ("\x9b31mx\x07\x00\x7f\x08", "31mx"),
        ("two\nlines\tand\r\nmore", "two lines and more"),
        ("abc\u202edcb\u200b\ufeff", "abcdcb"),
        ("naïve 模型", "naïve 模型"),
        ("x" * 50, "x" * (MOST_NAME - 3) + "..."),
    ],
)
def test_a_name_does_nothing_but_show_itself(text: str, shown: str) -> None:
    assert printable(text) == shown


@given(st.text(max_size=300) | st.text(alphabet="\x1b[]0;mJ \x07\\python-mc./\0", max_size=60))
def test_no_arguments_reach_the_terminal_unseen(text: str) -> None:
    for shown in (printable(text), parse_command(text)):
        assert shown.isprintable()
        assert len(shown) <= MOST_NAME


def test_a_process_without_arguments_goes_by_its_thread_s_name(write: Write) -> None:
    root = write({**process(20, ""), "proc/20/comm": "kworker\x1b[2J/0"})
    assert read_command(20, root / "proc") == "kworker/0"
    assert read_command(21, root / "proc") is None


def test_bytes_that_are_no_text_are_shown_as_such(write: Write) -> None:
    root = write({"proc/20/comm": ""})
    (root / "proc/20/cmdline").write_bytes(b"/bin/\x9b2Jx\0")
    assert read_command(20, root / "proc") == "\\x9b2Jx"


def test_a_user_without_a_name_goes_by_number(write: Write) -> None:
    root = write(process(20, "x", uid=4_000_000_000))
    assert read_user(20, root / "proc") == "4000000000"
    assert read_user(21, root / "proc") is None
