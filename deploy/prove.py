"""The proof that the containers work: brings the project up, uses it, restarts and stops its parts, takes it down.

    python deploy/prove.py            all steps, in order; exit status 0 when each one held

It speaks to the published port as a client does, and to `docker compose` as an operator does. It needs a working
`docker compose`, curl and the `websockets` package; the project's name, its port and its image are its own, so a
running deployment is left alone. Every wait is a poll with a deadline. `.ci/containers` calls it.
"""

import hashlib
import http.client
import json
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any

from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

ROOT = Path(__file__).resolve().parent.parent
MIB = 1024 * 1024
LARGE_BYTES = 100 * MIB
MAX_FILE_BYTES = 110 * MIB
TERMINAL = frozenset({"file.processed", "file.failed"})
IDLE_SECONDS = 65.0  # longer than the 60 s after which a proxy that hears nothing gives up
PROCESSED_SECONDS = 60.0
STOPPED = frozenset({0, 143})  # by itself: done, or ended by the SIGTERM that it was sent once all was finished
KILLED = 137  # a container that did not stop within its grace
UID = "10001"


class Broken(Exception):
    """Something that should hold does not."""


def hold(condition: object, message: str) -> None:
    """Go on if it holds. Raises Broken."""
    if not condition:
        raise Broken(message)


def poll(what: str, seconds: float, attempt: Callable[[], Any]) -> Any:
    """What the attempt returns once it is true; a connection that fails is tried again. Raises Broken."""
    ends_at = time.monotonic() + seconds
    last: object = None
    while time.monotonic() < ends_at:
        try:
            last = attempt()
            if last:
                return last
        except (OSError, http.client.HTTPException) as error:
            last = error
        time.sleep(0.1)
    raise Broken(f"{what}: not within {seconds:g} s (last: {last!r})")


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Compose:
    """The project as an operator sees it."""

    def __init__(self) -> None:
        token = f"{os.getpid()}-{secrets.token_hex(2)}"
        self.port = free_port()
        self.project = f"filewire-proof-{token}"
        self.image = f"filewire-proof:{token}"
        # No .env and no variable of the caller decides what is proven, but the ones named here.
        kept = {n: v for n, v in os.environ.items() if not n.startswith(("FILEWIRE_", "COMPOSE_", "POSTGRES_"))}
        for name in ("DATABASE_URL", "REDIS_URL", "SECRET_KEY", "DEBUG", "ALLOWED_HOSTS"):
            kept.pop(name, None)
        self.environment = {
            **kept,
            "COMPOSE_PROJECT_NAME": self.project,
            "COMPOSE_DISABLE_ENV_FILE": "1",
            "PORT": f"127.0.0.1:{self.port}",
            "FILEWIRE_IMAGE": self.image,
            "FILEWIRE_MAX_FILE_BYTES": str(MAX_FILE_BYTES),
        }

    def docker(self, *words: str, seconds: float = 120, check: bool = True) -> str:
        """The output of `docker`. Raises Broken where it fails."""
        done = subprocess.run(  # noqa: S603 - our own words
            ["docker", *words],  # noqa: S607 - whichever docker the caller's PATH has
            env=self.environment,
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=seconds,
        )
        if check and done.returncode:
            raise Broken(f"docker {' '.join(words)}: status {done.returncode}\n{done.stdout}{done.stderr}".rstrip())
        return done.stdout.strip()

    def __call__(self, *words: str, seconds: float = 180, check: bool = True) -> str:
        """The output of `docker compose`."""
        return self.docker("compose", "--ansi=never", *words, seconds=seconds, check=check)

    def services(self) -> list[str]:
        """The services' names."""
        return sorted(self("config", "--services").split())

    def containers(self, service: str) -> list[str]:
        """The ids of a service's containers, stopped ones too."""
        return self("ps", "--all", "--quiet", service).split()

    def inspect(self, container: str) -> dict[str, Any]:
        """Everything the engine knows of a container."""
        found: dict[str, Any] = json.loads(self.docker("inspect", container))[0]
        return found

    def up(self, *words: str) -> None:
        """Start what is not there, and wait until all is healthy."""
        self("up", "--detach", "--no-build", "--wait", "--wait-timeout", "180", *words, seconds=240)


