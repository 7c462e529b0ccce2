"""Binary formats by their first bytes: those that take more than the magic numbers in `magic`.

The numbers come from the formats' own specifications, the WHATWG's MIME Sniffing Standard
(https://mimesniff.spec.whatwg.org/) and the Library of Congress' format descriptions. Where a magic number is
short enough to turn up in text ("BM", "ID3"), the fields behind it are checked as well.
"""

from __future__ import annotations

import re
import struct
from typing import Final

from . import containers, magic, text_formats

_IFF_FORMS: Final = {
    b"AIFF": "audio/aiff",
    b"AIFC": "audio/aiff",
    b"8SVX": "audio/x-8svx",
    b"ILBM": "image/x-ilbm",
    b"PBM ": "image/x-ilbm",
}
_RIFF_FORMS: Final = {
    b"WEBP": "image/webp",
    b"WAVE": "audio/wav",
    b"AVI ": "video/x-msvideo",
    b"RMID": "audio/midi",
    b"ACON": "application/x-navi-animation",
}

# ISO 14496-12 `ftyp` brands, as registered at https://mp4ra.org/registered-types/brands
_BRANDS: Final[dict[bytes, str]] = {
    b"avif": "image/avif",
    b"avis": "image/avif",
    b"heic": "image/heic",
    b"heix": "image/heic",
    b"heim": "image/heic",
    b"heis": "image/heic",
    b"hevc": "image/heic",
    b"hevx": "image/heic",
    b"M4A ": "audio/mp4",
    b"M4B ": "audio/mp4",
    b"M4P ": "audio/mp4",
    b"F4A ": "audio/mp4",
    b"qt  ": "video/quicktime",
    b"crx ": "image/x-canon-cr3",
}
# These say only "an image in this container"; which codec is among the compatible brands.
_GENERIC_IMAGE_BRANDS: Final = frozenset({b"mif1", b"mif2", b"msf1", b"miaf", b"MiHE", b"MiPr"})

_OGG_CODECS: Final[tuple[tuple[bytes, str], ...]] = (
    (b"\x01vorbis", "audio/ogg"),
    (b"OpusHead", "audio/ogg"),
    (b"\x7fFLAC", "audio/ogg"),
    (b"Speex   ", "audio/ogg"),
    (b"\x80theora", "video/ogg"),
    (b"fishead\0", "video/ogg"),
)

_PDF_HEADER_WITHIN_BYTES = 1024
"""Readers take a PDF header anywhere in this many first bytes: PDF 1.7 reference, appendix H.3, note 13."""


def strong(head: bytes, ending: str = "") -> str | None:
    """The media type whose signature the head carries beyond doubt; the ending of the name helps an encrypted one."""
    content_type = magic.at_start(head)
    if content_type is not None:
        return _tiff(head) if content_type == "image/tiff" else content_type
    if head.startswith(containers.ZIP_MAGIC):
        return containers.zip_type(head)
    if head.startswith(containers.OLE_MAGIC):
        return containers.ole_type(head, ending)
    if head[4:8] == b"ftyp":
        return _iso_media(head)
    form = head[8:12]
    if head.startswith((b"RIFF", b"RF64", b"BW64")):
        return _RIFF_FORMS.get(form)
    if head.startswith(b"FORM"):
        return _IFF_FORMS.get(form)
    if head.startswith(b"\x1aE\xdf\xa3"):
        return _ebml(head)
    if head.startswith(b"OggS\0"):
        return next((name for magic, name in _OGG_CODECS if head.startswith(magic, 28)), "application/ogg")
    if head.startswith(b"fLaC") and head[4:5] in (b"\0", b"\x80"):
        return "audio/flac"
    if head.startswith(b"ID3") and head[3:4] in (b"\x02", b"\x03", b"\x04"):
        return _after_id3(head)
    if head.startswith(b"BZh") and head[4:10] in (b"1AY&SY", b"\x17rE8P\x90"):
        return "application/x-bzip2"
    if head.startswith(b"PAR1") and len(head) > 4 and head[4] in (0x15, 0x19, 0x1C, 0x2C):
        return "application/vnd.apache.parquet"
    if head.startswith(b"BM") and head[6:10] == bytes(4) and head[14:18] in _BMP_HEADER_SIZES:
        return "image/bmp"
    if head.startswith((b"\0\0\x01\0", b"\0\0\x02\0")) and _is_icon(head):
        return "image/vnd.microsoft.icon" if head[2] == 1 else "image/x-win-bitmap"
    if head[257:262] == b"ustar" and _is_tar(head):
        return "application/x-tar"
    return _netpbm(head) or _program(head) or _rarely_seen(head)


def _netpbm(head: bytes) -> str | None:
    """Netpbm's pictures: https://netpbm.sourceforge.net/doc/pnm.html (P7, PAM, among them)."""
    found = _NETPBM.match(head)
    return _NETPBM_TYPES[(found[1] or found[2])[0]] if found else None


