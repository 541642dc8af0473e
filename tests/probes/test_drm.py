"""Cards are told from connectors and render nodes, and known by PCI address."""

from __future__ import annotations

from pathlib import Path

from probes import drm
from tests.probes.samples import Write, card_files


def test_connectors_render_nodes_and_other_files_are_no_cards(write: Write) -> None:
    root = write(
        {
            **card_files(),
            **card_files("class/drm/card10/device", address="0000:0C:00.0"),
            "class/drm/card1-DP-1/status": "connected",
            "class/drm/renderD128/device/vendor": "0x1002",
            "class/drm/version": "drm 1.1.0",
        }
    )
    cards = drm.read_cards(root)
    assert [(card.entry, card.address) for card in cards] == [
        ("card1", "0000:03:00.0"),
        ("card10", "0000:0c:00.0"),
    ]
    assert {card.vendor for card in cards} == {drm.AMD}


def test_without_a_slot_name_the_link_tells_the_address(tmp_path: Path) -> None:
    device = tmp_path / "devices/pci0000:00/0000:64:00.0"
    (device / "drm/card0").mkdir(parents=True)
    (device / "vendor").write_text("0x1002\n")
    (device / "drm/card0/device").symlink_to("../..")
    (tmp_path / "class/drm").mkdir(parents=True)
    (tmp_path / "class/drm/card0").symlink_to("../../devices/pci0000:00/0000:64:00.0/drm/card0")
    (card,) = drm.read_cards(tmp_path)
    assert (card.address, card.driver) == ("0000:64:00.0", None)


def test_a_platform_card_has_no_address_and_is_named_by_its_entry(write: Write) -> None:
    root = write({"class/drm/card0/device/uevent": "DRIVER=simple-framebuffer"})
    (card,) = drm.read_cards(root)
    assert (card.address, card.vendor, card.key) == (None, None, "card0")


def test_no_drm_means_no_cards(tmp_path: Path) -> None:
    assert drm.read_cards(tmp_path) == ()
