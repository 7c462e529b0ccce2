"""The feed at rest: a bounded Redis Stream, read and appended to by three small scripts, each atomic.

Keys, all under `filewire:`:

    feed            the stream: entries of `f` (file id) and `e` (event without its id)
    feed:genesis    the id of the entry that began this stream
    feed:file:<id>  of one file: `seq`, the last published version, and `id`, its newest event
    feed:followed:<id>  there while someone reads this file's events alone
    changed         another value after every change that clients may see: an event's id, or one that an upload chose

A stream that appears anew (Redis wiped) begins with an entry that says so: every cursor from before lies before it
and is told to resync, never left in silence.
"""

import dataclasses
import uuid
from collections.abc import Sequence
from typing import Any

from django.conf import settings

from apps.events.event import BEGINNING, Cursor, Frame, frame

STREAM = "filewire:feed"
GENESIS = "filewire:feed:genesis"
FILE = "filewire:feed:file:"
FOLLOWED = "filewire:feed:followed:"
CHANGED = "filewire:changed"
PAGE_EVENTS = 128  # what a client that does not read may hold back: some 128 KiB, however many are missing
SCAN_EVENTS = 4096  # how many entries one look for a file's events may pass over: about a millisecond of Redis
FOLLOWED_SECONDS = 30  # a file is followed for this long after it was said
YOUNG_SECONDS = 10  # in a feed that began this lately it may not have been said yet
FILE_SECONDS = 6 * 3600  # 159 bytes of Redis a file for so long after its last event

_BEGIN = """
local genesis = redis.call('GET', KEYS[2])
if not genesis or redis.call('EXISTS', KEYS[1]) == 0 then
  genesis = redis.call('XADD', KEYS[1], '*', 'g', '1')
  redis.call('SET', KEYS[2], genesis)
end
"""

# KEYS: stream, genesis, file, changed, followed.
# ARGV: seq, whether it is durable, body, file id, maximum events, seconds to remember, seconds of being young.
# Returns {id, id before it in the feed, id before it of this file (of its first one, that of the feed's beginning: a
# reader from before a wipe must see that something is missing), whether the file is followed}, or nothing when it was
# published before. In a feed that has just begun it is not known yet who follows: there all files are followed.
APPEND = (
    _BEGIN
    + """
local known = redis.call('HMGET', KEYS[3], 'seq', 'id')
local seq, last = tonumber(ARGV[1]), tonumber(known[1] or '0')
if last > seq or (ARGV[2] == '1' and last == seq) then return nil end
local before = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1][1]
local id = redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[5], '*', 'f', ARGV[4], 'e', ARGV[3])
if ARGV[2] == '1' then redis.call('HSET', KEYS[3], 'seq', ARGV[1], 'id', id)
else redis.call('HSET', KEYS[3], 'id', id) end
redis.call('EXPIRE', KEYS[3], ARGV[6])
redis.call('SET', KEYS[4], id)
local age = redis.call('TIME')[1] - string.match(genesis, '^%d+') / 1000
local followed = age < tonumber(ARGV[7]) and 1 or redis.call('EXISTS', KEYS[5])
return {id, before, known[2] or genesis, followed}
"""
)

# KEYS: stream, genesis. Returns {newest id, genesis id}.
NEWEST = (
    _BEGIN
    + """
return {redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1][1], genesis}
"""
)

