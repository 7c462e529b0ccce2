"""Files of every kind as people send them, made on the spot: a few a kind, small to large."""

import bz2
import csv
import gzip
import io
import json
import random
import tarfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from PIL import Image

from tests import samples
from tests.unit.processing import real

WORDS = sorted({word.strip(".,") for word in samples.PROSE.split()})


@dataclass(frozen=True, kw_only=True)
class File:
    """A file to be sent: the name it is sent under, what it is called in the figures, and its bytes."""

    title: str
    name: str
    content: bytes


def prose(size: int, seed: int = 1) -> bytes:
    """Words of English in lines, so many bytes, never the same line twice in a row."""
    chance = random.Random(seed)
    lines, length = [], 0
    while length < size:
        lines.append(" ".join(chance.choices(WORDS, k=12)))
        length += len(lines[-1]) + 1
    return ("\n".join(lines) + "\n").encode()[:size]


@cache
def photo(width: int, height: int) -> Image.Image:
    """A picture with shapes and grain, that packs as photographs do."""
    coarse = (width // 64 + 1, height // 64 + 1)
    grain = Image.effect_noise((width, height), 24)
    light = Image.linear_gradient("L").resize((width, height))
    shapes = [Image.effect_noise(coarse, 90).resize((width, height), Image.Resampling.BICUBIC) for _ in "RGB"]
    return Image.merge("RGB", [Image.blend(Image.blend(shape, light, 0.3), grain, 0.3) for shape in shapes])


def jpeg(megapixels: int) -> bytes:
    """Such a picture of 4 to 3, as a camera saves it."""
    height = round((megapixels * 1e6 * 3 / 4) ** 0.5)
    return samples.encoded(photo(height * 4 // 3, height), "JPEG", quality=85)


def table(rows: int) -> bytes:
    """A CSV with columns of several types."""
    chance = random.Random(2)
    stream = io.StringIO()
    writer = csv.writer(stream)
    writer.writerow(["id", "name", "city", "amount", "day"])
    for number in range(rows):
        name, city = chance.choices(WORDS, k=2)
        writer.writerow([number, name, city, f"{chance.uniform(0, 1000):.2f}", f"2026-{number % 12 + 1:02}-01"])
    return stream.getvalue().encode()


def records(count: int) -> list[dict[str, object]]:
    """So many objects with a number, a word and a list."""
    chance = random.Random(3)
    return [{"id": n, "name": chance.choice(WORDS), "tags": chance.choices(WORDS, k=3)} for n in range(count)]


def _tar(count: int) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        for number in range(count):
            content = prose(4000, number)
            entry = tarfile.TarInfo(f"notes/{number}.txt")
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return stream.getvalue()


def docx(paragraphs: int) -> bytes:
    """A DOCX with so many paragraphs in its main part."""
    return real.docx(_paragraphs(paragraphs))


def pdf(pages: int) -> bytes:
    """A PDF with so many pages full of words."""
    return real.pdf(pages, width=600, extra=_page_of_words())


def notes(count: int) -> bytes:
    """A ZIP of so many texts."""
    return real.packed({f"{number}.txt": prose(4000, number) for number in range(count)})


def _paragraphs(count: int) -> str:
    return "".join(f"<w:p><w:r><w:t>{prose(400, n).decode()}</w:t></w:r></w:p>" for n in range(count))


def _page_of_words() -> bytes:
    lines = prose(2000).decode().splitlines()
    return b"".join(f" BT /F1 6 Tf 20 {190 - 6 * n} Td ({line}) Tj ET".encode() for n, line in enumerate(lines))


MAKERS: dict[str, Callable[[], bytes]] = {
    "photo-2mp.jpg": lambda: samples.encoded(photo(1632, 1224), "JPEG", quality=85),
    "photo-12mp.jpg": lambda: samples.encoded(photo(4032, 3024), "JPEG", quality=85),
    "screen-2mp.png": lambda: samples.encoded(photo(1920, 1080).quantize(64), "PNG"),
    "picture-1mp.webp": lambda: samples.encoded(photo(1280, 800), "WEBP"),
    "icon.png": samples.png,
    "note-2kib.txt": lambda: prose(2048),
    "chapter-60kib.txt": lambda: prose(60 * 1024),
    "book-1mib.txt": lambda: prose(1024 * 1024),
    "log-8mib.txt": lambda: prose(8 * 1024 * 1024),
    "table-100.csv": lambda: table(100),
    "table-20000.csv": lambda: table(20_000),
    "book-2000.xlsx": lambda: real.xlsx(2000),
    "lines-5000.jsonl": lambda: b"".join(json.dumps(each).encode() + b"\n" for each in records(5000)),
    "settings.toml": samples.toml,
    "records-200.json": lambda: json.dumps(records(200)).encode(),
    "records-20000.json": lambda: json.dumps(records(20_000)).encode(),
    "feed.xml": lambda: (
        b'<?xml version="1.0"?>' + b"<f>" + b"".join(b"<e><n>%d</n><t>text</t></e>" % n for n in range(5000)) + b"</f>"
    ),
    "letter-2.pdf": lambda: pdf(2),
    "report-80.pdf": lambda: pdf(80),
    "letter.docx": lambda: docx(20),
    "thesis.docx": lambda: docx(1500),
    "slides.pptx": real.pptx,
    "book.epub": real.epub,
    "tone-3s.mp3": lambda: real.sound("mp3", "libmp3lame", seconds=3.0),
    "tone-30s.flac": lambda: real.sound("flac", "flac", seconds=30.0),
    "tone-30s.wav": lambda: real.sound("wav", "pcm_s16le", seconds=30.0),
    "clip-3s-90p.mp4": real.film,
    "clip-10s-720p.mp4": lambda: real.film(seconds=10, width=1280, height=720),
    "clip-5s-360p.webm": lambda: real.film("webm", "libvpx", seconds=5, width=640, height=360),
    "notes-20.zip": lambda: notes(20),
    "notes-1000.zip": lambda: notes(1000),
    "notes-200.tar.gz": lambda: _tar(200),
    "chapter.txt.gz": lambda: gzip.compress(prose(1024 * 1024)),
    "chapter.txt.bz2": lambda: bz2.compress(prose(200 * 1024)),
    "bytes-1kib.bin": samples.noise,
    "bytes-1mib.bin": lambda: random.Random(4).randbytes(1024 * 1024),
    "packed.z": lambda: zlib.compress(prose(100 * 1024)),
}


@cache
def made(title: str) -> File:
    """One of these files; made once."""
    return File(title=title, name=title, content=MAKERS[title]())


def every() -> list[File]:
    """One of each."""
    return [made(title) for title in MAKERS]


def of_folder(folder: Path, most_bytes: int) -> Iterator[File]:
    """The files of a folder, the large ones left out."""
    for path in sorted(folder.rglob("*")):
        if path.is_file() and 0 < path.stat().st_size <= most_bytes:
            yield File(title=str(path.relative_to(folder)), name=path.name, content=path.read_bytes())
