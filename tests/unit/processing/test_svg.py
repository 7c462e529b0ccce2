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
        ('<!DOCTYPE svg [<!ENTITY a "b">]>' + f"{HEAD}>&a;</svg>", "image_unsupported"),
        (f"{HEAD}>" + "<g>" * 2000, "image_too_large"),
    ],
)
def test_traps_are_refused(make_job, content, code):
    """Damaged, with entities, nested without end."""
    with pytest.raises(ProcessingFailed) as failure:
        image.process(make_job(content.encode(), content_type="image/svg+xml"))
    assert failure.value.code == code
