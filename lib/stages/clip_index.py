"""clip_index: the windows of all videos, found by FAISS."""

import pyarrow as pa
import pyarrow.compute as pc

from lib.lake import Facts
from lib.stages.making import Work
from lib.stages.published_index import Indexed, make_index

_CLIP = ("clip", "item", "start_s", "end_s", "frames")


def _windows(work: Work, shard: str, with_vectors: bool) -> pa.Table:
    table = work.rows("clips", shard, None if with_vectors else [*_CLIP, "is_whole"])
    return table.filter(pc.invert(table.column("is_whole")))


CLIPS = Indexed(
    stage="clip_index",
    source="clips",
    key="clip",
    columns=_CLIP,
    rows=_windows,
    about=("path", "duration_s", "width", "height", "codec", "fps", "has_audio", "label", "split"),
    noun="clips",
)


def make_clip_index(work: Work) -> Facts:
    """Index every shard's windows; the index before stays in place if the new one isn't good enough.

    Raises:
        IndexRejectedError: Recall below the catalog's `index.min_recall` at every setting.
    """
    return make_index(work, CLIPS)
