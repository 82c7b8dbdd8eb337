"""A small archive of made videos, run once for all tests of this folder."""

import pytest
from place import Place, make_videos


@pytest.fixture(scope="session")
def place(tmp_path_factory) -> Place:
    """`talks`: four made videos and a text that calls itself one, run to its reports."""
    made = Place(tmp_path_factory.mktemp("line"))
    make_videos(made.videos, 4)
    (made.videos / "text.mp4").write_text("no video at all")
    made.add()
    return made


@pytest.fixture(scope="session")
def first_run(place):
    """What the first whole run came to."""
    return place.run()
