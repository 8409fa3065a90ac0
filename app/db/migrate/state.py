"""Files against history: what state each migration is in, and what stops a start."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final, assert_never

from app.db.migrate.files import MigrationFile
from app.db.migrate.version import Version

SQL: Final = "SQL"
BASELINE: Final = "BASELINE"
SCHEMA: Final = "SCHEMA"
DELETE: Final = "DELETE"
"""What a row of the history stands for; DELETE is how `flyway repair` strikes one out."""


class State(StrEnum):
    """The words that `flyway info` uses."""

    PENDING = "Pending"
    SUCCESS = "Success"
    OUT_OF_ORDER = "Out of Order"
    OUTDATED = "Outdated"
    SUPERSEDED = "Superseded"
    BASELINE = "Baseline"
    BELOW_BASELINE = "Below Baseline"
    IGNORED_BASELINE = "Ignored (Baseline)"
    DELETED = "Deleted"
    IGNORED = "Ignored"
    MISSING = "Missing"
    FUTURE = "Future"
    FAILED = "Failed"
    FAILED_MISSING = "Failed (Missing)"
    FAILED_FUTURE = "Failed (Future)"


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryRow:
    """One row of the history table. `version` is None for a repeatable migration."""

    installed_rank: int
    version: Version | None
    description: str
    type: str
    script: str
    checksum: int | None
    installed_on: datetime
    success: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class MigrationInfo:
    """A migration as file, as row of the history, or as both, and its state."""

    state: State
    file: MigrationFile | None = None
    row: HistoryRow | None = None

    def __post_init__(self) -> None:
        assert self.file is not None or self.row is not None, "a migration exists somewhere"

    @property
    def category(self) -> str:
        """`Versioned`, `Repeatable`, or empty for a mark such as the baseline."""
        if self.row is not None and self.row.type != SQL:
            return ""
        return "Versioned" if self.version else "Repeatable"

    @property
    def version(self) -> str:
        """The version's text, empty for a repeatable migration."""
        version = self._source.version
        return str(version) if version is not None else ""

    @property
    def description(self) -> str:
        """The words of the file's name."""
        return self._source.description

    @property
    def script(self) -> str:
        """The file's path in the folder."""
        return self._source.script

    @property
    def type(self) -> str:
        """`SQL`, or what else the row of the history stands for."""
        return self.row.type if self.row is not None else SQL

    @property
    def installed_on(self) -> datetime | None:
        """When it was applied, in the time zone of whoever applied it, or None."""
        return self.row.installed_on if self.row is not None else None

    @property
    def _source(self) -> MigrationFile | HistoryRow:
        source = self.row or self.file
        assert source is not None, "checked when born"
        return source


def compare(files: Sequence[MigrationFile], rows: Sequence[HistoryRow]) -> list[MigrationInfo]:
    """Return every row in the order of the history, then every file still to be applied."""
    deleted = _deleted_ranks(rows)
    infos = [
        *_versioned_rows(files, rows, deleted),
        *_repeatable_rows(files, rows, deleted),
    ]
    infos.sort(key=lambda info: info.row.installed_rank if info.row is not None else 0)
    done = {
        info.row.version if info.row.version is not None else info.row.description
        for info in infos
        if info.row is not None
        and info.row.type not in (BASELINE, SCHEMA, DELETE)
        and info.state not in (State.DELETED, State.SUPERSEDED, State.OUTDATED)
    }
    highest = _highest(row for row in rows if row.installed_rank not in deleted)
    baseline = _highest(row for row in rows if row.type == BASELINE)
    infos.extend(
        MigrationInfo(state=_file_state(file.version, highest, baseline), file=file)
        for file in files
        if (file.version if file.version is not None else file.description) not in done
    )
    return infos


def pending(infos: Sequence[MigrationInfo]) -> list[MigrationFile]:
    """Return what is still to be applied, in order."""
    return [info.file for info in infos if info.state is State.PENDING and info.file is not None]


def problems(infos: Sequence[MigrationInfo]) -> list[str]:
    """Return what forbids to apply anything, one text for each migration, with its remedy."""
    rows = [info.row for info in infos if info.row is not None]
    baseline = _highest(row for row in rows if row.type == BASELINE)
    return [text for info in infos if (text := _problem(info, baseline)) is not None]


def not_applied(infos: Sequence[MigrationInfo]) -> list[str]:
    """Return what `validate` complains about beyond `problems`: work that is left to do."""
    return [
        f"{file.script}: not applied to this database yet; apply it with: python -m app migrate"
        for file in pending(infos)
    ]


def _deleted_ranks(rows: Sequence[HistoryRow]) -> set[int]:
    """A DELETE row strikes out the latest row of its version or description before it."""
    deleted: set[int] = set()
    for index, row in enumerate(rows):
        if row.type != DELETE or not row.success:
            continue
        deleted.add(row.installed_rank)
        for earlier in reversed(rows[:index]):
            same = (
                earlier.version == row.version
                if row.version is not None
                else earlier.version is None and earlier.description == row.description
            )
            if same and earlier.installed_rank not in deleted:
                deleted.add(earlier.installed_rank)
                break
    return deleted


