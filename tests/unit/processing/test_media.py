"""Sound and film: facts, tags, loudness, waveform, poster; cut off, lying, or naming other files."""

import io
import json
import math
import struct
import wave

import av
import jsonschema
import pytest
from PIL import Image

from apps.processing import frames, media
from apps.processing.contract import ProcessingFailed
from apps.processing.processors import audio, video
from tests.unit.processing import real

SOUNDS = [
    ("flac", "flac", 44100), ("mp3", "libmp3lame", 44100), ("ogg", "libopus", 48000), ("wav", "pcm_s16le", 44100),
    ("ipod", "aac", 44100), ("adts", "aac", 44100),
]  # fmt: skip
FILMS = [("mp4", "libx264"), ("mov", "mpeg4"), ("webm", "libvpx-vp9"), ("matroska", "libx264"), ("avi", "mpeg4")]


def heard(job) -> tuple[dict, dict]:
    outcome = audio.process(job)
    jsonschema.validate(outcome.result, audio.SCHEMA)
    return dict(outcome.result), {item.name: item.path for item in outcome.derived}


def seen(job) -> tuple[dict, dict]:
    outcome = video.process(job)
    jsonschema.validate(outcome.result, video.SCHEMA)
    return dict(outcome.result), {item.name: item.path for item in outcome.derived}


@pytest.mark.parametrize(("name", "codec", "rate"), SOUNDS)
def test_every_sound_is_measured(make_job, name, codec, rate):
    """Length, rate, channels; a tone of a third of full scale in stereo is that loud, in whatever it is packed."""
    result, derived = heard(make_job(real.sound(name, codec, rate)))
    assert result["duration_seconds"] == pytest.approx(1.0, abs=0.15)
    assert (result["sample_rate_hz"], result["channels"], result["truncated"]) == (rate, 2, False)
    assert result["loudness_lufs"] == pytest.approx(-10.2, abs=1.0)
    assert result["peak_dbfs"] == pytest.approx(-9.5, abs=1.0)
    waveform = json.loads(derived["waveform"].read_text())
    assert len(waveform["peaks"]) == 1000
    assert max(high for _, high in waveform["peaks"]) == pytest.approx(42, abs=4)
    if name != "adts":
        assert (result["tags"]["title"], result["tags"]["artist"]) == ("A tone", "Nobody")


def wav(frames: list[tuple[int, ...]], rate: int = 44100) -> bytes:
    """These samples of 16 bits, as they are."""
    stream = io.BytesIO()
    with wave.open(stream, "wb") as made:
        made.setnchannels(len(frames[0]))
        made.setsampwidth(2)
        made.setframerate(rate)
        made.writeframes(b"".join(struct.pack(f"<{len(frame)}h", *frame) for frame in frames))
    return stream.getvalue()


@pytest.mark.parametrize("cycle", [2, 100])
def test_a_peak_is_that_of_the_loudest_channel(make_job, cycle):
    """Opposite phases cancel nothing, a rare click is not smoothed, and no tone is too high to be heard."""
    tone = [int(16384 * math.cos(2 * math.pi * at / cycle)) for at in range(44100)]
    result, derived = heard(make_job(wav([(sample, -sample) for sample in tone])))
    assert result["peak_dbfs"] == pytest.approx(-6.02, abs=0.01)
    peaks = json.loads(derived["waveform"].read_text())["peaks"]
    assert (min(low for low, _ in peaks), max(high for _, high in peaks)) == (-64, 64)
    quiet = [(0, 0)] * 44100
    quiet[30_000] = (0, -32768)
    assert heard(make_job(wav(quiet)))[0]["peak_dbfs"] == 0.0
    assert heard(make_job(wav([(0, 0, 0, 0, 0, 0)] * 44100)))[0]["peak_dbfs"] is None


