"""The operating system account that the server runs as.

PostgreSQL refuses to run as root. An ordinary user runs it as themselves. Root runs it as

1. the account that owns the data, when there is data: a cluster keeps its owner;
2. else `postgres`, when the machine has that account (Debian's packages make it);
3. else `goblin-postgres`, which is made with `useradd`: no home, no shell, no password.
"""

import os
import pwd
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from app.db.embedded.errors import OWN_DATABASE_REMEDY, EmbeddedPostgresError

USUAL_ACCOUNT: Final = "postgres"
OWN_ACCOUNT: Final = "goblin-postgres"

ENVIRONMENT: Final[Mapping[str, str]] = {
    "PATH": "/usr/local/bin:/usr/bin:/bin",
    "LC_ALL": "C",  # its messages are read by us
    "TZ": "UTC",
}
"""All that PostgreSQL's programs get: a stray PGDATA, PGPORT or PGOPTIONS would mislead them."""


@dataclass(frozen=True, slots=True)
class Account:
    """Who PostgreSQL's processes and files belong to."""

    uid: int
    gid: int

    def process_arguments(self) -> dict[str, Any]:
        """Arguments for `subprocess` that start a program as this account.

        The session of its own keeps Ctrl-C in the terminal away from it. The working folder
        is one that every account can enter.
        """
        arguments: dict[str, Any] = {
            "cwd": "/",
            "env": ENVIRONMENT,
            "stdin": subprocess.DEVNULL,
            "start_new_session": True,
            "umask": 0o077,
        }
        if self.uid != os.geteuid():
            arguments |= {"user": self.uid, "group": self.gid, "extra_groups": []}
        return arguments

    def run(
        self, command: Sequence[str | Path], *, pass_fds: Sequence[int] = ()
    ) -> subprocess.CompletedProcess[str]:
        """Run a program to its end as this account; its output is text, errors included."""
        try:
            return subprocess.run(  # noqa: S603  our own commands
                command,
                check=False,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                encoding="utf-8",
                errors="replace",
                pass_fds=pass_fds,
                **self.process_arguments(),
            )
        except OSError as error:
            raise EmbeddedPostgresError(
                f"cannot run {command[0]} as user id {self.uid}: {error.strerror}",
                remedy="start goblin as an ordinary user, or where root may change its user id, "
                f"{OWN_DATABASE_REMEDY}",
            ) from error

    def can_enter(self, folder: Path) -> bool:
        """Whether this account may pass through every folder down to this one.

        Asked of the kernel, which knows about access lists and mounts; mode bits do not.
        """
        return self._holds('cd -- "$1"', folder)

    def can_run_binaries(self, folder: Path) -> bool:
        """Whether this account may run the programs in this folder and read what they need."""
        return self._holds(
            'cd -- "$1" && ./postgres -V && ./initdb -V && test -r ../share/postgres.bki'
            " && test -r ../lib/plpgsql.so",
            folder,
        )

    def _holds(self, shell_condition: str, folder: Path) -> bool:
        if self.uid == os.geteuid():
            return True
        return self.run(["/bin/sh", "-c", shell_condition, "sh", folder]).returncode == 0


def account_for(cluster: Path | None) -> Account:
    """Who runs the server: the owner of the cluster, or for a new one whom this module names."""
    mine = Account(os.geteuid(), os.getegid())
    owner = cluster.stat() if cluster else None
    if mine.uid != 0:
        if owner and owner.st_uid != mine.uid:
            raise EmbeddedPostgresError(
                f"{cluster} belongs to user id {owner.st_uid}, you are {mine.uid}",
                remedy="run goblin as the user who started it first (root, if that was root), or "
                f"set DATA_DIR to another folder, {OWN_DATABASE_REMEDY}",
            )
        return mine
    if owner and owner.st_uid != 0:
        return Account(owner.st_uid, owner.st_gid)
    return service_account(usual=USUAL_ACCOUNT, own=OWN_ACCOUNT)


def service_account(*, usual: str, own: str) -> Account:
    """The first of the two accounts that exists; makes the second when neither does."""
    account = _existing(usual) or _existing(own)
    if account:
        return account
    try:
        made = subprocess.run(  # noqa: S603  our own command
            [  # noqa: S607  /usr/sbin or /sbin, as the distribution likes
                "useradd",
                "--system",
                "--user-group",
                "--no-create-home",
                "--home-dir=/nonexistent",
                "--shell=/usr/sbin/nologin",
                own,
            ],
            check=False,
            capture_output=True,
            text=True,
        )
        complaint = made.stderr.strip()
    except OSError as error:
        complaint = f"useradd: {error.strerror}"
    account = _existing(own)  # also when another process made it first
    if account is None:
        raise EmbeddedPostgresError(
            f"PostgreSQL refuses to run as root, and no account for it could be made ({complaint})",
            remedy=f"make one (useradd --system {own}), start goblin as an ordinary user, "
            f"{OWN_DATABASE_REMEDY}",
        )
    return account


def _existing(name: str) -> Account | None:
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        return None
    return Account(entry.pw_uid, entry.pw_gid)
