"""Which devices this machine has, which are used, and why the others are not.

AMD GPUs come first; without one the host's RAM is the device. A source that is added later is one
more line in ``_find_gpus``.
"""

from __future__ import annotations

from pathlib import Path

from probes import amdgpu, drm, host
from probes.number import read_text_or_none
from probes.reading import Choice, LeftOut, Probe


class NoSuchDevice(Exception):
    """A device was asked for by name and cannot be used."""

    def __init__(self, wanted: str, here: tuple[str, ...], because: str | None) -> None:
        super().__init__(wanted, here, because)
        self.wanted = wanted
        self.here = here
        self.because = because  #: None: nothing of that name was found

    def __str__(self) -> str:
        reason = self.because or "there is no such device here"
        return f"device {self.wanted}: {reason}; choose from {', '.join(self.here)}"


def choose(
    *,
    sysfs: Path = Path("/sys"),
    proc: Path = Path("/proc"),
    groups: Path = Path("/sys/fs/cgroup"),
    wanted: tuple[str, ...] = (),
) -> tuple[Choice, tuple[Probe, ...]]:
    """The devices to use and a probe for each, in the same order.

    *wanted*: keys of the only devices to use (PCI addresses, "host"); empty: decide. Raises
    NoSuchDevice for a key that is not here, or that no source can read.
    """
    keys = frozenset(key.lower() for key in wanted)
    gpus, left_out = _find_gpus(sysfs, proc, keys)
    _check(keys, gpus, left_out)
    probes = [gpu for gpu in gpus if not keys or gpu.device.key in keys]
    if host.KEY in keys:
        # RAM by name means trials on the CPU: a GPU that nobody watches is hidden from them.
        because = "asked for by name"
        probes.append(_host(because, proc, groups, hide_gpus=True))
    elif not probes:
        # The last resort hides nothing: the script may well use a GPU that we cannot read.
        because = f"no AMD GPU to use under {sysfs}/class/drm{_seen(left_out)}"
        probes.append(_host(f"{because}; host RAM is the device", proc, groups, hide_gpus=False))
    else:
        because = _unasked(keys) or f"GPUs are used; name --device {host.KEY} to use RAM"
        left_out += (LeftOut(key=host.KEY, name=host.NAME, because=because),)
    left_out += tuple(
        LeftOut(key=gpu.device.key, name=gpu.device.name, because=_unasked(keys))
        for gpu in gpus
        if gpu not in probes
    )
    devices = tuple(probe.device for probe in probes)
    return Choice(devices=devices, left_out=left_out), tuple(probes)


def _check(keys: frozenset[str], gpus: tuple[Probe, ...], left_out: tuple[LeftOut, ...]) -> None:
    here = (*(gpu.device.key for gpu in gpus), host.KEY)
    reasons = {out.key: out.because for out in left_out}
    for key in sorted(keys - set(here)):
        raise NoSuchDevice(key, here, reasons.get(key))


def _find_gpus(
    sysfs: Path, proc: Path, keys: frozenset[str]
) -> tuple[tuple[Probe, ...], tuple[LeftOut, ...]]:
    """The GPUs of all sources."""
    amd, left_out = amdgpu.find(sysfs, proc, keys)
    return tuple(amd), left_out + find_nvidia(sysfs, proc)


def find_nvidia(sysfs: Path, proc: Path) -> tuple[LeftOut, ...]:
    """NVIDIA's GPUs: the driver lists them in /proc/driver/nvidia, with or without DRM."""
    cards = drm.read_cards(sysfs)
    names = {card.key: "NVIDIA GPU" for card in cards if card.vendor == drm.NVIDIA}
    for folder in sorted(proc.glob("driver/nvidia/gpus/*")):
        text = read_text_or_none(str(folder / "information")) or ""
        names[folder.name.lower()] = parse_nvidia_model(text) or "NVIDIA GPU"
    return tuple(
        LeftOut(key=key, name=name, because="NVIDIA GPUs are not read yet")
        for key, name in names.items()
    )


def parse_nvidia_model(text: str) -> str | None:
    """The ``Model:`` line of /proc/driver/nvidia/gpus/*/information; None: there is none."""
    for line in text.splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "Model" and value.strip():
            return value.strip()
    return None


def _host(because: str, proc: Path, groups: Path, *, hide_gpus: bool) -> host.HostRam:
    environment = host.NO_GPU if hide_gpus else ()
    return host.HostRam(because=because, proc=proc, groups=groups, environment=environment)


def _seen(left_out: tuple[LeftOut, ...]) -> str:
    return "".join(f"; {out.key} ({out.name}): {out.because}" for out in left_out)


def _unasked(keys: frozenset[str]) -> str:
    """Empty where nothing was asked for by name."""
    return f"only {', '.join(sorted(keys))} asked for" if keys else ""
