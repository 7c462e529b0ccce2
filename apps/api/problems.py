"""One shape for every error: application/problem+json.

Source: RFC 9457. `code` is ours and stable, `detail` reads as DRF's does, `errors` names the fields at fault.
"""

import logging
from http import HTTPStatus
from typing import Any

import orjson
from django.core.exceptions import PermissionDenied, RequestDataTooBig, SuspiciousOperation
from django.http import Http404, HttpRequest, HttpResponse
from django.views.decorators.csrf import csrf_exempt
from rest_framework import exceptions
from rest_framework.views import set_rollback

from apps.files.errors import FilewireError

logger = logging.getLogger(__name__)

# RFC 9110's words, which Python has only from 3.13 on.
TITLES = {413: "Content Too Large", 416: "Range Not Satisfiable", 422: "Unprocessable Content"}
CONTENT_TYPE = "application/problem+json"


def problem(
    status: int,
    code: str,
    detail: str,
    *,
    errors: list[dict[str, str]] | None = None,
    headers: dict[str, str] | None = None,
) -> HttpResponse:
    """An answer in the one shape of errors."""
    body = {
        "type": "about:blank",
        "title": TITLES.get(status) or HTTPStatus(status).phrase,
        "status": status,
        "code": code,
        "detail": detail,
        "errors": errors or [],
    }
    return HttpResponse(orjson.dumps(body), status=status, content_type=CONTENT_TYPE, headers=headers or {})


def exception_response(exc: Exception, context: dict[str, Any]) -> HttpResponse:
    """What the client is told of an exception; one that nobody foresaw is logged, and told as no more than a 500."""
    set_rollback()
    if isinstance(exc, FilewireError):
        if exc.status >= 500:
            # What is away is said in a line a request, not in a traceback: there are many while it lasts.
            cause = f" ({type(exc.__cause__).__name__})" if exc.__cause__ else ""
            logger.warning("%s: %s%s", exc.code, exc.detail, cause)
        return answer_to(exc)
    if isinstance(exc, Http404):
        exc = exceptions.NotFound()
    elif isinstance(exc, PermissionDenied):
        exc = exceptions.PermissionDenied()
    elif isinstance(exc, SuspiciousOperation):
        # a wrong Host header, for one; its text may name what is allowed
        logger.warning("suspicious request: %s", type(exc).__name__)
        return problem(400, "bad_request", "The request was refused.")
    if isinstance(exc, exceptions.APIException):
        return _framework(exc)
    logger.error("an error nobody foresaw", exc_info=exc)
    return problem(500, "internal_error", "Something went wrong on our side. The log has it under this request's id.")


def answer_to(error: FilewireError) -> HttpResponse:
    """What the client is told of one of our own errors."""
    headers = dict(error.headers)
    if error.retry_after_seconds is not None:
        headers["Retry-After"] = str(error.retry_after_seconds)
    fields = [{"field": error.field, "code": error.code, "detail": error.detail}] if error.field else None
    return problem(error.status, error.code, error.detail, errors=fields, headers=headers)


def _framework(error: exceptions.APIException) -> HttpResponse:
    headers = {}
    wait = getattr(error, "wait", None)
    if wait is not None:
        headers["Retry-After"] = str(max(1, round(wait)))
    challenge = getattr(error, "auth_header", None)
    if challenge:
        headers["WWW-Authenticate"] = challenge
    codes: Any = error.get_codes()
    if isinstance(error, exceptions.ValidationError):
        errors = _fields(error.get_full_details())
        return problem(error.status_code, "invalid", "Invalid input.", errors=errors, headers=headers)
    return problem(error.status_code, str(codes), str(error.detail), headers=headers)


def _fields(details: Any, field: str = "") -> list[dict[str, str]]:
    if isinstance(details, dict) and {"message", "code"} == set(details):
        return [{"field": field, "code": str(details["code"]), "detail": str(details["message"])}]
    items = details.items() if isinstance(details, dict) else [(field, item) for item in details]
    return [entry for name, item in items for entry in _fields(item, str(name))]


# --- Django's own errors, outside every DRF view ---------------------------------------------------------------


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Django's handler400."""
    if isinstance(exception, RequestDataTooBig):
        return problem(413, "request_too_large", "The request's body is larger than this path accepts.")
    return problem(400, "bad_request", "The request was refused.")


def permission_denied(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Django's handler403."""
    return problem(403, "permission_denied", "You do not have permission to perform this action.")


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    """Django's CSRF_FAILURE_VIEW."""
    return problem(403, "csrf_failed", "The form's token is missing or wrong: load the page again.")


@csrf_exempt  # a POST to no path is no forgery, and its answer no HTML
def not_found(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    """Django's handler404, and the route of last resort, so that DEBUG answers in the same shape."""
    return problem(404, "not_found", "Not found.")


def server_error(request: HttpRequest) -> HttpResponse:
    """Django's handler500."""
    return problem(500, "internal_error", "Something went wrong on our side. The log has it under this request's id.")
