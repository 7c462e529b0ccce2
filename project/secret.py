"""The secret key: given, or made once and kept beside the data, so that no copy of it is ever committed."""

import os
import secrets
from pathlib import Path


def kept_secret(path: Path) -> str:
    """The secret kept in this file (mode 0600), made at the first call; safe when several processes start at once."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not path.exists():
        # Not the process id: those coincide between containers that share the directory.
        candidate = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
        descriptor = os.open(candidate, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as stream:
            stream.write(secrets.token_urlsafe(50))
        try:
            os.link(candidate, path)  # atomic: the first process wins, the others read its key
        except FileExistsError:
            pass
        finally:
            candidate.unlink()
    return path.read_text().strip()
