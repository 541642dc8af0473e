"""Whole runs where the first way to read the card fails, and the next one has to do.

AMD: the driver's counter cannot be read, and AMD's own rocm-smi, which sees the whole emulated
card as /sys, answers in its place. NVIDIA: all is read through nvidia-smi, which is emulated.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from script_runs import Going, Runner

from tests.emulated.card import SYSFS_ROOT, EmulatedCard
from tests.emulated.mount import can_mount, seeing
from tests.emulated.nvidia import EmulatedNvidia, Gpu
from tests.probes.samples import card_files

pytestmark = pytest.mark.processes
GIB = 1 << 30
CARD = "0000:03:00.0"
KFD_PROC = "class/kfd/kfd/proc"

HOLDS = """
    import pathlib, time
    import optuna
    from tests.emulated import gpu

    def objective(trial):
        gpu.hold(5 << 30)
        pathlib.Path(f"began.{trial.number}").touch()
        while not pathlib.Path("go").exists():
            time.sleep(0.02)
        return trial.suggest_float("x", 0, 1)

    optuna.create_study().optimize(objective, n_trials=4)
"""


@pytest.fixture
def card(tmp_path: Path) -> Iterator[EmulatedCard]:
    with EmulatedCard(tmp_path) as card:
        yield card


def hidden(card: EmulatedCard, folder: Path, *files: str) -> Path:
    """The card's tree as one sees it from whom *files* of its card are hidden."""
    root = folder / "hidden"
    shutil.copytree(card.sysfs, root, symlinks=True)
    shutil.rmtree(root / KFD_PROC)
    (root / KFD_PROC).symlink_to(card.sysfs / KFD_PROC)
    device = (root / "class/drm/card0/device").resolve()
    for name in files:
        (device / name).unlink()
    return root


def install(folder: Path, name: str, *command: str) -> None:
    """Put a program on the PATH that runs *command* with its own arguments behind."""
    folder.mkdir(exist_ok=True)
    quoted = " ".join(f"'{word}'" for word in command)
    (folder / name).write_text(f'#!/bin/sh\nexec {quoted} "$@"\n')
    (folder / name).chmod(0o755)


def devices(runner: Runner) -> dict[str, Any]:
    told = json.loads(runner.command("devices", "--json").stdout)
    (device,) = (one for one in told["devices"] if one["device"]["key"] == CARD)
    return dict(device)


def read(runner: Runner, card: EmulatedCard) -> dict[str, Any] | None:
    """What is known of the card, once that is right: on a busy machine a tool may be late."""
    told = devices(runner)
    return told if told["used_bytes"] == card.used_bytes(CARD) else None


def began(going: Going) -> int:
    return len(list(going.own.glob("began.*")))


@pytest.mark.skipif(shutil.which("rocm-smi") is None, reason="rocm-smi (apt) is not installed")
@pytest.mark.skipif(not can_mount(), reason="needs root and unshare -m, to mount a /sys")
@pytest.mark.parametrize("files", [["mem_info_vram_used"], ["mem_info_vram_used", "vendor"]])
def test_trials_run_by_rocm_smis_word_where_the_drivers_counter_is_hidden(
    run_script: Runner,
    card: EmulatedCard,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    files: list[str],
) -> None:
    """Hidden the counter, the tool steps in; hidden the card, the tool alone tells of it."""
    tool = shutil.which("rocm-smi")
    assert tool is not None
    install(tmp_path / "bin", "rocm-smi", *seeing(card.sysfs), tool)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    for name, value in card.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv(SYSFS_ROOT, str(hidden(card, tmp_path, *files)))
    going = run_script.begin(HOLDS, "--memory-per-trial", "6GiB")
    going.wait_for(lambda: began(going) == 2, "two trials that fit")
    going.wait_for(lambda: devices(run_script)["held_bytes"] == 10 * GIB, "what they hold")
    told = going.wait_for(lambda: read(run_script, card), "the tool to say what the card holds")
    states = {source["name"]: source["state"] for source in told["sources"]}
    by_tool = {"rocm-smi": "in use"}
    assert states == (by_tool if "vendor" in files else {"amdgpu": "left", **by_tool})
    said = run_script.command("devices").stdout
    assert "rocm-smi: " in said
    assert ("mem_info_vram_used: no such file" in said) == ("vendor" not in files)
    (going.own / "go").touch()
    study = going.wait().ok().study()
    assert [trial.state.name for trial in study.trials] == ["COMPLETE"] * 4


REPORTS_ITS_PID = """
    import os, pathlib, time
    import optuna

    def objective(trial):
        uuid = os.environ["CUDA_VISIBLE_DEVICES"]
        trial.set_user_attr("device", uuid)
        pathlib.Path("fresh").write_text(f"{os.getpid()} {uuid}")
        pathlib.Path("fresh").rename(f"{trial.number}.pid")
        while not pathlib.Path("go").exists():
            time.sleep(0.02)
        return trial.suggest_float("x", 0, 1)

    optuna.create_study().optimize(objective, n_trials=5)
"""


def test_trials_share_nvidias_gpus_by_nvidia_smis_word(
    run_script: Runner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two cards of 16 GiB, a game on one: two trials of 6 GiB go to one, one to the other."""
    one, two = Gpu(), Gpu(address="00000000:5E:00.0")
    machine = EmulatedNvidia(tmp_path, one, two)
    monkeypatch.setenv("PATH", machine.path())
    machine.hold(os.getpid(), 6 * GIB, two)
    sysfs = tmp_path / "sys"
    for number, address in enumerate(("0000:3b:00.0", "0000:5e:00.0")):
        card = f"class/drm/card{number}/device"
        for name, text in card_files(
            card, address=address, vendor="0x10de", driver="nvidia"
        ).items():
            (sysfs / name).parent.mkdir(parents=True, exist_ok=True)
            (sysfs / name).write_text(f"{text}\n")
    monkeypatch.setenv(SYSFS_ROOT, str(sysfs))
    going = run_script.begin(REPORTS_ITS_PID, "--memory-per-trial", "6GiB", "--max-trials", "8")
    pids = going.wait_for_files("*.pid", 3)
    for path in pids:
        pid, uuid = path.read_text().split()
        machine.hold(int(pid), 5 * GIB, one if uuid == one.uuid else two)
    going.wait_for(lambda: sum(held(run_script).values()) == 15 * GIB, "what the three hold")
    assert sorted(held(run_script).values()) == [5 * GIB, 10 * GIB]
    assert len(list(going.own.glob("*.pid"))) == 3
    assert f"(pid {os.getpid()})" in run_script.command("devices").stdout
    (going.own / "go").touch()
    study = going.wait().ok().study()
    used = {trial.user_attrs["device"] for trial in study.trials}
    assert used == {one.uuid, two.uuid}


def held(runner: Runner) -> dict[str, int]:
    told = json.loads(runner.command("devices", "--json").stdout)
    used = (one for one in told["devices"] if not one["on_request"])
    return {one["device"]["key"]: one["held_bytes"] or 0 for one in used}
