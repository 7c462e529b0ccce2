"""One file's whole life, through real processes."""

import io
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import httpx
import psutil
import pytest
from PIL import Image

from tests.acceptance.service import ROOT, Service, frames, refusal_of_serve, service, until
from tests.ports import free_port
from tests.servers import valkey

MIB = 1024 * 1024


def picture(width: int = 640, height: int = 480) -> bytes:
    """A JPEG."""
    buffer = io.BytesIO()
    Image.effect_noise((width, height), 60).convert("RGB").save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def of(file_id: str, found: list[dict]) -> list[str]:
    """The types of one file's events among the frames."""
    return [frame["type"] for frame in found if frame.get("subject") == file_id]


def is_last_of(file_id: str):
    """Whether a frame is the file's last of an attempt."""
    return lambda frame: frame.get("subject") == file_id and frame["type"] in ("file.processed", "file.failed")


def test_an_upload_is_processed_and_watched(running: Service):
    """A picture uploaded as .txt is known for what it is, seen live, listed, and has its thumbnail."""
    with running.listen() as socket:
        hello = json.loads(socket.recv(timeout=10))
        assert hello["type"] == "hello"
        document = running.upload(picture(), "holiday.txt")
        seen = frames(socket, is_last_of(document["id"]))
    types = of(document["id"], seen)
    assert types[0] == "file.queued"
    assert types[1] == "file.processing"
    assert types[-1] == "file.processed"
    assert set(types[2:-1]) <= {"file.progress"}
    file = running.file(document["id"])
    assert (file["status"], file["processed"], file["progress"]) == ("processed", True, 100)
    assert (file["kind"], file["content_type"], file["name"]) == ("image", "image/jpeg", "holiday.txt")
    assert (file["result"]["width"], file["result"]["height"]) == (640, 480)
    listed = httpx.get(f"{running.url}/files/", params={"processed": "true"}).json()["results"]
    assert file in listed
    thumbnail = httpx.get(file["derived"]["thumbnail"])
    assert thumbnail.headers["Content-Type"] == "image/webp"
    assert Image.open(io.BytesIO(thumbnail.content)).size[0] <= 512
    assert seen[-1]["data"]["id"] == file["id"]
    assert seen[-1]["data"]["file"] == f"/files/{file['id']}/content/"


def test_a_broken_file_fails_with_its_fault(running: Service):
    """A picture that ends in its middle is failed, with a code that names why."""
    file = running.finished(running.upload(picture()[:5000], "broken.jpg")["id"])
    assert (file["status"], file["processed"], file["result"]) == ("failed", False, None)
    assert file["error"]["code"] in ("image_broken", "image_truncated")


def test_a_deleted_file_leaves_nothing(running: Service):
    """Deletion takes the bytes and what was derived from them, and is the file's last event."""
    document = running.upload(picture(), "gone.jpg")
    running.finished(document["id"])
    digits = document["id"].replace("-", "")
    assert [path for path in running.stored() if digits in str(path)]
    with running.listen(f"/ws/files/{document['id']}/") as socket:
        json.loads(socket.recv(timeout=10))
        assert httpx.delete(f"{running.url}/files/{document['id']}/").status_code == 204
        assert frames(socket, lambda frame: frame["type"] == "file.deleted")
    assert httpx.get(f"{running.url}/files/{document['id']}/").status_code == 404
    assert not [path for path in running.stored() if digits in str(path)]


def test_reprocessing_is_a_new_attempt(running: Service):
    """A processed file is queued again as attempt 2, and has one more terminal event."""
    document = running.upload(b"once more\n")
    running.finished(document["id"])
    with running.listen(f"/ws/files/{document['id']}/") as socket:
        json.loads(socket.recv(timeout=10))
        answer = httpx.post(f"{running.url}/files/{document['id']}/reprocess/")
        assert (answer.status_code, answer.json()["attempt"], answer.json()["status"]) == (202, 2, "queued")
        seen = frames(socket, is_last_of(document["id"]))
    assert [frame["data"]["attempt"] for frame in seen] == [2] * len(seen)


