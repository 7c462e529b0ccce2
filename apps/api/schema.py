"""What the OpenAPI document says of answers that several doors share."""

from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse

from apps.api.serializers import ProblemSerializer
from apps.files.models import Status
from apps.processing import plugins

PROBLEM_TYPE = "application/problem+json"


def problems(*statuses: int) -> dict[Any, Any]:
    """Error answers of these statuses, in their one shape."""
    return {(status, PROBLEM_TYPE): OpenApiResponse(ProblemSerializer) for status in statuses}


BYTES = {(200, "*/*"): OpenApiTypes.BINARY, (206, "*/*"): OpenApiTypes.BINARY}
NOTHING = OpenApiResponse(description="Unchanged.")


def header(name: str, description: str, *, response: bool = False, required: bool = False) -> OpenApiParameter:
    """A header of the request, or of every answer."""
    return OpenApiParameter(
        name, str, OpenApiParameter.HEADER, description=description, response=response, required=required
    )


DELIVERY_PARAMETERS = [
    header("Range", "One range of bytes, or several."),
    header("If-Range", "The ETag or the Last-Modified of the bytes that a range is wanted of; else all of them are."),
    header("If-None-Match", "The ETag of what the client has."),
    header("If-Modified-Since", "The Last-Modified of what the client has; of no account beside If-None-Match."),
    header("If-Match", "The ETag that the bytes must have: 412 if they have another."),
    header("If-Unmodified-Since", "The Last-Modified that they must have; of no account beside If-Match."),
]

LIST_PARAMETERS = [
    OpenApiParameter("processed", bool, description="Only files that are processed, or that are not."),
    OpenApiParameter("status", str, many=True, enum=Status.values, description="Repeatable."),
    OpenApiParameter("kind", str, many=True, enum=plugins.kinds(), description="Repeatable."),
    OpenApiParameter("name", str, description="A part of the name, upper or lower case."),
    OpenApiParameter("uploaded_after", OpenApiTypes.DATETIME, description="Exclusive."),
    OpenApiParameter("uploaded_before", OpenApiTypes.DATETIME, description="Exclusive."),
    OpenApiParameter("page_size", int, description="1 to 200; 50 if absent."),
    OpenApiParameter("cursor", str, description="From `next` or `previous`."),
    header("If-None-Match", "The ETag of what the client has."),
]