class Client:
    """The service as its clients see it."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.host = f"127.0.0.1:{port}"
        self.url = f"http://{self.host}"

    def request(
        self, method: str, path: str, body: Any = None, **headers: str
    ) -> tuple[int, http.client.HTTPMessage, bytes]:
        """One request: status, headers, body."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request(method, path, body, {n.replace("_", "-"): v for n, v in headers.items()})
            response = connection.getresponse()
            return response.status, response.headers, response.read()
        finally:
            connection.close()

    def get(self, path: str) -> Any:
        """The JSON at the path. Raises Broken where the answer is no 200."""
        status, _, body = self.request("GET", path)
        hold(status == 200, f"GET {path}: {status} {body[:300]!r}")
        return json.loads(body)

    def upload(self, content: bytes, name: str) -> dict[str, Any]:
        """The File of an upload. Raises Broken where the answer is no 201."""
        status, _, body = self.request("POST", f"/upload/?filename={name}", content)
        hold(status == 201, f"POST /upload/ of {name}: {status} {body[:300]!r}")
        file: dict[str, Any] = json.loads(body)
        return file

    def processed(self, file: dict[str, Any], seconds: float = PROCESSED_SECONDS) -> dict[str, Any]:
        """The File once it is processed."""
        path = f"/files/{file['id']}/"

        def look() -> Any:
            status, _, body = self.request("GET", path)
            found = json.loads(body) if status == 200 else {}
            hold(found.get("status") != "failed", f"{file['name']} failed: {found.get('error')}")
            return found if found.get("processed") else None

        found: dict[str, Any] = poll(f"{file['name']} processed", seconds, look)
        return found

    def files(self) -> dict[str, str]:
        """Every file that is listed: its sha256 by its id."""
        found: dict[str, str] = {}
        path: str | None = "/files/?page_size=200"
        while path:
            page = self.get(path)
            found.update({file["id"]: file["sha256"] for file in page["results"]})
            path = page["next"] and page["next"].removeprefix(self.url)
        return found

    def sha256_of(self, file_id: str) -> str:
        """The hash of a file's bytes as they come back."""
        status, _, body = self.request("GET", f"/files/{file_id}/content/")
        hold(status == 200, f"the content of {file_id}: {status}")
        return hashlib.sha256(body).hexdigest()

    def socket(self, path: str = "/ws/files/", **options: Any) -> AbstractContextManager[ClientConnection]:
        """A WebSocket, open within the block."""
        return connect(f"ws://{self.host}{path}", open_timeout=10, max_size=None, **options)

    def curl(self, *words: str) -> tuple[int, str, str]:
        """What curl was answered: status, content type, body."""
        done = subprocess.run(  # noqa: S603 - our own words
            ["curl", "--silent", "--show-error", "--max-time", "120", "-w", "\n%{http_code} %{content_type}", *words],  # noqa: S607
            capture_output=True,
            text=True,
            timeout=130,
        )
        hold(done.returncode == 0, f"curl {' '.join(words)}: status {done.returncode} {done.stderr.strip()}")
        body, _, last = done.stdout.rpartition("\n")
        status, _, content_type = last.partition(" ")
        return int(status), content_type, body


def text_of(number: int) -> bytes:
    """A small text that no other upload has."""
    return f"The {number}th proof, {secrets.token_hex(8)}.\n".encode() * 8


def frames(stream: ClientConnection, seconds: float) -> Iterator[dict[str, Any]]:
    """The frames that arrive. Raises TimeoutError at the deadline."""
    ends_at = time.monotonic() + seconds
    while True:
        yield json.loads(stream.recv(timeout=max(0.01, ends_at - time.monotonic())))


def problem(status: int, content_type: str, body: str, wanted: int, code: str | None = None) -> None:
    """Hold the answer to the contract's shape of errors."""
    hold(status == wanted, f"{status}, not {wanted}: {body[:300]}")
    hold(content_type == "application/problem+json", f"{wanted} is {content_type}: {body[:300]}")
    told = json.loads(body)
    hold(set(told) == {"type", "title", "status", "code", "detail", "errors"}, f"another shape: {body}")
    hold(told["status"] == wanted, f"the body says {told['status']}")
    hold(code is None or told["code"] == code, f"the code is {told['code']}, not {code}")