def test_f05_a_reader_that_reconnects_misses_nothing(running: Service):
    """Across a broken connection, the cursor gives every event once and in order."""
    with running.listen() as socket:
        first = json.loads(socket.recv(timeout=10))["data"]["cursor"]
        ids = [running.upload(b"%d" % number)["id"] for number in range(10)]
        seen = [json.loads(socket.recv(timeout=10)) for _ in range(7)]
    cursor = seen[-1]["id"]
    for file_id in ids:
        running.finished(file_id)
    with running.listen(after=cursor) as socket:
        assert json.loads(socket.recv(timeout=10))["type"] == "hello"
        while len([frame for frame in seen if frame["type"] == "file.processed"]) < 10:
            seen.append(json.loads(socket.recv(timeout=20)))
    order = [tuple(map(int, frame["id"].split("-"))) for frame in seen]
    assert order == sorted(set(order))
    assert order[0] > tuple(map(int, first.split("-")))
    for file_id in ids:
        assert [kind for kind in of(file_id, seen) if kind != "file.progress"] == [
            "file.queued",
            "file.processing",
            "file.processed",
        ]


def test_the_three_ways_to_read_give_the_same_events(running: Service):
    """WebSocket, Server-Sent Events and long polling give the same events under the same ids."""
    with running.listen() as socket:
        cursor = json.loads(socket.recv(timeout=10))["data"]["cursor"]
        document = running.upload(b"three ways\n")
        by_socket = {frame["id"]: frame for frame in frames(socket, is_last_of(document["id"]))}
    polled, after = {}, cursor
    while not set(polled) >= set(by_socket):
        answer = httpx.get(f"{running.url}/files/events/", params={"after": after, "wait": 5}, timeout=20).json()
        polled |= {event["id"]: event for event in answer["events"]}
        after = answer["cursor"]
    streamed = {}
    headers = {"Accept": "text/event-stream", "Last-Event-ID": cursor}
    with httpx.stream("GET", f"{running.url}/files/events/", headers=headers, timeout=20) as stream:
        for line in stream.iter_lines():
            if line.startswith("data: ") and '"type":"file.' in line:
                event = json.loads(line[6:])
                streamed[event["id"]] = event
            if set(streamed) >= set(by_socket):
                break
    for event_id, frame in by_socket.items():
        assert polled[event_id] == streamed[event_id] == frame


def test_f10_a_large_upload_costs_no_memory(running: Service):
    """While 1 GiB comes in, no process grows by 32 MiB, the disk takes it once, and other requests are answered."""
    size = 1024 * MIB
    running.finished(
        running.upload(b"a small one first: by then every process has imported what it needs", "first")["id"]
    )
    before = running.memory()
    web = running.named("manage.py web")
    written = web.io_counters().write_chars
    peaks: dict[int, int] = {}
    waits: list[float] = []
    over = threading.Event()

    def watch() -> None:
        while not over.is_set():
            for pid, rss in running.memory().items():
                peaks[pid] = max(peaks.get(pid, 0), rss)
            began = time.monotonic()
            assert httpx.get(f"{running.url}/healthz").status_code == 200
            waits.append(time.monotonic() - began)
            over.wait(0.05)

    idle: list[float] = []  # how long an answer takes on a machine as busy as this one
    for _ in range(20):
        began = time.monotonic()
        httpx.get(f"{running.url}/healthz")
        idle.append(time.monotonic() - began)
    idle.sort()
    watcher = threading.Thread(target=watch)
    watcher.start()
    block = os.urandom(MIB)

    def body() -> Iterator[bytes]:
        for _ in range(1024):
            yield block

    try:
        answer = httpx.post(f"{running.url}/upload/?filename=large.bin", content=body(), timeout=120)
    finally:
        over.set()
        watcher.join()
    assert answer.status_code == 201, answer.text
    written = web.io_counters().write_chars - written
    running.finished(answer.json()["id"], 60)
    grown = {pid: (peak - before[pid]) / MIB for pid, peak in peaks.items() if pid in before}
    assert max(grown.values()) < 32, grown
    assert written < 1.01 * size
    waits.sort()
    assert waits[int(0.9 * len(waits))] < 0.1 + 3 * idle[int(0.9 * len(idle))], (waits, idle)
    httpx.delete(f"{running.url}/files/{answer.json()['id']}/")
    until(lambda: sum(path.stat().st_size for path in running.stored()) < size, 20, "the space is free again")


