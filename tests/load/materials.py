"""Files of every kind, at two sizes, made on the spot and the same each time: what a worker is measured on."""

import csv
import io
import json
import math
import random
import struct
import wave
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass

import av
from PIL import Image

from tests import samples
from tests.load.bench import TEXT_LINE

SECOND = 44_100


@dataclass(frozen=True)
class Material:
    """One file: what it is called in the tables, its family and size within it, and what it must turn out to be."""

    title: str
    family: str
    size: float
    name: str
    kind: str
    content: bytes


def photograph(megapixels: int) -> bytes:
    """A JPEG like a camera's: a gradient, some shapes, and noise."""
    width = int(math.sqrt(megapixels * 1e6 * 4 / 3))
    height = width * 3 // 4
    grey = Image.effect_noise((width // 2, height // 2), 30).resize((width, height))
    bands = [
        Image.linear_gradient("L").resize((width, height)),
        grey,
        Image.radial_gradient("L").resize((width, height)),
    ]
    buffer = io.BytesIO()
    Image.merge("RGB", bands).save(buffer, "JPEG", quality=88)
    return buffer.getvalue()


def rows(count: int) -> bytes:
    """A CSV with columns of several types."""
    chance, stream = random.Random(count), io.StringIO()
    writer = csv.writer(stream)
    writer.writerow(["id", "name", "city", "amount", "day", "paid"])
    for number in range(count):
        day = f"2026-{number % 12 + 1:02}-{number % 28 + 1:02}"
        writer.writerow(
            [number, f"Customer {number}", chance.choice(["Bern", "Graz", "Köln"]), chance.random(), day, "true"]
        )
    return stream.getvalue().encode()


def records(count: int) -> bytes:
    """A JSON array of objects."""
    return json.dumps(
        [{"id": number, "tags": ["a", "b"], "size": number / 7, "ok": True} for number in range(count)]
    ).encode()


def pdf(pages: int) -> bytes:
    """A PDF of pages of text, with a correct cross-reference table."""
    objects = [b"<< /Type /Catalog /Pages 2 0 R >>", b"", b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>"]
    kids = []
    for page in range(pages):
        lines = b"".join(b"(%s) Tj T*\n" % TEXT_LINE.strip() for _ in range(40))
        stream = b"BT /F1 11 Tf 14 TL 50 780 Td (Page %d) Tj T*\n%sET" % (page + 1, lines)
        number = len(objects) + 1
        kids.append(number)
        objects.append(
            b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents %d 0 R"
            b" /Resources << /Font << /F1 3 0 R >> >> >>" % (number + 1)
        )
        objects.append(b"<< /Length %d >>\nstream\n%s\nendstream" % (len(stream), stream))
    objects[1] = b"<< /Type /Pages /Kids [%s] /Count %d >>" % (b" ".join(b"%d 0 R" % kid for kid in kids), pages)
    content, offsets = b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n", []
    for number, body in enumerate(objects, start=1):
        offsets.append(len(content))
        content += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    table = b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    head = b"xref\n0 %d\n0000000000 65535 f \n%s" % (len(objects) + 1, table)
    tail = b"trailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (len(objects) + 1, len(content))
    return content + head + tail


def docx(paragraphs: int) -> bytes:
    """A DOCX with so many paragraphs in its main part."""
    line = TEXT_LINE.decode().strip()
    text = f"<w:p><w:r><w:t>{line}</w:t></w:r></w:p>" * paragraphs
    buffer = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(samples.docx())) as source,
        zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as target,
    ):
        for name in source.namelist():
            content = source.read(name)
            if name == "word/document.xml":
                space = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
                content = (
                    f'<?xml version="1.0"?><w:document xmlns:w="{space}"><w:body>{text}</w:body></w:document>'.encode()
                )
            target.writestr(name, content)
    return buffer.getvalue()


def sound(seconds: int) -> bytes:
    """A stereo WAV: a tone that swells."""
    one = b"".join(
        struct.pack("<hh", value, -value)
        for value in (int(9000 * math.sin(place / 16) * math.sin(math.pi * place / SECOND)) for place in range(SECOND))
    )
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as writer:
        writer.setnchannels(2)
        writer.setsampwidth(2)
        writer.setframerate(SECOND)
        writer.writeframes(one * seconds)
    return buffer.getvalue()


def mp3(seconds: int) -> bytes:
    """The same as MP3."""
    buffer = io.BytesIO()
    with av.open(io.BytesIO(sound(seconds))) as source, av.open(buffer, "w", format="mp3") as target:
        stream = target.add_stream("mp3", rate=SECOND)
        for frame in source.decode(audio=0):
            target.mux(stream.encode(frame))
        target.mux(stream.encode(None))
    return buffer.getvalue()


def film(seconds: int) -> bytes:
    """An MP4 of 640 x 360, 25 frames a second: a picture that moves."""
    picture = Image.linear_gradient("L").resize((1280, 720)).convert("RGB")
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as target:
        stream = target.add_stream("libx264", rate=25, options={"preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = 640, 360, "yuv420p"
        for number in range(25 * seconds):
            place = number * 4 % 360
            frame = av.VideoFrame.from_image(picture.crop((place, place, place + 640, place + 360)))
            target.mux(stream.encode(frame))
        target.mux(stream.encode(None))
    return buffer.getvalue()


def archive(entries: int) -> bytes:
    """A ZIP of so many texts."""
    return samples.zip({f"folder/{number:05}.txt": TEXT_LINE * 10 for number in range(entries)})


def every(*, small: bool) -> Iterator[Material]:
    """All of them; where it should be quick, of each the small size alone."""
    makers = (
        ("JPEG", "megapixels", "a.jpg", "image", photograph, (3, 12)),
        ("text", "KiB", "a.txt", "text", lambda kib: TEXT_LINE * (kib * 1024 // len(TEXT_LINE)), (10, 1024)),
        ("CSV", "rows", "a.csv", "table", rows, (1_000, 10_000)),
        ("JSON", "objects", "a.json", "data", records, (1_000, 10_000)),
        ("PDF", "pages", "a.pdf", "document", pdf, (1, 20)),
        ("DOCX", "paragraphs", "a.docx", "document", docx, (50, 2_000)),
        ("WAV", "seconds", "a.wav", "audio", sound, (10, 60)),
        ("MP3", "seconds", "a.mp3", "audio", mp3, (10, 60)),
        ("MP4", "seconds", "a.mp4", "video", film, (5, 20)),
        ("ZIP", "entries", "a.zip", "archive", archive, (100, 2_000)),
    )
    for family, unit, name, kind, make, sizes in makers:
        for size in sizes[:1] if small else sizes:
            yield Material(f"{family}, {size:,} {unit}", family, size, name, kind, make(size))
