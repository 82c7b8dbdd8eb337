"""What labels are, for a fingerprint: told without opening more than one file."""

import hashlib
from pathlib import Path


def labels_hash(labels: str | None) -> str:
    """What the labels are, for a fingerprint: a file's bytes, or a folder's names and sizes."""
    if labels is None:
        return ""
    path = Path(labels).expanduser()
    digest = hashlib.sha256()
    files = sorted(path.rglob("*")) if path.is_dir() else [path]
    for file in files:
        if file.is_file():
            digest.update(str(file.relative_to(path.parent)).encode() + str(file.stat().st_size).encode())
            if file == path:
                digest.update(file.read_bytes())
    return digest.hexdigest()[:32]
