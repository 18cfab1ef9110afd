from __future__ import annotations

from pathlib import Path

import pytest

from nino.code_version import STAGES
from nino.config.cache import data_checksum, write_versions
from nino.config.layout import Layout


def test_the_checksum_of_data_is_read_from_their_record(tmp_path: Path) -> None:
    record = tmp_path / "digits.json"
    with pytest.raises(FileNotFoundError):
        data_checksum(record)
    record.write_text('{"data": {"checksum": "ab12"}}')
    assert data_checksum(record) == "ab12"


def test_versions_are_written_once(tmp_path: Path) -> None:
    layout = Layout("x")
    write_versions(layout, tmp_path)
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "results").rglob("*.txt")}
    assert {path.stem for path in times} == set(STAGES)
    write_versions(layout, tmp_path)
    assert {path: path.stat().st_mtime_ns for path in times} == times
