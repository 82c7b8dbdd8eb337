"""Every error that Dinolake raises on purpose.

A message says what was wrong, the value seen, and what to do next.
"""


class DinolakeError(Exception):
    """Base of all; the command line prints its message, without a traceback, and exits with `exit_status`."""

    exit_status = 1


class UsageError(DinolakeError):
    """The request itself is wrong (an unknown archive, k of 0): status 2."""

    exit_status = 2


class CatalogError(UsageError):
    """The catalog file, or an entry of it, can't be used as written."""


class LakeError(DinolakeError):
    """The lake holds something that can't be read, or can't be written to."""


class DamagedShardError(LakeError):
    """A file of the lake doesn't hold what was written; it was put aside, and a run makes it again."""


class StoreError(LakeError):
    """The object store that a lake is in refuses, or doesn't answer."""


class UnreadableMediaError(DinolakeError):
    """A source file can't be decoded; the message is the reason that its row will carry."""


class ContractMismatchError(UsageError):
    """Vectors of two contracts were about to be compared."""


class BackboneUnavailableError(DinolakeError):
    """A backbone's weights can't be had or don't fit its architecture."""


class FetchError(DinolakeError):
    """A download or unpacking failed; nothing half done is left in place."""


class LicenceError(DinolakeError):
    """A dataset's or model's licence asks for an acknowledgement that is not there yet."""


class IndexMissingError(DinolakeError):
    """Nothing was indexed yet for this archive."""


class IndexTooSmallError(UsageError):
    """More matches were asked for than there are stored vectors."""


class IndexRejectedError(DinolakeError):
    """A freshly built index misses its recall; the one before it stays in place."""


class QueryError(UsageError):
    """A query can't be understood: no picture, no such item, a filter that is no SQL."""


class StageFailedError(DinolakeError):
    """Some shards of a stage failed; the others are committed. The message names them."""


class DatasetError(DinolakeError):
    """A dataset's folder isn't laid out as published, or its annotations can't be read."""


class OutputError(DinolakeError):
    """A file that was asked for can't be written."""


class RunInterruptedError(DinolakeError):
    """A run was told to end (Ctrl-C)."""

    exit_status = 130


class AlignerError(DinolakeError):
    """Heads can't be fitted, aren't there, or map everything to one point."""


class AlertError(DinolakeError):
    """A person couldn't be told; the message names no address."""
