"""One shape for every error."""

import importlib
import json
import pkgutil

import pytest
from django.core.exceptions import PermissionDenied, RequestDataTooBig, SuspiciousOperation
from django.http import Http404
from django.test import RequestFactory
from rest_framework import exceptions

import apps
from apps.api import problems
from apps.files.errors import FilewireError

MEMBERS = {"type", "title", "status", "code", "detail", "errors"}


def family(error: type[FilewireError]) -> list[type[FilewireError]]:
    """The error and all that descend from it."""
    return [error, *(below for child in error.__subclasses__() for below in family(child))]


def answer(error: Exception):
    """What a client is told, its shape checked."""
    response = problems.exception_response(error, {})
    body = json.loads(response.content)
    assert response["Content-Type"] == "application/problem+json"
    assert set(body) == MEMBERS
    assert body["status"] == response.status_code
    assert body["title"]
    assert body["detail"]
    for entry in body["errors"]:
        assert set(entry) == {"field", "code", "detail"}
    return response, body


def test_every_error_of_the_family_has_its_answer():
    """Each class: its status, its code, its docstring's first line as words, Retry-After when it names one."""
    for module in pkgutil.walk_packages(apps.__path__, "apps."):
        if "migrations" not in module.name and "processors" not in module.name:
            importlib.import_module(module.name)
    for error in family(FilewireError):
        if not error.__module__.startswith("apps."):
            continue  # made by a test
        response, body = answer(error())
        assert (body["status"], body["code"]) == (error.status, error.code)
        assert body["detail"] == error.__doc__.strip().split("\n")[0]
        assert body["errors"] == []
        expected = None if error.retry_after_seconds is None else str(error.retry_after_seconds)
        assert response.get("Retry-After") == expected


def test_f28_what_may_pass_on_a_retry_says_when():
    """409 in flight, 503 and 507 carry Retry-After; permanent refusals carry none."""
    for error in family(FilewireError):
        if error.__module__ == "apps.files.errors":
            assert error.transient is (error.retry_after_seconds is not None)
            assert error.transient or error.status not in (429, 503, 507)


def test_codes_are_each_for_one_error():
    """A code names one class of the record's errors, so that it can be listed in the docs."""
    codes = [error.code for error in family(FilewireError) if error.__module__ == "apps.files.errors"]
    assert len(codes) == len(set(codes))


def test_a_field_at_fault_is_named():
    """An error with a field has one entry; its headers are sent along."""
    response, body = answer(FilewireError("Words.", field="file", Content_Range="bytes */9"))
    assert body["errors"] == [{"field": "file", "code": "error", "detail": "Words."}]
    assert response["Content-Range"] == "bytes */9"


@pytest.mark.parametrize(
    ("error", "status", "code", "detail"),
    [
        (Http404("secret"), 404, "not_found", "Not found."),
        (PermissionDenied("secret"), 403, "permission_denied", "You do not have permission to perform this action."),
        (SuspiciousOperation("secret"), 400, "bad_request", "The request was refused."),
        (exceptions.MethodNotAllowed("PUT"), 405, "method_not_allowed", 'Method "PUT" not allowed.'),
        (exceptions.NotAcceptable(), 406, "not_acceptable", "Could not satisfy the request Accept header."),
        (exceptions.NotAuthenticated(), 401, "not_authenticated", "Authentication credentials were not provided."),
        (exceptions.ParseError("Bad."), 400, "parse_error", "Bad."),
    ],
)
def test_foreign_errors_read_as_drfs_do(error, status, code, detail):
    """Django's and DRF's own errors: the same shape, DRF's words, nothing of the exception's own text."""
    response, body = answer(error)
    assert (body["status"], body["code"], body["detail"]) == (status, code, detail)
    assert b"secret" not in response.content


def test_a_throttled_client_is_told_how_long():
    """429 carries whole seconds, at least one."""
    response, body = answer(exceptions.Throttled(wait=0.2))
    assert (response.status_code, response["Retry-After"], body["code"]) == (429, "1", "throttled")
    assert answer(exceptions.Throttled(wait=12))[0]["Retry-After"] == "12"


def test_who_are_you_comes_with_its_challenge():
    """401 carries WWW-Authenticate when the view set one."""
    error = exceptions.NotAuthenticated()
    error.auth_header = "Token"
    assert answer(error)[0]["WWW-Authenticate"] == "Token"


def test_validation_errors_name_their_fields():
    """Flat, nested and without a field: each an entry."""
    error = exceptions.ValidationError({"a": ["One."], "b": {"c": ["Two.", "Three."]}})
    assert answer(error)[1]["errors"] == [
        {"field": "a", "code": "invalid", "detail": "One."},
        {"field": "c", "code": "invalid", "detail": "Two."},
        {"field": "c", "code": "invalid", "detail": "Three."},
    ]
    assert answer(exceptions.ValidationError("Alone."))[1]["errors"] == [
        {"field": "", "code": "invalid", "detail": "Alone."}
    ]


def test_what_nobody_foresaw_is_in_the_log_and_not_in_the_answer(caplog):
    """A stray exception is a 500 without a word of itself; the log has its traceback."""
    _, body = answer(RuntimeError("the secret at /etc/passwd"))
    assert (body["status"], body["code"]) == (500, "internal_error")
    assert "secret" not in json.dumps(body)
    assert caplog.records[-1].exc_info is not None


def test_our_own_trouble_is_in_the_log(caplog):
    """A 5xx of the family is one line that names what caused it; a 4xx is none."""
    from apps.files.errors import EmptyFile, StorageAway

    answer(EmptyFile())
    assert caplog.records == []
    error = StorageAway()
    error.__cause__ = OSError("the disk")
    answer(error)
    assert "storage_unavailable" in caplog.text
    assert "OSError" in caplog.text
    assert len(caplog.records) == 1


def test_djangos_own_handlers_have_the_shape():
    """handler400, 403, 404 and 500 answer as the doors do."""
    request = RequestFactory().get("/")
    for response, status, code in (
        (problems.bad_request(request, SuspiciousOperation("secret")), 400, "bad_request"),
        (problems.bad_request(request, RequestDataTooBig("secret")), 413, "request_too_large"),
        (problems.permission_denied(request, PermissionDenied()), 403, "permission_denied"),
        (problems.not_found(request), 404, "not_found"),
        (problems.server_error(request), 500, "internal_error"),
    ):
        body = json.loads(response.content)
        assert (response.status_code, body["status"], body["code"]) == (status, status, code)
        assert set(body) == MEMBERS
        assert response["Content-Type"] == "application/problem+json"
        assert b"secret" not in response.content
