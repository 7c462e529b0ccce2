"""The AsyncAPI document, held to the schema that AsyncAPI publishes (npm `@asyncapi/specs` 6.11.1, Apache-2.0)."""

import gzip
import json
from pathlib import Path

import jsonschema
import pytest

from apps.events.event import CONNECTION_EVENTS, FILE_EVENTS
from apps.events.readers.document import describe
from apps.files.document import FIELDS, document
from tests.client import http_client
from tests.unit.events.feeding import as_described, unsaved_file

SCHEMA = Path(__file__).with_name("asyncapi-3.0.0.json.gz")


def test_the_document_is_asyncapi_3():
    """AsyncAPI's own schema accepts the document."""
    schema = json.loads(gzip.decompress(SCHEMA.read_bytes()))
    jsonschema.Draft7Validator(schema).validate(describe("testserver"))


def test_every_reference_leads_somewhere():
    """No `$ref` of the document points at nothing."""
    described = describe("testserver")
    text = json.dumps(described)
    for piece in text.split('"$ref": "#/')[1:]:
        found = described
        for key in piece.split('"', 1)[0].split("/"):
            found = found[key]


def test_every_type_of_event_is_described():
    """The document's messages are exactly the types that the code sends, and the one that it takes."""
    messages = describe("testserver")["components"]["messages"]
    assert set(messages) == {*FILE_EVENTS, *CONNECTION_EVENTS, "ping"}


def test_a_file_is_described_whole():
    """Each field of a File is described, and nothing else is."""
    properties = describe("testserver")["components"]["schemas"]["File"]["properties"]
    assert tuple(properties) == FIELDS == tuple(document(unsaved_file()))


def test_a_frame_that_is_not_as_described_is_noticed():
    """The tests' own check of frames refuses a frame without its data."""
    with pytest.raises(jsonschema.ValidationError):
        as_described('{"specversion": "1.0", "id": "1-0", "source": "/ws", "type": "pong"}')


@pytest.mark.usefixtures("shared_clients")
async def test_the_document_is_served():
    """`GET /schema/events/` answers the document, for the host that was asked."""
    async with http_client() as client:
        answer = await client.get("/schema/events/")
    assert answer.status_code == 200
    assert answer.json() == describe("testserver")
