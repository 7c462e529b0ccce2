"""wrk, and its scripts: a form, a raw body, a PUT under ever new names; every answer is counted by its status."""

import json
import re
import subprocess
import uuid
from pathlib import Path

from tests.load.processes import OTHER_CORE, Meter, Tree, pinned

BOUNDARY = "a-boundary-of-the-load"
SCRIPT = """
wrk.method = "{method}"
wrk.headers["Content-Type"] = "{content_type}"
wrk.body = io.open("{body}", "rb"):read("*a")
local threads = {{}}
function setup(thread) table.insert(threads, thread) end
function init() created, other = 0, 0 end
function response(status) if status == 201 then created = created + 1 else other = other + 1 end end
function done(summary, latency)
  local a, b = 0, 0
  for _, thread in ipairs(threads) do a = a + thread:get("created"); b = b + thread:get("other") end
  io.write(string.format('{{"created":%d,"other":%d}}\\n', a, b))
end
"""
EVER_NEW = """
local number = 0
function request()
  number = number + 1
  return wrk.format(nil, string.format("{prefix}/%02x/%d", number % 256, number))
end
"""
LONGER_SECONDS = 10
UNITS = {"us": 0.001, "ms": 1, "s": 1000, "m": 60000}
BYTES = {"B": 1, "KB": 1024, "MB": 1024**2, "GB": 1024**3}


def form(content: bytes, name: str) -> bytes:
    """The body of a form with this file."""
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n\r\n'
    return head.encode() + content + f"\r\n--{BOUNDARY}--\r\n".encode()


def script(folder: Path, body: bytes, *, content_type: str, put: bool = False) -> Path:
    """The script that sends this body."""
    name = uuid.uuid4().hex
    path, kept = folder / f"{name}.lua", folder / f"{name}.body"
    kept.write_bytes(body)
    text = SCRIPT.format(method="PUT" if put else "POST", content_type=content_type, body=kept)
    path.write_text(text + (EVER_NEW.format(prefix=f"/{name}") if put else ""))
    return path


def wrk(
    url: str,
    connections: int,
    seconds: int,
    lua: Path | None = None,
    headers: dict[str, str] | None = None,
    *,
    again: bool = False,
) -> dict[str, float]:
    """One run of wrk: requests a second, p50 and p99 in ms, bytes an answer, and the counts of its script.

    Raises SystemExit where a request failed, or was answered with 4xx or 5xx.
    """
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", "--timeout", "30s"]
    if lua is not None:
        command += ["-s", str(lua)]
    for name, value in (headers or {}).items():
        command += ["-H", f"{name}: {value}"]
    done = subprocess.run(pinned(OTHER_CORE, [*command, url]), capture_output=True, text=True, check=True)
    output = done.stdout
    if "Socket errors" in output or ("Non-2xx" in output):
        raise SystemExit(f"{url} answered errors:\n{output}{done.stderr}")
    found = {"rate": float(re.search(r"Requests/sec:\s+([\d.]+)", output)[1])}
    for quantile in ("50", "99"):
        number, unit = re.search(rf"{quantile}%\s+([\d.]+)(us|ms|s|m)", output).groups()
        found[f"p{quantile}"] = float(number) * UNITS[unit]
    count, read, unit = re.search(r"(\d+) requests in [\d.]+\w+, ([\d.]+)([KMG]?B) read", output).groups()
    if not int(count):
        if again:
            raise SystemExit(f"{url} answered nothing:\n{output}")
        # On a machine that is busy with something else a short run may be over before its first answer.
        return {**wrk(url, connections, seconds + LONGER_SECONDS, lua, headers, again=True), "again": 1}
    found["answer_bytes"] = float(read) * BYTES[unit] / int(count)
    counts = re.search(r'\{"created".*\}', output)
    return found | json.loads(counts[0]) if counts else found


def measured(
    tree: Tree,
    url: str,
    connections: int,
    seconds: int,
    lua: Path | None = None,
    headers: dict[str, str] | None = None,
) -> dict[str, float]:
    """A run of wrk, and how much of a core the server, wrk and all took meanwhile."""
    with Meter(tree) as meter:
        found = wrk(url, connections, seconds, lua, headers)
    return {**found, **meter.figures}
