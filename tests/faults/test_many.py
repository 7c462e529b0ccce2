"""Many uploads, many tasks, many clients: nothing is lost, doubled, leaked or held on to."""

import socket
import struct
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
import redis

from tests.acceptance.service import Service, until
from tests.faults.harness import (
    QUICK,
    Witness,
    celery_main,
    drill,
    drilled,
    has_ended,
    leftovers,
    pool,
    sandboxes,
    verify,
)
from tests.servers import Valkey, valkey

MIB = 1024 * 1024


@pytest.fixture(scope="module")
def broker() -> Iterator[Valkey]:
    """A Valkey that the tests can ask."""
    with valkey() as server:
        yield server


@pytest.fixture(scope="module")
def running(broker: Valkey) -> Iterator[Service]:
    """A service on it, with short delays."""
    with drilled(REDIS_URL=broker.url, **QUICK) as found:
        yield found


def upload_many(running: Service, count: int, content: bytes = b"number %d\n") -> list[str]:
    """The ids of so many small files, sent by several clients at once."""
    client = httpx.Client(base_url=running.url, timeout=60)

    def send(number: int) -> str:
        answer = client.post("/upload/", files={"file": (f"{number}.txt", content % number)})
        assert answer.status_code == 201, answer.text
        file_id: str = answer.json()["id"]
        return file_id

    with client, ThreadPoolExecutor(8) as threads:
        return list(threads.map(send, range(count)))


def test_f13_a_row_is_there_before_its_task(running: Service):
    """200 uploads at once: no task looks for a row in vain, and each is one attempt."""
    with Witness(running) as witness:
        ids = upload_many(running, 200)
        witness.await_ends(ids, 120)
        found = verify(running, witness, ids)
    assert {(file["status"], file["attempt"]) for file in found.values()} == {("processed", 1)}
    assert not [line for line in running.output if "DoesNotExist" in line]


def memory_of(running: Service) -> float:
    """What the worker's processes hold, in MiB; pages that they share count once."""
    processes = [celery_main(running), *pool(running), *sandboxes(running)]
    return sum(process.memory_full_info().pss for process in processes) / MIB


def test_f08_two_thousand_tasks_leave_nothing_behind(running: Service, broker: Valkey):
    """Through one prefork worker: Redis' clients stay as many as they were, no loop is closed under anyone, and memory
    grows by 20 MiB at most beyond the first hundred."""
    with Witness(running) as witness, redis.Redis.from_url(broker.url) as client:
        ids = upload_many(running, 100)
        witness.await_ends(ids, 60)
        clients, memory = client.info("clients")["connected_clients"], memory_of(running)
        more = upload_many(running, 1900)
        witness.await_ends(more, 300)
        # A few more when many asked at once, as a pool keeps them; not one for each task, or for a hundred.
        until(lambda: client.info("clients")["connected_clients"] <= clients + 8, 20, "no client was left behind")
        grown = memory_of(running) - memory
        verify(running, witness, [*ids, *more][::50])
    assert grown < 20
    assert not [line for line in running.output if "Event loop is closed" in line]
    print(f"memory grew by {grown:.1f} MiB")


def test_f04_a_message_that_redis_gives_out_again_is_no_second_run():
    """With a visibility time-out far shorter than the work, the message comes again and again: one attempt, one end."""
    given = {"FILEWIRE_VISIBILITY_SECONDS": "1", "FILEWIRE_LEASE_SECONDS": "60"}
    with drilled(**given) as running, Witness(running) as witness:
        file_id = running.upload(drill("sleep 25"))["id"]
        until(lambda: [line for line in running.output if "is not waiting any more" in line], 60, "it came again")
        assert running.file(file_id)["status"] == "processing"
        witness.await_ends([file_id], 60)
        file = verify(running, witness, [file_id])[file_id]
        assert (file["status"], file["attempt"]) == ("processed", 1)
        assert len(file["derived"]) == 1
        made = [path for path in running.stored() if path.name == "made.txt"]
        assert len(made) == 1


def test_f12_a_hundred_uploads_that_are_reset_leave_nothing(running: Service):
    """RST in the middle of the body, from the first byte to the last but one: no row, no bytes, no descriptor."""
    web = running.named("manage.py web")
    count = _rows(running)
    before = (web.num_fds(), len(running.stored()))
    body = b"x" * 600_000
    for number in range(100):
        sent = len(body) * number // 100
        with socket.create_connection(("127.0.0.1", running.port)) as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            head = f"POST /upload/?filename=a.bin HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(body)}\r\n\r\n"
            client.sendall(head.encode() + body[:sent])
    until(lambda: len(running.stored()) == before[1], 20, "no bytes are left")
    until(lambda: web.num_fds() <= before[0] + 2, 20, "no descriptor is left")
    assert _rows(running) == count


def _rows(running: Service) -> int:
    count, url = 0, f"{running.url}/files/?page_size=200"
    while url:
        page = httpx.get(url, timeout=30).json()
        count, url = count + len(page["results"]), page["next"]
    return count


def test_f27_twenty_equal_uploads_at_once_are_one_file():
    """Under one Idempotency-Key: one row, twenty equal answers; the key outlives a restart; another body is 409."""
    with drilled(**QUICK) as running:
        barrier = threading.Barrier(20)

        def send(_: int) -> httpx.Response:
            barrier.wait(20)
            return httpx.post(
                f"{running.url}/upload/",
                files={"file": ("twenty.txt", b"equal\n")},
                headers={"Idempotency-Key": "twenty"},
                timeout=60,
            )

        with ThreadPoolExecutor(20) as threads:
            answers = list(threads.map(send, range(20)))
        assert {answer.status_code for answer in answers} == {201}
        assert len({answer.text for answer in answers}) == 1
        assert sorted(answer.headers.get("Idempotency-Replayed", "") for answer in answers) == [""] + ["true"] * 19
        running.stop()
        running.start()
        barrier = threading.Barrier(1)
        again = send(0)
        assert (again.text, again.headers["Idempotency-Replayed"]) == (answers[0].text, "true")
        other = httpx.post(
            f"{running.url}/upload/",
            files={"file": ("twenty.txt", b"different\n")},
            headers={"Idempotency-Key": "twenty"},
        )
        assert (other.status_code, other.json()["code"]) == (409, "idempotency_key_reused")
        assert _rows(running) == 1


def test_equal_files_without_a_key_are_files_of_their_own(running: Service):
    """The same bytes twenty times at once are twenty files: nothing is refused, and deleting one leaves the others."""
    with Witness(running) as witness:
        ids = upload_many(running, 20, b"the very same\n%.0d")
        assert len(set(ids)) == 20
        witness.await_ends(ids)
        assert httpx.delete(f"{running.url}/files/{ids[0]}/").status_code == 204
        verify(running, witness, ids[1:])


def test_no_descriptor_and_no_bytes_are_left_after_all_of_it(running: Service):
    """When every file is deleted the storage is empty."""
    url = f"{running.url}/files/?page_size=200"
    with httpx.Client(timeout=60) as client:
        while results := client.get(url).json()["results"]:
            for file in results:
                client.delete(f"{running.url}/files/{file['id']}/")
    ends_at = time.monotonic() + 30
    while running.stored() and time.monotonic() < ends_at:
        time.sleep(0.05)
    assert leftovers(running) == []
    assert running.stored() == []
    assert all(process.num_fds() < 200 for process in running.processes() if not has_ended(process))
