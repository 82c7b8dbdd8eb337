"""What a stage of a line is, and what it may ask for its fingerprint."""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from lib.catalog import Archive
from lib.ledger import LedgerItem
from lib.shard_files import Mark


class Prints(Protocol):
    """What is known without opening a file: the ledger, the catalog, and what was fitted."""

    archive: Archive
    shards: list[str]

    def of(self, name: str, shard: str = ...) -> Mark:
        """The wanted fingerprint of one shard of a stage."""
        ...

    def once(self, key: Hashable, make: Callable[[], Any]) -> Any:
        """What was made under this key, or is made now: for what many shards' fingerprints share."""
        ...

    def items(self, shard: str | None = None) -> Sequence[LedgerItem]:
        """Items of a shard, or all."""
        ...

    def fitted(self, name: str) -> tuple[str, dict[str, Any]] | None:
        """Fingerprint and notes of the artifact that stands; None where nothing was fitted yet."""
        ...

    @property
    def contract_id(self) -> str:
        """Of the vectors that the catalog asks for."""
        ...


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage of a line. `version` goes up when its code would make something else from the same input.

    `inputs` gives what enters a shard's fingerprint in place of everything upstream; `wanted` gives the whole
    fingerprint, for artifacts that are fitted once and then stay. `side` names the side whose contract its
    vectors have, where an archive has one a side.
    """

    name: str
    version: int
    upstream: tuple[str, ...]
    is_sharded: bool
    has_contract: bool
    parameters: Callable[[Archive], Any]
    inputs: Callable[[Prints, str], Any] | None = None
    wanted: Callable[[Prints, "Stage", str], str] | None = None
    side: str = ""


@dataclass(frozen=True, slots=True)
class Step:
    """Some stages of a line that one job makes: a job has one partitions definition."""

    name: str
    stages: tuple[str, ...]
    is_sharded: bool


@dataclass(frozen=True, slots=True)
class Line:
    """The stages of one kind of archive in order, and the steps that make them."""

    stages: tuple[Stage, ...]
    steps: tuple[Step, ...]


def nothing(archive: Archive) -> None:
    """Parameters of a stage that has none."""
    return None


def usable(items: Sequence[LedgerItem]) -> list[LedgerItem]:
    """Items that stand at their source and can be opened."""
    return [item for item in items if item.content_hash and not item.reason and not item.removed]
