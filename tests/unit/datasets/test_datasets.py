"""The five public datasets as lib.datasets finds and describes them."""

import subprocess
import sys
from pathlib import Path

import pytest

import lib.datasets
from lib.datasets import dataset, dataset_names
from lib.errors import CatalogError

FIVE = ("activitynet", "hmdb51", "summe", "tvsum", "ucf101")
HEAVY = "torch timm openvino ray faiss av sklearn scipy PIL cv2 h5py rasterio geopandas"


def test_the_five_are_there() -> None:
    assert set(FIVE) <= set(dataset_names())


def test_an_unknown_name_is_answered_with_the_known_ones() -> None:
    with pytest.raises(CatalogError, match=r"no dataset 'ucf102'\. Known: .*hmdb51.*ucf101"):
        dataset("ucf102")


def test_a_module_without_a_dataset_is_none() -> None:
    assert "folders" not in dataset_names()
    with pytest.raises(CatalogError, match="no dataset 'folders'"):
        dataset("folders")


def test_one_new_file_is_one_new_dataset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "brand_new.py").write_text(
        "from dataclasses import replace\nfrom lib.datasets import dataset\n"
        "DATASET = replace(dataset('ucf101'), name='brand_new')\n"
    )
    monkeypatch.setattr(lib.datasets, "__path__", [*lib.datasets.__path__, str(tmp_path)])
    assert "brand_new" in dataset_names()
    assert dataset("brand_new").name == "brand_new"


@pytest.mark.parametrize("name", FIVE)
def test_a_dataset_goes_by_its_modules_name_and_says_what_its_licence_asks(name: str) -> None:
    found = dataset(name)
    assert found.name == name
    assert found.licence.url.startswith("http")
    assert found.licence.asks.endswith(".")
    assert found.size_bytes > 2 * sum(file.size_bytes or 0 for file in found.files)
    assert len({file.name for file in found.files}) == len(found.files)


def test_asking_what_there_is_loads_no_heavy_library() -> None:
    ask = "import sys, lib.fetch, lib.datasets as d; d.dataset_names(); print(*sorted(sys.modules))"
    told = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, check=True)
    assert set(told.stdout.split()) & set(HEAVY.split()) == set()
    assert "lib.datasets.tvsum" in told.stdout.split()
