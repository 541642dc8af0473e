"""The files of an emulated machine that do not change: sysfs' DRM and KFD folders.

Complete enough for AMD's own rocm-smi, which insists on more than we read: cards that are symlinks,
module/amdgpu/initstate, vbios_version, io_links, and ``location_id`` equal to the PCI address.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

PCI = "devices/pci0000:00"
NODES = "class/kfd/kfd/topology/nodes"


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A card as it is built in."""

    address: str
    total_bytes: int  #: VRAM
    unique_id: int = 0  #: 0: an APU, known by its index only
    product: int = 0x744C
    gfx: int = 110000
    product_name: str = ""
    gtt_bytes: int = 16 << 30
    bank_bytes: int | None = None  #: HIP's pool; None: the VRAM. gtt_bytes: an APU of today
    base_bytes: int = 0  #: what the desktop and the driver hold


RX_7900_GRE = Model(
    address="0000:03:00.0",
    total_bytes=17163091968,
    unique_id=0xE56B237E725EC427,
    base_bytes=400 << 20,
)
RYZEN_IGPU = Model(
    address="0000:0c:00.0",
    total_bytes=512 << 20,
    product=0x164E,
    gfx=100306,
    base_bytes=50 << 20,
)


#: What else rocm-smi 5.2 to 7.8 ask of a node, CPUs included.
_ZERO = dict.fromkeys(
    (
        *("simd_count", "mem_banks_count", "io_links_count", "array_count", "hive_id"),
        *("simd_arrays_per_engine", "cu_per_simd_array", "simd_per_cu", "gfx_target_version"),
        *("vendor_id", "device_id", "location_id", "domain", "drm_render_minor", "unique_id"),
    ),
    0,
)


def eight_cards() -> tuple[Model, ...]:
    """A compute node: eight cards of 64 GiB."""
    return tuple(
        Model(
            address=f"0000:{0x10 + number:02x}:00.0",
            total_bytes=68702699520,
            unique_id=0xA000 + number,
            product=0x740F,
            gfx=90010,
        )
        for number in range(8)
    )


def gpu_id(number: int) -> int:
    return 41000 + number


def build(sysfs: Path, models: tuple[Model, ...]) -> None:
    """Write the tree for *models*, numbered in this order by DRM and by KFD."""
    _write(
        sysfs, {"module/amdgpu/initstate": "live\n", "class/drm/version": "drm 1.1.0 20060810\n"}
    )
    kfd = "class/kfd/kfd"
    _write(sysfs, {f"{kfd}/topology/generation_id": "2\n", f"{NODES}/0/gpu_id": "0\n"})
    _write(sysfs, {f"{NODES}/0/name": "\n", f"{NODES}/0/properties": _properties({})})
    (sysfs / NODES / "0/io_links").mkdir()
    (sysfs / kfd / "proc").mkdir()
    for number, model in enumerate(models):
        _build_card(sysfs, number, model)
        _build_node(sysfs, number, model)


def _build_card(sysfs: Path, number: int, model: Model) -> None:
    device = f"{PCI}/{model.address}"
    card, render = f"card{number}", f"renderD{128 + number}"
    _write(sysfs / device, _device_files(model))
    for entry in (card, render, f"{card}/{card}-DP-1"):
        (sysfs / device / "drm" / entry).mkdir(parents=True)
    (sysfs / device / "drm" / card / "device").symlink_to("../..")
    (sysfs / device / "drm" / render / "device").symlink_to("../..")
    for name, target in ((card, card), (render, render), (f"{card}-DP-1", f"{card}/{card}-DP-1")):
        (sysfs / "class/drm" / name).symlink_to(f"../../{device}/drm/{target}")


def _device_files(model: Model) -> dict[str, str]:
    return {
        "vendor": "0x1002\n",
        "device": f"0x{model.product:04x}\n",
        "subsystem_vendor": "0x1002\n",
        "subsystem_device": "0x0e3b\n",
        "revision": "0xcc\n",
        "uevent": "DRIVER=amdgpu\nPCI_CLASS=30000\n"
        f"PCI_ID=1002:{model.product:04X}\nPCI_SLOT_NAME={model.address}\n",
        "unique_id": f"{model.unique_id:016x}\n" if model.unique_id else "\n",
        "product_name": f"{model.product_name}\n",
        "mem_info_vram_total": f"{model.total_bytes}\n",
        "mem_info_vram_used": f"{model.base_bytes}\n",
        "mem_info_vis_vram_total": f"{model.total_bytes}\n",
        "mem_info_vis_vram_used": f"{model.base_bytes}\n",
        "mem_info_gtt_total": f"{model.gtt_bytes}\n",
        "mem_info_gtt_used": "20000768\n",
        "current_link_speed": "16.0 GT/s PCIe\n",
        "gpu_busy_percent": "0\n",
        "pp_dpm_sclk": "0: 500Mhz *\n1: 2245Mhz \n",
        "hwmon/hwmon1/name": "amdgpu\n",
        "hwmon/hwmon1/temp1_input": "41000\n",
        "hwmon/hwmon1/temp1_label": "edge\n",
        "hwmon/hwmon1/in0_input": "775\n",
        "hwmon/hwmon1/in0_label": "vddgfx\n",
        "vbios_version": "113-1E4220U-O4P\n",
    }


def _build_node(sysfs: Path, number: int, model: Model) -> None:
    domain, bus, rest = model.address.split(":")
    device, function = rest.split(".")
    folder = sysfs / NODES / str(number + 1)
    properties = {
        "simd_count": 160,
        "mem_banks_count": 1,
        "io_links_count": 1,
        "array_count": 10,
        "simd_arrays_per_engine": 2,
        "cu_per_simd_array": 10,
        "simd_per_cu": 2,
        "gfx_target_version": model.gfx,
        "vendor_id": 4098,
        "device_id": model.product,
        "location_id": int(bus, 16) << 8 | int(device, 16) << 3 | int(function),
        "domain": int(domain, 16),
        "drm_render_minor": 128 + number,
        "unique_id": model.unique_id,
    }
    bank = model.total_bytes if model.bank_bytes is None else model.bank_bytes
    _write(
        folder,
        {
            "gpu_id": f"{gpu_id(number)}\n",
            "name": "ip discovery\n",
            "properties": _properties(properties),
            "mem_banks/0/properties": f"heap_type 1\nsize_in_bytes {bank}\nflags 0\nwidth 256\n",
            "io_links/0/properties": f"type 2\nnode_from {number + 1}\nnode_to 0\nweight 20\n",
        },
    )


def _properties(values: dict[str, int]) -> str:
    return "".join(f"{name} {value}\n" for name, value in (_ZERO | values).items())


def _write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
