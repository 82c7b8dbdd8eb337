"""What the doctor finds, each with its remedy; whatever fails while it looks is a finding too."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from lib.errors import DinolakeError

Level = Literal["error", "warning", "info"]


@dataclass(frozen=True, slots=True)
class Finding:
    """What is wrong, or is to be known, and what to type about it.

    Attributes:
        level: `error`: the lake isn't right, or the next run fails. `warning`: see to it. `info`: know it.
        what: A sentence.
        remedy: A command, or what else to do; "" where nothing is needed.
        repaired: What a repair did about it; "" where nothing was done.
    """

    level: Level
    what: str
    remedy: str
    repaired: str = ""

    def as_json(self) -> dict[str, str]:
        """The shape that `dinolake doctor --json` prints."""
        told: dict[str, str] = {"level": self.level, "what": self.what, "remedy": self.remedy}
        return told | ({"repaired": self.repaired} if self.repaired else {})


@dataclass(slots=True)
class Examination:
    """One examination: what is looked at, how, and what was found.

    Attributes:
        catalog_path: The catalog's file.
        root: The lake's folder; of a lake on S3, this machine's copy of it.
        address: Of a lake on S3; "" for one in a folder.
        name: The one archive to look at; None for all.
        is_quick: Read footers only; else every page of every file, against its checksum.
        is_repairing: Put aside what is broken, note what is so, sweep.
        say: Told what is being read.
    """

    catalog_path: Path
    root: Path
    name: str | None = None
    address: str = ""
    is_quick: bool = False
    is_repairing: bool = False
    say: Callable[[str], None] = lambda line: None
    findings: list[Finding] = field(default_factory=list)

    def find(self, level: Level, what: str, remedy: str = "", repaired: str = "") -> None:
        """Note a finding."""
        self.findings.append(Finding(level, what, remedy, repaired))

    @contextmanager
    def guarded(self, looking_at: str, remedy: str = "") -> Iterator[None]:
        """Whatever fails in the block is a finding: an examination goes on to its end."""
        try:
            yield
        except DinolakeError as error:
            self.find("error", f"{looking_at}: {error}", remedy)
        except OSError as error:
            where = f" ({error.filename})" if error.filename else ""
            told = error.strerror or str(error)
            self.find(
                "error", f"{looking_at}: {told}{where}", remedy or "See to its disk and its permissions."
            )
        except Exception as error:  # noqa: BLE001  a check that breaks on what it finds has found something
            first = next(iter(str(error).splitlines()), "")
            self.find(
                "error", f"{looking_at} can't be examined ({type(error).__name__}: {first}).",
                remedy or "If a run fails there too, this is a bug in Dinolake.",
            )  # fmt: skip

    @property
    def is_sound(self) -> bool:
        """Whether no error is left that wasn't repaired."""
        return not any(found.level == "error" and not found.repaired for found in self.findings)
