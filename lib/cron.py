"""Cron lines, as a catalog's `reprocess` has them: five fields, checked before a schedule is made of one."""

import re

_FIELDS = (
    ("minute", 0, 59), ("hour", 0, 23), ("day of the month", 1, 31), ("month", 1, 12),
    ("day of the week", 0, 7),
)  # fmt: skip
_PART = re.compile(r"(?:\*|(?P<first>[0-9]{1,2})(?:-(?P<last>[0-9]{1,2}))?)(?:/(?P<step>[0-9]{1,2}))?")
_DAYS = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


def check_cron(line: str) -> None:
    """Refuse what is no cron line of five fields (minute hour day month weekday), or never comes.

    Raises:
        ValueError: With what is wrong, as the rest of a sentence about the value.
    """
    fields = line.split()
    if len(fields) != len(_FIELDS):
        raise ValueError(
            "it should be a cron line of five fields, minute hour day month weekday: "
            '"0 3 * * 0" is Sundays at 3'
        )
    _, _, days, months, _ = (_values(*told, field) for told, field in zip(_FIELDS, fields, strict=True))
    if not any(day <= _DAYS[month - 1] for day in days for month in months):
        raise ValueError("it never comes: no such day in those months")


def _values(noun: str, least: int, most: int, field: str) -> set[int]:
    values: set[int] = set()
    for part in field.split(","):
        told = _PART.fullmatch(part)
        if told is None:
            raise ValueError(f"{part!r} is no {noun}: a number, a range 1-5, a list 1,3, *, or */2")
        first = least if told["first"] is None else int(told["first"])
        last = int(told["last"] or (most if told["first"] is None or told["step"] else first))
        step = int(told["step"] or 1)
        if not (least <= first <= last <= most and step):
            raise ValueError(f"{part!r} is no {noun}: that goes from {least} to {most}")
        values |= set(range(first, last + 1, step))
    return values
