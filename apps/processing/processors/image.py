"""Images: what they are, how they look in small, and nothing of where they were taken.

A file is measured by its header before a pixel is decoded, decoded once, and everything shown of it
(preview, thumbnail, colour, placeholder) is made from that one decode. JPEG is decoded straight to about the
size of the preview (libjpeg's scaled decoding, Pillow's "draft"). Formats that Pillow does not read are left
to `fallback`. What would take more memory than is given is described, and not drawn.
"""

from __future__ import annotations

import errno
import io
import math
import struct
import warnings
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Final

import blurhash  # type: ignore[import-untyped]  # It ships no types; `encode` is all that is used.
import pillow_heif
from PIL import ExifTags, Image, ImageCms, ImageFile

from .. import extents
from ..contract import FAILURE_CODES, JSON, Derived, Job, Outcome, ProcessingFailed
from . import animation, fallback, headers, svg

MAX_PIXELS: Final = 250_000_000
"""Width times height of one frame: a telephone has 200 million. Beyond, it is a bomb."""
MAX_DECODED_BYTES: Final = 512_000_000
"""Memory the decoder may take, half of a child's: 128 million pixels in colour, 64 million of HEIC and AVIF, 51 million
of WebP; `MAX_PIXELS` in grey or as a plain JPEG. What takes more is described, and not drawn."""
MAX_SLOW_PIXELS: Final = 12_500_000
"""The same where Pillow's decoder is one in Python (bitmaps packed by runs, QOI): a tenth of a microsecond and more a
pixel, whatever the file's length."""
MAX_ICON_PIXELS: Final = 4_194_304
"""Of a picture in an icon, its mask counted: they are decoded as soon as they are opened, and so are bombs."""
MAX_ASIDES: Final = 50_000
"""Chunks of a PNG besides its pixels."""
MAX_FRAMES: Final = 5_000
MAX_TOTAL_PIXELS: Final = 10_000_000_000
"""Pixels of one frame times frames. Only the first is decoded here; whoever plays the file decodes all."""

PREVIEW_PIXELS: Final = 1024
NEAR_ENOUGH: Final = 0.75
"""A JPEG that can be decoded at this part of the preview's size or more is not decoded at twice that and then reduced:
for 12 megapixels that is 30 ms in place of 200, and 1,000 pixels in place of 1,024."""
THUMBNAIL_PIXELS: Final = 512
WEBP_QUALITY: Final = 80
WEBP_METHOD: Final = 0
"""Encoder effort 0..6. 2 takes twice the time for a tenth less, 4 four times for a sixth."""

PLACEHOLDER_PIXELS: Final = 16
PLACEHOLDER_COMPONENTS: Final = 4, 3
"""A BlurHash of 28 characters: https://blurha.sh"""

# Only the decoder that the content calls for is let near the file: Pillow's others include some that start
# programs (EPS) or are hardly used (and hardly tested).
_FORMATS: Final[Mapping[str, tuple[str, ...]]] = {
    "image/jpeg": ("JPEG", "MPO"),
    "image/png": ("PNG",),
    "image/gif": ("GIF",),
    "image/webp": ("WEBP",),
    "image/tiff": ("TIFF",),
    "image/bmp": ("BMP",),
    "image/avif": ("AVIF",),
    "image/heic": ("HEIF",),
    "image/heif": ("HEIF",),
    "image/vnd.microsoft.icon": ("ICO",),
    "image/jp2": ("JPEG2000",),
    "image/x-jp2-codestream": ("JPEG2000",),
    "image/vnd.adobe.photoshop": ("PSD",),
    "image/vnd.ms-dds": ("DDS",),
    "image/vnd.zbrush.pcx": ("PCX",),
    "image/icns": ("ICNS",),
    "image/qoi": ("QOI",),
    "image/sgi": ("SGI",),
    "image/x-portable-anymap": ("PPM",),
    "image/x-portable-bitmap": ("PPM",),
    "image/x-portable-graymap": ("PPM",),
    "image/x-portable-pixmap": ("PPM",),
    "image/x-sun-raster": ("SUN",),
    "image/x-tga": ("TGA",),
    "image/x-win-bitmap": ("CUR",),
}
_ICONS: Final = frozenset({"ICO", "ICNS", "CUR"})

