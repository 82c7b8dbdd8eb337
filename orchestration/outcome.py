"""What a run of an archive came to."""

from dataclasses import dataclass, field

from lib.errors import StageFailedError


@dataclass(slots=True)
class StageOutcome:
    """Samples made anew, kept as they were, refused, and the seconds it took, summed over shards."""

    made: int = 0
    kept: int = 0
    rejected: int = 0
    seconds: float = 0.0


@dataclass(slots=True)
class RunOutcome:
    """What a whole `dinolake run` came to."""

    archive: str
    stages: dict[str, StageOutcome] = field(default_factory=dict)
    runs: list[str] = field(default_factory=list)
    # Checks that did not pass: asset/check -> what it found.
    warnings: dict[str, str] = field(default_factory=dict)
    # File -> why it was refused.
    reasons: dict[str, str] = field(default_factory=dict)
    # Shard -> why it couldn't be made; all others were.
    failed: dict[str, str] = field(default_factory=dict)
    # Shard -> why it wasn't tried: it failed too often.
    quarantined: dict[str, str] = field(default_factory=dict)
    # Files that were found new, changed and removed, where the sources were looked at.
    sources: dict[str, int] = field(default_factory=dict)
    # What answers isn't what the catalog asks for.
    note: str = ""

    @property
    def is_all_kept(self) -> bool:
        """Whether nothing had to be made."""
        return not any(stage.made for stage in self.stages.values()) and not any(self.sources.values())

    def require_whole(self) -> None:
        """Raise for shards that failed.

        Raises:
            StageFailedError: Some did; the message names them. All others are committed.
        """
        if self.failed:
            names = "; ".join(f"{shard}: {reason.rstrip('.')}" for shard, reason in self.failed.items())
            s = "s" * (len(self.failed) > 1)
            raise StageFailedError(
                f"{len(self.failed)} shard{s} of {self.archive!r} failed: {names}. What the others made is "
                "committed, and isn't made again."
            )
