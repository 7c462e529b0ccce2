"""Sound alone in a container of film: told from the list of tracks, wherever it lies."""

import io
import struct

import pytest

from apps.processing import tracks
from apps.processing.acceptance import is_refused_at_the_door
from apps.processing.detect import HEAD_BYTES, detect, sniff
from apps.processing.processors import audio
from tests import samples
from tests.unit.processing import real

SOUNDS = [
    (("webm", "libopus", 48000), "audio/webm"),
    (("matroska", "flac", 44100), "audio/x-matroska"),
    (("mp4", "aac", 44100), "audio/mp4"),
    (("3gp", "aac", 44100), "audio/3gpp"),
    (("3g2", "aac", 44100), "audio/3gpp2"),
]
FILMS = [
    (("webm", "libvpx-vp9"), "video/webm"),
    (("matroska", "libx264"), "video/x-matroska"),
    (("mp4", "libx264"), "video/mp4"),
]
BOX = samples._box
FTYP = BOX(b"ftyp", b"isom\0\0\2\0isommp41")


def track(sort: bytes) -> bytes:
    """A track of this handler, with some of what stands before it."""
    media = BOX(b"mdhd", bytes(20)) + BOX(b"hdlr", bytes(8) + sort + bytes(13))
    return BOX(b"trak", BOX(b"tkhd", bytes(80)) + BOX(b"mdia", media))


def element(identifier: bytes, content: bytes) -> bytes:
    return identifier + struct.pack(">BI", 0x08, len(content)) + content


def matroska(*types: int, before: bytes = b"") -> bytes:
    """A WebM with tracks of these types."""
    entries = b"".join(element(b"\xae", element(b"\x83", bytes([sort]))) for sort in types)
    inside = before + element(b"\x16\x54\xae\x6b", entries)
    return samples._ebml(b"webm")[:-5] + element(b"\x18\x53\x80\x67", inside)


@pytest.mark.parametrize(("made", "content_type"), SOUNDS, ids=[name for (name, *_), _ in SOUNDS])
def test_sound_without_film_is_sound(make_job, made, content_type):
    """Of its own type and kind, and with the facts of sound."""
    job = make_job(real.sound(*made))

    assert (job.content_type, job.kind) == (content_type, "audio")
    assert audio.process(job).result["duration_seconds"] == pytest.approx(1.0, abs=0.15)


@pytest.mark.parametrize(("made", "content_type"), FILMS, ids=[name for (name, _), _ in FILMS])
def test_film_is_film(tmp_path, made, content_type):
    """Though it has no sound."""
    path = tmp_path / "film"
    path.write_bytes(real.film(*made))

    assert detect(path).content_type == content_type


def test_a_list_of_tracks_in_the_head_is_enough():
    """Film or sound is told at once, and nothing is left open."""
    sound = sniff(FTYP + BOX(b"moov", track(b"soun") + track(b"text")), 10**6)
    film = sniff(FTYP + BOX(b"moov", track(b"soun") + track(b"vide")), 10**6)

    assert (sound.content_type, sound.kind, sound.perhaps) == ("audio/mp4", "audio", None)
    assert (film.content_type, film.kind, film.perhaps) == ("video/mp4", "video", None)


@pytest.mark.parametrize(
    "content",
    [
        FTYP + BOX(b"mdat", bytes(9000)) + BOX(b"moov", track(b"soun")),
        FTYP + BOX(b"moov", track(b"soun") + BOX(b"udta", bytes(9000)) + track(b"soun")),
        FTYP + BOX(b"free", b"")[:4] + b"mdat",
        FTYP + struct.pack(">I4s", 0, b"mdat") + bytes(100),
        FTYP + struct.pack(">I4s", 7, b"mdat") + bytes(100),
        FTYP + struct.pack(">I4sQ", 1, b"mdat", 2**63) + bytes(100),
        FTYP + BOX(b"free", b"") * 1000,
        FTYP + BOX(b"moov", track(b"hint")),
        matroska(2, 17)[:-30],
        matroska(2, before=b"\x1f\x43\xb6\x75\x01" + b"\xff" * 7),
        matroska(17),
        samples._ebml(b"webm")[:-5] + b"\x18\x53\x80\x67\x01" + b"\xff" * 7 + b"\x16\x54\xae\x6b\xff",
        samples._ebml(b"webm")[:-5] + b"\x18\x53\x80\x67\x80\0\0\0\0",
        samples._ebml(b"webm")[:-5] + element(b"\x15\x49\xa9\x66", b""),
        samples._ebml(b"webm")[:-5]
        + element(b"\x18\x53\x80\x67", element(b"\x16\x54\xae\x6b", b"\xae\xff" + bytes(9))),
        b"\x1aE\xdf\xa3\xff" + samples._ebml(b"webm")[5:],
    ],
)
def test_what_the_head_does_not_show_is_left_open(content):
    """It is film for now, and the door does not turn away what may be sound; nothing that both are not."""
    found = sniff(content[:HEAD_BYTES], 10**6)

    assert found.kind == "video"
    assert found.perhaps is not None
    assert found.perhaps.kind == "audio"
    assert not is_refused_at_the_door(found, ["audio"], [])
    assert not is_refused_at_the_door(found, [], ["video"])
    assert is_refused_at_the_door(found, ["image"], [])


def test_tracks_behind_the_sound_are_found(tmp_path):
    """As most programs write them, when all the rest is written."""
    path = tmp_path / "sound"
    path.write_bytes(FTYP + BOX(b"mdat", bytes(100_000)) + BOX(b"moov", track(b"soun")))

    assert detect(path).content_type == "audio/mp4"


def test_matroska_tracks_are_told_by_their_types():
    """Sound and subtitles are sound; a picture among them makes a film."""
    assert sniff(matroska(2, 17)).content_type == "audio/webm"
    assert sniff(matroska(2, 1)).content_type == "video/webm"
    assert sniff(matroska(2, before=element(b"\xec", bytes(500)))).content_type == "audio/webm"


def test_steps_are_counted():
    """A file of nothing but empty boxes is given up on."""
    many = FTYP + BOX(b"free", b"") * (tracks.STEPS + 10) + BOX(b"moov", track(b"soun"))

    assert tracks.has_film("video/mp4", io.BytesIO(many), len(many)) is None
