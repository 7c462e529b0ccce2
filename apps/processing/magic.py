"""Magic numbers that stand alone: a few bytes at one place, long or odd enough to say what a file is.

A table, in the order of media types; `signatures` has the formats that take more than a look. The names are IANA's
where there is one (https://www.iana.org/assignments/media-types/), else the one most used.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Final

_AT_START: Final[tuple[tuple[bytes, str], ...]] = (
    (b"\x04\x22\x4d\x18", "application/x-lz4"),
    (b"!<arch>\ndebian", "application/vnd.debian.binary-package"),
    (b"!<arch>\n", "application/x-archive"),
    (b"%!PS", "application/postscript"),
    (b"\x04%!PS", "application/postscript"),
    (b"\xc5\xd0\xd3\xc6", "application/postscript"),
    (b"%!PS-AdobeFont", "application/x-font-type1"),
    (b"%PDF-", "application/pdf"),
    (b"\xef\xbb\xbf%PDF-", "application/pdf"),
    (b"-----BEGIN PGP MESSAGE-", "application/pgp-encrypted"),
    (b"-----BEGIN PGP PUBLIC KEY", "application/pgp-keys"),
    (b"-----BEGIN PGP SIGNATURE-", "application/pgp-signature"),
    (b"7z\xbc\xaf\x27\x1c", "application/x-7z-compressed"),
    (b"\x89HDF\r\n\x1a\n", "application/x-hdf5"),
    (b"\x93NUMPY", "application/x-npy"),
    (b"ARROW1\0\0", "application/vnd.apache.arrow.file"),
    (b"CDF\x01", "application/x-netcdf"),
    (b"CDF\x02", "application/x-netcdf"),
    (b"\x28\xb5\x2f\xfd", "application/zstd"),
    (b"\x1f\x8b\x08", "application/gzip"),
    (b"\xfd7zXZ\0", "application/x-xz"),
    (b"ITSF\x03\0\0\0", "application/vnd.ms-htmlhelp"),
    (b"L\0\0\0\x01\x14\x02\0\0\0\0\0\xc0\0\0\0\0\0\0F", "application/x-ms-shortcut"),
    (b"LZIP\x01", "application/lzip"),
    (b"MSCF\0\0\0\0", "application/vnd.ms-cab-compressed"),
    (b"Obj\x01", "application/vnd.apache.avro"),
    (b"ORC\x08", "application/vnd.apache.orc"),
    (b"ORC\x0a", "application/vnd.apache.orc"),
    (b"Rar!\x1a\x07", "application/vnd.rar"),
    (b"SQLite format 3\0", "application/vnd.sqlite3"),
    (b"\0\0\x02\0\x04\x04\x06\0", "application/vnd.lotus-1-2-3"),
    (b"\0\0\x02\0\x06\x04\x06\0", "application/vnd.lotus-1-2-3"),
    (b"\0\0\x1a\0", "application/vnd.lotus-1-2-3"),
    (b"\0\0\x02\0\x20\x51\x06\0", "application/x-quattro-pro"),
    (b"\0\x01\0\0Standard ACE DB\0", "application/vnd.ms-access"),
    (b"\0\x01\0\0Standard Jet DB\0", "application/vnd.ms-access"),
    (b"\0asm\x01\0\0\0", "application/wasm"),
    (b"\xa1\xb2\xc3\xd4\0", "application/vnd.tcpdump.pcap"),
    (b"\xd4\xc3\xb2\xa1\x02", "application/vnd.tcpdump.pcap"),
    (b"\xde\x12\x04\x95\0", "application/x-gettext-translation"),
    (b"\x95\x04\x12\xde\0", "application/x-gettext-translation"),
    (b"\xe4\x52\x5c\x7b\x8c\xd8\xa7\x4d", "application/onenote"),
    (b"\xed\xab\xee\xdb\x03", "application/x-rpm"),
    (b"\xfe\xed\xfa\xce", "application/x-mach-binary"),
    (b"\xfe\xed\xfa\xcf", "application/x-mach-binary"),
    (b"\xce\xfa\xed\xfe", "application/x-mach-binary"),
    (b"\xcf\xfa\xed\xfe", "application/x-mach-binary"),
    (b"\xffWPC", "application/vnd.wordperfect"),
    (b"\x7fELF", "application/x-elf"),
    (b"d8:announce", "application/x-bittorrent"),
    (b"glTF\x02\0\0\0", "model/gltf-binary"),
    (b"xar!\0", "application/x-xar"),
    (b"{\\rtf", "application/rtf"),
    (b"#!AMR\n", "audio/amr"),
    (b"#!AMR-WB\n", "audio/amr-wb"),
    (b".snd\0\0\0", "audio/basic"),
    (b"Creative Voice File\x1a", "audio/x-voc"),
    (b"Extended Module: ", "audio/x-xm"),
    (b"MAC \x96\x0f", "audio/x-ape"),
    (b"MAC \x8c\x0f", "audio/x-ape"),
    (b"MP+\x07", "audio/x-musepack"),
    (b"MThd\0\0\0\x06", "audio/midi"),
    (b"caff\0\x01", "audio/x-caf"),
    (b"riff\x2e\x91\xcf\x11", "audio/x-w64"),
    (b"\x7f\xfe\x80\x01", "audio/vnd.dts"),
    (b"OTTO\0", "font/otf"),
    (b"\0\x01\0\0\0", "font/ttf"),
    (b"true\0", "font/ttf"),
    (b"ttcf\0", "font/collection"),
    (b"wOF2\0\x01\0\0", "font/woff2"),
    (b"wOF2OTTO", "font/woff2"),
    (b"wOFF\0\x01\0\0", "font/woff"),
    (b"wOFFOTTO", "font/woff"),
    (b"\x01fcp", "application/x-font-pcf"),
    (b"#?RADIANCE\n", "image/vnd.radiance"),
    (b"8BPS\0\x01\0\0\0\0\0\0", "image/vnd.adobe.photoshop"),
    (b"8BPS\0\x02\0\0\0\0\0\0", "image/vnd.adobe.photoshop"),
    (b"BPG\xfb", "image/bpg"),
    (b"DDS |\0\0\0", "image/vnd.ms-dds"),
    (b"FUJIFILMCCD-RAW ", "image/x-fuji-raf"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"II*\0", "image/tiff"),
    (b"MM\0*", "image/tiff"),
    (b"II+\0\x08\0\0\0", "image/tiff"),
    (b"MM\0+\0\x08\0\0", "image/tiff"),
    (b"IIU\0", "image/x-panasonic-rw2"),
    (b"IIRO\x08\0\0\0", "image/x-olympus-orf"),
    (b"II\xbc\x01", "image/jxr"),
    (b"SIMPLE  =                    T", "image/fits"),
    (b"\0\0\0\x0cJXL \r\n\x87\n", "image/jxl"),
    (b"\0\0\0\x0cjP  \r\n\x87\n", "image/jp2"),
    (b"\xff\x4f\xff\x51\0", "image/x-jp2-codestream"),
    (b"\x59\xa6\x6a\x95", "image/x-sun-raster"),
    (b"\x76\x2f\x31\x01", "image/x-exr"),
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\x8aMNG\r\n\x1a\n", "video/x-mng"),
    (b"\xd7\xcd\xc6\x9a\0\0", "image/wmf"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"gimp xcf ", "image/x-xcf"),
    (b"icns\0", "image/icns"),
    (b"qoif\0", "image/qoi"),
    (b".RMF\0\0\0", "application/vnd.rn-realmedia"),
    (b"DKIF\0\0", "video/x-ivf"),
    (b"FLV\x01", "video/x-flv"),
    (b"YUV4MPEG2 ", "video/x-yuv4mpeg"),
    (b"\x06\x0e\x2b\x34\x02\x05\x01\x01\x0d\x01\x02\x01", "application/mxf"),
    (b"\0\0\x01\xb3", "video/mpeg"),
    (b"\0\0\x01\xba", "video/mpeg"),
    (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "video/x-ms-asf"),
)

_IN_BINARY: Final[tuple[tuple[int, bytes, str], ...]] = (
    (0, b"!BDN", "application/vnd.ms-outlook-pst"),
    (0, b"AC10", "image/vnd.dwg"),
    (0, b"AT&TFORM", "image/vnd.djvu"),
    (0, b"BLENDER-v", "application/x-blender"),
    (0, b"BLENDER_v", "application/x-blender"),
    (0, b"IMPM", "audio/x-it"),
    (0, b"MATLAB 5.0 MAT-file", "application/x-matlab-data"),
    (0, b"MPCK", "audio/x-musepack"),
    (0, b"TTA1", "audio/x-tta"),
    (0, b"bplist00", "application/x-bplist"),
    (0, b"wvpk", "audio/x-wavpack"),
    (0, b"\x1f\x9d\x8c", "application/x-compress"),
    (0, b"\x1f\x9d\x90", "application/x-compress"),
    (0, b"\xc7\x71", "application/x-cpio"),
    (0, b"\xff\x0a", "image/jxl"),
    (2, b"-lh0-", "application/x-lzh-compressed"),
    (2, b"-lh5-", "application/x-lzh-compressed"),
    (2, b"-lh7-", "application/x-lzh-compressed"),
    (2, b"\x0d\x0a", "application/x-python-code"),
    (6, b"%!FontType1", "application/x-font-type1"),
    (6, b"%!PS-AdobeFont", "application/x-font-type1"),
    (8, b"\x1a\x2b\x3c\x4d", "application/x-pcapng"),
    (8, b"\x4d\x3c\x2b\x1a", "application/x-pcapng"),
    (40, b" EMF\0\0\1\0", "image/emf"),
    (44, b"SCRM", "audio/x-s3m"),
    (60, b"BOOKMOBI", "application/x-mobipocket-ebook"),
    (60, b"TEXtREAd", "application/x-palm-doc"),
    (128, b"DICM", "application/dicom"),
    (1080, b"M.K.", "audio/x-mod"),
)
"""At an offset, or too short to be told from a word: looked for only in what is not text."""


def _by_first_byte() -> Mapping[int, tuple[tuple[bytes, str], ...]]:
    """The table by first byte; of two that begin alike the longer one first."""
    found: defaultdict[int, list[tuple[bytes, str]]] = defaultdict(list)
    for magic, content_type in _AT_START:
        found[magic[0]].append((magic, content_type))
    return {first: tuple(sorted(rows, key=lambda row: -len(row[0]))) for first, rows in found.items()}


_TABLE: Final = _by_first_byte()


def at_start(head: bytes) -> str | None:
    """The type of a file with this head, where it begins with a magic number."""
    for magic, content_type in _TABLE.get(head[0], ()):
        if head.startswith(magic):
            return content_type
    return None


def in_binary(head: bytes) -> str | None:
    """The type of a file that is not text, where it carries a magic number that text may contain."""
    return next((content_type for offset, magic, content_type in _IN_BINARY if head.startswith(magic, offset)), None)
