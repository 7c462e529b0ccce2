"""SVG: measured and counted, never drawn."""

import base64
import urllib.parse

import jsonschema
import pytest

from apps.processing import detect
from apps.processing.acceptance import is_accepted, is_refused_at_the_door
from apps.processing.contract import ProcessingFailed
from apps.processing.processors import image

HEAD = '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '


def told(job) -> dict:
    outcome = image.process(job)
    jsonschema.validate(outcome.result, image.SCHEMA)
    assert outcome.derived == ()
    return dict(outcome.result)


@pytest.mark.parametrize(
    ("attributes", "size"),
    [
        ('width="30" height="20px"', (30, 20)),
        ('viewBox="0 0 300 200"', (300, 200)),
        ('width="100%" height="100%" viewBox="0 0 3 2"', (3, 2)),
        ('width="210mm" height="297mm"', (794, 1123)),
        ('width="1in" height="2.54cm"', (96, 96)),
        ('width="12pt" height="2PC"', (16, 32)),
        ('width="40q" height="0.1mm"', (38, 0.378)),
        ('width=".5e1" height="7.px"', (5, 7)),
        ('width="1e400" height="-5"', (None, None)),
        ('width="48" viewBox="0 0 24 12"', (48, 24)),
        ('height="50%" width="2em" viewBox="0,0 , 24 12"', (24, 12)),
        ('height="6" viewBox="0 0 24 12"', (12, 6)),
        ('height="6" viewBox="0 0 0 12"', (None, 6)),
        ("", (None, None)),
    ],
)
def test_its_size_is_what_it_says(make_job, attributes, size):
    """In pixels, or by its view box."""
    result = told(make_job(f"{HEAD}{attributes}><rect/></svg>".encode()))
    assert (result["width"], result["height"], result["elements"]) == (*size, 2)


def test_f17_what_would_run_or_fetch_is_told(make_job):
    """Scripts, handlers, foreign content; links to elsewhere, but not within."""
    harmless = told(make_job(f'{HEAD}><use xlink:href="#a"/><image href="data:image/png;base64,"/></svg>'.encode()))
    assert (harmless["has_script"], harmless["external_references"]) == (False, 0)
    for inner in ("<script>x()</script>", "<rect onload='x()'/>", "<a href='javascript:x()'/>", "<foreignObject/>"):
        assert told(make_job(f"{HEAD}>{inner}</svg>".encode()))["has_script"] is True
    fetching = f'{HEAD}><image href="http://192.0.2.1/a.png"/><rect style="fill:url(http://192.0.2.1/b)"/></svg>'
    assert told(make_job(fetching.encode()))["external_references"] == 2


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (f"{HEAD}><rect></svg>", "image_broken"),
        ('<!DOCTYPE svg [<!ENTITY a "<g/>">]>' + f"{HEAD}>&a;</svg>", "image_unsupported"),
        ('<!DOCTYPE svg [<!ENTITY a "b"><!ENTITY c "&a;&a;">]>' + f"{HEAD}>&c;</svg>", "image_unsupported"),
        ('<!DOCTYPE svg [<!ENTITY a "&#37;b;">]>' + f"{HEAD}>&a;</svg>", "image_unsupported"),
        ('<!DOCTYPE svg [<!ENTITY a SYSTEM "file:///etc/passwd">]>' + f"{HEAD}>&a;</svg>", "image_unsupported"),
        ('<!DOCTYPE svg [<!ENTITY % a "b">]>' + f"{HEAD}></svg>", "image_unsupported"),
        (f'<!DOCTYPE svg [<!ENTITY a "{"b" * 257}">]>' + f"{HEAD}>&a;</svg>", "image_unsupported"),
        (
            "<!DOCTYPE svg [" + "".join(f'<!ENTITY a{n} "b">' for n in range(65)) + f"]>{HEAD}></svg>",
            "image_unsupported",
        ),
        (f'<!DOCTYPE svg [<!ENTITY a "{"b" * 256}">]>' + f"{HEAD}>{'&a;' * 5000}</svg>", "data_bomb"),
        (f'<!DOCTYPE svg [<!ENTITY a "{"b" * 256}">]>' + f"{HEAD} id='{'&a;' * 5000}'></svg>", "data_bomb"),
        (f"{HEAD}>" + "<g>" * 2000, "image_too_large"),
    ],
)
def test_traps_are_refused(make_job, content, code):
    """Damaged, with entities, nested without end."""
    with pytest.raises(ProcessingFailed) as failure:
        image.process(make_job(content.encode(), content_type="image/svg+xml"))
    assert failure.value.code == code