SCHEMA: Final[Mapping[str, JSON]] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "image",
    "description": "A picture's facts. Of an SVG, which is never drawn, its size and what is in it.",
    "type": "object",
    "properties": {
        "format": {"type": ["string", "null"], "description": "JPEG, PNG, GIF, WEBP, TIFF, BMP, AVIF, ICO, SVG …"},
        "mode": {"type": "string", "description": "Pillow's name of its pixels: RGB, RGBA, L, P, CMYK …"},
        "width": {"type": ["number", "null"], "description": "Pixels, as it is shown."},
        "height": {"type": ["number", "null"], "description": "Pixels, as it is shown."},
        "frames": {"type": "integer", "description": "Frames or pages."},
        "duration_seconds": {"type": ["number", "null"], "description": "Of an animation, once through."},
        "orientation": {"type": "integer", "description": "EXIF's, 1 to 8; it is applied to what is derived."},
        "has_transparency": {"type": "boolean", "description": "Whether any of it may be seen through."},
        "dominant_color": {"type": ["string", "null"], "description": "`#rrggbb`."},
        "blurhash": {"type": "string", "description": "A placeholder of 28 characters: https://blurha.sh"},
        "not_drawn": {
            "type": "string",
            "description": "Why there are no pictures: of one too large only.",
        },
        "exif": {"type": "object", "description": "What the camera says of itself and the exposure; never where."},
        "view_box": {"type": ["array", "null"], "items": {"type": "number"}, "description": "Of an SVG."},
        "elements": {"type": "integer", "description": "Of an SVG."},
        "has_script": {"type": "boolean", "description": "Of an SVG: whether it would run something."},
        "external_references": {"type": "integer", "description": "Of an SVG: what it would fetch; nothing is."},
    },
    "required": ["format", "width", "height"],
    "additionalProperties": False,
}

# Memory for a pixel: in Pillow's modes (others take four bytes), and in decoders that keep more than Pillow's
# own copy: libwebp keeps two canvases besides, libavif and libheif the picture in YUV.
_BYTES_PER_PIXEL: Final[Mapping[str, int]] = {"1": 2, "L": 1, "P": 1, "I;16": 2, "I;16B": 2, "I;16L": 2}
_BYTES_PER_PIXEL_BY_FORMAT: Final[Mapping[str, int]] = {"WEBP": 10, "AVIF": 8, "HEIF": 8}

pillow_heif.options.DECODE_THREADS = 1
pillow_heif.register_heif_opener(thumbnails=False)
Image.MAX_IMAGE_PIXELS = MAX_PIXELS


def prepare() -> None:
    """Load the plugins and encoders of a photograph's way: tens of milliseconds in every child."""
    Image.init()
    stream = io.BytesIO()
    Image.new("RGB", (64, 64), "white").save(stream, "JPEG")
    with Image.open(stream) as image:
        image.thumbnail((16, 16))
        image.save(io.BytesIO(), "WEBP")
        blurhash_of(image)


def process(job: Job) -> Outcome:
    """Format, size, frames, colour and camera data of an image; its thumbnail and its preview as WebP.

    Fails with `image_too_large`, `image_broken`, `image_truncated` or `image_unsupported`.
    """
    if job.content_type == "image/svg+xml":
        return Outcome(result=svg.survey(job))
    formats = _FORMATS.get(job.content_type)
    if formats is None:
        return fallback.process(job)
    if "WEBP" in formats and (described := _webp_too_large(job)) is not None:
        return Outcome(result=described)
    if "PNG" in formats and headers.png_asides(job.path, MAX_ASIDES + 1) > MAX_ASIDES:
        raise ProcessingFailed("image_too_large", f"The image has more than {MAX_ASIDES:,} chunks besides its pixels.")
    with _quiet(), _at_most(MAX_PIXELS if _ICONS.isdisjoint(formats) else MAX_ICON_PIXELS):
        return _process(job, formats)


