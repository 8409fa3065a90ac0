import configparser
import zlib
from datetime import UTC, datetime
from pathlib import Path

import pytest
from app.db.migrate import MigrationError, State
from app.db.migrate.files import MigrationFile, checksum, read_folder
from app.db.migrate.history import BASELINE_VERSION, HISTORY_TABLE, LOCK_KEY
from app.db.migrate.state import HistoryRow, compare, not_applied, pending, problems
from app.db.migrate.statements import forbidden_statement, statements
from app.db.migrate.version import Version
from hypothesis import given
from hypothesis import strategies as st

PROJECT = Path(__file__).parents[2]


def folder_with(path: Path, **texts: str) -> Path:
    for name, text in texts.items():
        (path / f"{name}.sql").write_bytes(text.encode())
    return path


# Recorded from Flyway Community 11.20.3, column schema_version.checksum.
@pytest.mark.parametrize(
    ("text", "recorded"),
    [
        ("create table a(i int);\n", -731837914),
        ("create table b(i int);", -303286557),
        ("\ufeffcreate table c(i int);\r\n", -90758496),
        ("\r\n\r\n-- empty lines\r\rcreate table d(i int);\n\n\n", -1294953420),
        ("-- é ü 漢字 🚀 \u2028 \x85 \x0c x\nselect 1;\r", 1318379891),
        ("  select 1;  \n\tselect 2;\t", -1825723967),
    ],
)
def test_a_checksum_is_the_number_that_flyway_recorded(text: str, recorded: int) -> None:
    assert checksum(text) == recorded


@given(st.lists(st.text(st.characters(exclude_characters="\r\n\ufeff", codec="utf-8"))))
def test_line_ends_and_a_byte_order_mark_never_change_a_checksum(lines: list[str]) -> None:
    expected = checksum("\n".join(lines))
    assert checksum("\r\n".join(lines)) == expected
    assert checksum("\r".join(lines) + "\r") == expected
    assert checksum("\ufeff" + "\n".join(lines) + "\n") == expected
    assert expected % 2**32 == zlib.crc32("".join(lines).encode())
    assert -(2**31) <= expected < 2**31


def test_only_what_java_calls_a_line_end_is_left_out_of_a_checksum() -> None:
    assert checksum("a\u2028b") != checksum("ab")
    assert checksum("a\fb") != checksum("ab")
    assert checksum("a\x85b") != checksum("ab")


def test_versions_are_numbers_and_not_text(tmp_path: Path) -> None:
    names = ["V10__j", "V9__i", "V1_10__d", "V1.9__c", "V1.2__b", "V01__a", "V2_0_0__e", "R__z"]
    folder = folder_with(tmp_path, **dict.fromkeys([*names, "R__y"], "SELECT 1;"))
    assert [file.title for file in read_folder(folder)] == [
        "01 a",
        "1.2 b",
        "1.9 c",
        "1.10 d",
        "2.0.0 e",
        "9 i",
        "10 j",
        "y",
        "z",
    ]


@given(st.lists(st.integers(0, 12), min_size=1, max_size=4))
def test_trailing_zero_parts_do_not_make_another_version(parts: list[int]) -> None:
    text = ".".join(map(str, parts))
    same = Version.parse(f"{text}.0_00")
    assert same == Version.parse(text)
    assert hash(same) == hash(Version.parse(text))
    assert not same < Version.parse(text)


@pytest.mark.parametrize(
    ("name", "version", "description"),
    [
        ("V1_1__x", "1.1", "x"),
        ("V1.0__x", "1.0", "x"),
        ("V01__a_b", "01", "a b"),
        ("V1___x", "1", " x"),
        ("V1__a__b", "1", "a  b"),
        ("V1__trailing_", "1", "trailing "),
        ("V1__é ü", "1", "é ü"),
        ("R__b_a", None, "b a"),
    ],
)
def test_a_name_is_read_as_flyway_reads_it(
    tmp_path: Path, name: str, version: str | None, description: str
) -> None:
    (file,) = read_folder(folder_with(tmp_path, **{name: "SELECT 1;"}))
    assert (str(file.version) if file.version else None, file.description) == (version, description)
    assert file.script == f"{name}.sql"


