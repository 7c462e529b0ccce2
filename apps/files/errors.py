"""The one family of errors. A docstring is the message; the code is stable; `transient` says a retry may pass."""

from typing import Any


class FilewireError(Exception):
    """Something went wrong."""

    status = 500
    code = "error"
    transient = False
    retry_after_seconds: int | None = None

    def __init__(self, detail: str | None = None, *, field: str | None = None, **headers: str) -> None:
        self.detail = detail or (type(self).__doc__ or "").strip().split("\n")[0]
        self.field = field
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}
        super().__init__(self.detail)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.detail,)


class Malformed(FilewireError):
    """The request's body could not be understood."""

    status = 400
    code = "malformed"


class MissingFile(FilewireError):
    """No file was submitted: send one part named "file"."""

    status = 400
    code = "missing_file"


class MissingName(FilewireError):
    """Missing filename. Send a Content-Disposition header with a filename parameter, or ?filename=."""

    status = 400
    code = "missing_filename"


class TooManyFiles(FilewireError):
    """More than one file was submitted: send exactly one part named "file"."""

    status = 400
    code = "too_many_files"


class TooManyParts(FilewireError):
    """The body has too many parts, or a part's headers are too large."""

    status = 400
    code = "too_many_parts"


class EmptyFile(FilewireError):
    """The submitted file is empty."""

    status = 400
    code = "empty_file"


class BadCursor(FilewireError):
    """The cursor is not one that this service gave."""

    status = 400
    code = "bad_cursor"


class BadHeader(FilewireError):
    """A header's value could not be understood."""

    status = 400
    code = "bad_header"


class FileMissing(FilewireError):
    """No file has this id."""

    status = 404
    code = "not_found"


class TooSlow(FilewireError):
    """The upload stood still for too long, or took too long in all."""

    status = 408
    code = "upload_timeout"


class FileBusy(FilewireError):
    """The file is queued or being processed."""

    status = 409
    code = "file_busy"


class KeyReused(FilewireError):
    """This Idempotency-Key was used with another body."""

    status = 409
    code = "idempotency_key_reused"


class KeyInFlight(FilewireError):
    """A request with this Idempotency-Key is still in flight."""

    status = 409
    code = "idempotency_key_in_flight"
    transient = True
    retry_after_seconds = 1


class FileTooLarge(FilewireError):
    """The file is larger than this service accepts."""

    status = 413
    code = "file_too_large"


class UnsupportedBody(FilewireError):
    """A body of this type is not accepted: send multipart/form-data, or any other type with a filename."""

    status = 415
    code = "unsupported_media_type"


class TypeNotAccepted(FilewireError):
    """Files of this type are not accepted here."""

    status = 415
    code = "type_not_accepted"


class PreconditionFailed(FilewireError):
    """The file is not the one that the request's precondition names."""

    status = 412
    code = "precondition_failed"


class RangeUnsatisfiable(FilewireError):
    """The range lies outside the file."""

    status = 416
    code = "range_not_satisfiable"


class DigestMismatch(FilewireError):
    """Content-Digest does not match the bytes that arrived."""

    status = 422
    code = "digest_mismatch"


class Busy(FilewireError):
    """Too many uploads are on their way."""

    status = 503
    code = "busy"
    transient = True
    retry_after_seconds = 1


class DatabaseAway(FilewireError):
    """The database cannot be reached."""

    status = 503
    code = "database_unavailable"
    transient = True
    retry_after_seconds = 2


class StorageAway(FilewireError):
    """The storage cannot be written or read."""

    status = 503
    code = "storage_unavailable"
    transient = True
    retry_after_seconds = 5


class FeedAway(FilewireError):
    """The event feed cannot be reached."""

    status = 503
    code = "feed_unavailable"
    transient = True
    retry_after_seconds = 2


class ServerStopping(FilewireError):
    """The server is stopping: send the request again."""

    status = 503
    code = "server_stopping"
    transient = True
    retry_after_seconds = 1


class ReaderStalled(FilewireError):
    """The client has not read for too long."""

    status = 503  # over a WebSocket: close code 1013
    code = "reader_stalled"
    transient = True
    retry_after_seconds = 1


class StorageFull(FilewireError):
    """The storage is full."""

    status = 507
    code = "storage_full"
    transient = True
    retry_after_seconds = 60


class BytesMissing(FilewireError):
    """The file's bytes are not in the storage any more."""

    code = "bytes_missing"  # of a failed file; a request for them is answered 404


class ClientGone(FilewireError):
    """The client went away before its request was whole."""

    status = 400  # never sent: nobody is there to read it
    code = "client_gone"