class _NotDrawn(Exception):
    """The picture takes more to decode than is given."""


def _process(job: Job, formats: tuple[str, ...]) -> Outcome:
    image = _opened(job, formats)
    with image:
        declared = image.size
        with _faults_of_the_file(job, declared):
            width, height = declared
            _check_size(width, height)
            frames = _frames(image, job.path)
            _check_frames(frames, width, height)
            exif = _exif(image)
            orientation = _orientation(exif)
            result: dict[str, JSON] = {"format": image.format, "mode": image.mode, "frames": frames}
            has_transparency = image.has_transparency_data
        job.report(10)
        # Before draft mode, which changes the size; TIFF has turned it already.
        size = (width, height) if image.format == "TIFF" else _turned(orientation, width, height)
        with _faults_of_the_file(job, declared):
            try:
                preview = _drawn(image, job, declared)
            except (_NotDrawn, MemoryError) as error:
                preview, not_drawn = None, str(error) or "Decoding the image takes more memory than is given."
        result |= {
            "duration_seconds": _duration_seconds(image, frames, job.path),
            "width": size[0],
            "height": size[1],
            "orientation": orientation,
            "exif": exif_subset(exif),
        }
    if preview is None:
        return Outcome(result={**result, "has_transparency": has_transparency, "not_drawn": not_drawn})
    # Into new images only: what follows takes along neither EXIF, nor position, nor colour profile.
    preview.thumbnail((PREVIEW_PIXELS, PREVIEW_PIXELS), Image.Resampling.LANCZOS)
    thumbnail = preview.copy()
    thumbnail.thumbnail((THUMBNAIL_PIXELS, THUMBNAIL_PIXELS), Image.Resampling.LANCZOS)
    derived = (
        _save(thumbnail, "thumbnail", job.workdir),
        _save(preview, "preview", job.workdir),
    )
    job.report(90)
    result |= {
        "has_transparency": preview.mode == "RGBA",
        "dominant_color": dominant_color(thumbnail),
        "blurhash": blurhash_of(thumbnail),
    }
    job.report(100)
    return Outcome(result=result, derived=derived)


def _opened(job: Job, formats: tuple[str, ...]) -> ImageFile.ImageFile:
    """The image, none of its pixels decoded (but an icon's). Raises ProcessingFailed."""
    with _faults_of_the_file(job):
        try:
            return Image.open(job.path, formats=formats)
        except (Image.DecompressionBombError, Image.DecompressionBombWarning):
            if _ICONS.isdisjoint(formats) and (size := _declared_size(job.path, formats)):
                _check_size(*size)
            raise


def _declared_size(path: Path, formats: tuple[str, ...]) -> tuple[int, int] | None:
    """The size of an image that Pillow does not hand out, as that is too large."""
    for name in formats:
        try:
            with path.open("rb") as file, Image.OPEN[name][0](file, "") as image:
                return image.size
        except _DECODER_ERRORS:
            continue
    return None


def _drawn(image: ImageFile.ImageFile, job: Job, declared: tuple[int, int]) -> Image.Image:
    """The preview, upright. Raises _NotDrawn and MemoryError for what takes too much, and what decoders raise."""
    image.draft(image.mode, _fit(image.size, round(PREVIEW_PIXELS * NEAR_ENOUGH)))
    _check_cost(image, *declared)
    image.load()
    if image.format == "PNG" and not headers.png_is_sound(job.path):
        # Pillow's decoder passes over damaged data in silence.
        raise ProcessingFailed("image_broken")
    # Read again: a decoder that has turned the pixels itself (TIFF) has removed the tag.
    remaining = _orientation(image.getexif())
    job.report(50)
    return _upright(_eight_bit_srgb(image), remaining)


