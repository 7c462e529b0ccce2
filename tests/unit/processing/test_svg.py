"""SVG: measured and counted, never drawn."""

import jsonschema
import pytest

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
        (f'<!DOCTYPE svg [<!ENTITY a "{"b" * 256}">]>' + f"{HEAD}>{'&a;' * 5000}</svg>", "image_unsupported"),
        (f'<!DOCTYPE svg [<!ENTITY a "{"b" * 256}">]>' + f"{HEAD} id='{'&a;' * 5000}'></svg>", "image_unsupported"),
        (f"{HEAD}>" + "<g>" * 2000, "image_too_large"),
    ],
)
def test_traps_are_refused(make_job, content, code):
    """Damaged, with entities, nested without end."""
    with pytest.raises(ProcessingFailed) as failure:
        image.process(make_job(content.encode(), content_type="image/svg+xml"))
    assert failure.value.code == code


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