_NETPBM: Final = re.compile(rb"P(?:([1-6])(?:\s+|#[^\n]*\n)+\d+\s+\d|(7)\nWIDTH \d)")
_NETPBM_TYPES: Final = {
    ord(digit): f"image/x-portable-{name}"
    for digits, name in (("14", "bitmap"), ("25", "graymap"), ("36", "pixmap"), ("7", "anymap"))
    for digit in digits
}


def _program(head: bytes) -> str | None:
    """Compiled programs other than ELF's."""
    if head.startswith(b"MZ") and len(head) >= 64:
        start = int.from_bytes(head[60:64], "little")
        if head.startswith(b"PE\0\0", start):
            return "application/vnd.microsoft.portable-executable"
        return "application/x-dosexec" if text_formats.control_bytes(head) else None
    if head.startswith(b"\xca\xfe\xba\xbe") and len(head) >= 8:
        # A class file's version is 45 or more; as many architectures has no Mach-O file.
        return "application/java-vm" if head[7] >= 45 else "application/x-mach-binary"
    return None


def _rarely_seen(head: bytes) -> str | None:
    """Formats with one or two bytes of a magic number, by the fields behind them."""
    if head[:3] in (b"FWS", b"CWS", b"ZWS") and 0 < int.from_bytes(head[3:4]) < 64 and text_formats.control_bytes(head):
        return "application/vnd.adobe.flash.movie"
    if _CPIO.match(head):
        return "application/x-cpio"
    if len(head) >= 128 and head[0] == 0x0A and head[1] in (0, 2, 3, 4, 5) and head[2] == 1 and head[64] == 0:
        return "image/vnd.zbrush.pcx" if head[3] in (1, 2, 4, 8) else None
    if head.startswith(b"\x01\xda") and head[2:3] in (b"\0", b"\x01") and head[3:4] in (b"\x01", b"\x02"):
        return "image/sgi"
    return None


_CPIO: Final = re.compile(rb"0707(?:0[12][0-9A-Fa-f]{104}|07[0-7]{70})")


def weak(head: bytes) -> str | None:
    """The media type a head seems to have that is neither text nor carries a signature of its own.

    These formats have only a sync pattern or a checksum; bytes that decode as text are never asked.
    """
    if (found := magic.in_binary(head)) is not None:
        return found
    if _has_mp3_frames(head):
        return "audio/mpeg"
    if _has_adts_frames(head):
        return "audio/aac"
    if _is_tar(head):
        return "application/x-tar"
    if len(head) > 376 and head[0] == head[188] == head[376] == 0x47:
        return "video/mp2t"
    if head[4:8] in (b"moov", b"mdat", b"wide") and int.from_bytes(head[:4], "big") in range(8, 2**31):
        # QuickTime files older than ISO media begin without `ftyp`.
        return "video/quicktime"
    if b"%PDF-" in head[:_PDF_HEADER_WITHIN_BYTES]:
        return "application/pdf"
    if head[34:36] == b"LP" and head[8:12] in _EOT_VERSIONS:
        return "application/vnd.ms-fontobject"
    if head.startswith(b"\x0b\x77") and len(head) > 5 and head[4] >> 6 < 3 and head[4] & 0x3F < 38:
        return "audio/ac3"
    if head.startswith(b"\x5d\0\0") and (head[5:13] == b"\xff" * 8 or head[10:13] == bytes(3)):
        return "application/x-lzma"
    return None


_EOT_VERSIONS: Final = (b"\0\0\1\0", b"\1\0\2\0", b"\2\0\2\0")  # https://www.w3.org/submissions/EOT/
# TIFF 6.0 §2. A camera's raw file is a TIFF by its form: DNG has a tag of its own, others a maker and sub-directories.
_TAG_MAKE, _TAG_SUB_DIRECTORIES, _TAG_DNG_VERSION = 271, 330, 50706
_RAW_MAKERS: Final = {b"NIKON": "image/x-nikon-nef", b"PENTA": "image/x-pentax-pef", b"SONY\0": "image/x-sony-arw"}


def _tiff(head: bytes) -> str:
    if head[8:10] == b"CR":
        return "image/x-canon-cr2"
    order = "<" if head[0] == 0x49 else ">"
    if head[2:4] in (b"\x2b\0", b"\0\x2b"):  # BigTIFF, whose fields are of twice the size
        start, count_format, entry = int.from_bytes(head[8:16], "little" if order == "<" else "big"), "Q", "HHQQ"
    else:
        start, count_format, entry = int.from_bytes(head[4:8], "little" if order == "<" else "big"), "H", "HHII"
    try:
        (count,) = struct.unpack_from(order + count_format, head, start)
        first = start + struct.calcsize(order + count_format)
        step = struct.calcsize(order + entry)
        places = {
            tag: place
            for tag, _, _, place in (
                struct.unpack_from(order + entry, head, first + index * step) for index in range(min(count, 100))
            )
        }
    except (struct.error, OverflowError):
        return "image/tiff"
    if _TAG_DNG_VERSION in places:
        return "image/x-adobe-dng"
    make = places.get(_TAG_MAKE, len(head))
    raw = _RAW_MAKERS.get(head[make : make + 5])
    return raw if raw is not None and _TAG_SUB_DIRECTORIES in places else "image/tiff"


