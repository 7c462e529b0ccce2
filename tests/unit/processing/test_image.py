"""Images: measured before decoding, turned upright, shrunk, and stripped of where they were taken."""

import dataclasses
import io
import struct
import time
import warnings

import jsonschema
import pytest
from PIL import Image, ImageCms

from apps.processing.contract import FAILURE_CODES, ProcessingFailed
from apps.processing.detect import detect
from apps.processing.processors import animation, image, processor_for
from tests import samples


def derived_images(outcome):
    images = {}
    for derived in outcome.derived:
        with Image.open(derived.path) as made:
            images[derived.name] = made.copy()
    return images


def failure_of(job):
    with pytest.raises(ProcessingFailed) as caught:
        image.process(job)
    return caught.value


def test_describes_a_photograph(make_job, reports):
    """A JPEG with a camera's data: what it is, and what the camera said that is nobody's secret."""
    outcome = image.process(make_job(samples.jpeg(600, 400, camera=True)))

    assert outcome.result | {"blurhash": "", "dominant_color": ""} == {
        "format": "JPEG",
        "mode": "RGB",
        "width": 600,
        "height": 400,
        "frames": 1,
        "duration_seconds": None,
        "orientation": 1,
        "has_transparency": False,
        "dominant_color": "",
        "blurhash": "",
        "exif": {
            "make": "Filewire Optics",
            "model": "FW-1",
            "software": "Darkroom 3",
            "taken_at": "2024-05-17T18:30:00+02:00",
            "exposure_seconds": 0.008,
            "f_number": 2.8,
            "iso": 400,
            "focal_length_mm": 50,
        },
    }
    assert len(outcome.result["blurhash"]) == 28
    assert [derived.name for derived in outcome.derived] == ["thumbnail", "preview"]
    assert reports == sorted(reports)
    assert reports[-1] == 100


def test_position_and_names_are_nowhere(make_job):
    """Neither the result nor a derived file tells where a photograph was taken, or by whom."""
    job = make_job(samples.jpeg(600, 400, camera=True))
    assert b"Jane Secret" in job.path.read_bytes()

    outcome = image.process(job)

    assert not {"gps", "artist", "serial"} & {key.lower() for key in outcome.result["exif"]}
    assert "Secret" not in str(outcome.result)
    assert "SERIAL" not in str(outcome.result)
    for derived in outcome.derived:
        content = derived.path.read_bytes()
        assert b"EXIF" not in content
        assert b"Secret" not in content
        with Image.open(derived.path) as made:
            assert not made.getexif()
            assert "icc_profile" not in made.info


def test_derived_images_fit_their_boxes(make_job):
    """A large image gives a preview of 1024 and a thumbnail of 512 pixels, in its own proportions."""
    outcome = image.process(make_job(samples.encoded(Image.new("RGB", (3000, 1500), "navy"), "PNG")))

    made = derived_images(outcome)
    assert made["preview"].size == (1024, 512)
    assert made["thumbnail"].size == (512, 256)
    assert {derived.content_type for derived in outcome.derived} == {"image/webp"}
    assert outcome.result["dominant_color"] == "#000080"


@pytest.mark.parametrize(
    ("source", "preview"),
    [((4000, 3000), (1000, 750)), ((3264, 2448), (816, 612)), ((3000, 2000), (1024, 683)), ((900, 600), (900, 600))],
)
def test_a_jpeg_is_decoded_at_about_the_size_of_its_preview(make_job, source, preview):
    """A quarter or a half of it is the preview where that is near enough; else it is reduced from twice that."""
    made = derived_images(image.process(make_job(samples.encoded(Image.new("RGB", source, "navy"), "JPEG"))))

    assert made["preview"].size == preview


def test_nothing_is_enlarged(make_job):
    """Both derived images of a small one are of its own size."""
    made = derived_images(image.process(make_job(samples.png(20, 10))))

    assert made["preview"].size == made["thumbnail"].size == (20, 10)


