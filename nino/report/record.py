"""Reading the records that a report writes of itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def read_record(path: Path, number: int, what: str, made_by: str, fault: type[ValueError]) -> dict[str, Any]:
    """Read a JSON object that says which format it has.

    Args:
        path: the file.
        number: the format that this version reads.
        what: how errors call such a file.
        made_by: what to do where it is missing, for the error.
        fault: type of the errors.

    Returns:
        The object.

    Raises:
        ValueError: of type ``fault``, where the file is missing, no JSON or of another format.
    """
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise fault(f"{path} does not exist: {made_by}") from error
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise fault(f"{path}: not readable as JSON ({error})") from error
    if not isinstance(record, dict) or record.get("format") != number:
        raise fault(f"{path}: not {what} of format {number}")
    return record