def _webp_too_large(job: Job) -> dict[str, JSON] | None:
    """What a WebP's header tells, if decoding it takes too much: Pillow takes the memory when it opens one.

    Raises ProcessingFailed for what is a bomb.
    """
    found = headers.webp(job.path)
    if found is None:
        return None
    width, height = found.width, found.height
    _check_size(width, height)
    decoded_bytes = width * height * _BYTES_PER_PIXEL_BY_FORMAT["WEBP"]
    if decoded_bytes <= MAX_DECODED_BYTES:
        return None
    if _ends_early(job):
        raise ProcessingFailed("image_truncated", _of_size("image_truncated", (width, height)))
    seconds = animation.durations(job.path, "WEBP", MAX_FRAMES + 1) or []
    frames = max(1, len(seconds))
    _check_frames(frames, width, height)
    exif = Image.Exif()
    with suppress(*_DECODER_ERRORS):
        exif.load(found.exif)
    orientation = _orientation(exif)
    shown = _turned(orientation, width, height)
    return {
        "format": "WEBP",
        "mode": "RGBA" if found.has_alpha else "RGB",
        "frames": frames,
        "duration_seconds": (round(sum(seconds), 3) or None) if frames > 1 else None,
        "width": shown[0],
        "height": shown[1],
        "orientation": orientation,
        "exif": exif_subset(exif),
        "has_transparency": found.has_alpha,
        "not_drawn": _too_much_memory(width, height, decoded_bytes),
    }


def _duration_seconds(image: Image.Image, frames: int, path: Path) -> float | None:
    """How long an animation lasts; None of what is none. Where frames are not told apart, at the first one's pace."""
    if frames < 2:
        return None
    shown = animation.durations(path, image.format or "", MAX_FRAMES)
    if shown is not None:
        return round(sum(shown), 3) or None
    duration = image.info.get("duration")
    if not isinstance(duration, int | float) or not 0 < duration < 10**7:
        return None
    return round(duration * frames / 1000, 3)


# --- faults ---------------------------------------------------------------------------------------------


@contextmanager
def _quiet() -> Iterator[None]:
    """No warning of Pillow's gets out: those about size are errors, those about odd metadata are nobody's."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        yield


@contextmanager
def _at_most(pixels: int) -> Iterator[None]:
    """Pillow's own net, under ours: it also catches sizes that turn up only within a file (icons, GIF frames)."""
    before, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, pixels
    try:
        yield
    finally:
        Image.MAX_IMAGE_PIXELS = before


# What decoders fail with. Not `Exception`: a time limit is one too, raised in the midst of anything.
_DECODER_ERRORS: Final = (
    ArithmeticError,
    AttributeError,
    EOFError,
    LookupError,
    OSError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
    struct.error,
    zlib.error,
)


# Without a number an OSError is Pillow's own word; these are the system's for a seek to where the file tells it to go.
_NO_PLACE: Final = (None, errno.EINVAL, errno.EOVERFLOW)


@contextmanager
def _faults_of_the_file(job: Job, size: tuple[int, int] | None = None) -> Iterator[None]:
    """Pillow's many exceptions, as what is wrong with the file of this size; those of the disk pass through."""
    try:
        yield
    except ProcessingFailed:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning, MemoryError) as error:
        raise ProcessingFailed("image_too_large", _of_size("image_too_large", size)) from error
    except NotImplementedError as error:
        raise ProcessingFailed("image_unsupported", _of_size("image_unsupported", size)) from error
    except _DECODER_ERRORS as error:
        if isinstance(error, OSError) and error.errno not in _NO_PLACE:
            raise
        code = _code_of(error, job)
        raise ProcessingFailed(code, _of_size(code, size)) from error


def _of_size(code: str, size: tuple[int, int] | None) -> str:
    """The words for a fault, and the size that the file has by its header."""
    return FAILURE_CODES[code] + (f" It declares {size[0]} x {size[1]} pixels." if size else "")


def _code_of(error: Exception, job: Job) -> str:
    """Pillow tells its faults apart in words only."""
    words = str(error).lower()
    if isinstance(error, EOFError) or "truncated" in words or _ends_early(job):
        return "image_truncated"
    if "decompressed data too large" in words:
        # Compressed metadata that unpacks beyond Pillow's limits.
        return "image_too_large"
    if ("unsupported" in words and "palette size" not in words) or "not available" in words:
        return "image_unsupported"
    return "image_broken"


