"""Archives: listed without being unpacked; what would unpack without end, or elsewhere, is told or refused."""

import bz2
import gzip
import hashlib
import io
import lzma
import struct
import tarfile
import zipfile
import zlib

import jsonschema
import pytest
import zstandard

from apps.processing import extents
from apps.processing.contract import ProcessingFailed, Task
from apps.processing.processors import archive
from apps.processing.processors.archive import listing
from apps.processing.work import work
from tests.unit.processing import real

FILES = {"a.txt": b"hello\n", "dir/b.txt": b"world\n" * 100}


def listed(job) -> dict:
    """The result, once it is what the schema says."""
    result = archive.process(job).result
    jsonschema.validate(result, archive.SCHEMA)
    return result


def code_of(job) -> str:
    with pytest.raises(ProcessingFailed) as failure:
        archive.process(job)
    return failure.value.code


def tarred(files: dict[str, bytes], *links: tuple[str, str]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as made:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size, info.mtime = len(content), 1715940000
            made.addfile(info, io.BytesIO(content))
        for name, target in links:
            info = tarfile.TarInfo(name)
            info.type, info.linkname = tarfile.SYMTYPE, target
            made.addfile(info)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("content", "format_name", "packing"),
    [
        (real.packed(FILES), "zip", None),
        (tarred(FILES), "tar", None),
        (gzip.compress(tarred(FILES)), "tar", "gzip"),
        (bz2.compress(tarred(FILES)), "tar", "bzip2"),
        (lzma.compress(tarred(FILES)), "tar", "xz"),
        (zstandard.compress(tarred(FILES)), "tar", "zstd"),
        (real.seven(FILES), "7z", None),
        (real.rar5({name: len(content) for name, content in FILES.items()}), "rar", None),
        (real.rar4({name: len(content) for name, content in FILES.items()}), "rar", None),
    ],
)
def test_every_archive_is_listed(make_job, content, format_name, packing):
    """How many entries, how large in all and at most, and the first of them by name and size."""
    result = listed(make_job(content))
    assert (result["format"], result.get("packing")) == (format_name, packing)
    assert (result["entries"], result["total_size"], result["largest_size"]) == (2, 606, 600)
    assert [(entry["name"], entry["size"]) for entry in result["first_entries"]] == [("a.txt", 6), ("dir/b.txt", 600)]
    assert (result["encrypted"], result["truncated"], result["unsafe_names"]) == (False, False, 0)


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress, zstandard.compress])
def test_a_single_packed_file_is_measured(make_job, pack):
    """Its size is what it unpacks to."""
    result = listed(make_job(pack(b"only one\n" * 1000)))
    assert (result["entries"], result["total_size"], result["format"]) == (1, 9000, result["packing"])


def test_names_that_would_not_stay_are_told(make_job):
    """Upwards, absolute, on another drive, by a link, as a device."""
    unsafe = ["../up.txt", "/etc/passwd", "C:\\boot.ini", "a/../../b", "nul\0byte"]
    result = listed(make_job(real.packed(dict.fromkeys(["fine.txt", *unsafe], b"x"))))
    assert result["unsafe_names"] == len([name for name in unsafe if "\0" not in name])
    links = listed(make_job(tarred({"fine.txt": b"x"}, ("out", "/etc"), ("up", "../.."), ("in", "fine.txt"))))
    assert links["unsafe_examples"] == ["out", "up"]


def test_archives_in_archives_are_counted(make_job):
    """By their names; a few levels are no fault."""
    inner = real.packed({"a.txt": b"x"})
    result = listed(make_job(real.packed({"inner.zip": inner, "other.tar.gz": b"", "a.txt": b"x"})))
    assert (result["nested"], result["nested_examples"]) == (2, ["inner.zip", "other.tar.gz"])


def test_an_archive_nested_too_deep_is_a_bomb(make_job):
    """As the ones that unpack to petabytes are."""
    content = real.packed({"a.txt": b"x"})
    for level in range(6):
        content = real.packed({f"{level}.zip": content})
    assert code_of(make_job(content)) == "archive_bomb"