@pytest.mark.parametrize(
    ("value", "box"),
    [
        ("0 0 300 200", [0, 0, 300, 200]),
        ("-1.5,+2 , 3e2 .5", [-1.5, 2, 300, 0.5]),
        ("0 0 1e999 nan", None),
        ("0 0 1e999 5", None),
        ("0 0 inf 5", None),
        ("0 0 1_0 5", None),
        ("0 0 -3 5", None),
        ("0 0 3", None),
        ("0 0 3 4 5", None),
        ("0 0 3 4" + " " * 600, None),
    ],
)
def test_a_view_box_is_four_finite_numbers(make_job, value, box):
    """Anything else is none."""
    assert told(make_job(f'{HEAD}viewBox="{value}"/>'.encode()))["view_box"] == box


BASE64 = base64.b64encode(b"<svg xmlns='http://www.w3.org/2000/svg' onload='x()'/>").decode()


@pytest.mark.parametrize(
    ("inner", "has_script", "outside"),
    [
        ('<object data="http://192.0.2.1/"/>', False, 1),
        ('<embed src="x"/>', False, 1),
        ('<form action="http://192.0.2.1/"><button formaction="/x"/></form>', False, 2),
        ('<meta http-equiv="Refresh" content="0;url=http://192.0.2.1/"/>', False, 1),
        ('<meta http-equiv="refresh" content="5"/>', False, 0),
        ('<iframe srcdoc="x"/>', True, 0),
        ('<a href="data:text/html,x"/>', True, 0),
        ('<a href="data:image/png;base64,AAAA"/>', False, 0),
        ('<a href=" java&#10;script:x()"/>', True, 0),
        ('<a data="x"/>', False, 0),
        ('<a><set attributeName="href" to="javascript:x()"/></a>', True, 0),
        ('<a><animate attributeName="href" values="#a;data:text/html,x"/></a>', True, 0),
        ('<set attributeName="onclick" to="x()"/>', True, 0),
        ("<style>@import url(http://192.0.2.1/a); @import 'b'; .a{x:url(#c)} .b{x:url( \"//d\" )}</style>", False, 3),
        ("<style>" + " " * 1_100_000 + "@import 'b'</style>", False, 1),
        ("<text>@import 'b'</text>", False, 0),
        ('<rect fill="url(#a)" style="fill:url(https://192.0.2.1/b)"/>', False, 1),
        ('<use href="data:image/svg+xml,&lt;svg onload=x()&gt;"/>', True, 0),
        ('<use href="data:image/svg+xml,%3Csvg onload=%22x()%22/%3E"/>', True, 0),
        (f'<use href="data:image/svg+xml;base64,{BASE64}"/>', True, 0),
        ('<use href="data:image/svg+xml;base64,A"/>', False, 0),
        ("<use href=\"data:image/svg+xml,%3Csvg%3E%3Cimage href='http://192.0.2.1/'/%3E%3C/svg%3E\"/>", False, 1),
        ('<use href="data:image/svg+xml,%3C!DOCTYPE svg [%3C!ENTITY a \'b\'%3E]%3E%3Csvg/%3E"/>', False, 0),
    ],
)  # fmt: skip
def test_whatever_would_run_or_fetch_is_found(make_job, inner, has_script, outside):
    """Where HTML and style sheets in a drawing fetch from, and in drawings within the drawing too."""
    result = told(make_job(f"{HEAD}><g>{inner}</g></svg>".encode()))
    assert (result["has_script"], result["external_references"]) == (has_script, outside)


@pytest.mark.parametrize(
    ("instruction", "has_script", "outside"),
    [
        ('xml-stylesheet href="http://192.0.2.1/x.css"', False, 1),
        ("xml-stylesheet type='text/xsl' href='#a'", True, 0),
        ("xml-stylesheet", False, 0),
        ('other href="http://192.0.2.1/x.css"', False, 0),
    ],
)
def test_a_style_sheet_in_front_is_fetched(make_job, instruction, has_script, outside):
    """A processing instruction names one; a transformation may make anything of the drawing."""
    result = told(make_job(f'<?xml version="1.0"?><?{instruction}?>{HEAD}/>'.encode()))
    assert (result["has_script"], result["external_references"]) == (has_script, outside)


@pytest.mark.parametrize(("levels", "has_script"), [(3, False), (4, True)])
def test_drawings_in_drawings_are_followed_to_a_level(make_job, levels, has_script):
    """Deeper, they are held for something that runs: nobody else packs so."""
    content = "<svg/>"
    for _ in range(levels):
        content = f"<svg><use href='data:image/svg+xml,{urllib.parse.quote(content)}'/></svg>"
    assert told(make_job(content.encode()))["has_script"] is has_script