class Proof:
    """The steps, in their order. Each one's docstring says what holds when it passes."""

    def __init__(self, compose: Compose, directory: Path) -> None:
        self.compose = compose
        self.client = Client(compose.port)
        self.directory = directory
        self.known: dict[str, str] = {}
        self.idle: tuple[ClientConnection, float] | None = None
        self.idle_sockets = ExitStack()
        self.number = 0

    def run(self) -> None:
        """Every step; the first that breaks ends the run."""
        steps: list[Callable[[], str | None]] = [
            self.settings_reach_the_containers,
            self.image_is_built,
            self.everything_becomes_healthy,
            self.every_part_is_ready,
            self.containers_are_locked_down,
            self.a_form_is_processed,
            self.a_large_body_passes,
            self.a_too_large_body_is_refused,
            self.events_arrive_and_are_replayed,
            self.events_arrive_over_http,
            self.foreign_pages_are_refused,
            self.nginx_speaks_the_same_errors,
            self.scaled_parts_share_the_work,
            self.a_rolling_restart_fails_no_request,
            self.a_part_may_move,
            self.web_finishes_what_is_under_way,
            self.an_idle_socket_stays_open,
            self.parts_stop_in_time,
            self.a_stopped_worker_loses_nothing,
            *(self._restarted(name) for name in ("web", "live", "worker", "redis", "postgres", "nginx")),
            self.crashed_parts_come_back,
            self.everything_restarts_at_once,
            self.nothing_is_lost,
            self.a_backup_can_be_restored,
        ]
        for step in steps:
            say(step)

    # --- before it runs -----------------------------------------------------------------------------------------

    def settings_reach_the_containers(self) -> str:
        """Every FILEWIRE_ setting of the service is passed on by the compose file, or set in the image."""
        settings = (ROOT / "project" / "settings.py").read_text()
        named = set(re.findall(r'"(FILEWIRE_[A-Z_]+)"', settings)) - {"FILEWIRE_DATA_DIR"}
        passed = set(re.findall(r"^ {4}(FILEWIRE_[A-Z_]+):", (ROOT / "docker-compose.yml").read_text(), re.MULTILINE))
        hold(named == passed, f"settings and docker-compose.yml differ in {sorted(named ^ passed)}")
        return f"{len(named)} settings"

    def image_is_built(self) -> str:
        """The image builds, has no compiler and no pip of its own, and does not run as root."""
        self.compose("build", "--quiet", seconds=600)
        config = json.loads(self.compose.docker("image", "inspect", self.compose.image))[0]
        hold(config["Config"]["User"].partition(":")[0] == UID, f"its user is {config['Config']['User']}")
        present = "import importlib.util, shutil; print(shutil.which('cc'), importlib.util.find_spec('pip'))"
        said = self.compose.docker("run", "--rm", "--network=none", self.compose.image, "python", "-c", present)
        hold(said == "None None", f"compiler and pip: {said}")
        return f"{config['Size'] // MIB} MiB"

    def everything_becomes_healthy(self) -> str:
        """From nothing to all services healthy, without a .env."""
        self.compose.up()
        return ", ".join(self.compose.services())

    # --- as it is -----------------------------------------------------------------------------------------------

    def every_part_is_ready(self) -> str:
        """`/readyz` says ok for the database, the broker, the storage and the worker."""
        found = poll("/readyz", 30, self._readiness)
        hold(set(found["checks"].values()) == {"ok"}, str(found))
        return ", ".join(found["checks"])

    def _readiness(self) -> Any:
        status, _, body = self.client.request("GET", "/readyz")
        return json.loads(body) if status == 200 else None

    def containers_are_locked_down(self) -> str:
        """No root user, no writable root, no capability, no new privileges; the worker has no way out."""
        for service in self.compose.services():
            for container in self.compose.containers(service):
                host = self.compose.inspect(container)["HostConfig"]
                hold(host["ReadonlyRootfs"], f"{service}: the root is writable")
                hold([c.removeprefix("CAP_") for c in host["CapDrop"]] == ["ALL"], f"{service}: {host['CapDrop']}")
                hold(not host["CapAdd"], f"{service}: has {host['CapAdd']}")
                hold(any("no-new-privileges" in o for o in host["SecurityOpt"]), f"{service}: new privileges")
                hold(host["RestartPolicy"]["Name"] == "unless-stopped", f"{service}: {host['RestartPolicy']}")
                hold(host["Memory"] > 0, f"{service}: no memory limit")
            uid = self.compose("exec", "-T", service, "id", "-u")
            hold(uid != "0", f"{service}: runs as root")
            hold(service not in ("web", "live", "worker") or uid == UID, f"{service}: runs as {uid}")
            status = self.compose("exec", "-T", service, "cat", "/proc/1/status")
            hold(re.search(r"^CapEff:\s*0+$", status, re.MULTILINE), f"{service}: the first process has capabilities")
            tried = self.compose("exec", "-T", service, "sh", "-c", "touch /proof 2>&1 || true")
            hold("Read-only file system" in tried, f"{service}: its root can be written: {tried!r}")
        way_out = "import socket\ntry: socket.create_connection(('1.1.1.1', 53), 2)\nexcept OSError: print('none')"
        hold(self.compose("exec", "-T", "worker", "python", "-c", way_out) == "none", "the worker has a way out")
        mode = self.compose("exec", "-T", "web", "stat", "-c", "%a %u", "/data/secret_key")
        hold(mode == f"600 {UID}", f"the secret key's mode and owner: {mode}")
        return "read-only roots, no capabilities"

    # --- uploads ------------------------------------------------------------------------------------------------

    def _one_more(self) -> dict[str, Any]:
        """A small upload, processed; it is remembered."""
        self.number += 1
        file = self.client.processed(self.client.upload(text_of(self.number), f"proof-{self.number}.txt"))
        self.known[file["id"]] = file["sha256"]
        return file

    def a_form_is_processed(self) -> str:
        """`curl -F` is answered 201 with the client's own URL, and the file is processed."""
        path = self.directory / "form.txt"
        path.write_bytes(text_of(0))
        status, _, body = self.client.curl("-F", f"file=@{path}", f"{self.client.url}/upload/")
        hold(status == 201, f"{status} {body}")
        file = json.loads(body)
        hold(file["file"] == f"{self.client.url}/files/{file['id']}/content/", f"its URL is {file['file']}")
        started = time.monotonic()
        self.client.processed(file)
        took = time.monotonic() - started
        self.known[file["id"]] = file["sha256"]
        # From here on this socket is left alone: see an_idle_socket_stays_open.
        self._leave_idle(f"/ws/files/{file['id']}/")
        return f"processed after {took:.2f} s"

    def _leave_idle(self, path: str = "/ws/files/") -> None:
        self.idle_sockets.close()
        stream = self.idle_sockets.enter_context(self.client.socket(path, ping_interval=None))
        hold(next(frames(stream, 10))["type"] == "hello", "the first frame is no hello")
        self.idle = (stream, time.monotonic())

    def _large(self, size: int) -> Path:
        path = self.directory / f"{size}.bin"
        if not path.exists():
            block = secrets.token_bytes(MIB)
            with path.open("wb") as stream:
                for _ in range(size // MIB):
                    stream.write(block)
        return path

    def a_large_body_passes(self) -> str:
        """100 MiB by `curl -T` are kept whole, though nginx has room for 64 MiB; a range of them comes back."""
        path = self._large(LARGE_BYTES)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        started = time.monotonic()
        url = f"{self.client.url}/upload/?filename=large.bin"
        status, _, body = self.client.curl("-X", "POST", "-T", str(path), url.replace("/upload/?", "/upload?"))
        took = time.monotonic() - started
        hold(status == 201, f"{status} {body}")
        file = json.loads(body)
        hold((file["size"], file["sha256"]) == (LARGE_BYTES, digest), f"{file['size']} bytes, {file['sha256']}")
        self.client.processed(file)
        self.known[file["id"]] = digest
        hold(self.client.sha256_of(file["id"]) == digest, "other bytes came back")
        status, headers, part = self.client.request("GET", f"/files/{file['id']}/content/", Range="bytes=5-14")
        hold(status == 206 and len(part) == 10, f"a range: {status}, {len(part)} bytes")
        hold(headers["Content-Range"] == f"bytes 5-14/{LARGE_BYTES}", f"{headers['Content-Range']}")
        return f"in {took:.2f} s, {LARGE_BYTES / MIB / took:.0f} MiB/s"

    def a_too_large_body_is_refused(self) -> str:
        """413 in the contract's shape: by Content-Length before the body, and at the first byte over without one."""
        path = self._large(MAX_FILE_BYTES + MIB)
        url = f"{self.client.url}/upload?filename=too-large.bin"
        roads = {
            "raw": ("-X", "POST", "-T", str(path), url),
            "raw, unasked": ("-H", "Expect:", "-X", "POST", "-T", str(path), url),
            "chunked": ("-H", "Transfer-Encoding: chunked", "-X", "POST", "-T", str(path), url),
            "form": ("-F", f"file=@{path}", f"{self.client.url}/upload/"),
        }
        for words in roads.values():
            status, content_type, body = self.client.curl(*words)
            problem(status, content_type, body, 413, "file_too_large")
        self._nothing_half_kept()
        return ", ".join(roads)

    def _nothing_half_kept(self) -> None:
        def empty() -> bool:
            return self.compose("exec", "-T", "web", "ls", "/data/files/incoming") == ""

        poll("no upload is half-kept", 10, empty)

    # --- the feed -----------------------------------------------------------------------------------------------

    def events_arrive_and_are_replayed(self) -> str:
        """A WebSocket sees a file's life; one that comes back with an earlier id sees the same again, and no more."""
        seen: list[dict[str, Any]] = []
        with self.client.socket() as stream:
            hello = next(frames(stream, 10))
            hold(hello["type"] == "hello", f"the first frame is {hello}")
            stream.send('{"type": "ping"}')
            hold(next(frames(stream, 10))["type"] == "pong", "a ping is not answered")
            file = self._one_more()
            for frame in frames(stream, PROCESSED_SECONDS):
                if frame.get("subject") == file["id"]:
                    seen.append(frame)
                    if frame["type"] in TERMINAL:
                        break
        hold(seen[0]["type"] == "file.queued" and seen[-1]["type"] == "file.processed", str([e["type"] for e in seen]))
        again: list[dict[str, Any]] = []
        with self.client.socket(f"/ws/files/?after={hello['data']['cursor']}") as stream:
            hold(next(frames(stream, 10))["type"] == "hello", "no hello at the second time")
            for frame in frames(stream, 10):
                if frame.get("subject") == file["id"]:
                    again.append(frame)
                    if frame["type"] in TERMINAL:
                        break
        hold([e["id"] for e in again] == [e["id"] for e in seen], "the replay differs")
        with self.client.socket(f"/ws/files/?after={seen[-1]['id']}") as stream:
            hold(next(frames(stream, 10))["type"] == "hello", "no hello at the third time")
            later = self._one_more()
            first = next(frames(stream, 10))
            hold(first["subject"] == later["id"], f"a frame that was seen before: {first}")
        return " ".join(event["type"] for event in seen)

    def events_arrive_over_http(self) -> str:
        """Server-Sent Events and a long poll bring an event at once: nothing on the way holds them back."""
        connection = http.client.HTTPConnection("127.0.0.1", self.client.port, timeout=30)
        connection.request("GET", "/files/events/", headers={"Accept": "text/event-stream"})
        response = connection.getresponse()
        hold(response.status == 200, f"the stream: {response.status}")
        cursor = self._next_event(response)["data"]["cursor"]
        file = self.client.upload(text_of(-1), "sse.txt")
        asked = time.monotonic()
        while (event := self._next_event(response))["type"] != "file.processed":
            hold(event["subject"] == file["id"], f"a strange event: {event}")
        took = time.monotonic() - asked
        connection.close()
        self.known[file["id"]] = file["sha256"]
        missed = self.client.get(f"/files/events/?after={cursor}&wait=10")
        hold({e["subject"] for e in missed["events"]} == {file["id"]}, f"the poll: {missed}")
        return f"processed was told {took:.2f} s after the 201"

    def _next_event(self, response: http.client.HTTPResponse) -> dict[str, Any]:
        while line := response.readline():
            if line.startswith(b"data: "):
                event: dict[str, Any] = json.loads(line[6:])
                return event
        raise Broken("the stream ended")

    def foreign_pages_are_refused(self) -> str:
        """A page of the same origin may open a WebSocket through nginx, one of another may not; nor a wrong Host."""
        with self.client.socket(origin=self.client.url) as stream:
            hold(next(frames(stream, 10))["type"] == "hello", "the same origin is refused")
        try:
            with self.client.socket(origin="https://elsewhere.example"):
                raise Broken("a foreign origin is let in")
        except InvalidStatus as error:
            hold(error.response.status_code == 403, f"a foreign origin: {error.response.status_code}")
        status, headers, body = self.client.request("GET", "/files/", Host="elsewhere.example")
        problem(status, headers.get_content_type(), body.decode(), 400)
        return "same origin yes, others 403, a strange Host 400"

    # --- nginx ----------------------------------------------------------------------------------------------------

    def nginx_speaks_the_same_errors(self) -> str:
        """What nginx refuses itself has the contract's shape; while web or live is away, with Retry-After."""
        for path, headers, wanted in (
            (f"/files/?{'a' * 70_000}", {}, 414),
            ("/files/", {"X-Large": "a" * 20_000}, 431),
            ("/.problem/502", {}, 404),
        ):
            status, told, body = self.client.request("GET", path, **headers)
            problem(status, told.get_content_type(), body.decode(), wanted)
        with socket.create_connection(("127.0.0.1", self.client.port), timeout=10) as raw:
            raw.sendall(b"no request\r\n\r\n")
            answer = http.client.HTTPResponse(raw)
            answer.begin()
            problem(answer.status, answer.headers.get_content_type(), answer.read().decode(), 400)
        for service, path in (("web", "/files/"), ("live", "/ws/files/")):
            self.compose("stop", service)
            status, told, body = self.client.request("GET", path)
            # 504 while nginx still remembers the address, where nobody says no any more; 502 once the name is gone.
            hold(status in (502, 504), f"{service} is away: {status}")
            problem(status, told.get_content_type(), body.decode(), status)
            hold(told["Retry-After"] and told["X-Request-ID"], f"no Retry-After or X-Request-ID: {told.items()}")
            self.compose.up()
        # The idle socket was live's: a new one takes its place.
        poll("the old socket is closed", 10, self._is_closed)
        self._leave_idle()
        status, told, _ = self.client.request("GET", "/healthz", X_Request_ID="proof-1")
        hold(told["X-Request-ID"] == "proof-1", f"the client's request id became {told['X-Request-ID']}")
        return "400 404 414 431, 502 or 504"

    def _is_closed(self) -> bool:
        try:
            if self.idle is not None:
                self.idle[0].recv(timeout=0.1)
        except TimeoutError:
            return False
        except ConnectionClosed:
            return True
        return False

    # --- scaling and moving ---------------------------------------------------------------------------------------

    def scaled_parts_share_the_work(self) -> str:
        """Two of each part: requests reach both web containers, and both workers are there."""
        self.compose.up("--scale", "web=2", "--scale", "worker=4", "--scale", "live=2")
        since = str(int(time.time()))

        def both_answer() -> bool:
            self.client.get("/files/?page_size=1")
            lines = self.compose("logs", "--no-log-prefix", "--since", since, "nginx").splitlines()
            return len({m[1] for line in lines if (m := re.search(r"upstream=([0-9.]+):8000", line))}) == 2

        poll("both web containers answer", 30, both_answer)
        for _ in range(5):
            self.number += 1
            file = self.client.upload(text_of(self.number), f"proof-{self.number}.txt")
            for _ in range(4):
                newest = self.client.get("/files/?page_size=1")["results"][0]["id"]
                hold(newest == file["id"], "an upload that was answered is missing from a list")
            self.known[self.client.processed(file)["id"]] = file["sha256"]
        return "two web and two live, four workers; either web lists what the other answered"

    def a_rolling_restart_fails_no_request(self) -> str:
        """One web container after the other is restarted while clients upload and list: every request is answered.

        An upload that met the container's last moment may be told 502, and is sent again under its key: one in a
        hundred at most.
        """
        over, wrong, again = threading.Event(), list[str](), list[str]()
        done: dict[str, str] = {}

        def work(number: int) -> None:
            count = 0
            while not over.is_set():
                content = text_of(-1000 * (number + 1) - count)
                path, key = f"/upload/?filename=roll-{number}-{count}.txt", secrets.token_hex(8)
                status, _, body = self.client.request("POST", path, content, Idempotency_Key=key)
                if status == 502:  # sent in the very moment in which the container let go of its door: said again
                    again.append(key)
                    status, _, body = self.client.request("POST", path, content, Idempotency_Key=key)
                if status == 201:
                    file = json.loads(body)
                    done[file["id"]] = file["sha256"]
                else:
                    wrong.append(f"POST {status}")
                status, _, _ = self.client.request("GET", "/files/?page_size=1")
                if status != 200:
                    wrong.append(f"GET {status}")
                count += 1

        seen = set[str]()

        def listen(stream: ClientConnection) -> None:
            for frame in frames(stream, 240):
                if frame["type"] == "file.processed":
                    seen.add(frame["subject"])
                if over.is_set() and seen >= set(done):
                    return

        with self.client.socket() as stream, ThreadPoolExecutor(9) as threads:
            hold(next(frames(stream, 10))["type"] == "hello", "no hello")
            listening = threads.submit(listen, stream)
            working = [threads.submit(work, number) for number in range(8)]
            try:
                for container in self.compose.containers("web"):
                    self.compose.docker("restart", "-t", "15", container)
                    poll("it is healthy again", 60, lambda it=container: self._is_healthy(it))
            finally:
                over.set()
            for each in working:
                each.result()  # a connection that broke raises here
            hold(not wrong, f"{len(wrong)} of {2 * len(done)} requests failed: {sorted(set(wrong))}")
            hold(len(again) <= len(done) / 100, f"{len(again)} of {len(done)} uploads had to be sent again")
            self._one_more()  # so that there is one more frame to come
            listening.result()
        self.known |= done
        return (
            f"{2 * len(done)} requests answered, {len(again)} of them at the second try; each upload told as processed"
        )

    def _is_healthy(self, container: str) -> bool:
        return bool(self.compose.inspect(container)["State"]["Health"]["Status"] == "healthy")

    def a_part_may_move(self) -> str:
        """With the first web and live containers gone, nginx finds the second ones, at other addresses."""
        gone = [self.compose.containers(service)[0] for service in ("web", "live")]
        self.compose.docker("rm", "--force", *gone)
        poll("/healthz from the other web", 20, lambda: self.client.request("GET", "/healthz")[0] == 200)
        for _ in range(5):
            self._one_more()
        with self.client.socket() as stream:
            hold(next(frames(stream, 10))["type"] == "hello", "no hello from the other live")
        self.compose.up("--scale", "web=1", "--scale", "worker=1", "--scale", "live=1")
        self._leave_idle()
        return "nginx was not restarted"

    # --- stopping -------------------------------------------------------------------------------------------------

    def web_finishes_what_is_under_way(self) -> str:
        """An upload that is half sent when web is told to stop is still answered 201, and processed later."""
        content, name = text_of(-2) * 4000, "slow.txt"
        connection = http.client.HTTPConnection("127.0.0.1", self.client.port, timeout=30)
        connection.putrequest("POST", f"/upload/?filename={name}")
        connection.putheader("Content-Length", str(len(content)))
        connection.endheaders()
        connection.send(content[: len(content) // 2])

        def arriving() -> bool:
            return self.compose("exec", "-T", "web", "ls", "/data/files/incoming") != ""

        poll("the upload arrives", 10, arriving)
        container = self.compose.containers("web")[0]
        stopping = subprocess.Popen(
            ["docker", "compose", "stop", "web"],  # noqa: S607
            env=self.compose.environment,
            cwd=ROOT,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

        # It listens no more as soon as it has been told.
        poll("web takes nothing new", 8, lambda: self.client.request("GET", "/healthz")[0] in (502, 504))
        connection.send(content[len(content) // 2 :])
        response = connection.getresponse()
        body = response.read()
        hold(response.status == 201, f"the upload: {response.status} {body[:200]!r}")
        connection.close()
        stopping.wait(30)
        status = self.compose.inspect(container)["State"]["ExitCode"]
        hold(status in STOPPED, f"web ended with status {status}")
        self.compose.up()
        file = self.client.processed(json.loads(body))
        self.known[file["id"]] = hashlib.sha256(content).hexdigest()
        return f"201 during the stop, exit status {status}"

    def an_idle_socket_stays_open(self) -> str:
        """A WebSocket that hears nothing for longer than 60 s is kept open through nginx by the server's pings."""
        if self.idle is None:
            raise Broken("no socket was opened")
        stream, since = self.idle
        left = since + IDLE_SECONDS - time.monotonic()
        try:
            while left > 0:  # what it hears meanwhile are other files' events; after them, silence
                try:
                    stream.recv(timeout=left)
                    since = time.monotonic()
                except TimeoutError:
                    pass
                left = since + IDLE_SECONDS - time.monotonic()
            file = self._one_more()
            event = next(frames(stream, 10))
        except ConnectionClosed as error:
            raise Broken(f"the idle socket was closed: {error}") from error
        hold(event["subject"] == file["id"], f"after the silence: {event}")
        self.idle_sockets.close()
        return f"silent for {IDLE_SECONDS:g} s, then the next event"

    def parts_stop_in_time(self) -> str:
        """Each part stops within its grace by itself: none is killed."""
        took = []
        for service in ("nginx", "worker", "live", "web", "redis", "postgres"):
            container = self.compose.containers(service)[0]
            started = time.monotonic()
            self.compose("stop", service)
            seconds = time.monotonic() - started
            status = self.compose.inspect(container)["State"]["ExitCode"]
            hold(status != KILLED, f"{service} was killed after {seconds:.1f} s")
            hold(status in STOPPED, f"{service} ended with status {status}")
            took.append(f"{service} {seconds:.1f}")
        self.compose.up()
        return ", ".join(took) + " s"

    def a_stopped_worker_loses_nothing(self) -> str:
        """Files queued while no worker is there, and while one stops, are processed when it is back, each once."""
        self.compose("stop", "worker")
        status, told, body = self.client.request("GET", "/readyz")
        while status == 200:  # a worker that has gone may be believed for 10 s
            status, told, body = self.client.request("GET", "/readyz")
            time.sleep(0.2)
        hold(status == 503 and told["Retry-After"], f"/readyz without a worker: {status} {body!r}")
        with self.client.socket() as stream:
            hold(next(frames(stream, 10))["type"] == "hello", "no hello")
            files = [self.client.upload(text_of(n), f"queued-{n}.txt") for n in range(100, 140)]
            self.compose.up()
            self.compose("restart", "worker")  # in the middle of them, or just after
            for file in files:
                self.client.processed(file)
            ends: dict[str, int] = {}
            try:
                for frame in frames(stream, 3):
                    if frame["type"] in TERMINAL:
                        ends[frame["subject"]] = ends.get(frame["subject"], 0) + 1
            except TimeoutError:
                pass
        hold(ends == {file["id"]: 1 for file in files}, f"ends of {len(files)} files: {sorted(ends.values())}")
        self.known.update({file["id"]: file["sha256"] for file in files})
        return f"{len(files)} files, one end each"

    # --- restarts -------------------------------------------------------------------------------------------------

    def _restarted(self, service: str) -> Callable[[], str]:
        def step() -> str:
            started = time.monotonic()
            self.compose("restart", service)
            restarted = time.monotonic()
            if service in ("redis", "live", "worker"):
                # These may be away: an upload is taken all the same, at once.
                file = self.client.upload(text_of(self.number), f"after-{service}.txt")
                self.known[self.client.processed(file)["id"]] = file["sha256"]
            poll("/readyz", 60, self._readiness)
            self._one_more()
            poll("a WebSocket", 30, self._says_hello)
            self._all_listed()
            took = time.monotonic() - restarted
            return f"restart {restarted - started:.1f} s, ready and processed {took:.1f} s later"

        step.__name__ = f"{service}_restarts"
        return step

    def _says_hello(self) -> bool:
        try:
            with self.client.socket() as stream:
                return next(frames(stream, 5))["type"] == "hello"
        except InvalidStatus as error:
            raise OSError(str(error)) from error

    def crashed_parts_come_back(self) -> str:
        """A part whose process dies is started again by the engine, without anyone's hand."""
        killed = "import os, signal; os.kill(-1, signal.SIGKILL)"  # all of this container but its first process
        for service in ("web", "live", "worker"):
            container = self.compose.containers(service)[0]
            self.compose("exec", "-T", service, "python", "-c", killed, check=False)

            def again(container: str = container) -> bool:
                found = self.compose.inspect(container)
                return found["RestartCount"] > 0 and found["State"].get("Health", {}).get("Status") == "healthy"

            poll(f"{service} is back", 60, again)
        self._one_more()
        poll("a WebSocket", 30, self._says_hello)
        return "web, live, worker"

    def everything_restarts_at_once(self) -> str:
        """As after a power cut: every part is killed and started in no order; all come back, and nothing is lost."""
        self.compose("kill", "--signal", "SIGKILL")
        containers = [id_ for service in self.compose.services() for id_ in self.compose.containers(service)]
        self.compose.docker("start", *containers)
        started = time.monotonic()
        poll("/readyz", 90, self._readiness)
        took = time.monotonic() - started
        self._one_more()
        return f"ready after {took:.1f} s"

    def _all_listed(self) -> None:
        listed = self.client.files()
        lost = {id_ for id_, digest in self.known.items() if listed.get(id_) != digest}
        hold(not lost, f"lost: {sorted(lost)}")

    def nothing_is_lost(self) -> str:
        """Every file that was ever answered 201 is listed, and its bytes come back as they were sent."""
        self._all_listed()
        for file_id, digest in self.known.items():
            hold(self.client.sha256_of(file_id) == digest, f"{file_id} has other bytes")
        self._nothing_half_kept()
        return f"{len(self.known)} files"

    def a_backup_can_be_restored(self) -> str:
        """The two commands of docs/deployment.md save all, and a new, empty deployment made of them has every file."""
        dump, tar = self.directory / "database.dump", self.directory / "files.tar"
        database = ("exec", "-T", "postgres")
        self._piped(*database, "pg_dump", "--username=filewire", "--format=custom", "filewire", output=dump)
        self._piped("exec", "-T", "web", "tar", "-C", "/data", "-cf", "-", ".", output=tar)
        self.compose("down", "--volumes", "--timeout", "5")
        self.compose.up("postgres")
        self._piped(*database, "pg_restore", "--username=filewire", "--dbname=filewire", source=dump)
        self._piped("run", "--rm", "-T", "--no-deps", "web", "tar", "-C", "/data", "-xf", "-", source=tar)
        self.compose.up()
        self._one_more()
        self.nothing_is_lost()
        return f"{len(self.known)} files, {(dump.stat().st_size + tar.stat().st_size) // MIB} MiB"

    def _piped(self, *words: str, source: Path | None = None, output: Path | None = None) -> None:
        with (source or Path(os.devnull)).open("rb") as reading, (output or Path(os.devnull)).open("wb") as writing:
            done = subprocess.run(  # noqa: S603 - our own words
                ["docker", "compose", *words],  # noqa: S607
                env=self.compose.environment,
                cwd=ROOT,
                stdin=reading,
                stdout=writing,
                stderr=subprocess.PIPE,
                timeout=120,
            )
        hold(done.returncode == 0, f"{' '.join(words)}: status {done.returncode} {done.stderr.decode()[-500:]}")


def say(step: Callable[[], str | None]) -> None:
    """Run one step, and say how it went and how long it took."""
    name = step.__name__.replace("_", " ")
    started = time.monotonic()
    try:
        found = step()
    except BaseException:
        print(f"  BROKEN {time.monotonic() - started:6.1f} s  {name}", flush=True)
        raise
    print(f"  holds  {time.monotonic() - started:6.1f} s  {name}" + (f": {found}" if found else ""), flush=True)


@contextmanager
def taken_down(compose: Compose) -> Iterator[None]:
    """Whatever happens, leave no container, volume, network or image of this project behind."""
    try:
        yield
    except BaseException:
        print(compose("ps", "--all", check=False), file=sys.stderr)
        print(compose("logs", "--tail", "40", check=False), file=sys.stderr)
        raise
    finally:
        started = time.monotonic()
        compose("down", "--volumes", "--remove-orphans", "--timeout", "5", check=False)
        compose.docker("image", "rm", "--force", compose.image, check=False)
        print(f"  down   {time.monotonic() - started:6.1f} s", flush=True)


def main() -> int:
    """The exit status."""
    for program in ("docker", "curl"):
        if shutil.which(program) is None:
            print(f"{program} is not there", file=sys.stderr)
            return 2
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # told to stop: take it down all the same
    compose = Compose()
    started = time.monotonic()
    try:
        with tempfile.TemporaryDirectory(prefix="filewire-proof-") as directory, taken_down(compose):
            Proof(compose, Path(directory)).run()
    except (Broken, subprocess.TimeoutExpired, TimeoutError, OSError, ConnectionClosed, InvalidStatus) as error:
        print(f"the proof broke after {time.monotonic() - started:.0f} s: {error}", file=sys.stderr)
        return 1
    print(f"everything held, in {time.monotonic() - started:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