def test_f16_what_unpacks_to_far_too_much_is_a_bomb(make_job):
    """By what a directory declares, and by what a stream turns out to be."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as made:
        made.writestr("zeros", bytes(20_000_000))
    declared = bytearray(stream.getvalue())
    at = declared.rfind(b"PK\x01\x02")
    declared[at + 24 : at + 28] = struct.pack("<L", 0xFFFFFFFE)
    assert code_of(make_job(bytes(declared))) == "archive_bomb"


def test_f16_a_stream_of_zeros_ends_in_about_a_second(make_job, monkeypatch):
    """Whatever it is packed by: it stops where the bound is, and keeps nothing."""
    monkeypatch.setattr(listing, "BOMB_BYTES", 64 * 1024 * 1024)
    zeros = bytes(100 * 1024 * 1024)
    for pack in (lambda data: gzip.compress(data, 9), bz2.compress, lambda data: lzma.compress(data, preset=0)):
        assert code_of(make_job(pack(zeros))) == "archive_bomb"


def test_entries_that_overlap_are_a_bomb(make_job):
    """A directory that points to the same bytes a thousand times."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as made:
        made.writestr("a", zlib.compress(bytes(1000)) * 4000)
    content = stream.getvalue()
    at, end = content.rfind(b"PK\x01\x02"), content.rfind(b"PK\x05\x06")
    entry = content[at:end]
    tail = bytearray(content[end:])
    struct.pack_into("<HHLL", tail, 8, 500, 500, 500 * len(entry), at)
    assert code_of(make_job(content[:at] + entry * 500 + bytes(tail))) == "archive_bomb"


def test_what_is_encrypted_is_told(make_job):
    """A sealed RAR hides even its names."""
    result = listed(make_job(real.rar5({}, sealed=True)))
    assert (result["encrypted"], result["entries"]) == (True, 0)
    content = bytearray(real.packed({"a.txt": b"x"}))
    content[content.rfind(b"PK\x01\x02") + 8] |= 1
    assert listed(make_job(bytes(content)))["encrypted"] is True


@pytest.mark.parametrize(
    ("content", "content_type"),
    [
        (b"PK\x03\x04" + b"x" * 100, "application/zip"),
        (b"7z\xbc\xaf\x27\x1c" + bytes(10), "application/x-7z-compressed"),
        (b"Rar!\x1a\x07\x01\x00" + b"\xff" * 20, "application/vnd.rar"),
        (b"\x1f\x8b\x08" + b"\xff" * 20, "application/gzip"),
        (gzip.compress(tarred(FILES))[:40], "application/gzip"),
    ],
)
def test_what_cannot_be_read_is_broken(make_job, content, content_type):
    """And says so."""
    assert code_of(make_job(content, content_type=content_type)) == "archive_broken"