def test_f01_uploads_outlive_the_broker():
    """With Redis away uploads answer 201 at once; when it is back they are processed, each event seen once."""
    with valkey() as broker, service(REDIS_URL=broker.url) as running:
        with running.listen() as socket:
            cursor = json.loads(socket.recv(timeout=10))["data"]["cursor"]
        pids = {name: running.named(name).pid for name in ("manage.py web", "celery", "manage.py dispatcher")}
        broker.stop()
        ids = []
        for number in range(2):
            began = time.monotonic()
            document = running.upload(b"while Redis is away %d" % number)
            assert time.monotonic() - began < 2
            assert document["status"] == "queued"
            ids.append(document["id"])
        assert httpx.get(f"{running.url}/readyz", timeout=20).json()["checks"]["broker"] != "ok"
        assert {file["status"] for file in httpx.get(f"{running.url}/files/").json()["results"]} == {"queued"}
        broker.start()
        for file_id in ids:
            assert running.finished(file_id)["status"] == "processed"
        with running.listen(after=cursor) as socket:
            seen: list[dict] = []
            while len([frame for frame in seen if frame["type"] == "file.processed"]) < 2:
                seen.append(json.loads(socket.recv(timeout=20)))
        for file_id in ids:
            assert of(file_id, seen) == ["file.queued", "file.processing", "file.processed"]
        assert {name: running.named(name).pid for name in pids} == pids


def test_a_killed_part_comes_back():
    """Whichever process is killed is started again, and what was acknowledged is processed."""
    with service(FILEWIRE_LEASE_SECONDS="2", FILEWIRE_SWEEP_SECONDS="0.5") as running:
        for words in ("celery", "manage.py dispatcher", "manage.py worker", "manage.py web", "valkey-server"):
            document = running.upload(words.encode())
            victim = running.named(words)
            victim.kill()
            psutil.wait_procs([victim], timeout=10)
            until(running.is_ready, 60, f"ready again after {words} was killed")
            assert running.finished(document["id"], 60)["status"] == "processed"


@pytest.mark.parametrize("signal_name", ["SIGINT", "SIGTERM"])
def test_it_stops_within_seconds_and_keeps_everything(signal_name: str):
    """Ctrl-C and SIGTERM end every process; at the next start the files and the feed go on."""
    import signal

    with service() as running:
        with running.listen() as socket:
            cursor = json.loads(socket.recv(timeout=10))["data"]["cursor"]
        document = running.upload(b"kept\n")
        running.finished(document["id"])
        late = running.upload(b"just before the end\n")
        assert running.stop(getattr(signal, signal_name)) < 20
        running.start()
        assert running.finished(late["id"])["status"] == "processed"
        assert running.file(document["id"])["status"] == "processed"
        with running.listen(after=cursor) as socket:
            seen = frames(socket, is_last_of(late["id"]))
        for file_id in (document["id"], late["id"]):
            types = of(file_id, seen)
            assert types.count("file.queued") == types.count("file.processed") == 1


def test_two_services_cannot_share_a_port(running: Service):
    """A taken port is said in words, before anything is started."""
    said = refusal_of_serve(PORT=str(running.port))
    assert f"127.0.0.1:{running.port} cannot be served" in said


def test_two_web_processes_list_what_either_answered(running: Service):
    """A second web process beside the first: each lists, at once, what the other has answered or an event has told."""
    port = free_port()
    environment = running.named("manage.py web").environ()
    command = [sys.executable, "manage.py", "web", f"--port={port}"]
    second = subprocess.Popen(command, cwd=ROOT, env=environment)
    urls = [running.url, f"http://127.0.0.1:{port}"]
    try:
        until(lambda: _answers(urls[1]), 30, "the second web process answers")
        with httpx.Client(timeout=30) as client:
            tags = dict.fromkeys(urls, "")
            for number in range(20):
                here, there = urls[number % 2], urls[(number + 1) % 2]
                file = client.post(f"{here}/upload/?filename={number}.txt", content=b"%d" % number).json()
                for url in (there, here, there):
                    page = client.get(f"{url}/files/", headers={"If-None-Match": tags[url]})
                    if page.status_code == 304:
                        assert url == there  # asked for the second time, and nothing has changed since
                        continue
                    assert [each["name"] for each in page.json()["results"]].count(file["name"]) == 1
                    tags[url] = page.headers["ETag"]
                running.finished(file["id"])
                listed = client.get(f"{there}/files/").json()["results"]
                assert [each["status"] for each in listed if each["id"] == file["id"]] == ["processed"]
                assert client.delete(f"{here}/files/{file['id']}/").status_code == 204
                assert file["id"] not in client.get(f"{there}/files/").text
    finally:
        second.terminate()
        second.wait(30)


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/healthz", timeout=5).status_code == 200
    except httpx.TransportError:
        return False
