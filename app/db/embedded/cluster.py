"""Making the cluster, whole or not at all, before the server is started."""

import os
import shutil
from pathlib import Path

from app.db.embedded.account import Account, account_for
from app.db.embedded.errors import OWN_DATABASE_REMEDY, EmbeddedPostgresError
from app.db.embedded.places import (
    Places,
    binaries_for,
    find_cluster,
    normal,
    place_for_new_cluster,
    point_to,
    socket_dir_of,
)

SUPERUSER = "postgres"


def prepare(data_dir: Path, *, lock_descriptor: int) -> Places:
    """Make whatever is missing to start the server, and return where it all is.

    Blocks for about half a second the first time. The caller holds the control lock.
    """
    try:
        return _prepared(normal(data_dir), lock_descriptor)
    except OSError as error:
        place = error.filename or data_dir
        raise EmbeddedPostgresError(
            f"cannot use {place}: {error.strerror or error}",
            remedy="free some space, make the folder writable for you, or set DATA_DIR to "
            f"another folder, {OWN_DATABASE_REMEDY}",
        ) from error


def existing_places(data_dir: Path) -> Places | None:
    """Where everything of a cluster is, without making anything; None when there is none."""
    data_dir = normal(data_dir)
    cluster = find_cluster(data_dir)
    if cluster is None:
        return None
    return _places(data_dir, cluster, account_for(cluster))


def _prepared(data_dir: Path, lock_descriptor: int) -> Places:
    found = find_cluster(data_dir)
    account = account_for(found)
    if found is None:
        cluster = place_for_new_cluster(data_dir, account)
        _make_cluster(cluster, account, lock_descriptor)
        point_to(cluster, data_dir=data_dir)
    else:
        cluster = found
        _check_still_within_reach(cluster, data_dir, account)
    return _places(data_dir, cluster, account)


def _places(data_dir: Path, cluster: Path, account: Account) -> Places:
    return Places(
        cluster=cluster,
        socket_dir=socket_dir_of(cluster, account),
        log_file=data_dir.with_name(f"{data_dir.name}.log"),
        account=account,
    )


def _make_cluster(cluster: Path, account: Account, lock_descriptor: int) -> None:
    """Run initdb beside the place and move the result there when it is complete."""
    staging = cluster.with_name(f"{cluster.name}.new")
    if staging.exists():  # an initdb was killed half-way
        shutil.rmtree(staging)
    staging.mkdir(mode=0o700)
    os.chown(staging, account.uid, account.gid)
    # initdb holds our lock too: should we be killed now, nobody begins until it has ended.
    done = account.run(
        [
            binaries_for(account) / "initdb",
            "--pgdata",
            staging,
            f"--username={SUPERUSER}",
            "--encoding=UTF8",
            "--locale-provider=builtin",
            "--builtin-locale=C.UTF-8",
            "--locale=C",
            "--data-checksums",
            "--auth-local=trust",  # the socket's folder is private
            "--auth-host=scram-sha-256",
            "--set=timezone=UTC",
            "--set=log_timezone=UTC",
            "--no-instructions",
        ],
        pass_fds=[lock_descriptor],
    )
    if done.returncode != 0:
        shutil.rmtree(staging, ignore_errors=True)
        raise EmbeddedPostgresError(
            f"initdb could not make {cluster} (exit code {done.returncode})",
            log_lines=done.stdout.splitlines(),
            remedy=f"mend what it names, most often a full disk, {OWN_DATABASE_REMEDY}",
        )
    staging.rename(cluster)
    descriptor = os.open(cluster.parent, os.O_RDONLY)
    try:
        os.fsync(descriptor)  # the name is as durable as the files
    finally:
        os.close(descriptor)


def _check_still_within_reach(cluster: Path, data_dir: Path, account: Account) -> None:
    if account.can_enter(cluster):
        return
    raise EmbeddedPostgresError(
        f"the owner of {cluster} (user id {account.uid}) cannot enter it where it is now",
        remedy=f"move it back, or move it to a folder that its owner can enter and leave a link: "
        f"mv '{cluster}' /var/lib/goblin-moved && ln -s /var/lib/goblin-moved '{data_dir}'",
    )