@pytest.mark.parametrize("start", ["<!--", '<?xml version="1.0"?>\n<!--', "\n<!DOCTYPE svg><!--"])
def test_a_drawing_behind_a_long_comment_is_one(make_job, start):
    """Known by the whole file; its head says only what it may be, so that no door turns it away unseen."""
    content = f"{start}{'a' * 20_000}-->{HEAD}><script>x()</script></svg>".encode()
    job = make_job(content)
    head = detect.sniff(content[: detect.HEAD_BYTES], len(content))

    assert (job.content_type, job.kind) == ("image/svg+xml", "image")
    assert told(job)["has_script"] is True
    assert head.perhaps is not None
    assert head.perhaps.content_type == "image/svg+xml"
    assert not is_refused_at_the_door(head, ["image"], [])
    assert not is_accepted(detect.detect(job.path), [], ["image/svg+xml"])


def test_other_markup_behind_a_long_comment_is_what_it_is(make_job):
    """HTML and XML stay what they are, and a comment without an end is none of them."""
    comment = f"<!--{'a' * 20_000}-->"
    for content, content_type in (
        (f"{comment}<html><p>x</p></html>", "text/html"),
        (f"<?xml version='1.0'?>{comment}<a/>", "application/xml"),
        (f"<?xml version='1.0'?>{comment}<rss/>", "application/rss+xml"),
        (f"<!doctype html>{comment}<svg/>", "text/html"),
        (f"<p>{comment}<svg/>", "text/html"),
        (f"<!--{'a' * 20_000}", "text/html"),
    ):
        assert make_job(content.encode()).content_type == content_type


@pytest.mark.parametrize("encoding", ["Shift_JIS", "EUC-JP", "GB18030", "UTF-8"])
def test_encodings_of_more_bytes_a_letter_are_read(make_job, encoding):
    """As they are declared; bytes that are none of the encoding's are damage."""
    declared = f'<?xml version="1.0" encoding="{encoding}"?>{HEAD}width="5"><text>\u6771\u4eac</text></svg>'
    assert told(make_job(declared.encode(encoding)))["width"] == 5
    with pytest.raises(ProcessingFailed) as failure:
        image.process(make_job(declared.encode(encoding).replace(b"</text>", b"\xff\xff</text>")))
    assert failure.value.code == "image_broken"


@pytest.mark.parametrize("encoding", ["utf-7", "idna", "EBCDIC", "hex"])
def test_an_encoding_that_is_not_read_says_so(make_job, encoding):
    """It is no damage."""
    content = f'<?xml version="1.0" encoding="{encoding}"?>{HEAD}/>'.encode()
    with pytest.raises(ProcessingFailed) as failure:
        image.process(make_job(content, content_type="image/svg+xml"))
    assert failure.value.code == "image_unsupported"


def test_entities_that_unfold_are_a_bomb(make_job):
    """A billion laughs have the code that they have in any XML."""
    entities = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10 if n else "lol"}">' for n in range(10))
    for inner in ("&l9;", "", "<rect id='&l9;'/>"):
        with pytest.raises(ProcessingFailed) as failure:
            image.process(make_job(f"<!DOCTYPE svg [{entities}]>{HEAD}>{inner}</svg>".encode()))
        assert failure.value.code == "data_bomb"


ILLUSTRATOR = """<?xml version="1.0" encoding="utf-8"?>
<!-- Generator: Adobe Illustrator 16.0.0, SVG Export Plug-In . SVG Version: 6.00 Build 0)  -->
<!DOCTYPE svg PUBLIC "-//W3C//DTD SVG 1.1//EN" "http://www.w3.org/Graphics/SVG/1.1/DTD/svg11.dtd" [
	<!ENTITY ns_extend "http://ns.adobe.com/Extensibility/1.0/">
	<!ENTITY ns_svg "http://www.w3.org/2000/svg">
	<!ENTITY ns_xlink "http://www.w3.org/1999/xlink">
]>
<svg version="1.1" xmlns:x="&ns_extend;" xmlns="&ns_svg;" xmlns:xlink="&ns_xlink;" viewBox="0 0 30 20">
<image xlink:href="&ns_svg;/a.png"/><text>&ns_svg;</text></svg>
"""


def test_a_drawing_programs_abbreviations_are_taken(make_job):
    """A few short entities of plain words, in attributes put in their place, so that what would be fetched is seen."""
    job = make_job(ILLUSTRATOR.encode())
    result = told(job)

    assert job.content_type == "image/svg+xml"
    assert (result["width"], result["height"], result["elements"]) == (30, 20, 3)
    assert (result["has_script"], result["external_references"]) == (False, 1)
