"""MIMIC-CXR's reader on a miniature of its true layout: gzipped lists, one report a study, patients."""

import gzip
from pathlib import Path

import pytest

from lib.datasets import PairRow
from lib.datasets.mimic_cxr import DATASET, read_pair_rows
from lib.errors import DatasetError, FetchError
from lib.fetch import fetch

# dicom, study, patient, split, view: a study with two frontal pictures and a lateral one, then others.
PICTURES = (
    ("02aa804e-bde0afdd", "50414267", "10000032", "train", "PA"),
    ("174413ec-4ec4c1f7", "50414267", "10000032", "train", "LATERAL"),
    ("2a2277a9-b0ded155", "50414267", "10000032", "train", "AP"),
    ("68b5c4b1-227d0485", "53911762", "11000764", "validate", "AP"),
    ("ea030e7a-2e3b1346", "56699142", "19999987", "test", "PA"),
    ("f0a9c2d1-00000000", "56699142", "19999987", "test", ""),
)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    split = "dicom_id,study_id,subject_id,split\n"
    split += "".join(f"{dicom},{study},{patient},{part}\n" for dicom, study, patient, part, _ in PICTURES)
    metadata = "dicom_id,subject_id,study_id,PerformedProcedureStepDescription,ViewPosition,Rows\n"
    metadata += "".join(f'{p[0]},{p[2]},{p[1]},"CHEST (PA, LAT)",{p[4]},3056\n' for p in reversed(PICTURES))
    (tmp_path / "mimic-cxr-2.0.0-split.csv.gz").write_bytes(gzip.compress(split.encode()))
    (tmp_path / "mimic-cxr-2.0.0-metadata.csv.gz").write_bytes(gzip.compress(metadata.encode()))
    return tmp_path


def test_frontal_pictures_have_their_studys_report_their_split_and_their_patient(root: Path) -> None:
    study = "files/p10/p10000032/s50414267"
    assert list(read_pair_rows(root)) == [
        PairRow(
            "s50414267_02aa804e-bde0afdd",
            f"{study}/02aa804e-bde0afdd.jpg",
            f"{study}.txt",
            "train",
            "p10000032",
        ),
        PairRow(
            "s50414267_2a2277a9-b0ded155",
            f"{study}/2a2277a9-b0ded155.jpg",
            f"{study}.txt",
            "train",
            "p10000032",
        ),
        PairRow(
            "s53911762_68b5c4b1-227d0485",
            "files/p11/p11000764/s53911762/68b5c4b1-227d0485.jpg",
            "files/p11/p11000764/s53911762.txt",
            "val",
            "p11000764",
        ),
        PairRow(
            "s56699142_ea030e7a-2e3b1346",
            "files/p19/p19999987/s56699142/ea030e7a-2e3b1346.jpg",
            "files/p19/p19999987/s56699142.txt",
            "test",
            "p19999987",
        ),
    ]


def test_lists_that_were_unpacked_read_the_same(root: Path) -> None:
    packed = list(read_pair_rows(root))
    for file in list(root.glob("*.gz")):
        file.with_suffix("").write_bytes(gzip.decompress(file.read_bytes()))
        file.unlink()
    assert list(read_pair_rows(root)) == packed


def test_a_list_cut_short_is_refused(root: Path) -> None:
    file = root / "mimic-cxr-2.0.0-split.csv.gz"
    file.write_bytes(file.read_bytes()[:-20])
    with pytest.raises(DatasetError, match=r"split\.csv\.gz can't be read"):
        list(read_pair_rows(root))


def test_a_list_without_views_is_refused_by_the_columns_name(root: Path) -> None:
    (root / "mimic-cxr-2.0.0-metadata.csv.gz").write_bytes(gzip.compress(b"dicom_id,Rows\n1,2\n"))
    with pytest.raises(DatasetError, match="no column ViewPosition"):
        list(read_pair_rows(root))


def test_a_missing_list_is_named(root: Path) -> None:
    (root / "mimic-cxr-2.0.0-metadata.csv.gz").unlink()
    with pytest.raises(DatasetError, match=r"no mimic-cxr-2\.0\.0-metadata\.csv\.gz below"):
        list(read_pair_rows(root))


def test_nothing_is_downloaded_and_it_is_said_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(FetchError, match=r"(?s)credentialed user of PhysioNet.*set `root` to it"):
        fetch(DATASET, tmp_path / "mimic", acknowledged=True)
    assert not (tmp_path / "mimic").exists()
