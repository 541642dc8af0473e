"""The state folder: refused unless it is ours alone, its sockets reachable at any depth."""

from __future__ import annotations

import os
import pickle
import socket
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from scheduler.machine import state as folder
from scheduler.machine.state import StateError, StateFolder, find, new_run, open_state


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StateFolder:
    monkeypatch.setenv(folder.VARIABLE, str(tmp_path / "state"))
    return open_state()


def test_it_is_made_for_us_alone(state: StateFolder) -> None:
    assert stat.S_IMODE(state.path.stat().st_mode) == 0o700


def test_looking_for_it_makes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(folder.VARIABLE, str(tmp_path / "state"))
    assert find().run_ids() == []
    assert not (tmp_path / "state").exists()


def test_without_a_variable_it_is_the_users_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(folder.VARIABLE, raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert find().path == tmp_path / "gpu-trial-scheduler"


def test_a_folder_that_others_can_enter_is_refused_and_left_alone(state: StateFolder) -> None:
    state.path.chmod(0o750)
    with pytest.raises(StateError, match=r"mode 0750.*chmod 700"):
        open_state()
    assert stat.S_IMODE(state.path.stat().st_mode) == 0o750


def test_a_file_in_its_place_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        monkeypatch.setenv(folder.VARIABLE, str(path))
        with pytest.raises(StateError, match=r"is a file|cannot be made"):
            open_state()


def test_a_file_where_the_runs_belong_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "state").mkdir(mode=0o700)
    (tmp_path / "state/runs").touch()
    monkeypatch.setenv(folder.VARIABLE, str(tmp_path / "state"))
    with pytest.raises(StateError, match="has no folder runs/ and it cannot be made"):
        open_state()


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a folder away")
def test_another_users_folder_is_refused(state: StateFolder) -> None:
    os.chown(state.path, 12345, 12345)
    with pytest.raises(StateError, match="belongs to uid 12345"):
        open_state()


def test_the_error_pickles() -> None:
    error = StateError("/there", "is a file", "a folder", "Move it.")
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


def test_runs_are_numbered_by_their_stem(state: StateFolder) -> None:
    made = [new_run(state, stem) for stem in ("train", "train", "other", "train")]
    assert made == ["train-1", "train-2", "other-1", "train-3"]


@pytest.mark.parametrize(
    ("stem", "run"), [("a b/c", "a-b-c-1"), ("../..", "run-1"), ("", "run-1"), ("-x", "x-1")]
)
def test_a_run_is_named_such_that_it_stays_in_its_folder(
    state: StateFolder, stem: str, run: str
) -> None:
    assert new_run(state, stem) == run


def test_two_callers_at_once_never_get_the_same_run(state: StateFolder) -> None:
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: new_run(state, "train"), range(40)))
    assert sorted(made, key=lambda run: int(run[6:])) == [f"train-{n}" for n in range(1, 41)]


def test_runs_are_listed_newest_first(state: StateFolder) -> None:
    for age, run in enumerate([new_run(state, "a"), new_run(state, "b"), new_run(state, "a")]):
        (state.run(run) / "run.json").touch()
        os.utime(state.run(run) / "run.json", (age, age))
    assert state.run_ids() == ["a-2", "b-1", "a-1"]


def test_sockets_work_below_any_path_and_are_ours_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A unix socket's path has 107 bytes; the state folder's may have more."""
    monkeypatch.setenv(folder.VARIABLE, str(tmp_path / ("deep" * 20) / ("deeper" * 20)))
    state = open_state()
    with folder.listen(state, folder.HOSTS) as listener:
        assert stat.S_IMODE((state.path / folder.HOSTS).stat().st_mode) == 0o600
        with folder.connect(state, folder.HOSTS, 30.0) as client:
            peer, _ = listener.accept()
            with peer:
                client.sendall(b"x")
                assert peer.recv(1) == b"x"


def test_a_socket_left_behind_is_replaced(state: StateFolder) -> None:
    folder.listen(state, folder.HOSTS).close()
    with pytest.raises(ConnectionRefusedError):
        folder.connect(state, folder.HOSTS)
    with folder.listen(state, folder.HOSTS):
        folder.connect(state, folder.HOSTS).close()


def test_no_descriptor_is_left_open(state: StateFolder) -> None:
    before = len(os.listdir("/proc/self/fd"))
    with folder.listen(state, folder.HOSTS):
        folder.connect(state, folder.HOSTS).close()
    with pytest.raises(FileNotFoundError):
        folder.connect(state, "nobody.sock")
    assert len(os.listdir("/proc/self/fd")) == before


def test_who_connects_is_known(state: StateFolder) -> None:
    with folder.listen(state, folder.HOSTS) as listener, folder.connect(state, folder.HOSTS):
        peer, _ = listener.accept()
        with peer:
            pid = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)[:4]
    assert int.from_bytes(pid, "little") == os.getpid()
