"""`dinolake` on a lake in an S3 store, as tests look at it from outside."""

import io
from dataclasses import dataclass, field
from typing import Any

import pyarrow.parquet as pq
from place import Place
from servers import S3


@dataclass
class S3Place(Place):
    """A place whose lake is `s3://lake/one`; it speaks to the store through `endpoint`."""

    store: S3 = field(default_factory=lambda: S3(0))
    endpoint: str = ""

    @property
    def env(self) -> dict[str, str]:
        ours = {
            "DINOLAKE_LAKE": "s3://lake/one",
            "AWS_ENDPOINT_URL": self.endpoint or self.store.endpoint,
            "AWS_SHARED_CREDENTIALS_FILE": str(self.folder / "credentials"),
            "AWS_DEFAULT_REGION": "us-east-1",
        }
        return super().env | ours

    def give_keys(self, key_id: str) -> None:
        """Write the credentials file, as whoever renews keys does."""
        text = f"[default]\naws_access_key_id = {key_id}\naws_secret_access_key = secret-of-{key_id}\n"
        partial = self.folder / "credentials.new"
        partial.write_text(text)
        partial.replace(self.folder / "credentials")

    def committed(self, stage: str = "frame_embeddings") -> dict[str, str]:
        """Versions of a stage's files in the store, by key."""
        start = f"one/talks/{stage}/"
        found = self.store.objects().items()
        return {key: etag for key, etag in found if key.startswith(start) and key.endswith(".parquet")}

    def rows(self, stage: str) -> list[dict[str, Any]]:
        """All rows of a stage that are in the store, shard after shard."""
        client, rows = self.store.client(), []
        for key in sorted(self.committed(stage)):
            body = client.get_object(Bucket="lake", Key=key)["Body"].read()
            rows.extend(pq.read_table(io.BytesIO(body)).to_pylist())
        return rows
