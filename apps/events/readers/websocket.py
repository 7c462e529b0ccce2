"""The feed over a WebSocket: hello, what was missed, then live."""

import asyncio
import contextlib
import json
import logging
import uuid
from typing import Any
from urllib.parse import parse_qs

from channels.generic.websocket import AsyncWebsocketConsumer

from apps.events.event import BEGINNING, Cursor, connection_frame
from apps.events.reader import Reader, reading
from apps.files.errors import BadCursor, FileMissing, FilewireError, ReaderStalled
from apps.files.models import File
from apps.files.threads import transact

logger = logging.getLogger(__name__)

SOURCE = "/ws"
STALLED_SECONDS = 15.0  # shorter than the servers' ping time-outs, which close without a reason
WAIT_SECONDS = 60.0  # how long a reader sleeps before it looks for itself
UNKNOWN_FILE = 4404
TRY_AGAIN_LATER = 1013
INTERNAL_ERROR = 1011


def _exists(file_id: uuid.UUID) -> bool:
    return File.objects.filter(id=file_id).exists()


class FeedConsumer(AsyncWebsocketConsumer):
    """One client of the feed. What it sends is answered; what it cannot mean is answered with an `error` frame."""

    # The hub holds this process's one channel; a channel a socket would be a subscription a socket.
    channel_layer_alias = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._reader: Reader | None = None
        self._feeding: asyncio.Task[None] | None = None
        self._ended = False
        self._greeted = asyncio.Event()
        self._position = BEGINNING

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Channels' own, where sending to a client that has gone is an OSError whatever the server calls it."""

        async def send_or_lose(message: Any) -> None:
            try:
                await send(message)
            except RuntimeError as error:  # uvicorn's word for a connection that it has closed itself
                raise ConnectionResetError from error

        await super().__call__(scope, receive, send_or_lose)

    async def websocket_connect(self, message: Any) -> None:
        """Accept, and start to feed."""
        await self.accept()
        given = self.scope["url_route"]["kwargs"].get("file_id")
        self._feeding = asyncio.create_task(self._feed(uuid.UUID(given) if given else None))

    async def disconnect(self, code: int) -> None:
        """Stop feeding."""
        if self._feeding is not None:
            self._feeding.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._feeding

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        """Answer what the client sends, after the hello and before the goodbye."""
        await self._greeted.wait()
        if self._ended:
            return
        if text_data is None:
            await self._error("text_only", "Send text frames: this feed speaks JSON.")
            return
        try:
            sent = json.loads(text_data)
        except (ValueError, RecursionError):
            await self._error("invalid_json", "The frame is not JSON.")
            return
        if isinstance(sent, dict) and sent.get("type") == "ping":
            await self._say("pong")
        else:
            await self._error("unknown_type", 'The frame\'s type is not known: send {"type": "ping"}.')

    # --- the feed --------------------------------------------------------------------------------------------

    async def _feed(self, file_id: uuid.UUID | None) -> None:
        """Follow the feed to whatever end; every end but the client's own is told to it."""
        try:
            try:
                await self._follow(file_id)
            except FileMissing as error:
                await self._end(UNKNOWN_FILE, error.code, error.detail)
            except ReaderStalled as error:
                # No frame can say why: the client reads none. It keeps its cursor, and comes back with it.
                self._ended = True
                await self.close(TRY_AGAIN_LATER, error.code)
            except FilewireError as error:
                # The feed or the database is away: the client keeps its cursor, and comes back with it.
                await self._end(TRY_AGAIN_LATER, error.code, error.detail)
        except OSError:
            # This is how servers say that the client has gone (ASGI, "Disconnected Client"); `disconnect` follows.
            self._ended = True
        except Exception:
            logger.exception("a socket met an error nobody foresaw")
            with contextlib.suppress(Exception):
                await self._end(INTERNAL_ERROR, "error", "Something went wrong.")
        finally:
            self._greeted.set()

    async def _follow(self, file_id: uuid.UUID | None) -> None:
        if file_id is not None and not await transact(_exists, file_id):
            raise FileMissing
        after, wrong = self._after()
        async with reading(file_id, after) as self._reader:
            # Never beyond what there is: a client that came with a cursor from the future is told to resync.
            self._position = min(self._reader.position, self._reader.newest)
            await self._say("hello", cursor=str(self._reader.newest))
            self._greeted.set()
            if wrong:
                await self._error("bad_cursor", BadCursor().detail)
                await self._say("resync", cursor=str(self._reader.newest))
            while not self._reader.ended:  # the server closes the socket with 1012 when it stops
                batch = await self._reader.next(WAIT_SECONDS)
                if batch.resync:
                    self._position = batch.cursor
                    await self._say("resync", cursor=str(batch.cursor))
                for frame in batch.frames:
                    await self._send_read(frame.text)
                    self._position = frame.cursor
                self._position = batch.cursor

    async def _send_read(self, text: str) -> None:
        """Send, and wait until the client has read enough of what was sent before. Raises ReaderStalled."""
        try:
            async with asyncio.timeout(STALLED_SECONDS):
                await self.send(text_data=text)
        except TimeoutError as error:
            raise ReaderStalled from error

    async def _end(self, close_code: int, code: str, detail: str) -> None:
        """Say why, and close."""
        await self._error(code, detail)
        self._ended = True
        await self.close(close_code, code)

    def _after(self) -> tuple[Cursor | None, bool]:
        """The client's cursor, and whether it is none that we gave."""
        query = parse_qs(self.scope.get("query_string", b"").decode("latin-1"))
        given = query.get("after", [""])[-1]
        if not given:
            return None, False
        try:
            return Cursor.parse(given), False
        except BadCursor:
            return None, True

    async def _say(self, event_type: str, **data: Any) -> None:
        # Their id is the last that was sent, never one ahead of it: a client may take any frame's id for its cursor.
        await self.send(text_data=connection_frame(event_type, self._position, SOURCE, **data))

    async def _error(self, code: str, detail: str) -> None:
        await self._say("error", code=code, detail=detail)


class NoSuchPath(AsyncWebsocketConsumer):
    """Every other path: accepted only to be told why it is closed."""

    channel_layer_alias = None

    async def websocket_connect(self, message: Any) -> None:
        """Say that there is nothing here."""
        await self.accept()
        data = {"code": "not_found", "detail": "There is no feed at this path."}
        await self.send(text_data=connection_frame("error", Cursor(0, 0), SOURCE, **data))
        await self.close(UNKNOWN_FILE, "no such path")