@pytest.mark.parametrize(
    "name",
    [
        "V__x.sql",
        "V1.sql",
        "V1__.sql",
        "V1_x.sql",
        "v1__x.sql",
        "V1.__x.sql",
        "V1..2__x.sql",
        "V1_a__x.sql",
        "V-1__x.sql",
        "V٣__x.sql",
        "R1__x.sql",
        "R__.sql",
        "U1__x.sql",
        "B1__x.sql",
        "x.sql",
        "V1__x.SQL",
        "beforeMigrate.sql",
        "V1__x.sql.conf",
        f"V{'1' * 51}__x.sql",
        f"V1__{'x' * 201}.sql",
    ],
)
def test_a_badly_named_file_stops_with_its_name(tmp_path: Path, name: str) -> None:
    folder_with(tmp_path, V7__good="SELECT 1;")
    (tmp_path / name).write_text("SELECT 1;")
    with pytest.raises(MigrationError) as caught:
        read_folder(tmp_path)
    assert str(caught.value).startswith(f"{name}: ")
    assert "rename it" in str(caught.value) or "shorten it" in str(caught.value)


def test_other_files_and_hidden_folders_are_left_alone(tmp_path: Path) -> None:
    folder_with(tmp_path, V1__a="SELECT 1;")
    (tmp_path / "README.md").write_text("about")
    (tmp_path / "V2__b.sql.bak").write_text("old")
    for name in (".hidden", "later"):
        (tmp_path / name).mkdir()
        folder_with(tmp_path / name, V3__c="SELECT 1;")
    assert [file.script for file in read_folder(tmp_path)] == ["V1__a.sql", "later/V3__c.sql"]


@pytest.mark.parametrize("twins", [("V1__a", "V1.0__b"), ("V1_2__a", "V01.2__b")])
def test_two_files_of_one_version_stop_with_both_names(
    tmp_path: Path, twins: tuple[str, str]
) -> None:
    folder = folder_with(tmp_path, **dict.fromkeys(twins, "SELECT 1;"))
    with pytest.raises(MigrationError, match="rename") as caught:
        read_folder(folder)
    assert all(f"{name}.sql" in str(caught.value) for name in twins)


def test_two_repeatable_files_of_one_description_stop_with_both_names(tmp_path: Path) -> None:
    folder = folder_with(tmp_path, V1__a="SELECT 1;", R__a_b="SELECT 1;")
    folder_with(tmp_path, **{"R__a b": "SELECT 1;"})
    with pytest.raises(MigrationError, match=r"R__a b\.sql and R__a_b\.sql: both are 'a b'"):
        read_folder(folder)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [(b"SELECT '\xe9';", "byte 8 is not UTF-8"), (b"SELECT 1;\0DROP", "NUL character")],
)
def test_a_file_that_is_not_text_stops_with_its_name(
    tmp_path: Path, content: bytes, complaint: str
) -> None:
    (tmp_path / "V1__a.sql").write_bytes(content)
    with pytest.raises(MigrationError, match=rf"V1__a\.sql: .*{complaint}"):
        read_folder(tmp_path)


def test_a_missing_or_empty_folder_is_not_an_up_to_date_schema(tmp_path: Path) -> None:
    with pytest.raises(MigrationError, match="no such folder"):
        read_folder(tmp_path / "nowhere")
    with pytest.raises(MigrationError, match="restore the migrations"):
        read_folder(tmp_path)


@pytest.mark.parametrize(
    "statement",
    [
        "COMMIT",
        "begin",
        "START TRANSACTION ISOLATION LEVEL SERIALIZABLE",
        "END",
        "ROLLBACK",
        "ROLLBACK AND CHAIN",
        "ABORT",
        "PREPARE TRANSACTION 'x'",
        "CREATE INDEX CONCURRENTLY i ON t (a)",
        "create unique /* now */ index\nconcurrently i on t (a)",
        "DROP INDEX CONCURRENTLY i",
        "REINDEX TABLE CONCURRENTLY t",
        "REINDEX (VERBOSE) DATABASE d",
        "REINDEX SCHEMA s",
        "ALTER TABLE t DETACH PARTITION p CONCURRENTLY",
        "VACUUM t",
        "CREATE DATABASE d",
        "DROP TABLESPACE s",
        "CREATE SUBSCRIPTION s CONNECTION 'x' PUBLICATION p",
        "ALTER SYSTEM SET work_mem = '1MB'",
        "ALTER DATABASE d SET TABLESPACE s",
        "DISCARD ALL",
        "COPY t FROM STDIN",
        "COPY t (a, b) TO STDOUT",
    ],
)
def test_a_statement_that_breaks_the_transaction_stops_with_its_line(
    tmp_path: Path, statement: str
) -> None:
    folder_with(tmp_path, V1__a=f"CREATE TABLE t (a INT);\r\n\r\n-- why\r\n{statement};\r\n")
    with pytest.raises(MigrationError, match=r"^V1__a\.sql, line 4: ") as caught:
        read_folder(tmp_path)
    assert "is not possible in a migration" in str(caught.value)


