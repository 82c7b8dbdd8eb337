"""Radiology reports down to findings and impression: in MIMIC-CXR's layout, written by hand."""

import csv
import re

import pytest

from lib.report_text import cleaned

WHOLE = """                                 FINAL REPORT
 EXAMINATION:  CHEST (PA AND LAT)

 INDICATION:  ___ year old woman with cough  // pneumonia?

 TECHNIQUE:  Chest PA and lateral

 COMPARISON:  ___

 FINDINGS:

 Large left pleural effusion is new since ___.  The heart
 is not enlarged.

 IMPRESSION:

 1.  Large left pleural effusion.
 2.  No pneumothorax.

 NOTIFICATION:  Dr. ___ was told at 10:15.
""".replace("\n\n", "\n \n")  # as MIMIC-CXR's files have it
SEEN = "Large left pleural effusion is new since. The heart is not enlarged."
JUDGED = "Large left pleural effusion. No pneumothorax."


def test_findings_and_impression_are_kept_and_all_else_goes():
    assert cleaned(WHOLE) == f"{SEEN} {JUDGED}"


def test_a_report_on_a_single_line_is_read_alike():
    assert cleaned(" ".join(WHOLE.split())) == f"{SEEN} {JUDGED}"


def test_windows_line_ends_change_nothing():
    assert cleaned(WHOLE.replace("\n", "\r\n")) == cleaned(WHOLE)


@pytest.mark.parametrize(
    ("report", "kept"),
    [
        ("FINDINGS: Clear.\nIMPRESSION:  ", "Clear."),
        ("INDICATION: Cough.\nIMPRESSOIN: Clear.", "Clear."),
        ("Indication: Cough.\nConclusion: Clear.", "Clear."),
        ("FINDINGS/IMPRESSION: Clear.\nRECOMMENDATION(S): None.", "Clear."),
        ("CHEST, TWO VIEWS: Heart normal.\nCOMPARISON: None.", "Heart normal."),
        # The last of a name that isn't empty, as in MIMIC-CXR's own section files.
        ("FINDINGS: Early.\nFINDINGS: Late.\nIMPRESSION: Clear.\nIMPRESSION:\n", "Late. Clear."),
        ("IMPRESSION: Nodule of [**2101-1-1**], 4 mm.", "Nodule of, 4 mm."),
    ],
)
def test_sections_are_known_by_their_names(report, kept):
    assert cleaned(report) == kept


@pytest.mark.parametrize(
    ("report", "kept"),
    [
        # The last section's paragraphs after its first.
        (
            "FINAL REPORT\n HISTORY:  Cough.\n \n The lungs are clear.\n \n Heart normal.\n",
            "The lungs are clear. Heart normal.",
        ),
        ("COMPARISON: Film of ___, no change.\nTECHNIQUE: Portable.", "Film of, no change."),
        ("TECHNIQUE: Portable film, lungs clear.", "TECHNIQUE: Portable film, lungs clear."),
        ("FINAL REPORT\n Lungs clear.\n\n Heart normal.", "Lungs clear. Heart normal."),
    ],
)
def test_without_either_it_is_what_most_likely_says_so(report, kept):
    assert cleaned(report) == kept


def test_a_number_within_a_sentence_stays():
    assert cleaned("IMPRESSION: Nodule in segment 2. No change in 3 of 4 ribs.") == (
        "Nodule in segment 2. No change in 3 of 4 ribs."
    )


@pytest.mark.parametrize("report", ["", "___", "FINAL REPORT\n \n", "\n \n\t"])
def test_a_report_with_nothing_in_it_is_empty(report):
    assert cleaned(report) == ""


@pytest.mark.timeout(30)
@pytest.mark.parametrize("piece", ["\n", " ", "[**", "A", "1. ", "A:\n", "_ ", "FINDINGS", "\n \n"])
def test_a_hostile_report_costs_no_more_than_a_long_one(piece):
    cleaned(piece * (300_000 // len(piece)))  # a quadratic pattern takes minutes


@pytest.mark.real_data
def test_the_notes_of_real_cases_keep_their_words(real_data):
    with (real_data / "xray_notes" / "notes.csv").open(newline="", encoding="utf-8") as file:
        notes = [row["clinical_notes"] for row in csv.DictReader(file)]
    assert len(notes) > 30
    for note in notes:  # written as prose, without a report's sections
        assert re.findall(r"[A-Za-z]+", cleaned(note)) == re.findall(r"[A-Za-z]+", note)
