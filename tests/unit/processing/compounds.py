"""Compound files ([MS-CFB]) and the old Office formats in them, written by hand: no library writes these."""

from __future__ import annotations

import struct
from collections.abc import Mapping

SECTOR = 512
END, FREE, FAT = 0xFFFFFFFE, 0xFFFFFFFF, 0xFFFFFFFD
NONE = 0xFFFFFFFF
SMALLEST = 4096  # a shorter stream would have to go into the mini stream


def compound(streams: Mapping[str, bytes], root_class: bytes = bytes(16)) -> bytes:
    """A compound file; "a/b" is the stream `b` in the storage `a`. Streams are filled up with zeros to 4 KiB."""
    sectors: list[bytes] = []
    table: list[int] = []

    def place(content: bytes) -> int:
        start, count = len(sectors), -(-len(content) // SECTOR)
        sectors.extend(content[at : at + SECTOR].ljust(SECTOR, b"\0") for at in range(0, len(content), SECTOR))
        table.extend([*range(start + 1, start + count), END])
        return start

    storages = sorted({name.partition("/")[0] for name in streams if "/" in name})
    members: dict[str, list[str]] = {storage: [] for storage in ["", *storages]}
    for name in streams:
        storage, _, stream = name.rpartition("/")
        members[storage].append(stream)
    order = [("", "Root Entry", 5), *((storage, storage, 1) for storage in storages)]
    order += [(storage, stream, 2) for storage in members for stream in members[storage]]
    number = {(storage, name): index for index, (storage, name, _) in enumerate(order)}
    chains: dict[int, tuple[int, int]] = {}  # of each entry: its next sibling, its first child
    for storage, names in members.items():
        own = 0 if not storage else number[storage, storage]
        children = [number[storage, name] for name in names] + (
            [number[name, name] for name in storages] if own == 0 else []
        )
        for child, following in zip(children, [*children[1:], NONE], strict=True):
            chains[child] = (following, chains.get(child, (NONE, NONE))[1])
        chains[own] = (chains.get(own, (NONE, NONE))[0], children[0] if children else NONE)
    entries = b""
    for index, (storage, name, sort) in enumerate(order):
        content = streams[f"{storage}/{name}" if storage else name] if sort == 2 else b""
        content = content.ljust(SMALLEST, b"\0") if sort == 2 else b""
        following, child = chains.get(index, (NONE, NONE))
        entries += struct.pack(
            "<64sHBBIII16sIQQIQ",
            name.encode("utf-16-le"), 2 * len(name) + 2, sort, 1, NONE, following, child,
            root_class if sort == 5 else bytes(16), 0, 0, 0, place(content) if content else END, len(content),
        )  # fmt: skip
    directory = place(entries.ljust(-(-len(entries) // SECTOR) * SECTOR, b"\0"))
    allocation = len(sectors)
    blocks = -(-(len(sectors) + 8) // (SECTOR // 4))
    table += [FAT] * blocks
    packed = struct.pack(f"<{len(table)}I", *table).ljust(blocks * SECTOR, b"\xff")
    sectors += [packed[at : at + SECTOR] for at in range(0, len(packed), SECTOR)]
    header = struct.pack(
        "<8s16sHHHHH6sIIIIIIIIII",
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", bytes(16), 0x3E, 3, 0xFFFE, 9, 6, bytes(6),
        0, blocks, directory, 0, SMALLEST, END, 0, END, 0, allocation,
    )  # fmt: skip
    header += struct.pack(f"<{blocks - 1}I", *range(allocation + 1, allocation + blocks))
    return header.ljust(SECTOR, b"\xff") + b"".join(sectors)


def summary(title: str = "Accounts", author: str = "Zoë", pages: int = 3, codepage: int = 1252) -> bytes:
    """A `SummaryInformation` stream ([MS-OLEPS] §2.21): facts, made on 2024-05-17 at noon, UTC."""
    codec = "utf-8" if codepage == 65001 else f"cp{codepage}"

    def words(text: str) -> bytes:
        content = text.encode(codec) + b"\0"
        return struct.pack("<II", 30, len(content)) + content + bytes(-len(content) % 4)

    noon = (133604208 * 10**9).to_bytes(8, "little")
    values = {
        1: struct.pack("<IhH", 2, codepage - 65536 if codepage > 32767 else codepage, 0),
        2: words(title), 4: words(author), 12: struct.pack("<I", 64) + noon, 14: struct.pack("<Ii", 3, pages),
        18: words("Filewire's tests"),
    }  # fmt: skip
    at = 8 + 8 * len(values)
    places, content = b"", b""
    for name, value in values.items():
        places += struct.pack("<II", name, at + len(content))
        content += value
    section = struct.pack("<II", at + len(content), len(values)) + places + content
    form = bytes.fromhex("e0859ff2f94f6810ab9108002b27b3d9")
    return struct.pack("<HHI16sI16sI", 0xFFFE, 0, 2, bytes(16), 1, form, 48) + section


def word(*pieces: str | bytes, encrypted: bool = False, version: int = 0xC1, cut: int = 0) -> bytes:
    """A Word document whose text stands in pieces, 16-bit for `str`, 8-bit for `bytes`; the last `cut` are no text."""
    text, ends, places = b"", [0], b""
    for piece in pieces:
        offset = 2048 + len(text)
        text += piece if isinstance(piece, bytes) else piece.encode("utf-16-le")
        ends.append(ends[-1] + len(piece))
        places += struct.pack("<HIH", 0, offset * 2 | 0x40000000 if isinstance(piece, bytes) else offset, 0)
    table = struct.pack(f"<{len(ends)}I", *ends) + places
    clx = b"\x01\x02\0xx" + b"\x02" + struct.pack("<I", len(table)) + table
    main = bytearray(2048)
    struct.pack_into("<HH6xH", main, 0, 0xA5EC, version, 0x0200 | 0x0100 * encrypted)
    struct.pack_into("<II", main, 0x18, 2048, 2048 + len(text))
    struct.pack_into("<I", main, 0x4C, ends[-1] - cut)
    struct.pack_into("<II", main, 0x1A2, 16, len(clx))
    return compound(
        {"WordDocument": bytes(main) + text, "1Table": bytes(16) + clx, "\x05SummaryInformation": summary()}
    )


def slides(*words: str | bytes) -> bytes:
    """A presentation, each of whose slides says one thing: in 16 bits for `str`, in 8 for `bytes`."""
    content = b""
    for said in words:
        text = said if isinstance(said, bytes) else said.encode("utf-16-le")
        atom = struct.pack("<HHI", 0, 4008 if isinstance(said, bytes) else 4000, len(text)) + text
        content += struct.pack("<HHI", 0x0F, 1006, len(atom)) + atom
    return compound({"PowerPoint Document": content})


def message(wide: bool = True) -> bytes:
    """A mail as Outlook saves one, with an attachment of 4 KiB."""
    sort, codec = ("001F", "utf-16-le") if wide else ("001E", "cp1252")
    words = {
        "0037": "Accounts", "0C1A": "Zoë", "0C1F": "zoe@example.org", "0E04": "Ann; Bob", "1000": "All is well.\r\n",
    }  # fmt: skip
    streams = {f"__substg1.0_{name}{sort}": value.encode(codec) for name, value in words.items()}
    sent = struct.pack("<IIQ", 0x00390040, 6, 133604208 * 10**9)
    streams["__properties_version1.0"] = bytes(32) + struct.pack("<IIQ", 0x0E070003, 6, 1) + sent
    store = "__attach_version1.0_#00000000"
    streams[f"{store}/__substg1.0_3707{sort}"] = "accounts.xls".encode(codec)
    streams[f"{store}/__substg1.0_37010102"] = b"x" * 4096
    return compound(streams, bytes.fromhex("0b0d020000000000c000000000000046"))