@pytest.mark.parametrize(
    "sql",
    [
        "-- COMMIT;\nSELECT 1;",
        "/* COMMIT; /* nested */ COMMIT; */ SELECT 1;",
        "SELECT 'x; COMMIT; y', '; COMMIT;''; COMMIT;';",
        r"SELECT E'it\'s; COMMIT; ' || 'x\';",
        'CREATE TABLE "t; COMMIT; " (a INT);',
        "DO $$ BEGIN PERFORM 1; COMMIT; END $$;",
        "DO $outer$ BEGIN EXECUTE $$ COMMIT; $$; COMMIT; END $outer$;",
        """
        CREATE FUNCTION f(a INT) RETURNS INT BEGIN ATOMIC
            SELECT CASE WHEN a > 0 THEN 1 ELSE 2 END; SELECT 3; END; SELECT 4;
        """,
        "ROLLBACK TO SAVEPOINT s;",
        "ROLLBACK WORK TO s;",
        "REFRESH MATERIALIZED VIEW CONCURRENTLY v;",
        "REINDEX TABLE t;",
        "COPY t FROM '/tmp/x';",
        "SELECT commit FROM t;",
        "SELECT a$b$c; SELECT 2;",
        "PREPARE q (int) AS SELECT $1;",
    ],
)
def test_words_in_comments_literals_and_bodies_are_not_statements(sql: str) -> None:
    assert forbidden_statement(sql) is None


def test_unfinished_text_ends_the_reading_and_not_the_program() -> None:
    assert [words for _, words in statements("SELECT 1; /* never closed COMMIT;")] == ["SELECT"]
    assert forbidden_statement("SELECT 'never closed; COMMIT;") is not None


@given(st.text("';$-/*E\\ab\n\" "))
def test_any_text_is_read_to_its_end(sql: str) -> None:
    assert all(0 <= position < len(sql) for position, _ in statements(sql))


class CaseKept(configparser.ConfigParser):
    """Names as they are written."""

    def optionxform(self, optionstr: str) -> str:
        return optionstr


def test_flyway_conf_says_what_the_built_in_migrator_does() -> None:
    parser = CaseKept(interpolation=None)
    parser.read_string("[conf]\n" + (PROJECT / "flyway.conf").read_text())
    conf = parser["conf"]
    assert f"{conf['flyway.defaultSchema']}.{conf['flyway.table']}" == HISTORY_TABLE
    assert conf["flyway.schemas"] == "public"
    assert conf["flyway.locations"] == "filesystem:db/migration"
    assert conf["flyway.baselineOnMigrate"] == "true"
    assert conf["flyway.baselineVersion"] == BASELINE_VERSION
    assert conf["flyway.validateMigrationNaming"] == "true"
    assert conf["flyway.placeholderReplacement"] == "false"
    assert conf["flyway.ignoreMigrationPatterns"] == ""
    assert conf["flyway.postgresql.transactional.lock"] == "false"
    assert conf["flyway.cleanDisabled"] == "true"


def test_the_lock_is_the_number_that_flyway_computes() -> None:
    hashed = 0
    for character in '"public"."schema_version"':
        hashed = (31 * hashed + ord(character)) % 2**32
    signed = hashed - 2**32 if hashed >= 2**31 else hashed
    assert int.from_bytes(b"Flyway") + signed == LOCK_KEY


def test_the_migrations_of_this_project_are_in_order() -> None:
    titles = [file.title for file in read_folder(PROJECT / "db" / "migration")]
    assert titles[:2] == ["1 initial schema", "2 owners and invariants"]


