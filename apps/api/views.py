"""The questions: each reads its input, calls one function of the record, and shapes the answer."""

import hashlib
import re
import uuid
from typing import Any

import orjson
from django.http import HttpResponse
from django.http.response import HttpResponseBase
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request

from apps.api import listing, schema
from apps.api.delivery import deliver
from apps.api.negotiation import AnyAccept
from apps.api.pages import pages
from apps.api.requests import base_url
from apps.api.serializers import FilePageSerializer, FileSerializer
from apps.api.validators import conditional_json
from apps.api.view import DoorView
from apps.files import lifecycle, storage
from apps.files.document import document, document_of
from apps.files.errors import FileMissing
from apps.files.models import File
from apps.files.threads import transact
from apps.processing import wake


def visible(file_id: uuid.UUID) -> File:
    """The file, if there is one that the caller may see. Raises FileMissing."""
    file = File.objects.filter(id=file_id).first()
    if file is None:
        raise FileMissing
    if file.pending:  # whoever is answered this must not be shown an older list
        wake.tell()
    return file


def page_of(wanted: listing.Listing) -> listing.FilePage:
    """A page of the list; where it has what no event has told yet, no page from before is shown any more."""
    page = listing.page(wanted)
    if page.untold:
        wake.tell()
    return page


CHARSET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,39}")


def charset_of(file: File) -> str:
    """The encoding of the file's text, by the child that read it: its word goes into a header, so it is looked at."""
    told = (file.result or {}).get("encoding")
    return told if isinstance(told, str) and CHARSET.fullmatch(told) else "utf-8"


def tag_of(file: File) -> str:
    """The entity tag of the file's bytes, and of what they are shown as: whoever processes the file may know better."""
    shown = hashlib.blake2b(f"{file.content_type};{charset_of(file)}".encode(), digest_size=4)
    return f'"{file.sha256}-{shown.hexdigest()}"'


class FileList(DoorView):
    """`GET /files/`."""

    @extend_schema(
        operation_id="files_list",
        parameters=schema.LIST_PARAMETERS,
        responses={200: FilePageSerializer, 304: schema.NOTHING, **schema.problems(400, 503)},
    )
    async def get(self, request: Request) -> HttpResponse:
        """A page of the files, newest first."""
        base = base_url(request)
        url = f"{base}/files/"

        async def render() -> bytes:
            query = request.query_params
            page = await transact(page_of, listing.asked(query))
            return orjson.dumps(
                {
                    "next": listing.link(url, query, page.next),
                    "previous": listing.link(url, query, page.previous),
                    "results": [document_of(row, base) for row in page.rows],
                }
            )

        page = await pages().get(f"{url}?{request.META['QUERY_STRING']}", render)
        return conditional_json(request, page.content, page.etag)


class FileDetail(DoorView):
    """`GET` and `DELETE /files/<id>/`."""

    @extend_schema(
        operation_id="files_retrieve",
        parameters=[schema.header("If-None-Match", "The ETag of what the client has.")],
        responses={200: FileSerializer, 304: schema.NOTHING, **schema.problems(404, 503)},
    )
    async def get(self, request: Request, file_id: uuid.UUID) -> HttpResponse:
        """One file."""
        file = await transact(visible, file_id)
        return conditional_json(request, orjson.dumps(document(file, base_url(request))))

    @extend_schema(operation_id="files_destroy", responses={204: None, **schema.problems(404, 503)})
    async def delete(self, request: Request, file_id: uuid.UUID) -> HttpResponse:
        """Delete a file, its bytes and everything derived from them."""
        await transact(wake.told, lifecycle.delete, file_id)
        response = HttpResponse(status=204)
        del response.headers["Content-Type"]
        return response


class FileContent(DoorView):
    """`GET /files/<id>/content/`."""

    content_negotiation_class = AnyAccept

    @extend_schema(
        operation_id="files_content",
        parameters=schema.DELIVERY_PARAMETERS,
        responses={**schema.BYTES, 304: schema.NOTHING, **schema.problems(404, 412, 416, 503)},
    )
    async def get(self, request: Request, file_id: uuid.UUID) -> HttpResponseBase:
        """The file's bytes."""
        file = await transact(visible, file_id)
        return await deliver(
            request,
            storage.path_of(str(file.file.name)),
            name=file.name,
            content_type=file.content_type,
            charset=charset_of(file),
            etag=tag_of(file),
            modified_at=file.uploaded_at,
        )


class FileDerived(DoorView):
    """`GET /files/<id>/derived/<name>/`."""

    content_negotiation_class = AnyAccept

    @extend_schema(
        operation_id="files_derived",
        parameters=schema.DELIVERY_PARAMETERS,
        responses={**schema.BYTES, 304: schema.NOTHING, **schema.problems(404, 412, 416, 503)},
    )
    async def get(self, request: Request, file_id: uuid.UUID, name: str) -> HttpResponseBase:
        """A file derived from this one, such as its thumbnail."""
        file = await transact(visible, file_id)
        entry: dict[str, Any] | None = file.derived.get(name)
        if entry is None:
            raise FileMissing("The file has nothing derived of this name.")
        return await deliver(
            request,
            storage.derived_path(str(file.file.name), entry["attempt"], entry["file"]),
            name=entry["file"],
            content_type=entry["content_type"],
            etag=f'"{file.sha256[:32]}-{entry["attempt"]}-{name}"',
            modified_at=file.processed_at or file.uploaded_at,
        )


class FileReprocess(DoorView):
    """`POST /files/<id>/reprocess/`."""

    @extend_schema(
        operation_id="files_reprocess",
        request=None,
        responses={202: FileSerializer, **schema.problems(404, 409, 503)},
    )
    async def post(self, request: Request, file_id: uuid.UUID) -> HttpResponse:
        """Queue the file again, as a new attempt."""
        file = await transact(wake.told, lifecycle.requeue, file_id)
        content = orjson.dumps(document(file, base_url(request)))
        return HttpResponse(content, status=202, content_type="application/json")