@pytest.mark.parametrize("size", [(5000, 1), (1, 5000)])
def test_a_line_stays_a_line(make_job, size):
    """An image as thin as can be keeps at least one pixel."""
    made = derived_images(image.process(make_job(samples.encoded(Image.new("L", size), "PNG"))))

    assert min(made["thumbnail"].size) == 1
    assert max(made["thumbnail"].size) == 512


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied(make_job, orientation):
    """Whichever way the camera was held, size and derived images are those of the picture seen upright."""
    outcome = image.process(make_job(samples.jpeg(96, 64, orientation=orientation)))

    turned = orientation >= 5
    assert (outcome.result["width"], outcome.result["height"]) == ((64, 96) if turned else (96, 64))
    assert outcome.result["orientation"] == orientation
    made = derived_images(outcome)["preview"].convert("RGB")
    assert made.size == ((64, 96) if turned else (96, 64))
    # Stored, red is on the left and blue at the bottom. Where orientation says those sides belong:
    left_at = {1: "left", 2: "right", 3: "right", 4: "left", 5: "top", 6: "top", 7: "bottom", 8: "bottom"}
    width, height = made.size
    red = {
        "left": made.getpixel((2, height // 2))[0],
        "right": made.getpixel((width - 3, height // 2))[0],
        "top": made.getpixel((width // 2, 2))[0],
        "bottom": made.getpixel((width // 2, height - 3))[0],
    }
    assert max(red, key=red.get) == left_at[orientation]


def test_orientation_of_a_tiff_is_applied_once(make_job):
    """Pillow turns a TIFF by itself; it is not turned again."""
    exif = Image.Exif()
    exif[0x0112] = 6
    outcome = image.process(make_job(samples.encoded(samples.picture(96, 64), "TIFF", exif=exif)))

    assert (outcome.result["width"], outcome.result["height"]) == (64, 96)
    assert outcome.result["orientation"] == 6
    made = derived_images(outcome)["preview"].convert("RGB")
    assert made.size == (64, 96)
    assert made.getpixel((32, 2))[0] > 200 > 60 > made.getpixel((32, 93))[0]


def test_nonsense_orientation_is_none(make_job):
    """An orientation outside 1..8 means upright."""
    result = image.process(make_job(samples.jpeg(orientation=77))).result

    assert (result["orientation"], result["width"]) == (1, 64)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
def test_every_mode_of_png(make_job, mode):
    """One bit, grey, palette, colour, transparency, sixteen bits: all are shown as they look."""
    if mode == "I;16":
        source = Image.frombytes("I;16", (64, 48), struct.pack("<64H", *([1000] * 32 + [60_000] * 32)) * 48)
    else:
        source = Image.new("L", (64, 48), 4)
        source.paste(234, (32, 0, 64, 48))
        source = source.convert("RGBA").convert(mode) if mode in ("LA", "1", "P") else source.convert(mode)

    outcome = image.process(make_job(samples.encoded(source, "PNG")))

    made = derived_images(outcome)["preview"].convert("L")
    assert made.getpixel((5, 5)) < 40
    assert made.getpixel((60, 5)) > 200
    assert outcome.result["mode"] == mode


@pytest.mark.parametrize(
    ("mode", "value", "expected"),
    [
        ("I", 65_535, 255),
        ("I", 200, 200),
        ("I", 0, 0),
        ("F", 1.0, 255),
        ("F", 0.5, 127),
        ("F", 128.0, 128),
        ("F", 1e9, None),
        ("F", -5.0, None),
        ("F", float("inf"), 0),
    ],
)
def test_grey_of_many_bits_is_scaled(make_job, mode, value, expected):
    """Greys of 32 bits or floating point become eight bits by the range they keep to."""
    source = Image.new(mode, (8, 8), value)
    source.putpixel((0, 0), 0 if mode == "I" else 0.0)

    outcome = image.process(make_job(samples.encoded(source, "TIFF")))

    made = derived_images(outcome)["preview"].convert("L")
    assert expected is None or abs(made.getpixel((5, 5)) - expected) <= 3


def test_cmyk_jpeg(make_job):
    """Print colours come out as screen colours."""
    source = Image.new("CMYK", (32, 32), (0, 255, 255, 0))

    outcome = image.process(make_job(samples.encoded(source, "JPEG")))

    red, green, blue = derived_images(outcome)["preview"].convert("RGB").getpixel((9, 9))
    assert red > 200 > 90 > max(green, blue)
    assert outcome.result["mode"] == "CMYK"


@pytest.mark.parametrize("mode", ["P", "RGB", "L"])
def test_a_transparent_colour_is_transparent(make_job, mode):
    """Transparency that is one colour of a palette or of the image, not a channel, is kept."""
    source = Image.new(mode, (16, 16), 0 if mode != "RGB" else (0, 0, 0))
    if mode == "P":
        source.putpalette([0, 0, 0, 255, 0, 0] + [0] * 756)
    source.paste(1 if mode == "P" else (255 if mode == "L" else (255, 0, 0)), (0, 0, 8, 16))

    outcome = image.process(make_job(samples.encoded(source, "PNG", transparency=0 if mode != "RGB" else (0, 0, 0))))

    made = derived_images(outcome)["preview"]
    assert outcome.result["has_transparency"] is True
    assert made.mode == "RGBA"
    assert (made.getpixel((2, 2))[3], made.getpixel((13, 2))[3]) == (255, 0)


def test_colour_of_a_wholly_transparent_image(make_job):
    """Where there is nothing to see there is no dominant colour, and the placeholder is white."""
    result = image.process(make_job(samples.encoded(Image.new("RGBA", (16, 16), (9, 9, 9, 0)), "PNG"))).result

    assert result["dominant_color"] is None
    assert result["has_transparency"] is True


def test_a_large_palette_image_is_not_unfolded_in_full(make_job):
    """A palette image beyond twice the preview's size is first thinned out."""
    source = Image.new("P", (4200, 30), 1)
    source.putpalette([0, 0, 0, 0, 128, 0] + [0] * 756)

    outcome = image.process(make_job(samples.encoded(source, "PNG")))

    assert derived_images(outcome)["preview"].size == (1024, 7)
    assert outcome.result["dominant_color"] == "#008000"


def test_colour_profiles_are_applied(make_job):
    """An image with a profile is converted to sRGB; with a useless one it is shown by its plain numbers."""
    linear = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for profile in (
        linear,
        b"not a profile",
        ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes(),
    ):
        content = samples.encoded(Image.new("RGB", (16, 16), (200, 30, 30)), "PNG", icc_profile=profile)

        outcome = image.process(make_job(content))

        red, green, blue = derived_images(outcome)["preview"].convert("RGB").getpixel((5, 5))
        assert red > 180 > 60 > max(green, blue)


@pytest.mark.parametrize(
    ("content", "frames"),
    [
        (samples.gif(1), 1),
        (samples.gif(12), 12),
        (samples.gif(4, duration=100, loop=0), 4),
        (samples.tiff(3), 3),
        (
            samples.encoded(samples.picture(), "PNG", save_all=True, append_images=[Image.new("RGB", (64, 48))]),
            2,
        ),
        (
            samples.encoded(samples.picture(), "WEBP", save_all=True, append_images=[Image.new("RGB", (64, 48))]),
            2,
        ),
    ],
)
def test_frames_are_counted(make_job, content, frames):
    """Animations and documents of several pages say how many there are."""
    assert image.process(make_job(content)).result["frames"] == frames


@pytest.mark.parametrize(
    "sample", [samples.webp, samples.bmp, samples.avif, samples.ico, samples.gif, samples.tiff, samples.png]
)
def test_every_format_has_derived_images(make_job, sample):
    """Whatever Pillow reads gets a thumbnail and a preview."""
    assert set(derived_images(image.process(make_job(sample())))) == {"thumbnail", "preview"}


def test_a_telephones_picture_is_decoded(make_job):
    """HEIC has its size, a thumbnail and a preview; one with no picture in it is broken."""
    stream = io.BytesIO()
    samples.picture(64, 48).save(stream, "HEIF")
    outcome = image.process(make_job(stream.getvalue()))
    assert (outcome.result["format"], outcome.result["width"], outcome.result["height"]) == ("HEIF", 64, 48)
    assert set(derived_images(outcome)) == {"thumbnail", "preview"}
    assert failure_of(make_job(samples.heic())).code in ("image_broken", "image_unsupported")


def test_formats_that_cannot_be_decoded_are_described(make_job):
    """An image nobody here can decode is no failure: what is known of it is told."""
    job = make_job(b"BPG\xfb" + bytes(100))

    assert job.kind == "image"
    assert processor_for(detect(job.path))(job).result["sha256"] == job.sha256


@pytest.mark.parametrize(
    "sample",
    [samples.bomb_png, samples.bomb_gif, samples.bomb_gif_canvas, samples.bomb_ico, samples.bomb_tiff],
)
def test_bombs_are_refused_unopened(make_job, sample):
    """A small file that declares an enormous image fails at once, in words, and without a warning."""
    job = make_job(sample())
    started = time.perf_counter()

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        failure = failure_of(job)

    assert failure.code == "image_too_large"
    assert time.perf_counter() - started < 1


def test_webp_is_measured_before_its_decoder_is_made(make_job):
    """A WebP canvas of 268 million pixels is refused by its header."""
    frame = b"ANMF" + struct.pack("<I", 16) + bytes(16)
    body = b"WEBPVP8X" + struct.pack("<I", 10) + b"\x02\0\0\0" + b"\xfe\x3f\0\xfe\x3f\0" + frame

    failure = failure_of(make_job(b"RIFF" + struct.pack("<I", len(body)) + body))

    assert failure.code == "image_too_large"
    assert "16383 x 16383" in failure.detail


def test_pages_of_a_tiff_are_measured(make_job):
    """A TIFF whose second page is enormous is refused although the first is small."""
    small, large = samples.bomb_tiff(8, 8), samples.bomb_tiff()
    entries = small[8:-4]
    first = b"II*\0\x08\0\0\0" + entries + struct.pack("<I", len(small)) + large[8:] + bytes(64)

    assert failure_of(make_job(first)).code == "image_too_large"


def test_pixels_of_all_frames_count(make_job, monkeypatch):
    """Frames of an acceptable size can be too many pixels altogether."""
    monkeypatch.setattr(image, "MAX_TOTAL_PIXELS", 64 * 48 * 5)

    assert "frames of 64 x 48" in failure_of(make_job(samples.gif(6))).detail


@pytest.mark.parametrize("progressive", [False, True])
def test_memory_for_decoding_is_bounded(make_job, monkeypatch, progressive):
    """A JPEG is decoded to scale and cheap, unless progressive, when all of it is held."""
    content = samples.encoded(Image.new("RGB", (8192, 64)), "JPEG", progressive=progressive)
    monkeypatch.setattr(image, "MAX_DECODED_BYTES", 1_000_000)
    job = make_job(content)

    outcome = image.process(job)

    assert (outcome.result["width"], outcome.result["height"]) == (8192, 64)
    assert ("MB of memory" in outcome.result.get("not_drawn", "")) is progressive
    assert bool(outcome.derived) is not progressive


@pytest.mark.parametrize(
    ("form", "options"),
    [("PNG", {}), ("HEIF", {}), ("AVIF", {}), ("TIFF", {}), ("WEBP", {}), ("WEBP", {"lossless": True})],
)
def test_what_is_too_large_to_draw_is_described(make_job, monkeypatch, form, options):
    """Size, format and the camera's data are told of a picture whose decoding takes too much; it has no thumbnail."""
    exif = Image.Exif()
    exif[0x010F], exif[0x0112] = "Filewire Optics", 6
    for extra in ({"exif": exif}, {}):
        job = make_job(samples.encoded(samples.picture(300, 200), form, **options, **extra))
        drawn = image.process(job)
        monkeypatch.setattr(image, "MAX_DECODED_BYTES", 100_000)
        described = image.process(job)
        monkeypatch.undo()

        jsonschema.validate(described.result, image.SCHEMA)
        assert described.derived == ()
        assert "takes" in described.result["not_drawn"]
        assert "not_drawn" not in drawn.result
        for key in ("format", "mode", "width", "height", "frames", "duration_seconds", "orientation", "exif"):
            assert described.result[key] == drawn.result[key], key
        assert described.result["exif"] == ({"make": "Filewire Optics"} if extra else {})


def test_an_animation_too_large_to_draw_is_described(make_job, monkeypatch):
    """Its frames are counted and timed without being decoded."""
    frames = [Image.new("RGB", (64, 48), color) for color in ("red", "green")]
    content = samples.encoded(frames[0], "WEBP", save_all=True, append_images=frames[1:], duration=[100, 400])
    monkeypatch.setattr(image, "MAX_DECODED_BYTES", 1000)

    result = image.process(make_job(content)).result

    assert (result["frames"], result["duration_seconds"], result["width"]) == (2, 0.5, 64)
    assert failure_of(make_job(content[:-100])).code == "image_truncated"


def test_memory_that_is_over_while_decoding_costs_the_pictures(make_job, monkeypatch):
    """A child with less memory than was thought describes the image still."""

    def fail(*_):
        raise MemoryError

    monkeypatch.setattr(image, "_eight_bit_srgb", fail)

    outcome = image.process(make_job(samples.png(64, 48)))

    assert (outcome.result["width"], outcome.derived) == (64, ())
    assert "more memory" in outcome.result["not_drawn"]


def test_a_telephones_largest_pictures_are_drawn(make_job):
    """48 million pixels of HEIC and 100 million of PNG fit in a child, as 200 million of a JPEG do."""
    decoded = {"HEIF": 8 * 8064 * 6048, "PNG": 4 * 10_000 * 10_000}

    assert max(decoded.values()) <= image.MAX_DECODED_BYTES
    assert image.MAX_PIXELS >= 16_320 * 12_240


@pytest.mark.parametrize(("sample", "size"), [(samples.bomb_png, 50_000), (samples.bomb_gif_canvas, 65_535)])
def test_a_refused_image_says_how_large_it_is(make_job, sample, size):
    """Who reads of the failure learns the size that the file declares."""
    assert f"{size} x {size} pixels" in failure_of(make_job(sample())).detail


def test_a_broken_image_says_how_large_it_would_be(make_job):
    """The header's size is in the detail of a file that ends early."""
    detail = failure_of(make_job(samples.png(64, 48)[:-40])).detail

    assert detail == f"{FAILURE_CODES['image_truncated']} It declares 64 x 48 pixels."


def _runs_of_bitmap(width: int, height: int) -> bytes:
    """A bitmap of 8 bits, packed by runs, of which each line has but its end."""
    pixels = b"\x01\x01\0\0" * height + b"\0\x01"
    header = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 8, 1, len(pixels), 0, 0, 2, 0)
    return header + bytes(8) + pixels


def test_bitmaps_packed_by_runs_are_drawn_up_to_a_size(make_job):
    """Pillow fills their lines one pixel after the other, in Python: a few kilobytes took ten seconds."""
    started = time.perf_counter()
    for width, is_drawn in ((300, True), (90_000, False)):
        content = _runs_of_bitmap(width, 1000)
        content = b"BM" + struct.pack("<IHHI", 14 + len(content), 0, 0, 14 + 48) + content

        outcome = image.process(make_job(content))

        assert outcome.result["width"] == width
        assert bool(outcome.derived) is is_drawn
    assert time.perf_counter() - started < 3


@pytest.mark.parametrize("kind", [1, 2])
def test_an_icon_of_a_few_bytes_takes_no_long_time(make_job, kind):
    """A picture in an icon that says to be larger than icons are is refused before it is unpacked."""
    inner = _runs_of_bitmap(50_000, 2000)
    content = struct.pack("<HHHBBBBHHII", 0, kind, 1, 64, 64, 2, 0, 1, 8, len(inner), 22) + inner
    started = time.perf_counter()

    job = make_job(content, content_type="image/vnd.microsoft.icon" if kind == 1 else "image/x-win-bitmap")

    assert failure_of(job).code == "image_too_large"
    assert time.perf_counter() - started < 1


def test_a_png_of_countless_comments_is_refused(make_job, monkeypatch):
    """Chunks besides the pixels are counted before any is read; those of the pixels are not."""
    content = samples.png()
    comment = samples._png_chunk(b"tEXt", b"a\0b")
    monkeypatch.setattr(image, "MAX_ASIDES", 20)

    assert image.process(make_job(content[:33] + comment * 10 + content[33:])).derived
    assert "more than 20 chunks" in failure_of(make_job(content[:33] + comment * 20 + content[33:])).detail


@pytest.mark.parametrize("keep", [0.5, 0.9])
@pytest.mark.parametrize(
    "sample", [samples.jpeg, samples.png, samples.gif, samples.webp, samples.tiff, samples.bmp, samples.avif]
)
def test_half_an_image_is_truncated(make_job, sample, keep):
    """A file that ends early fails as truncated, whatever its format."""
    content = sample()

    assert failure_of(make_job(content[: int(len(content) * keep)])).code == "image_truncated"


def test_half_a_jpeg_2000_is_truncated(make_job):
    """The boxes of JPEG 2000 tell that bytes are missing, also when their lengths have 64 bits."""
    content = samples.encoded(samples.picture(200, 200), "JPEG2000")

    assert failure_of(make_job(content[: len(content) // 2])).code in ("image_truncated", "image_broken")


@pytest.mark.parametrize(
    ("boxes", "code"),
    [
        (struct.pack(">I4sQ", 1, b"mdat", 10_000), "image_truncated"),
        (struct.pack(">I4sQ", 1, b"mdat", 16), "image_broken"),
        (struct.pack(">I4s", 0, b"mdat"), "image_broken"),
    ],
    ids=["more than there is", "as much as there is", "to the end of the file"],
)
def test_lengths_of_boxes_tell_truncation(make_job, boxes, code):
    """A box with a length of 64 bits is measured too, and one without a length ends with the file."""
    start = struct.pack(">I4s", 16, b"ftyp") + b"avif\0\0\0\0"

    assert failure_of(make_job(start + boxes)).code == code


@pytest.mark.parametrize("raised", [KeyboardInterrupt, type("TimeLimit", (Exception,), {})])
def test_what_is_not_the_files_fault_passes_through(make_job, reports, raised):
    """A time limit or a lost claim that strikes during the work is not blamed on the image."""

    def interrupt(percent):
        raise raised

    job = dataclasses.replace(make_job(samples.png()), report=interrupt)

    with pytest.raises(raised):
        image.process(job)
    with pytest.raises(raised), image._faults_of_the_file(job):
        raise raised


def test_damage_in_the_middle_is_broken(make_job):
    """Bytes that changed since the file was written are noticed, also in a PNG."""
    for content in (samples.png(), samples.jpeg(300, 200)):
        middle = len(content) // 2
        damaged = content[: middle - 8] + b"\xff\xd8" * 8 + content[middle + 8 :]

        assert failure_of(make_job(damaged)).code in ("image_broken", "image_truncated")


def test_a_header_alone_is_broken(make_job):
    """Something that only begins like an image is a broken one."""
    assert failure_of(make_job(samples.polyglot_gif_js())).code in FAILURE_CODES
    assert failure_of(make_job(b"\x89PNG\r\n\x1a\n" + bytes(40))).code == "image_broken"


def test_an_unsupported_variant_says_so(make_job):
    """A well-formed bitmap of a kind Pillow does not know is not called damaged."""
    header = struct.pack("<IiiHHIIiiII", 40, 8, 8, 1, 64, 0, 0, 0, 0, 0, 0)

    failure = failure_of(make_job(b"BM" + struct.pack("<IHHI", 318, 0, 0, 54) + header + bytes(256)))

    assert failure.code == "image_unsupported"


def test_details_hold_no_path(make_job):
    """What a user reads of a failure tells nothing of the server's disk."""
    job = make_job(b"\x89PNG\r\n\x1a\n" + bytes(40))

    assert str(job.path.parent) not in failure_of(job).detail


def test_faults_of_the_disk_are_not_the_files(make_job):
    """A file that cannot be read is another matter than one that cannot be understood."""
    job = make_job(samples.png())
    job.path.unlink()

    with pytest.raises(FileNotFoundError):
        image.process(job)


def test_too_little_memory_is_too_large():
    """Running out of memory while decoding is told as a size."""
    with pytest.raises(ProcessingFailed, match="image_too_large"), image._faults_of_the_file(None):
        raise MemoryError


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (EOFError(), "image_truncated"),
        (ValueError("Decompressed data too large for PngImagePlugin.MAX_TEXT_CHUNK"), "image_too_large"),
        (OSError("decoder jpeg2k not available"), "image_unsupported"),
        (OSError("Unsupported BMP Palette size (305402420)"), "image_broken"),
        (NotImplementedError(), "image_unsupported"),
        (struct.error("unpack requires a buffer of 4 bytes"), "image_broken"),
    ],
)
def test_faults_have_their_codes(make_job, error, code):
    """The decoders' many exceptions come down to four codes."""
    with pytest.raises(ProcessingFailed) as caught, image._faults_of_the_file(make_job(samples.png())):
        raise error

    assert caught.value.code == code


@pytest.mark.parametrize("value", ["+05:30", "-08:00"])
def test_time_zones_of_cameras(value):
    """An offset that the camera recorded is kept."""
    photo = {0x9003: "2024:05:17 18:30:00", 0x9011: value}

    assert image._taken_at(photo) == f"2024-05-17T18:30:00{value}"


@pytest.mark.parametrize("value", ["", "Z", "+ab:cd", "+99:99"])
def test_nonsense_time_zones_are_left_out(value):
    """Without a sensible offset the time is told without one."""
    assert image._taken_at({0x9003: "2024:05:17 18:30:00", 0x9011: value}) == "2024-05-17T18:30:00"


@pytest.mark.parametrize("value", [None, "", "0000:00:00 00:00:00", "yesterday"])
def test_nonsense_times_are_left_out(value):
    """Cameras without a clock write zeros; that is no time."""
    assert image._taken_at({0x9003: value}) is None


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (None, None),
        ("x", None),
        (float("nan"), None),
        (0, None),
        (-1, None),
        ((), None),
        ((400, 0), 400),
        (2.8, 2.8),
    ],
)
def test_numbers_of_cameras(value, number):
    """Only finite numbers above zero are told, whole ones as such."""
    assert image._number(value) == number


def test_broken_exif_is_no_exif(make_job):
    """An image with damaged metadata is processed without them, and without a warning."""
    content = samples.encoded(samples.picture(), "JPEG", exif=b"Exif\0\0II*\0\x08\0\0\0\xff\xff" + b"\xff" * 40)

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert image.process(make_job(content)).result["exif"] == {}


class _Unreadable(Image.Exif):
    def get_ifd(self, tag):
        raise ValueError(tag)


def test_exif_that_cannot_be_followed_is_left_out():
    """Pointers into nowhere cost the exposure data, not the processing."""
    assert image.exif_subset(_Unreadable()) == {}


def test_gif_frames_stop_being_counted(tmp_path):
    """Counting ends at the limit, at the end of the file, and at what is no block."""
    path = tmp_path / "x.gif"

    def frames(content: bytes, at_most: int = 100) -> int:
        path.write_bytes(content)
        return len(animation.durations(path, "GIF", at_most))

    assert frames(samples.bomb_gif(50), 10) == 10
    assert frames(samples.bomb_gif(50)) == 50
    assert frames(samples.gif(3)[:-1] + b"\0\x2c\0") == 3
    assert frames(b"GIF89a") == 0
    assert frames(samples.gif(1)[:13] + b"garbage") == 0


@pytest.mark.parametrize(("form", "options"), [("GIF", {}), ("PNG", {}), ("WEBP", {"lossless": True})])
def test_an_animation_lasts_as_long_as_its_frames_together(make_job, form, options):
    """Each frame has a time of its own; nothing is decoded to add them up."""
    pictures = [Image.new("RGB", (16, 12), color) for color in ("red", "green", "blue")]
    content = samples.encoded(
        pictures[0], form, save_all=True, append_images=pictures[1:], duration=[100, 2000, 500], **options
    )
    job = make_job(content)
    result = processor_for(detect(job.path))(job).result
    assert (result["frames"], result["duration_seconds"]) == (3, 2.6)


def test_frames_that_take_no_time_have_no_duration(make_job):
    """An animation that does not say how long is none that lasts for nothing."""
    job = make_job(samples.gif(3))
    result = processor_for(detect(job.path))(job).result
    assert (result["frames"], result["duration_seconds"]) == (3, None)


def test_too_many_pages_are_refused(make_job, monkeypatch):
    """Counting pages of a TIFF ends at the limit too."""
    monkeypatch.setattr(image, "MAX_FRAMES", 2)

    assert "more than 2 frames" in failure_of(make_job(samples.tiff(4))).detail


def test_derived_names_are_files_in_the_workdir(make_job):
    """Everything a processor writes lies in the directory it was given."""
    job = make_job(samples.png())

    outcome = image.process(job)

    assert {derived.path.parent for derived in outcome.derived} == {job.workdir}
    assert io.BytesIO(job.path.read_bytes()).getvalue() == samples.png()
