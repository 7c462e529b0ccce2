"""Who is measured: this service as it ships, and what else one might pick, each a small and honest program.

Every peer commits its row and sends its task before it answers; this service leaves the sending to its dispatcher. Two
more, nginx and a bare ASGI application, do neither, and are the limits. `serving.serving` starts one.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.load.database import execute
from tests.load.processes import ROOT
from tests.load.report import OURS

PEERS = ROOT / "tests" / "load" / "peers"
PYTHON = str(Path(sys.prefix) / "peers" / "bin" / "python")  # where `make bench` puts it
NGINX = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin") or ""
NGINX_LIMIT, SINK_LIMIT = "limit: nginx PUT", "limit: bare ASGI, uvicorn"
UVICORN = ("-m", "uvicorn", "--no-access-log", "--log-level=warning")

TABLE = """CREATE TABLE upload (id uuid PRIMARY KEY, file text NOT NULL, uploaded_at timestamptz NOT NULL,
    processed boolean NOT NULL); CREATE INDEX ON upload (uploaded_at DESC)"""
SEED = """INSERT INTO {table} (id, file, uploaded_at, processed)
    SELECT gen_random_uuid(), 'name-' || n || '.txt', now() - n * interval '1 second', true
    FROM generate_series(%s, %s) AS n"""
# One in ten is an image, one in a thousand has failed; ids, as the list's order, follow the moments of uploading.
OUR_SEED = """INSERT INTO files_file (id, file, name, size, content_type, declared_content_type, kind, sha256,
    uploaded_at, processed, status, progress, attempt, derived, error, request_id, version, changed_at, due_at, losses,
    faults)
    SELECT (lpad(to_hex((1.7e12 + n)::bigint), 12, '0') || '7' || substr(md5(n::text), 1, 3) || '8' ||
      substr(md5(n::text), 4, 15))::uuid, 'x', 'name-' || n || '.txt', n, 'text/plain', '',
      CASE WHEN mod(n, 10) = 0 THEN 'image' ELSE 'text' END, repeat('0', 64), to_timestamp((1.7e12 + n) / 1000),
      mod(n, 1000) <> 7, CASE WHEN mod(n, 1000) = 7 THEN 'failed' ELSE 'processed' END, 100, 1, '{{}}',
      CASE WHEN mod(n, 1000) = 7 THEN '{{"code": "unreadable", "detail": "It is broken."}}'::jsonb END,
      '', 3, now(), now(), 0, 0
    FROM generate_series(%s, %s) AS n"""
NGINX_CONFIG = """daemon off; worker_processes 1; pid {data}/../nginx.pid; error_log stderr error; {user}
events {{ worker_connections 1024; }}
http {{
  access_log off; keepalive_requests 100000000; client_max_body_size 0;
  client_body_temp_path {temporary}; proxy_temp_path {temporary}/p; fastcgi_temp_path {temporary}/f;
  uwsgi_temp_path {temporary}/u; scgi_temp_path {temporary}/s;
  server {{
    listen 127.0.0.1:{port}; root {data};
    location / {{ dav_methods PUT DELETE; create_full_put_path on; }}
  }}
}}
"""


@dataclass(frozen=True, kw_only=True)
class Contender:
    """A program and how it is started: its command for a port, and what its table is called."""

    name: str
    command: Callable[[int], Sequence[str]]
    table: str | None = "upload"
    seed: str = SEED
    environment: dict[str, str] = field(default_factory=dict)
    prepare: Callable[[dict[str, str], str], None] | None = None
    raw: bool = False  # whether it takes a body that is the file itself
    form: bool = True
    put: bool = False
    durable: bool = True  # whether it can be told to make files so before it answers
    probe: str = "/files/"


def _fast(name: str, **environment: str) -> Contender:
    return Contender(
        name=name,
        command=lambda port: [PYTHON, *UVICORN, f"--port={port}", "tests.load.peers.fast:application"],
        environment=environment,
        prepare=lambda environment, database: execute(database, TABLE),
    )


def _make_plain(environment: dict[str, str], database: str) -> None:
    code = "from tests.load.peers.plain import create_table; create_table()"
    subprocess.run([PYTHON, "-c", code], cwd=ROOT, env={**os.environ, **environment}, check=True)


def _make_node(environment: dict[str, str], database: str) -> None:
    execute(database, TABLE)
    if not (PEERS / "node" / "node_modules").is_dir():
        command = ["npm", "install", "--no-audit", "--no-fund", "--no-package-lock", "--loglevel=error"]
        subprocess.run(command, cwd=PEERS / "node", check=True)


def _make_nginx(environment: dict[str, str], database: str) -> None:
    data = Path(environment["DATA"])
    temporary = data.with_name(f"{data.name}-bodies")
    temporary.mkdir()
    user = "user root;" if os.geteuid() == 0 else ""
    config = NGINX_CONFIG.format(data=data, temporary=temporary, port=environment["PORT"], user=user)
    data.with_name("nginx.conf").write_text(config)
    environment["NGINX_CONF"] = str(data.with_name("nginx.conf"))


_PLAIN = "tests.load.peers.plain"
EVERY = (
    Contender(
        name=OURS,
        command=lambda port: [sys.executable, "manage.py", "web", "--migrate", f"--port={port}"],
        table="files_file",
        seed=OUR_SEED,
        raw=True,
    ),
    Contender(
        name="Django + DRF + Celery, uvicorn",
        command=lambda port: [PYTHON, *UVICORN, f"--port={port}", f"{_PLAIN}:application"],
        table="plain_upload",
        prepare=_make_plain,
    ),
    Contender(
        name="Django + DRF + Celery, gunicorn",
        command=lambda port: [
            PYTHON, "-m", "gunicorn", "--workers=1", "--threads=8", "--log-level=warning", f"--bind=127.0.0.1:{port}",
            f"{_PLAIN}:wsgi",
        ],
        table="plain_upload",
        prepare=_make_plain,
    ),
    _fast("FastAPI + asyncpg + Celery", QUEUE="celery"),
    _fast("FastAPI + asyncpg + arq", QUEUE="arq"),
    _fast("FastAPI + asyncpg + arq, with our group commit", QUEUE="arq", COMMIT="group"),
    Contender(
        name="Node express + multer + BullMQ",
        command=lambda port: ["node", str(PEERS / "node" / "server.js")],
        prepare=_make_node,
    ),
)  # fmt: skip

LIMITS = (
    Contender(
        name=NGINX_LIMIT,
        command=lambda port: ["sh", "-c", f'exec {NGINX} -e stderr -c "$NGINX_CONF"'],
        prepare=_make_nginx,
        table=None,
        raw=True,
        form=False,
        put=True,
        durable=False,
        probe="/",
    ),
    Contender(
        name=SINK_LIMIT,
        command=lambda port: [PYTHON, *UVICORN, f"--port={port}", "tests.load.peers.sink:application"],
        table=None,
        raw=True,
        durable=False,
        probe="/",
    ),
)


def contenders(only: Sequence[str], *, limits: bool = False) -> list[Contender]:
    """This service, and the peers whose names contain one of the words; all whose programs are there, without any."""
    found = [*EVERY[1:], *(LIMITS if limits else ())]
    if only:
        found = [each for each in found if any(word.lower() in each.name.lower() for word in only)]
    if not shutil.which("node"):
        found = [each for each in found if "Node" not in each.name]
    if not NGINX:
        found = [each for each in found if each.name != NGINX_LIMIT]
    return [EVERY[0], *found]
