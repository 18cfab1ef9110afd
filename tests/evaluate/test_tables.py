import numpy as np
import pytest

from nino.evaluate.tables import LOG_COLUMNS, NOWCAST_COLUMNS, read_table, write_table


def test_round_trip_keeps_every_digit_and_what_was_not_measured(tmp_path) -> None:
    row = {"step": 3, "k": 40, "seconds": 0.1234567, "norm": 1 / 3, "finite": True, "accepted": False}
    rows = [row | {"loss_before": 0.1 + 0.2, "loss_after": None}, row | {"loss_before": 1e-30, "loss_after": np.inf}]
    path = tmp_path / "deep" / "nowcasts.csv"
    write_table(path, rows, NOWCAST_COLUMNS)
    table = read_table(path, NOWCAST_COLUMNS)
    assert table["step"].tolist() == [3, 3] and table["norm"].tolist() == [1 / 3, 1 / 3]
    assert table["finite"].tolist() == [1, 1] and table["accepted"].tolist() == [0, 0]
    assert table["loss_before"].tolist() == [0.1 + 0.2, 1e-30]
    assert np.isnan(table["loss_after"][0]) and np.isinf(table["loss_after"][1])
    assert table["seconds"][0] == 0.123457


def test_no_rows_is_a_table_too(tmp_path) -> None:
    write_table(tmp_path / "log.csv", [], LOG_COLUMNS)
    assert {
        name: len(values) for name, values in read_table(tmp_path / "log.csv", LOG_COLUMNS).items()
    } == dict.fromkeys(LOG_COLUMNS, 0)


@pytest.mark.parametrize("text", ["", "step,loss\n1,2\n"])
def test_another_header_is_refused(tmp_path, text) -> None:
    (tmp_path / "log.csv").write_text(text)
    with pytest.raises(ValueError, match=r"log\.csv has the columns"):
        read_table(tmp_path / "log.csv", LOG_COLUMNS)


def test_a_cut_file_is_refused(tmp_path) -> None:
    (tmp_path / "log.csv").write_text(",".join(LOG_COLUMNS) + "\n1,2,3\n")
    with pytest.raises(ValueError, match="line 2: 3 cells"):
        read_table(tmp_path / "log.csv", LOG_COLUMNS)


def test_a_row_lacks_a_column(tmp_path) -> None:
    with pytest.raises(KeyError, match="train_loss"):
        write_table(tmp_path / "log.csv", [{"step": 1}], LOG_COLUMNS)
    assert list(tmp_path.iterdir()) == []
