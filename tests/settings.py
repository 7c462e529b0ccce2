"""The service's settings, on the servers that `python -m tests` started, in a data directory of the tests' own."""

import os
import tempfile
from pathlib import Path

if "FILEWIRE_DATA_DIR" not in os.environ:
    os.environ["FILEWIRE_DATA_DIR"] = tempfile.mkdtemp(prefix="filewire-tests-")
os.environ.setdefault("SECRET_KEY", "only-for-tests")

from project.settings import *  # noqa: F403
from project.settings import DATABASES, FILEWIRE_DATA_DIR

ALLOWED_HOSTS = ["testserver", "localhost", "127.0.0.1"]
if DATABASES["default"]["ENGINE"].endswith("sqlite3"):
    # A file: the service uses the database from several threads, which could not share one in memory.
    DATABASES["default"]["TEST"] = {"NAME": str(Path(FILEWIRE_DATA_DIR) / "test.sqlite3")}
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
