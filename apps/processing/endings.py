"""What a file's name says of its type, by its ending: one table of our own, the same on every machine.

Python's `mimetypes` reads the system's tables, and calls the same endings otherwise, or more of them by name, from one
version to the next. An ending that is not here says nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from . import office

_OF_TYPES: Final[Mapping[str, str]] = {
    # text, and what is written as text
    "text/plain": "txt bat c h ksh pl srt",
    "text/css": "css",
    "text/csv": "csv",
    "text/tab-separated-values": "tsv",
    "text/html": "html htm",
    "text/javascript": "js mjs",
    "text/markdown": "md markdown",
    "text/x-rst": "rst",
    "text/richtext": "rtx",
    "text/calendar": "ics",
    "text/vtt": "vtt",
    "text/x-python": "py",
    "text/x-setext": "etx",
    "text/x-sgml": "sgm sgml",
    "text/x-vcard": "vcf",
    "text/n3": "n3",
    "application/json": "json",
    "application/geo+json": "geojson",
    "application/manifest+json": "webmanifest",
    "application/x-ndjson": "jsonl ndjson",
    "application/toml": "toml",
    "application/yaml": "yaml yml",
    "application/xml": "xml xsl rdf wsdl xpdl",
    "application/n-quads": "nq",
    "application/n-triples": "nt",
    "application/trig": "trig",
    "application/vnd.apple.mpegurl": "m3u m3u8",
    "application/x-csh": "csh",
    "application/x-latex": "latex",
    "application/x-sh": "sh",
    "application/x-shar": "shar",
    "application/x-tcl": "tcl",
    "application/x-tex": "tex",
    "application/x-texinfo": "texi texinfo",
    "application/x-troff": "roff t tr",
    "application/x-troff-man": "man",
    "application/x-troff-me": "me",
    "application/x-troff-ms": "ms",
    "message/rfc822": "eml mht mhtml nws",
    # documents
    "application/msword": "doc dot wiz",
    "application/pdf": "pdf",
    "application/postscript": "ps ai eps",
    "application/rtf": "rtf",
    "application/vnd.ms-excel": "xls xlb",
    "application/vnd.ms-powerpoint": "ppt pot ppa pps pwz",
    "application/x-dvi": "dvi",
    # pictures
    "image/avif": "avif",
    "image/bmp": "bmp",
    "image/gif": "gif",
    "image/heic": "heic",
    "image/heif": "heif",
    "image/ief": "ief",
    "image/jpeg": "jpg jpeg jpe",
    "image/pict": "pict pct pic",
    "image/png": "png",
    "image/svg+xml": "svg",
    "image/tiff": "tiff tif",
    "image/vnd.microsoft.icon": "ico",
    "image/webp": "webp",
    "image/x-cmu-raster": "ras",
    "image/x-portable-anymap": "pnm",
    "image/x-portable-bitmap": "pbm",
    "image/x-portable-graymap": "pgm",
    "image/x-portable-pixmap": "ppm",
    "image/x-rgb": "rgb",
    "image/x-xbitmap": "xbm",
    "image/x-xpixmap": "xpm",
    "image/x-xwindowdump": "xwd",
    # sound and film
    "audio/3gpp": "3gp 3gpp",
    "audio/3gpp2": "3g2 3gpp2",
    "audio/aac": "aac adts loas",
    "audio/basic": "au snd",
    "audio/midi": "midi mid",
    "audio/mpeg": "mp3 mp2",
    "audio/opus": "opus",
    "audio/wav": "wav",
    "audio/x-aiff": "aif aifc aiff",
    "audio/x-pn-realaudio": "ra",
    "video/mp4": "mp4",
    "video/mpeg": "mpeg mpg m1v mpa mpe",
    "video/quicktime": "mov qt",
    "video/webm": "webm",
    "video/x-msvideo": "avi",
    "video/x-sgi-movie": "movie",
    # what is packed, and the rest
    "application/gzip": "gz tgz taz tz svgz",
    "application/wasm": "wasm",
    "application/x-bcpio": "bcpio",
    "application/x-bzip2": "bz2 tbz2",
    "application/x-cpio": "cpio",
    "application/x-gtar": "gtar",
    "application/x-hdf": "hdf",
    "application/x-hdf5": "h5",
    "application/x-netcdf": "cdf nc",
    "application/x-pkcs12": "p12 pfx",
    "application/x-python-code": "pyc pyo",
    "application/x-shockwave-flash": "swf",
    "application/x-tar": "tar",
    "application/x-ustar": "ustar",
    "application/x-xz": "xz txz",
    "application/zip": "zip",
}
_TYPES: Final[Mapping[str, str]] = {
    **{ending: content_type for content_type, endings in _OF_TYPES.items() for ending in endings.split()},
    **office.BY_ENDING,
}
_CASED: Final[Mapping[str, str]] = {"Z": "application/x-compress"}
"""`.z` is something else than `.Z`."""


def type_by_name(name: str) -> str:
    """The media type that the name's ending is known for; empty where it is known for none."""
    stem, dot, ending = name.rpartition(".")
    if not dot or not stem:
        return ""
    return _CASED.get(ending) or _TYPES.get(ending.lower(), "")