def _after_id3(head: bytes) -> str:
    """What a tag stands before: mostly MP3, where the head does not reach so far."""
    length = 0
    for byte in head[6:10]:
        length = length << 7 | byte & 0x7F
    sound = head[10 + length :]
    if sound.startswith(b"fLaC"):
        return "audio/flac"
    return "audio/aac" if _has_adts_frames(sound) else "audio/mpeg"


_BMP_HEADER_SIZES: Final = frozenset(struct.pack("<I", size) for size in (12, 16, 40, 52, 56, 64, 108, 124))


def _iso_media(head: bytes) -> str:
    major = head[8:12]
    if major in _BRANDS:
        return _BRANDS[major]
    if major in _GENERIC_IMAGE_BRANDS:
        box_size = min(int.from_bytes(head[:4], "big"), 256)
        for start in range(16, box_size, 4):
            compatible = _BRANDS.get(head[start : start + 4], "")
            if compatible.startswith("image/"):
                return compatible
        return "image/heif"
    # 3GPP's brands are 3gp4 to 3gp9 and their profiles, 3gr6, 3gs6, 3ge6 …; 3GPP2's are 3g2a to 3g2c.
    return "video/3gpp2" if major[:3] == b"3g2" else "video/3gpp" if major[:2] == b"3g" else "video/mp4"


def _ebml(head: bytes) -> str | None:
    """Matroska and WebM differ by the DocType element, which comes within the first few."""
    start = head.find(b"\x42\x82", 4, 128)
    if start < 0:
        return None
    doc_type = head[start + 3 : start + 3 + (head[start + 2] & 0x7F)] if start + 2 < len(head) else b""
    return {b"webm": "video/webm", b"matroska": "video/x-matroska"}.get(doc_type)


def _is_icon(head: bytes) -> bool:
    """Four zero-ish bytes are not much of a signature: the first directory entry must hold together."""
    if len(head) < 22:
        return False
    count = int.from_bytes(head[4:6], "little")
    reserved, planes = head[9], int.from_bytes(head[10:12], "little")
    length, offset = struct.unpack_from("<II", head, 14)
    return count > 0 and reserved == 0 and planes <= 1 and length > 0 and offset >= 6 + 16 * count


def _is_tar(head: bytes) -> bool:
    """Whether the checksum of the first header is right; it is the sum of all bytes, its own as spaces."""
    if len(head) < 512:
        return False
    try:
        stored = int(head[148:156].strip(b" \0"), 8)
    except ValueError:
        return False
    return stored == sum(head[:148]) + 8 * 0x20 + sum(head[156:512])


# ISO 11172-3: kbit/s by [MPEG-1 layer I, II, III; MPEG-2 layer I, II and III] and index, and Hz by index.
_BITRATES: Final = {
    (1, 1): (0, 32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (1, 2): (0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (1, 3): (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (2, 1): (0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (2, 2): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (2, 3): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_SAMPLE_RATES: Final = (44_100, 48_000, 32_000)


def _mp3_frame_bytes(head: bytes, start: int) -> int:
    """Length of the MPEG audio frame that begins at `start`; 0 if none does."""
    if len(head) < start + 4 or head[start] != 0xFF or head[start + 1] & 0xE0 != 0xE0:
        return 0
    version_bits, layer_bits = head[start + 1] >> 3 & 3, head[start + 1] >> 1 & 3
    rate_index, bitrate_index = head[start + 2] >> 2 & 3, head[start + 2] >> 4
    if version_bits == 1 or layer_bits == 0 or rate_index == 3 or bitrate_index in (0, 15):
        return 0
    version, layer = (1 if version_bits == 3 else 2), 4 - layer_bits
    rate = _SAMPLE_RATES[rate_index] // {3: 1, 2: 2, 0: 4}[version_bits]
    bitrate = _BITRATES[version, layer][bitrate_index] * 1000
    padding = head[start + 2] >> 1 & 1
    if layer == 1:
        return (12 * bitrate // rate + padding) * 4
    return (72 if layer == 3 and version == 2 else 144) * bitrate // rate + padding


def _has_mp3_frames(head: bytes) -> bool:
    first = _mp3_frame_bytes(head, 0)
    return first > 0 and _mp3_frame_bytes(head, first) > 0


def _adts_frame_bytes(head: bytes, start: int) -> int:
    """Length of the AAC frame (ISO 13818-7, ADTS) that begins at `start`; 0 if none does."""
    if len(head) < start + 7 or head[start] != 0xFF or head[start + 1] & 0xF6 != 0xF0:
        return 0
    return (head[start + 3] & 3) << 11 | head[start + 4] << 3 | head[start + 5] >> 5


def _has_adts_frames(head: bytes) -> bool:
    first = _adts_frame_bytes(head, 0)
    return first > 7 and _adts_frame_bytes(head, first) > 7
