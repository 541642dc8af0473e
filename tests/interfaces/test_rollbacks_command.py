from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner, Result

from scheduler.core.model import Change, Run
from scheduler.interfaces.cli import group
from scheduler.interfaces.rollbacks import rollback_lines
from scheduler.machine import changes
from scheduler.machine.changes import Rollback
from scheduler.machine.runs import RunSpec, RunStatus, read_whole, write_whole
from scheduler.machine.state import StateFolder
from scheduler.strategies.asked import Asked
from scheduler.strategies.wishes import FILE, Wishes

NOW_S = 1_800_000_000.0


def made(number: int = 1, **fields: object) -> Rollback:
    shown: dict[str, object] = {
        "at_s": NOW_S - 60,
        "what": "budget",
        "run": "train-1",
        "trial": None,
        "device": None,
        "before": "400 trials",
        "after": "up to 600 trials",
        "because": "none of 400 trials reached the floor, 0.15",
        "evidence": "the best is 0.1482 in trial 318",
        **fields,
    }
    return Rollback(number=number, **shown)


EVERY = [
    made(),
    made(
        2,
        what="concurrency",
        device="0000:03:00.0",
        before="4 at once",
        after="2 at once",
        because="an attempt ran out of memory in company: HIP out of memory",
        evidence="",
    ),
    made(12, what="promise", trial=33, before="6.0 GiB", after="9.0 GiB", evidence=""),
    made(13, what="pruning", before="auto", after="none", because="set by you", by="you"),
]


@pytest.mark.parametrize("width", [80, 100, 139, 140, 160, 220])
def test_it_fits_and_says_everything(width: int) -> None:
    lines = rollback_lines(EVERY, NOW_S, width)
    assert max(map(len, lines)) <= width
    text = " ".join(" ".join(lines).split())
    for word in ("0.1482", "reached", "company:", "concurrency", "scheduler", "you", "promise,"):
        assert word in text
    assert "…" not in text


def test_on_a_wide_terminal_a_change_takes_fewer_lines() -> None:
    assert len(rollback_lines(EVERY, NOW_S, 160)) < len(rollback_lines(EVERY, NOW_S, 80))


def test_on_80_cells() -> None:
    lines = rollback_lines(EVERY[:1], NOW_S, 80)
    at = lines[1].split()[1]
    assert lines == [
        "#  when      what    by         before -> after, and why",
        f"1  {at}  budget  scheduler  400 trials -> up to 600 trials",
        "                                  none of 400 trials reached the floor, 0.15",
        "                                  (the best is 0.1482 in trial 318)",
    ]


def test_where_nothing_was_changed_it_says_so() -> None:
    assert rollback_lines([], NOW_S, 80) == ["nothing was changed"]


# -- with a run's folder ---------------------------------------------------------------------------


@pytest.fixture
def folder(state: StateFolder) -> Path:
    """Of a run that nobody serves now."""
    folder = state.run("train-1")
    folder.mkdir(parents=True)
    spec = RunSpec(
        run=Run(id="train-1"),
        kind="script",
        target="train.py",
        folder="/",
        created_at_s=1.0,
        asked=Asked(fixed=("ranges",)),
    )
    write_whole(folder / "run.json", spec)
    return folder


def call(*words: str) -> Result:
    return CliRunner().invoke(group, words)


def stands(folder: Path, state: str) -> None:
    status = RunStatus(run="train-1", state=state, host_pid=0, updated_at_s=1.0)
    write_whole(folder / "status.json", status)


def record(folder: Path, *those: Rollback) -> None:
    for one in those:
        fields = msgspec.structs.asdict(one)
        del fields["number"]
        changes.append(folder, Change(**fields))


def wished(folder: Path) -> dict[str, str]:
    wishes = read_whole(folder / FILE, Wishes)
    assert wishes is not None
    return {key: wish.value for key, wish in wishes.of.items()}


def test_json_has_all_of_it(folder: Path) -> None:
    record(folder, *EVERY)
    said = json.loads(call("rollbacks", "train-1", "--json").output)
    assert said["run"] == "train-1"
    assert [one["number"] for one in said["changes"]] == [1, 2, 3, 4]
    assert said["changes"][0]["evidence"] == "the best is 0.1482 in trial 318"


def test_an_undone_change_is_left_for_the_host_with_what_is_fixed(folder: Path) -> None:
    stands(folder, "interrupted")
    record(folder, *EVERY)
    done = call("rollbacks", "train-1", "--undo", "1")
    assert done.exit_code == 0, done.output
    assert "will take it up when it goes on" in done.output
    assert wished(folder) == {"fixed": "ranges,budget", "n_trials": "400", "floor": ""}
    assert call("rollbacks", "train-1", "--undo", "2").exit_code == 0
    assert wished(folder)["fixed"] == "ranges,budget,concurrency"
    assert (folder / FILE).stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("rollbacks", "train-1", "--undo", "9"), "has no change 9; there are 1 to 1"),
        (("rollbacks", "train-2"), "there is no run 'train-2'"),
        (("set", "train-2", "target=1"), "there is no run 'train-2'"),
        (("set", "train-1", "speed=1"), "'speed' cannot be set; what can: pruning"),
        (("set", "train-1", "target=nan"), "target=nan: a number"),
    ],
)
def test_bad_input_changes_nothing(folder: Path, words: tuple[str, ...], says: str) -> None:
    record(folder, made())
    done = call(*words)
    assert done.exit_code == 2
    assert says in done.output
    assert not (folder / FILE).exists()


def test_a_run_that_is_finished_takes_nothing(folder: Path) -> None:
    stands(folder, "finished")
    done = call("set", "train-1", "target=0.9")
    assert (done.exit_code, "is finished" in done.output) == (2, True)


def test_what_is_set_before_a_run_goes_on_is_kept_for_it(folder: Path) -> None:
    stands(folder, "interrupted")
    assert call("set", "train-1", "target=0.9", "patience=5").exit_code == 0
    assert call("set", "train-1", "target=").exit_code == 0
    assert wished(folder) == {"target": "", "patience": "5"}
