"""The emulated card behaves as a card."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from probes import amdgpu
from probes.reading import Probe, Reading
from tests.emulated import gpu
from tests.emulated.card import EmulatedCard
from tests.emulated.tree import RX_7900_GRE, RYZEN_IGPU, eight_cards
from tests.probes.workers import Worker, until

pytestmark = pytest.mark.processes

GIB = 1 << 30


@pytest.fixture
def card(tmp_path: Path) -> Iterator[EmulatedCard]:
    with EmulatedCard(tmp_path, RYZEN_IGPU, RX_7900_GRE) as card:
        yield card


@pytest.fixture
def probe(card: EmulatedCard) -> Probe:
    return probe_of(card)


def probe_of(card: EmulatedCard, proc: Path = Path("/proc")) -> Probe:
    """Of the RX 7900."""
    gpus, _ = amdgpu.find(card.sysfs, proc)
    (probe,) = (gpu for gpu in gpus if gpu.device.key == RX_7900_GRE.address)
    return probe


@pytest.fixture
def start(card: EmulatedCard, probe: Probe) -> Iterator[Callable[..., Worker]]:
    workers: list[Worker] = []

    def start(**extra: str) -> Worker:
        workers.append(Worker(card, probe, **extra))
        return workers[-1]

    yield start
    for worker in workers:
        worker.kill()


def held(reading: Reading) -> list[int | None]:
    assert reading.held is not None
    return [each.held_bytes for each in reading.held]


def test_memory_follows_workers_and_their_deaths(
    probe: Probe, start: Callable[..., Worker]
) -> None:
    one, two = start(), start()
    assert [one.hold(6 * GIB), two.hold(2 * GIB), two.hold(3 * GIB)] == ["holds"] * 3
    reading = probe.read((one.pid, two.pid, 1))
    assert held(reading) == [6 * GIB, 3 * GIB, 0]
    assert reading.used_bytes == RX_7900_GRE.base_bytes + 9 * GIB
    one.process.kill()  # nobody waits for it: a corpse holds nothing
    two.hold(0)
    # As in a real driver, the card's counter and the processes' do not change at one moment.
    until(
        lambda: probe.read((one.pid, two.pid)),
        lambda seen: (seen.used_bytes, held(seen)) == (RX_7900_GRE.base_bytes, [0, 0]),
    )


def test_what_does_not_fit_fails_as_torch_does_and_changes_nothing(
    probe: Probe, start: Callable[..., Worker]
) -> None:
    one, two = start(), start(SCHEDULER_CAP_BYTES=str(12 * GIB))
    one.hold(8 * GIB)
    two.hold(GIB)
    assert two.hold(9 * GIB).startswith(
        "torch.OutOfMemoryError: HIP out of memory. Tried to allocate 8.00 GiB. GPU 0 has a total "
        "capacity of 15.98 GiB of which 6.59 GiB is free. 12.00 GiB allowed; Of the allocated "
        "memory 1.00 GiB is allocated by PyTorch"
    )
    assert held(probe.read((one.pid, two.pid))) == [8 * GIB, GIB]


def test_a_cap_is_met_on_an_empty_card(start: Callable[..., Worker]) -> None:
    worker = start(SCHEDULER_CAP_BYTES=str(6 * GIB))
    assert worker.hold(6 * GIB) == "holds"
    assert "is free. 6.00 GiB allowed; Of the allocated memory 6.00 GiB" in worker.hold(7 * GIB)


def test_a_game_shows_in_used_only_and_takes_room(
    card: EmulatedCard, probe: Probe, start: Callable[..., Worker]
) -> None:
    worker = start()
    worker.hold(GIB)
    with card.stranger(10 * GIB, RX_7900_GRE.address):
        reading = probe.read((worker.pid,))
        assert reading.used_bytes == RX_7900_GRE.base_bytes + 11 * GIB
        assert held(reading) == [GIB]
        assert "out of memory" in worker.hold(8 * GIB)
    assert worker.hold(8 * GIB) == "holds"


def test_the_probes_variables_choose_the_card_whatever_was_set_before(
    card: EmulatedCard, start: Callable[..., Worker]
) -> None:
    worker = start(HIP_VISIBLE_DEVICES="5", ROCR_VISIBLE_DEVICES="0")
    assert worker.hold(GIB) == "holds"
    assert card.held_bytes(RX_7900_GRE.address) == {worker.pid: GIB}
    assert card.held_bytes(RYZEN_IGPU.address) == {}


def test_hip_counts_what_rocr_has_left(card: EmulatedCard, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {**card.environment(), "ROCR_VISIBLE_DEVICES": "1"}.items():
        monkeypatch.setenv(name, value)
    assert gpu.held() == 0
    monkeypatch.setenv("HIP_VISIBLE_DEVICES", "1")
    with pytest.raises(RuntimeError, match="No HIP GPUs are available"):
        gpu.held()


@pytest.mark.parametrize("how", ["missing", "empty", "garbage"])
def test_a_broken_counter_is_unknown_until_it_is_mended(
    card: EmulatedCard, probe: Probe, how: str
) -> None:
    card.break_used(how, RX_7900_GRE.address)
    assert probe.read(()).used_bytes is None
    assert card.used_bytes(RX_7900_GRE.address) == RX_7900_GRE.base_bytes
    card.mend()
    assert probe.read(()).used_bytes == RX_7900_GRE.base_bytes


def test_a_hanging_counter_hangs_the_reader_until_it_is_mended(
    card: EmulatedCard, probe: Probe
) -> None:
    card.break_used("hang", RX_7900_GRE.address)
    seen: list[Reading] = []
    reader = threading.Thread(target=lambda: seen.append(probe.read(())))
    reader.start()
    reader.join(0.2)  # that it does not come back can only be seen by waiting
    assert reader.is_alive()
    card.mend()
    reader.join(20)
    assert [reading.used_bytes for reading in seen] in ([None], [RX_7900_GRE.base_bytes])


def test_foreign_pids_are_no_ones(
    card: EmulatedCard, probe: Probe, start: Callable[..., Worker], tmp_path: Path
) -> None:
    """Only where /proc is not the first PID namespace's: there KFD's pids cannot be ours."""
    worker = start()
    worker.hold(GIB)
    card.shift_pids(4_194_304)
    (proc := tmp_path / "proc").mkdir()
    contained = probe_of(card, proc)
    assert contained.read((worker.pid,)).held is None
    assert contained.read(()).used_bytes == RX_7900_GRE.base_bytes + GIB


def test_eight_cards_are_eight_devices(tmp_path: Path) -> None:
    with EmulatedCard(tmp_path, *eight_cards()) as card:
        gpus, _ = amdgpu.find(card.sysfs)
        assert len(gpus) == 8
        assert len({gpu.device.environment for gpu in gpus}) == 8
