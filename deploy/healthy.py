"""Whether the process in this container is healthy: `python deploy/healthy.py web|live|worker`. Exit status 0 is yes.

web, live: `/healthz` answers. worker: this worker, not just any, has said within the last seconds that it is there.
No Django: a check every few seconds must cost little.
"""

import http.client
import os
import socket
import sys
import time

PORTS = {"web": 8000, "live": 8001}
WORKERS = "filewire:workers"  # apps/processing/presence.py
ANSWER_SECONDS = 3.0


def answers(port: int) -> bool:
    """Whether the server on this port says that it lives."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=ANSWER_SECONDS)
    try:
        connection.request("GET", "/healthz")
        return connection.getresponse().status == 200
    finally:
        connection.close()


def is_present(redis_url: str) -> bool:
    """Whether the worker of this host is still believed to be there."""
    import redis

    client = redis.Redis.from_url(redis_url, socket_timeout=ANSWER_SECONDS, socket_connect_timeout=ANSWER_SECONDS)
    believed_until = client.zscore(WORKERS, f"celery@{socket.gethostname()}")
    return believed_until is not None and float(believed_until) > time.time()


def main(name: str) -> int:
    """The exit status; what is wrong goes to stderr, where `docker inspect` shows it."""
    try:
        healthy = is_present(os.environ["REDIS_URL"]) if name == "worker" else answers(PORTS[name])
    except Exception as error:  # whatever it is, the answer is no
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    return 0 if healthy else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