def test_a_sound_that_ends_early_is_told_as_far_as_it_goes(make_job):
    """Its header's length, and what was heard of it."""
    content = real.sound(seconds=3.0)
    result, derived = heard(make_job(content[: len(content) // 2]))
    assert result["truncated"] is True
    assert 0 < result["analysed_seconds"] < 2.5
    assert "waveform" in derived


def test_a_long_sound_is_heard_in_part(make_job, monkeypatch):
    """As far as the bound; its length is known all the same."""
    monkeypatch.setattr(audio, "ANALYSED_SECONDS", 1.0)
    result, _ = heard(make_job(real.sound("flac", "flac", 44100, 5.0)))
    assert result["duration_seconds"] == pytest.approx(5.0, abs=0.1)
    assert 1.0 <= result["analysed_seconds"] < 4.5
    assert result["truncated"] is False


@pytest.mark.parametrize("content", [b"fLaC" + bytes(100), b"RIFF\x24\x00\x00\x00WAVEfmt ", b"ID3\x04" + bytes(400)])
def test_a_sound_that_is_none_is_broken(make_job, content):
    """And says so."""
    kind = {b"f": "audio/flac", b"R": "audio/wav", b"I": "audio/mpeg"}[content[:1]]
    with pytest.raises(ProcessingFailed) as failure:
        audio.process(make_job(content, content_type=kind))
    assert failure.value.code == "audio_broken"


@pytest.mark.parametrize(
    ("name", "codec", "rate", "told"),
    [
        ("mp3", "libmp3lame", 44_100, "mp3"),
        ("ogg", "libopus", 48_000, "opus"),
        ("wav", "pcm_s16le", 44_100, "pcm_s16le"),
        ("flac", "flac", 44_100, "flac"),
    ],
)
def test_a_codec_has_its_own_name(make_job, name, codec, rate, told):
    """Not that of the decoder which FFmpeg takes for it."""
    assert heard(make_job(real.sound(name, codec, rate)))[0]["codec"] == told


@pytest.mark.parametrize(("name", "codec"), FILMS)
def test_every_film_is_measured(make_job, name, codec):
    """Length, size, rate, codecs; a poster that is not black, and a preview that moves."""
    result, derived = seen(make_job(real.film(name, codec)))
    assert result["duration_seconds"] == pytest.approx(3.0, abs=0.2)
    assert (result["width"], result["height"], result["frame_rate"]) == (160, 90, 10.0)
    assert result["truncated"] is False
    assert result["streams"][0]["type"] == "video"
    with Image.open(derived["poster"]) as poster:
        assert poster.size == (160, 90)
        assert poster.convert("L").resize((1, 1)).getpixel((0, 0)) > 24
    with Image.open(derived["preview"]) as preview:
        assert preview.n_frames > 2


def test_a_film_that_ends_early_is_told_as_far_as_it_goes(make_job):
    """Where its header comes first."""
    content = real.film("matroska", "libx264")
    result, _ = seen(make_job(content[: len(content) * 2 // 3]))
    assert result["width"] == 160


def test_a_film_without_its_index_is_broken(make_job):
    """An MP4 that was cut off has lost it."""
    content = real.film()
    with pytest.raises(ProcessingFailed) as failure:
        video.process(make_job(content[: len(content) // 2]))
    assert failure.value.code == "video_broken"


def test_a_film_of_absurd_size_is_not_decoded(make_job, monkeypatch):
    """Told by its header."""
    monkeypatch.setattr(video, "MAX_PIXELS", 100 * 50)
    with pytest.raises(ProcessingFailed) as failure:
        video.process(make_job(real.film()))
    assert failure.value.code == "video_too_large"


@pytest.mark.parametrize(
    "content",
    [
        b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n",
        b"ffconcat version 1.0\nfile /etc/passwd\n",
        b"<?xml version='1.0'?><MPD><BaseURL>file:///etc/passwd</BaseURL></MPD>",
    ],
)
def test_a_playlist_opens_nothing(make_job, content):
    """No demuxer that reads other files is ever chosen, whatever a file is taken for."""
    for kind in sorted(media.FORMATS):
        process = audio.process if kind.startswith(("audio", "application")) else video.process
        with pytest.raises(ProcessingFailed) as failure:
            process(make_job(content, content_type=kind))
        assert failure.value.code.endswith(("_broken", "_unsupported")), kind


def test_a_type_that_nobody_reads_is_told(make_job):
    """It has the facts of any bytes."""
    for process in (audio.process, video.process):
        assert process(make_job(b"x", content_type="audio/unheard-of")).result["content_type"] == "audio/unheard-of"


@pytest.mark.parametrize(("form", "codec"), [("mp4", "libx264"), ("matroska", "libx264"), ("avi", "mpeg4")])
def test_a_film_that_was_cut_off_says_so(make_job, form, codec):
    """Though what is there can be played: its container declares more bytes than there are."""
    content = real.film(form, codec)
    if form == "mp4":  # as for streaming, with its index in front: else nothing of it can be played
        stream = io.BytesIO()
        with (
            av.open(io.BytesIO(content)) as old,
            av.open(stream, "w", "mp4", options={"movflags": "empty_moov+frag_keyframe"}) as new,
        ):
            track = new.add_stream_from_template(old.streams.video[0])
            for packet in old.demux(video=0):
                if packet.dts is not None:
                    packet.stream = track
                    new.mux(packet)
        content = stream.getvalue()
    assert video.process(make_job(content)).result["truncated"] is False
    assert video.process(make_job(content[: len(content) * 4 // 5])).result["truncated"] is True


@pytest.mark.parametrize(("form", "codec"), [("wav", "pcm_s16le"), ("mp3", "libmp3lame"), ("mp2", "mp2")])
def test_a_sound_that_was_cut_off_says_so(make_job, form, codec):
    """A WAV tells its length; so may an MP3, whose last frame must be whole."""
    content = real.sound(form, codec)
    for tags in (b"", b"TAG" + bytes(125), b"APETAGEX" + bytes([0, 0, 0, 0, 32, 0, 0, 0]) + bytes(16)):
        assert audio.process(make_job(content + tags)).result["truncated"] is False
    for stop in (len(content) // 2 + 7, len(content) - 1):
        assert audio.process(make_job(content[:stop])).result["truncated"] is True, stop


@pytest.mark.parametrize("missing", [1, 2, 3, 100, 413, 414, 417])
def test_a_last_frame_that_is_not_whole_is_found_without_an_index(missing):
    """In any of its bytes, the header's too."""
    frame = b"\xff\xfb\x90\x00" + bytes(413)
    for content, is_cut in ((frame * 50, False), (frame * 50 + frame[:-missing], missing < len(frame))):
        assert frames.ends_early(io.BytesIO(content), len(content)) is is_cut


@pytest.mark.parametrize(("mark", "at"), [(b"Xing", 36), (b"Info", 36), (b"VBRI", 36)])
def test_an_index_that_tells_of_more_bytes_than_there_are(mark, at):
    """Wherever its encoder puts it."""
    frame = b"\xff\xfb\x90\x00" + bytes(413)
    for told, is_cut in ((50 * 417, False), (51 * 417, True)):
        number = told.to_bytes(4, "big")
        index = mark + (bytes(6) + number if mark == b"VBRI" else b"\0\0\0\x03" + bytes(4) + number)
        content = frame[:at] + index + frame[at + len(index) :] + frame * 49
        assert frames.ends_early(io.BytesIO(content), len(content)) is is_cut


@pytest.mark.parametrize(
    "content",
    [
        b"", b"\xff", b"\xff\xfb\x90", b"\xff\xfb" * 9000, bytes(9000), b"ID3\4\0\0\x7f\x7f\x7f\x7f",
        b"TAG" + bytes(125), b"APETAGEX" + b"\xff" * 24, b"999999LYRICS200",
        (b"\xff\xfb\x90\x00" + bytes(413)) * 9 + bytes(300),
    ],
)  # fmt: skip
def test_what_cannot_be_told_is_not_taken_for_a_cut(content):
    """Tags that lie, frames that are none, something else behind the last one."""
    assert not frames.ends_early(io.BytesIO(content), len(content))


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"\x1aE\xdf\xa3\x80\x18S\x80g\x01\xff\xff\xff\xff\xff\xff\xff", "video/webm"),
        (b"\x1aE\xdf\xa3\x80\x18S\x80g\x80", "video/webm"),
        (b"\x1aE\xdf\xa3\x80other", "video/webm"),
        (b"\0\0\0\x08ftyp\0\0\0\x01mdat\0\0\0\0\0\0\0\x10", "video/mp4"),
        (b"\0\0\0\x08ftyp\0\0\0\0mdat", "video/mp4"),
        (b"RIFF\xff\xff\xff\xffAVI ", "video/x-msvideo"),
        (b"x", "audio/mpeg"),
    ],
)
def test_a_container_that_does_not_say_how_long_it_is(make_job, content, kind):
    """Is not taken for one that ends early."""
    assert not media.ends_early(make_job(content, content_type=kind))
