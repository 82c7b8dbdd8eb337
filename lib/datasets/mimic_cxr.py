"""MIMIC-CXR: 377,110 chest X-rays of 227,835 studies, each study with its radiologist's report.

Credentialed: PhysioNet hands it out to trained users who signed its agreement; nothing is downloaded here.
MIMIC-CXR-JPG has the pictures, `files/p10/p10000032/s50414267/<dicom id>.jpg`, and the lists
`mimic-cxr-2.0.0-split.csv.gz` (dicom_id, study_id, subject_id, split) and `mimic-cxr-2.0.0-metadata.csv.gz`
(dicom_id, …, ViewPosition, …); MIMIC-CXR has the reports, `files/p10/p10000032/s50414267.txt`, in
`mimic-cxr-reports.zip`. Both share the folder `files`.
"""

import csv
import gzip
from collections.abc import Iterator
from pathlib import Path

from lib.datasets import Dataset, Licence, PairRow, Side
from lib.datasets.listed_pairs import nearest, relative
from lib.errors import DatasetError

SIDES = (Side("picture"), Side("text", cleaned="report"))
_SPLIT, _METADATA = "mimic-cxr-2.0.0-split.csv", "mimic-cxr-2.0.0-metadata.csv"
# Posteroanterior and anteroposterior; the others are lateral, oblique or not told.
_FRONTAL = frozenset({"PA", "AP"})
_SPLITS = {"train": "train", "validate": "val", "test": "test"}


def read_pair_rows(root: Path) -> Iterator[PairRow]:
    """Each frontal picture with its study's report, in the official split; the group is the patient.

    A report is told by its file. Studies with two frontal pictures make two rows with one report, and many
    reports of healthy chests read the same: what is identical is a positive, whoever's it is.

    Raises:
        DatasetError: A list is missing, or lacks a column or a split that is known.
    """
    split_file = nearest(root, f"{_SPLIT}.gz", _SPLIT)
    metadata = nearest(root, f"{_METADATA}.gz", _METADATA)
    files = f"{relative(split_file.parent, root)}files"
    frontal = {
        dicom for dicom, view in _columns(metadata, "dicom_id", "ViewPosition") if view.strip() in _FRONTAL
    }
    for dicom, study, patient, split in _columns(split_file, "dicom_id", "study_id", "subject_id", "split"):
        if split not in _SPLITS:
            raise DatasetError(f"{split_file}: split {split!r} of {dicom} is none of {', '.join(_SPLITS)}.")
        if dicom in frontal:
            folder = f"{files}/p{patient[:2]}/p{patient}/s{study}"
            yield PairRow(
                id=f"s{study}_{dicom}",
                left=f"{folder}/{dicom}.jpg",
                right=f"{folder}.txt",
                split=_SPLITS[split],
                group=f"p{patient}",
            )


def _columns(file: Path, *names: str) -> Iterator[tuple[str, ...]]:
    try:
        opened = gzip.open if file.suffix == ".gz" else open
        with opened(file, "rt", encoding="utf-8-sig", newline="") as lines:
            reader = csv.DictReader(lines)
            missing = [name for name in names if name not in (reader.fieldnames or ())]
            if missing:
                raise DatasetError(f"{file} has no column {', '.join(missing)}. Download it again.")
            yield from (tuple(row[name] or "" for name in names) for row in reader)
    except (OSError, EOFError, UnicodeDecodeError, csv.Error) as error:
        raise DatasetError(f"{file} can't be read ({error}). Download it again.") from error


DATASET = Dataset(
    name="mimic_cxr",
    kind="pair",
    title="MIMIC-CXR, chest X-rays and their radiology reports",
    licence=Licence(
        name="PhysioNet Credentialed Health Data License 1.5.0",
        url="https://physionet.org/content/mimic-cxr-jpg/view-license/2.1.0/",
        asks="Credentialed users who signed the data use agreement only: no attempt to identify anyone, no "
        "sharing of the data (with an online service neither). Cite Johnson et al., MIMIC-CXR-JPG, 2019.",
        needs_acknowledgement=True,
    ),
    files=(),
    # 557.6 GB of JPEGs as PhysioNet tells; the reports and lists are .5 GB.
    size_bytes=560_000_000_000,
    read_pair_rows=read_pair_rows,
    sides=SIDES,
    by_hand="MIMIC-CXR is credentialed, so nothing is downloaded here. Become a credentialed user of "
    "PhysioNet (with CITI's course `Data or Specimens Only Research`), sign the agreements of "
    "https://physionet.org/content/mimic-cxr-jpg/ and https://physionet.org/content/mimic-cxr/, download "
    f"`files` and the lists {_SPLIT}.gz and {_METADATA}.gz of the first, unpack mimic-cxr-reports.zip of the "
    "second into the same folder, so that a study's .txt lies beside its folder, and set `root` to it.",
    notes="Frontal pictures only (PA and AP). Reports are cleaned to findings and impression; identical ones "
    "count as one.",
)