def _versioned_rows(
    files: Sequence[MigrationFile], rows: Sequence[HistoryRow], deleted: set[int]
) -> Iterator[MigrationInfo]:
    by_version = {file.version: file for file in files if file.version is not None}
    last_file = max(by_version, default=None)
    highest: Version | None = None
    for row in rows:
        if row.version is None or row.type == DELETE:
            continue
        file = by_version.get(row.version) if row.type != BASELINE else None
        if row.type == BASELINE:
            state = State.BASELINE
        elif row.installed_rank in deleted:
            state = State.DELETED
        elif file is None:
            is_missing = last_file is not None and row.version < last_file
            if is_missing:
                state = State.MISSING if row.success else State.FAILED_MISSING
            else:
                state = State.FUTURE if row.success else State.FAILED_FUTURE
        elif not row.success:
            state = State.FAILED
        elif highest is not None and row.version <= highest:
            state = State.OUT_OF_ORDER
        else:
            state = State.SUCCESS
        if row.installed_rank not in deleted and (highest is None or row.version > highest):
            highest = row.version
        yield MigrationInfo(state=state, file=file, row=row)


def _repeatable_rows(
    files: Sequence[MigrationFile], rows: Sequence[HistoryRow], deleted: set[int]
) -> Iterator[MigrationInfo]:
    by_description = {file.description: file for file in files if file.version is None}
    latest = {
        row.description: row.installed_rank
        for row in rows
        if row.version is None and row.type != DELETE
    }
    for row in rows:
        if row.version is not None:
            continue
        if row.type in (SCHEMA, DELETE):
            yield MigrationInfo(state=State.SUCCESS, row=row)
            continue
        file = by_description.get(row.description)
        if row.installed_rank in deleted:
            state = State.DELETED
        elif row.installed_rank != latest[row.description]:
            state = State.SUPERSEDED
        elif file is None:
            state = State.MISSING if row.success else State.FAILED_MISSING
        elif not row.success:
            state = State.FAILED
        else:
            state = State.SUCCESS if row.checksum == file.checksum else State.OUTDATED
        yield MigrationInfo(state=state, file=file, row=row)


def _highest(rows: Iterable[HistoryRow]) -> Version | None:
    return max((row.version for row in rows if row.version is not None), default=None)


def _file_state(
    version: Version | None, highest: Version | None, baseline: Version | None
) -> State:
    """Return the state of a file that has no row."""
    if version is None:
        return State.PENDING
    if baseline is not None and version <= baseline:
        return State.IGNORED_BASELINE if version == baseline else State.BELOW_BASELINE
    if highest is not None and version < highest:
        return State.IGNORED
    return State.PENDING


def _problem(info: MigrationInfo, baseline: Version | None) -> str | None:
    match info.state:
        case State.FAILED | State.FAILED_MISSING | State.FAILED_FUTURE:
            assert info.row is not None, "only what ran can have failed"
            return (
                f"{info.script}: an earlier attempt failed half-way, says the history (success ="
                " false); undo by hand what it left behind, then strike it out with: flyway"
                f" repair, or remove the row with installed_rank = {info.row.installed_rank}"
                " from public.schema_version"
            )
        case State.FUTURE:
            return (
                f"{info.script}: applied to this database, which is newer than the files here;"
                " start the goblin that brought it, or bring the file back"
            )
        case State.MISSING:
            return (
                f"{info.script}: applied to this database, but the file is gone; restore it"
                " from version control, or strike it out with: flyway repair"
            )
        case State.IGNORED:
            return (
                f"{info.script}: newer migrations were applied before this file came, and"
                " versions only grow; rename it to a version above all others"
            )
        case State.SUCCESS | State.OUT_OF_ORDER:
            return _edit(info, baseline)
        case (
            State.PENDING
            | State.OUTDATED
            | State.SUPERSEDED
            | State.BASELINE
            | State.BELOW_BASELINE
            | State.IGNORED_BASELINE
            | State.DELETED
        ):
            return None
        case unreachable:
            assert_never(unreachable)


def _edit(info: MigrationInfo, baseline: Version | None) -> str | None:
    """Compare an applied file with what was applied."""
    file, row = info.file, info.row
    if file is None or row is None:
        return None
    if file.version is not None and baseline is not None and file.version <= baseline:
        return None
    if row.type != SQL:
        return (
            f"{file.script}: this version was applied as {row.type} by another tool,"
            " which goblin cannot compare; strike it out with: flyway repair"
        )
    if row.checksum != file.checksum:
        return (
            f"{file.script}: edited after it was applied (checksum {row.checksum} then,"
            f" {file.checksum} now); restore the file from version control and put the change"
            " into a new migration"
        )
    if row.description != file.description:
        return (
            f"{file.script}: renamed after it was applied as {row.script};"
            " give it its old name back"
        )
    return None
