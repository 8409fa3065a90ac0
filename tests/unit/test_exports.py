"""Which format a reader of an export gets, and how its lines end."""

import pytest
from app.db.encoding import with_crlf
from app.domain.exports import ExportFormat, FormatNotOffered
from app.http.exports import wanted_format

CSV, PARQUET, ARROW = ExportFormat
BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        (None, CSV),
        (" ", CSV),
        ("*/*", CSV),
        (BROWSER, CSV),
        ("text/*", CSV),
        ("TEXT/CSV; header=present", CSV),
        ("application/*", PARQUET),
        (PARQUET, PARQUET),
        (f"{ARROW}, {CSV};q=0.9", ARROW),
        (f"{CSV};q=0.1, {PARQUET};q=0.5;v=1", PARQUET),
        (f"{CSV};q=0, */*", PARQUET),
        (f"{CSV};q=wrong, {ARROW};q=0.001", ARROW),
    ],
)
def test_accept_chooses_what_it_prefers(accept: str | None, expected: ExportFormat) -> None:
    assert wanted_format(accept, tuple(ExportFormat)) is expected


@pytest.mark.parametrize("accept", ["application/json", "text/csv;q=0", ";", ";q=1,,", "*"])
def test_a_reader_who_takes_none_of_them_is_told_which_there_are(accept: str) -> None:
    with pytest.raises(FormatNotOffered, match=r"text/csv, application/vnd\.apache\.parquet"):
        wanted_format(accept, tuple(ExportFormat))


def test_without_pyarrow_there_is_csv_and_the_remedy() -> None:
    assert wanted_format("*/*", (CSV,)) is CSV
    with pytest.raises(FormatNotOffered, match="pip install pyarrow"):
        wanted_format(PARQUET, (CSV,))


def test_only_the_ends_of_rows_become_carriage_return_and_line_feed() -> None:
    for piece_bytes in range(1, 20):
        pieces = with_crlf(b'1,"a\n""\nb",\n"",2\n', piece_bytes=piece_bytes)
        assert b"".join(pieces) == b'1,"a\n""\nb",\r\n"",2\r\n'
    assert list(with_crlf(b"")) == []
