"""The files of a migration folder, named and summed as Flyway does."""

import re
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from app.db.migrate.errors import MigrationError
from app.db.migrate.statements import forbidden_statement
from app.db.migrate.version import Version

NAME: Final = re.compile(
    r"(?:V(?P<version>[0-9]+(?:[._][0-9]+)*)|R)__(?P<description>.+)\.sql", re.ASCII
)
NAMING: Final = (
    "expected V<version>__<description>.sql (V3__add_fees.sql, V3.1__fix.sql)"
    " or R__<description>.sql; rename it or move it out of the folder"
)
VERSION_LENGTH_MAX: Final = 50
DESCRIPTION_LENGTH_MAX: Final = 200
SCRIPT_LENGTH_MAX: Final = 1000
BYTE_ORDER_MARK: Final = "\ufeff"


@dataclass(frozen=True, slots=True, kw_only=True)
class MigrationFile:
    """One file. `version` is None for a repeatable one, `script` is its path in the folder."""

    script: str
    version: Version | None
    description: str
    checksum: int
    sql: str = field(repr=False)

    @property
    def title(self) -> str:
        """Version and description, as the caller of `migrate` sees it."""
        return f"{self.version} {self.description}" if self.version else self.description


def checksum(text: str) -> int:
    """Flyway's checksum: CRC32 of the lines without their ends, as a signed 32-bit number.

    Java ends lines at CR, LF and CRLF only, so that U+2028 and form feed count as text.
    """
    lines = text.removeprefix(BYTE_ORDER_MARK).replace("\r", "").replace("\n", "")
    value = zlib.crc32(lines.encode())
    return value - 2**32 if value >= 2**31 else value


def read_folder(folder: Path) -> list[MigrationFile]:
    """Read and check every migration below the folder, in the order they are applied.

    Folders whose name starts with a dot are not looked into, as Flyway does. Raises
    MigrationError for a name, a text or a set of files that cannot be applied.
    """
    if not folder.is_dir():
        message = f"{folder}: there is no such folder; migrations are expected there"
        raise MigrationError(message)
    files = [
        _read_file(path, path.relative_to(folder).as_posix())
        for path in sorted(folder.rglob("*"))
        if _is_candidate(path, folder)
    ]
    if not files:
        message = f"{folder}: there is no V*__*.sql here; restore the migrations"
        raise MigrationError(message)
    _refuse_twins(files)
    versioned = [(file.version, file) for file in files if file.version is not None]
    repeatable = [file for file in files if file.version is None]
    return [file for _, file in sorted(versioned, key=lambda pair: pair[0])] + sorted(
        repeatable, key=lambda file: file.description
    )


def _is_candidate(path: Path, folder: Path) -> bool:
    parents = path.relative_to(folder).parts[:-1]
    if any(part.startswith(".") for part in parents) or not path.is_file():
        return False
    # V1__x.sql.conf would tell Flyway, and only Flyway, to run V1__x.sql in another way.
    return path.name.lower().endswith((".sql", ".sql.conf"))


def _read_file(path: Path, script: str) -> MigrationFile:
    match = NAME.fullmatch(path.name)
    if match is None:
        message = f"{script}: not a migration's name; {NAMING}"
        raise MigrationError(message)
    version, description = match["version"], match["description"].replace("_", " ")
    if (
        len(version or "") > VERSION_LENGTH_MAX
        or len(description) > DESCRIPTION_LENGTH_MAX
        or len(script) > SCRIPT_LENGTH_MAX
    ):
        message = (
            f"{script}: the name does not fit the history (version {VERSION_LENGTH_MAX},"
            f" description {DESCRIPTION_LENGTH_MAX} characters); shorten it"
        )
        raise MigrationError(message)
    try:
        text = path.read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        message = f"{script}: byte {error.start} is not UTF-8; save the file as UTF-8"
        raise MigrationError(message) from error
    if "\0" in text:
        message = f"{script}: contains a NUL character, where PostgreSQL would stop reading it"
        raise MigrationError(f"{message}; remove it")
    sql = text.removeprefix(BYTE_ORDER_MARK)
    found = forbidden_statement(sql)
    if found is not None:
        line, words, reason = found
        message = f"{script}, line {line}: {words} is not possible in a migration: {reason}"
        raise MigrationError(message)
    return MigrationFile(
        script=script,
        version=Version.parse(version) if version else None,
        description=description,
        checksum=checksum(text),
        sql=sql,
    )


def _refuse_twins(files: list[MigrationFile]) -> None:
    seen: dict[Version | str, str] = {}
    for file in files:
        key = file.version or file.description
        if key in seen:
            what = f"version {file.version}" if file.version else f"'{file.description}'"
            message = (
                f"{seen[key]} and {file.script}: both are {what};"
                " rename the one that was not applied anywhere yet"
            )
            raise MigrationError(message)
        seen[key] = file.script