def _ends_early(job: Job) -> bool:
    """Whether a container (RIFF, or the boxes of AVIF and JPEG 2000) declares more bytes than there are."""
    with job.path.open("rb") as file:
        if job.content_type == "image/webp":
            return int.from_bytes(file.read(8)[4:], "little") + 8 > job.size
        return job.content_type in ("image/avif", "image/jp2") and extents.boxes_end(file, job.size) > job.size


# --- limits ---------------------------------------------------------------------------------------------


def _check_size(width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise ProcessingFailed(
            "image_too_large",
            f"The image declares {width} x {height} pixels; at most {MAX_PIXELS:,} are decoded.",
        )


def _check_cost(image: ImageFile.ImageFile, width: int, height: int) -> None:
    """By the size to be decoded (`image`'s own, after draft mode) and the size of the file's picture."""
    per_pixel = _BYTES_PER_PIXEL_BY_FORMAT.get(image.format or "", _BYTES_PER_PIXEL.get(image.mode, 4))
    decoded_bytes = image.width * image.height * per_pixel
    if image.info.get("progressive"):
        # libjpeg holds the coefficients of the whole picture, whatever the scale.
        decoded_bytes += math.ceil(width * height * 2 * _samples_per_pixel(image))
    if decoded_bytes > MAX_DECODED_BYTES:
        raise _NotDrawn(_too_much_memory(width, height, decoded_bytes))
    if width * height > MAX_SLOW_PIXELS and any(tile[0] in Image.DECODERS for tile in image.tile):
        raise _NotDrawn(
            f"The image has {width} x {height} pixels; at most {MAX_SLOW_PIXELS:,} packed in this way are decoded."
        )


def _samples_per_pixel(image: Image.Image) -> float:
    """Of a JPEG: colour mostly has fewer samples than light."""
    layers = [(across, down) for _, across, down, _ in getattr(image, "layer", ())]
    full = max((across for across, _ in layers), default=1) * max((down for _, down in layers), default=1)
    return sum(across * down for across, down in layers) / max(1, full) or 3


def _too_much_memory(width: int, height: int, decoded_bytes: int) -> str:
    return (
        f"Decoding the image's {width} x {height} pixels takes {decoded_bytes // 1_000_000} MB of "
        f"memory; at most {MAX_DECODED_BYTES // 1_000_000} MB are given."
    )


def _check_frames(frames: int, width: int, height: int) -> None:
    if frames > MAX_FRAMES:
        raise ProcessingFailed("image_too_large", f"The image has more than {MAX_FRAMES:,} frames.")
    if frames * width * height > MAX_TOTAL_PIXELS:
        raise ProcessingFailed(
            "image_too_large",
            f"The image declares {frames:,} frames of {width} x {height} pixels; "
            f"at most {MAX_TOTAL_PIXELS:,} pixels altogether are accepted.",
        )


def _frames(image: ImageFile.ImageFile, path: Path) -> int:
    """Frames or pages; one more than `MAX_FRAMES` stands for any number beyond."""
    if image.format == "GIF":
        return max(1, len(animation.durations(path, "GIF", MAX_FRAMES + 1) or ()))
    if image.format == "TIFF":
        return _tiff_pages(image, MAX_FRAMES + 1)
    return int(getattr(image, "n_frames", 1))


def _tiff_pages(image: ImageFile.ImageFile, at_most: int) -> int:
    pages = 1
    try:
        while pages < at_most:
            image.seek(pages)
            _check_size(*image.size)
            pages += 1
    except EOFError:
        pass
    image.seek(0)
    return pages


# --- pixels ---------------------------------------------------------------------------------------------


def _fit(size: tuple[int, int], box: int) -> tuple[int, int]:
    """The largest size with these proportions that fits a square box; never larger than `size`."""
    scale = min(1.0, box / max(size))
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def _eight_bit_srgb(image: Image.Image) -> Image.Image:
    """A new image of about the preview's size, in RGB or RGBA of eight bits, with sRGB's colours."""
    target = _fit(image.size, PREVIEW_PIXELS)
    profile = image.info.get("icc_profile")
    if image.mode in ("P", "PA") and max(image.size) > 2 * PREVIEW_PIXELS:
        # Palette images cannot be averaged, and unfolding one in full would take four times its memory.
        image = image.resize(_fit(image.size, 2 * PREVIEW_PIXELS), Image.Resampling.NEAREST)
    if image.mode == "1":
        image = image.convert("L")
    transparent = image.has_transparency_data
    if image.mode in ("P", "PA") or (transparent and image.mode not in ("LA", "RGBA")):
        image = image.convert("RGBA" if transparent else "RGB")
    if image.size != target:
        image = image.resize(target, Image.Resampling.LANCZOS, reducing_gap=3.0)
    if image.mode.startswith("I") or image.mode == "F":
        image = _eight_bit_grey(image)
    return _in_srgb(image, profile, "RGBA" if transparent else "RGB")


def _in_srgb(image: Image.Image, profile: object, mode: str) -> Image.Image:
    """Converted by the colour profile if there is a usable one: wide-gamut photographs are dull without."""
    if isinstance(profile, bytes) and profile and image.mode in ("RGB", "RGBA", "CMYK"):
        try:
            converted = ImageCms.profileToProfile(
                image, io.BytesIO(profile), ImageCms.createProfile("sRGB"), outputMode=mode
            )
        except (ImageCms.PyCMSError, ValueError, OSError):
            pass  # A profile for another colour space, or a damaged one: the plain numbers have to do.
        else:
            if converted is not None:
                converted.info.clear()
                return converted
    plain = image.convert(mode) if image.mode != mode else image.copy()
    plain.info.clear()
    return plain


def _eight_bit_grey(image: Image.Image) -> Image.Image:
    """Greys of 16 or 32 bits or floating point, scaled to eight bits; Pillow's conversion cuts them off."""
    sixteen_bit = image.mode.startswith("I;16")
    grey = image.convert("F")
    lowest, highest = grey.getextrema()
    if not isinstance(lowest, float) or not isinstance(highest, float) or not math.isfinite(highest - lowest):
        return Image.new("L", image.size)
    if sixteen_bit or (lowest >= 0 and 255 < highest <= 65_535):
        low, span = 0.0, 65_535.0
    elif lowest >= 0 and 1 < highest <= 255:
        low, span = 0.0, 255.0
    elif lowest >= 0 and highest <= 1:
        low, span = 0.0, 1.0
    else:
        low, span = lowest, highest - lowest
    scale = 255.0 / span if span else 0.0
    return grey.point(lambda value: value * scale + -low * scale).convert("L")


_TRANSPOSITIONS: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def _upright(image: Image.Image, orientation: int) -> Image.Image:
    method = _TRANSPOSITIONS.get(orientation)
    return image if method is None else image.transpose(method)


def _turned(orientation: int, width: int, height: int) -> tuple[int, int]:
    return (height, width) if orientation >= 5 else (width, height)


def _save(image: Image.Image, name: str, workdir: Path) -> Derived:
    path = workdir / f"{name}.webp"
    image.save(path, "WEBP", quality=WEBP_QUALITY, method=WEBP_METHOD)
    return Derived(name=name, path=path, content_type="image/webp")


def dominant_color(image: Image.Image) -> str | None:
    """The most common colour as `#rrggbb`, of sixteen the image is reduced to; None if nothing is opaque."""
    small = image.resize(_fit(image.size, 64), Image.Resampling.BOX)
    reduced = small.quantize(16, Image.Quantize.FASTOCTREE).convert("RGBA")
    opaque = [
        (count, color) for count, color in reduced.getcolors() or () if isinstance(color, tuple) and color[3] >= 128
    ]
    if not opaque:
        return None
    red, green, blue, _ = max(opaque)[1]
    return f"#{red:02x}{green:02x}{blue:02x}"


def blurhash_of(image: Image.Image) -> str:
    """A few characters from which a client draws a blurred image while the real one loads.

    Transparent parts count as white. Made from few pixels, because the library is pure Python.
    """
    small = image.resize(_fit(image.size, PLACEHOLDER_PIXELS), Image.Resampling.BOX)
    if small.mode == "RGBA":
        white = Image.new("RGBA", small.size, "white")
        white.alpha_composite(small)
        small = white
    flat = small.convert("RGB").tobytes()
    pixels = [flat[index : index + 3] for index in range(0, len(flat), 3)]
    rows = [pixels[row : row + small.width] for row in range(0, len(pixels), small.width)]
    return str(blurhash.encode(rows, *PLACEHOLDER_COMPONENTS))


# --- EXIF -----------------------------------------------------------------------------------------------


def _exif(image: Image.Image) -> Image.Exif:
    try:
        return image.getexif()
    except _DECODER_ERRORS:
        return Image.Exif()


def _orientation(exif: Image.Exif) -> int:
    """EXIF orientation 1..8; 1, upright, if it says nothing or nonsense."""
    value = exif.get(ExifTags.Base.Orientation, 1)
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def exif_subset(exif: Image.Exif) -> dict[str, JSON]:
    """What the camera says of itself and the exposure; keys only for what is there.

    A list of what is let through, not of what is kept back: position, serial numbers, owner's name, comments
    and the maker's notes may all tell who or where someone is.
    """
    try:
        photo = exif.get_ifd(ExifTags.IFD.Exif)
    except _DECODER_ERRORS:
        photo = {}
    base = ExifTags.Base
    values: dict[str, JSON] = {
        "make": _text(exif.get(base.Make)),
        "model": _text(exif.get(base.Model)),
        "lens": _text(photo.get(base.LensModel)),
        "software": _text(exif.get(base.Software)),
        "taken_at": _taken_at(photo),
        "exposure_seconds": _number(photo.get(base.ExposureTime)),
        "f_number": _number(photo.get(base.FNumber)),
        "iso": _number(photo.get(base.ISOSpeedRatings)),
        "focal_length_mm": _number(photo.get(base.FocalLength)),
        "focal_length_35mm_equivalent_mm": _number(photo.get(base.FocalLengthIn35mmFilm)),
    }
    return {key: value for key, value in values.items() if value is not None}


def _text(value: object) -> str | None:
    if not isinstance(value, str):
        return None
    # Fields of fixed length are padded with NUL or spaces; what follows a NUL is not part of the value.
    return value.partition("\0")[0].strip()[:200] or None


def _number(value: object) -> float | int | None:
    if isinstance(value, tuple) and value:
        value = value[0]
    try:
        number = float(value)  # type: ignore[arg-type]  # IFDRational, int, or whatever the file claims.
    except (TypeError, ValueError, ZeroDivisionError, OverflowError):
        return None
    if not math.isfinite(number) or number <= 0:
        return None
    return int(number) if number.is_integer() else round(number, 6)


def _taken_at(photo: Mapping[int, object]) -> str | None:
    """When the picture was taken, ISO 8601; with an offset only if the camera recorded one (EXIF 2.31)."""
    try:
        taken = datetime.strptime(str(photo.get(ExifTags.Base.DateTimeOriginal)).strip("\0 "), "%Y:%m:%d %H:%M:%S")
    except ValueError:
        return None
    return taken.replace(tzinfo=_offset(photo.get(ExifTags.Base.OffsetTimeOriginal))).isoformat()


def _offset(value: object) -> timezone | None:
    try:
        return timezone(timedelta(seconds=_seconds_of(str(value).strip("\0 "))))
    except (ValueError, OverflowError):
        return None


def _seconds_of(offset: str) -> int:
    sign = {"+": 1, "-": -1}.get(offset[:1])
    hours, _, minutes = offset[1:].partition(":")
    if sign is None:
        raise ValueError(offset)
    return sign * (int(hours) * 3600 + int(minutes) * 60)