def test_what_ends_early_is_listed_as_far_as_it_goes(make_job):
    """And says that there is more."""
    many = tarred({f"{number}.txt": b"x" * 2000 for number in range(50)})
    result = listed(make_job(many[: len(many) // 2 - 700]))
    assert result["truncated"] is True
    assert 20 <= result["entries"] <= 26


ZSTD = zstandard.ZstdCompressor(write_checksum=True).compress
PACKINGS = [gzip.compress, lambda content: bz2.compress(content, 1), lzma.compress, ZSTD]
LINES = b"".join(b"%d: %s\n" % (n, hashlib.sha256(b"%d" % n).hexdigest().encode()) for n in range(16_000))


@pytest.mark.parametrize("pack", PACKINGS)
def test_a_packed_file_that_ends_early_is_unpacked_as_far_as_it_goes(make_job, pack):
    """And says that there is more; where nothing comes of it, it is broken."""
    whole = pack(LINES)
    for stop in (len(whole) * 3 // 4, len(whole) - 1):
        result = listed(make_job(whole[:stop]))
        assert result["truncated"] is True, stop
        assert 0 < result["total_size"] <= len(LINES)
    assert code_of(make_job(whole[:20])) == "archive_broken"
    assert listed(make_job(pack(b"")))["truncated"] is False


@pytest.mark.parametrize("pack", PACKINGS)
def test_a_packed_tar_that_ends_early_is_listed_as_far_as_it_goes(make_job, pack):
    """As one that is not packed."""
    whole = pack(tarred({f"{at}.txt": LINES[at * 10_000 : at * 10_000 + 10_000] for at in range(100)}))
    result = listed(make_job(whole[: len(whole) * 3 // 4]))
    assert (result["format"], result["truncated"]) == ("tar", True)
    assert 30 <= result["entries"] < 90


@pytest.mark.parametrize("pack", PACKINGS)
def test_streams_behind_each_other_are_one_file(make_job, pack):
    """As their programs write them; zeros behind the last, or something else, are not its own."""
    two = pack(LINES) + pack(b"more")
    result = listed(make_job(two))
    assert (result["total_size"], result["truncated"]) == (len(LINES) + 4, False)
    if pack is not ZSTD:
        for behind in (bytes(5), b"rubbish"):
            result = listed(make_job(two + behind))
            assert (result["total_size"], result["truncated"]) == (len(LINES) + 4, False)


@pytest.mark.parametrize("pack", PACKINGS)
def test_what_comes_before_a_damage_is_not_lost(make_job, pack):
    """The rest is, and is told to be."""
    damaged = bytearray(pack(LINES * 3))
    at = len(damaged) * 3 // 4
    damaged[at : at + 2000] = b"\xff" * 2000
    result = listed(make_job(bytes(damaged)))
    assert result["truncated"] is True
    assert result["total_size"] > 0


@pytest.mark.parametrize(
    ("content", "end"),
    [
        (zstandard.compress(b"x"), 0),
        (zstandard.ZstdCompressor(write_checksum=True, write_content_size=False).compress(LINES), 0),
        (b"\x50\x2a\x4d\x18\x03\0\0\0abc" + zstandard.compress(bytes(500_000)), 0),
        (b"\x50\x2a\x4d\x18\x09\0\0\0abc", 6),
        (b"\x28\xb5\x2f\xfd", 1),
        (zstandard.compress(b"x") + b"else", -4),
    ],
)
def test_the_end_of_frames_is_where_their_blocks_end(content, end):
    """Whatever their headers leave out."""
    assert extents.frames_end(io.BytesIO(content), len(content)) == len(content) + end


def test_many_entries_are_counted_and_a_hundred_are_shown(make_job):
    """However many there are."""
    result = listed(make_job(real.packed({f"{number}": b"" for number in range(5000)})))
    assert (result["entries"], len(result["first_entries"])) == (5000, 100)


def test_an_archive_that_unpacks_itself_is_listed_and_told_of(tmp_path):
    """The result has its entries, and says that it begins with a program."""
    path = tmp_path / "x"
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as packed:
        packed.writestr("a.txt", "hello")
    program = b"MZ" + bytes(58) + struct.pack("<I", 64) + b"PE\0\0" + bytes(1000)
    for front, contradiction in ((b"#!/bin/sh\n", None), (program, "application/vnd.microsoft.portable-executable")):
        path.write_bytes(front + stream.getvalue())
        task = Task(path=path, size=path.stat().st_size, name="a.zip", sha256="", workdir=tmp_path)
        result = work(task, lambda _: None, lambda _: None, lambda *_: None).result
        assert [entry["name"] for entry in result["first_entries"]] == ["a.txt"]
        assert result.get("type_mismatch", {}).get("found") == contradiction


@pytest.mark.parametrize(
    ("name", "target", "is_told"),
    [
        ("d/link", "../a.txt", False),
        ("d/./link", "./b.txt", False),
        ("d/e/link", "../../a.txt", False),
        ("link", "../a.txt", True),
        ("d/./link", "../../a.txt", True),
        ("d/link", "../../a.txt", True),
        ("d/link", "e/../../a.txt", True),
        ("d/link", "/etc/passwd", True),
        ("d/link", "\\windows", True),
        ("d/link", "..\\..\\x", True),
    ],
)
def test_a_link_that_stays_inside_is_safe(make_job, name, target, is_told):
    """One that goes up as far as its own directory allows is; one that goes down first may meet another link."""
    assert listed(make_job(tarred({}, (name, target))))["unsafe_names"] == is_told


def test_what_lies_below_a_link_is_unsafe(make_job):
    """It would be unpacked to wherever the link leads."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive_file:
        for name, sort in (("d", tarfile.SYMTYPE), ("d/a.txt", tarfile.REGTYPE), ("dd/a.txt", tarfile.REGTYPE)):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = sort, "e" if sort == tarfile.SYMTYPE else ""
            archive_file.addfile(info)
    result = listed(make_job(stream.getvalue()))
    assert (result["unsafe_names"], result["unsafe_examples"]) == (1, ["d/a.txt"])


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_headers_are_read_as_tarfile_reads_them(make_job, form):
    """Long names, prefixes, links, directories, large numbers and old times, in each of the three forms."""
    stream = io.BytesIO()
    names = ["a.txt", "d/", "p" * 90 + "/" + "n" * 90, "\u00fc.txt"] + ([] if form == 0 else ["l" * 300])
    with tarfile.open(fileobj=stream, mode="w", format=form) as archive_file:
        for number, name in enumerate(names):
            info = tarfile.TarInfo(name)
            info.type = tarfile.DIRTYPE if name.endswith("/") else tarfile.REGTYPE
            info.mtime, info.size = 1_700_000_000 + number, 0 if info.isdir() else number
            archive_file.addfile(info, io.BytesIO(b"x" * number))
        if form == tarfile.GNU_FORMAT:
            info = tarfile.TarInfo("before.txt")
            info.mtime = -5
            archive_file.addfile(info)
    with tarfile.open(fileobj=io.BytesIO(stream.getvalue())) as archive_file:
        expected = [(info.name, info.size, info.isdir()) for info in archive_file]
    result = listed(make_job(stream.getvalue()))
    told = [(entry["name"], entry["size"], entry["type"] == "directory") for entry in result["first_entries"]]
    assert told == expected
    assert result["first_entries"][0]["modified"] == "2023-11-14T22:13:20Z"
    assert not result["truncated"]


@pytest.mark.parametrize("sort", [tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME])
def test_a_header_that_goes_on_for_ever_is_too_large(make_job, sort):
    """It is no damage; behind other entries, the list ends where it stands."""
    info = tarfile.TarInfo("x")
    info.type, info.size = sort, 100_000_000
    header = info.tobuf(tarfile.USTAR_FORMAT)
    assert code_of(make_job(header + bytes(100_000))) == "archive_too_large"
    entry = tarfile.TarInfo("a.txt").tobuf(tarfile.USTAR_FORMAT)
    result = listed(make_job(entry + header + bytes(100_000)))
    assert (result["entries"], result["truncated"]) == (1, True)


@pytest.mark.parametrize("pack", [gzip.compress, lzma.compress])
def test_a_cut_behind_the_end_of_a_tar_is_noticed(make_job, pack):
    """The list is whole, and the packed file is not."""
    content = pack(tarred(FILES))
    assert listed(make_job(content))["truncated"] is False
    result = listed(make_job(content[:-6]))
    assert (result["entries"], result["truncated"]) == (2, True)


def test_an_entry_that_holds_more_than_it_declares_is_told(make_job):
    """Its packed bytes are more than its size would take in whatever way."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("a.bin", hashlib.shake_128(b"a").digest(20_000))
        packed.writestr("b.bin", b"")
    content = stream.getvalue()
    assert listed(make_job(content))["wrong_sizes"] == 0
    assert listed(make_job(content.replace(struct.pack("<L", 20_000), struct.pack("<L", 100))))["wrong_sizes"] == 1


def test_a_bomb_is_known_by_what_it_was_packed_in_so_far(make_job, monkeypatch):
    """Zeros in front of what does not pack are one as soon as they are many, whatever follows."""
    content = gzip.compress(bytes(20_000_000)) + gzip.compress(hashlib.shake_128(b"a").digest(300_000))
    job = make_job(content)
    assert listed(job)["ratio"] < 100
    monkeypatch.setattr(listing, "BOMB_BYTES", 10_000_000)
    assert code_of(job) == "archive_bomb"