def file(name: str, content: int = 1) -> MigrationFile:
    version, _, description = name.partition("__")
    return MigrationFile(
        script=f"{name}.sql",
        version=Version.parse(version[1:]) if version != "R" else None,
        description=description,
        checksum=content,
        sql="",
    )


def row(
    rank: int, name: str, content: int | None = 1, *, kind: str = "SQL", success: bool = True
) -> HistoryRow:
    version, _, description = name.partition("__")
    return HistoryRow(
        installed_rank=rank,
        version=Version.parse(version[1:]) if version != "R" else None,
        description=description,
        type=kind,
        script=f"{name}.sql",
        checksum=content,
        installed_on=datetime(2026, 1, 1, tzinfo=UTC),
        success=success,
    )


def test_a_repeatable_migration_runs_again_only_when_its_checksum_changed() -> None:
    rows = [row(1, "V1__a"), row(2, "R__v", 1), row(3, "R__v", 2)]
    same = compare([file("V1__a"), file("R__v", 2)], rows)
    assert [info.state for info in same] == [State.SUCCESS, State.SUPERSEDED, State.SUCCESS]
    changed = compare([file("V1__a"), file("R__v", 1)], rows)
    assert [item.script for item in pending(changed)] == ["R__v.sql"]
    assert problems(changed) == []
    assert "not applied to this database yet" in not_applied(changed)[0]


def test_every_problem_is_told_at_once_and_names_its_file() -> None:
    files = [file("V1__a", 9), file("V2__b"), file("V3__renamed"), file("V5__e"), file("V6__f")]
    rows = [
        row(1, "V1__a"),
        row(2, "V3__c"),
        row(3, "V4__d"),
        row(4, "V5__e", kind="JDBC"),
        row(5, "V6__f", success=False),
        row(6, "V7__g"),
        row(7, "R__v", success=False),
    ]
    found = problems(compare(files, rows))
    expected = [
        ("V1__a.sql", "edited after it was applied"),
        ("V3__renamed.sql", "renamed after it was applied as V3__c.sql"),
        ("V4__d.sql", "the file is gone"),
        ("V5__e.sql", "applied as JDBC by another tool"),
        ("V6__f.sql", "failed half-way"),
        ("V7__g.sql", "newer than the files here"),
        ("R__v.sql", "failed half-way"),
        ("V2__b.sql", "newer migrations were applied before this file came"),
    ]
    assert [text.partition(": ")[0] for text in found] == [name for name, _ in expected]
    assert all(words in text for text, (_, words) in zip(found, expected, strict=True))


def test_a_failed_attempt_without_its_file_still_stops() -> None:
    rows = [row(1, "V1__a", success=False), row(2, "V3__c", success=False)]
    infos = compare([file("V2__b")], rows)
    assert [info.state for info in infos][:2] == [State.FAILED_MISSING, State.FAILED_FUTURE]
    assert "installed_rank = 1" in problems(infos)[0]


def test_what_lies_below_the_baseline_is_neither_applied_nor_compared() -> None:
    rows = [row(1, "V2__mark", None, kind="BASELINE"), row(2, "V3__c")]
    infos = compare([file("V1__a"), file("V2__b"), file("V3__c"), file("V4__d")], rows)
    assert [(info.script, info.state.value) for info in infos] == [
        ("V2__mark.sql", "Baseline"),
        ("V3__c.sql", "Success"),
        ("V1__a.sql", "Below Baseline"),
        ("V2__b.sql", "Ignored (Baseline)"),
        ("V4__d.sql", "Pending"),
    ]
    assert problems(infos) == []


def test_rows_that_repair_struck_out_do_not_count() -> None:
    rows = [
        row(1, "V1__a"),
        row(2, "V2__b"),
        row(3, "R__v"),
        row(4, "V2__b", kind="DELETE"),
        row(5, "R__v", kind="DELETE"),
    ]
    infos = compare([file("V1__a"), file("V2__b"), file("R__v")], rows)
    assert [info.state.value for info in infos] == [
        "Success",
        "Deleted",
        "Deleted",
        "Success",
        "Pending",
        "Pending",
    ]
    assert problems(infos) == []
