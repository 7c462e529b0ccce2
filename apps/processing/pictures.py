"""Pictures that other kinds of file give rise to: covers, posters, first pages; always drawn anew, as WebP."""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from pathlib import Path
from typing import Final

from PIL import Image

from .contract import Derived

PREVIEW_PIXELS: Final = 1600
THUMBNAIL_PIXELS: Final = 512
COVER_PIXELS: Final = 25_000_000  # that an embedded picture may have to be decoded
QUALITY: Final = 80
METHOD: Final = 2
FORMATS: Final = ("JPEG", "PNG", "WEBP", "GIF", "BMP")

UNDRAWABLE: Final = (
    ArithmeticError, AttributeError, EOFError, LookupError, MemoryError, OSError, RuntimeError, SyntaxError, TypeError,
    ValueError, struct.error, zlib.error, Image.DecompressionBombError, Image.DecompressionBombWarning,
)  # fmt: skip


def draw(image: Image.Image, name: str, workdir: Path, pixels: int) -> Derived:
    """The image, at most so many pixels wide and high, as a derived file of this name."""
    image = image.convert("RGBA" if image.has_transparency_data else "RGB")
    image.thumbnail((pixels, pixels), Image.Resampling.LANCZOS, reducing_gap=2.0)
    path = workdir / f"{name}.webp"
    image.save(path, "WEBP", quality=QUALITY, method=METHOD)
    return Derived(name=name, path=path, content_type="image/webp")


def redraw(content: bytes, name: str, workdir: Path) -> Derived | None:
    """An embedded picture, drawn anew; None where it is none, or one too large. Raises what the directory does."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with Image.open(io.BytesIO(content), formats=FORMATS) as image:
                if image.width * image.height > COVER_PIXELS:
                    return None
                image.draft("RGB", (PREVIEW_PIXELS, PREVIEW_PIXELS))
                image.load()
                drawn = image.copy()
        except UNDRAWABLE:
            return None
    return draw(drawn, name, workdir, PREVIEW_PIXELS)