# KEYS: stream, genesis. ARGV: cursor, file id or '', how many to return, how many to pass over.
# Returns {genesis, oldest id, newest id, id read through, {id, body, id, body, …}}.
PAGE = (
    _BEGIN
    + """
local oldest = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 1)[1][1]
local newest = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1][1]
local from, found, passed = ARGV[1], {}, 0
local want, limit = tonumber(ARGV[3]), tonumber(ARGV[4])
while #found < 2 * want and passed < limit do
  local entries = redis.call('XRANGE', KEYS[1], '(' .. from, '+', 'COUNT', want)
  if #entries == 0 then break end
  for _, entry in ipairs(entries) do
    passed, from = passed + 1, entry[1]
    local fields = entry[2]
    if fields[1] == 'f' and (ARGV[2] == '' or fields[2] == ARGV[2]) then
      found[#found + 1] = entry[1]
      found[#found + 1] = fields[4]
      if #found >= 2 * want then break end
    end
  end
end
return {genesis, oldest, newest, from, found}
"""
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Entry:
    """An event on its way into the stream: whose, which of that file's, whether that is remembered, its body."""

    file_id: str
    seq: int
    durable: bool
    kept: bytes


@dataclasses.dataclass(frozen=True, kw_only=True)
class Appended:
    """An event's place: its own cursor, those of the events before it in the feed and of its file; who must be told."""

    cursor: Cursor
    before: Cursor
    before_of_file: Cursor
    followed: bool


@dataclasses.dataclass(frozen=True, kw_only=True)
class Page:
    """Events after a cursor, as far as `through`; or `lost`: the feed no longer reaches back to the cursor."""

    frames: list[Frame]
    through: Cursor
    newest: Cursor
    lost: bool


def _cursor(raw: bytes) -> Cursor:
    return Cursor.parse(raw.decode())


def append(client: Any, entries: Sequence[Entry]) -> list[Appended | None]:
    """Append these events in their order, by one round trip; None for each that, or a later one of its file, was
    appended before. Raises redis.RedisError; some may have been appended then.

    A durable event's number is remembered for hours, so publishing it again, by whomever, appends nothing. One that
    is not durable (progress) only gives way to what is newer.
    """
    script = client.register_script(APPEND)
    if len(entries) == 1:
        return [_appended(script(keys=_keys(entries[0]), args=_arguments(entries[0])))]
    with client.pipeline(transaction=False) as pipeline:
        for entry in entries:
            script(keys=_keys(entry), args=_arguments(entry), client=pipeline)
        return [_appended(answer) for answer in pipeline.execute()]


def _keys(entry: Entry) -> list[str]:
    return [STREAM, GENESIS, FILE + entry.file_id, CHANGED, FOLLOWED + entry.file_id]


def _arguments(entry: Entry) -> list[Any]:
    return [
        entry.seq, int(entry.durable), entry.kept, entry.file_id, settings.FILEWIRE_FEED_EVENTS, FILE_SECONDS,
        YOUNG_SECONDS,
    ]  # fmt: skip


def _appended(answer: Any) -> Appended | None:
    if answer is None:
        return None
    cursor, before, before_of_file = (_cursor(raw) for raw in answer[:3])
    return Appended(cursor=cursor, before=before, before_of_file=before_of_file, followed=bool(answer[3]))


async def newest(client: Any) -> tuple[Cursor, Cursor]:
    """The cursor of the newest event, and that of the feed's beginning. Raises redis.RedisError."""
    answer = await client.register_script(NEWEST)(keys=[STREAM, GENESIS])
    return _cursor(answer[0]), _cursor(answer[1])


async def newest_of(client: Any, files: Sequence[uuid.UUID], *, follow: bool = False) -> list[Cursor]:
    """The cursor of each file's newest event, the beginning where it has none. Raises redis.RedisError.

    `follow` says that someone reads these files' own events: whoever appends one after this returns knows it, for
    FOLLOWED_SECONDS. It is no error that a Redis which is full does not take it: then who looks finds the events.
    """
    if not files:
        return []
    async with client.pipeline(transaction=False) as pipeline:
        for file_id in files:
            pipeline.hget(f"{FILE}{file_id}", "id")
        for file_id in files if follow else ():
            pipeline.set(f"{FOLLOWED}{file_id}", 1, ex=FOLLOWED_SECONDS)
        answers = (await pipeline.execute(raise_on_error=False))[: len(files)]
    for answer in answers:
        if isinstance(answer, Exception):
            raise answer
    return [_cursor(raw) if raw else BEGINNING for raw in answers]


async def page(client: Any, after: Cursor, file_id: uuid.UUID | None = None) -> Page:
    """The next events after the cursor, of all files or of one. Raises redis.RedisError."""
    answer = await client.register_script(PAGE)(
        keys=[STREAM, GENESIS], args=[str(after), str(file_id or ""), PAGE_EVENTS, SCAN_EVENTS]
    )
    genesis, oldest, newest_id, through = (_cursor(raw) for raw in answer[:4])
    # Whole: nothing was ever trimmed, so that even the very beginning is still there.
    whole = oldest == genesis
    reaches_back = after >= oldest or (whole and after == BEGINNING)
    if not reaches_back or after > newest_id:
        return Page(frames=[], through=newest_id, newest=newest_id, lost=True)
    found = answer[4]
    frames = [frame(_cursor(found[i]), found[i + 1]) for i in range(0, len(found), 2)]
    return Page(frames=frames, through=through, newest=newest_id, lost=False)
