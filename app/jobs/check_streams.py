"""Has streams end whose session or API key has been revoked, in whichever process it was."""

import asyncio
from typing import Final

from app.db.dao.api_keys import get_dead_api_keys
from app.db.dao.sessions import get_ended_sessions
from app.db.database import Database
from app.db.errors import DatabaseUnavailable
from app.domain.access import ApiKeyId, Credential, CredentialKind, SessionId
from app.jobs.supervisor import Done, tell_nobody
from app.services.event_feed import EventFeed

INTERVAL_SECONDS: Final = 1.0


async def run(db: Database, feed: EventFeed, *, done: Done = tell_nobody) -> None:
    """Look every second, also while the database comes and goes."""
    while True:
        await asyncio.sleep(INTERVAL_SECONDS)
        try:
            await check(db, feed)
        except DatabaseUnavailable:
            continue
        done()


async def check(db: Database, feed: EventFeed) -> None:
    """Ask once for all streams of this process, however many there are."""
    by_kind: dict[CredentialKind, list[int]] = {kind: [] for kind in CredentialKind}
    for credential in feed.credentials():
        by_kind[credential.kind].append(credential.id)
    gone: set[Credential] = set()
    if by_kind[CredentialKind.SESSION]:
        asked = [SessionId(number) for number in by_kind[CredentialKind.SESSION]]
        async with db.connection() as conn:
            ended = await get_ended_sessions(conn, session_ids=asked)
        gone |= {Credential(kind=CredentialKind.SESSION, id=number) for number in ended}
    if by_kind[CredentialKind.API_KEY]:
        keys = [ApiKeyId(number) for number in by_kind[CredentialKind.API_KEY]]
        async with db.connection() as conn:
            dead = await get_dead_api_keys(conn, key_ids=keys)
        gone |= {Credential(kind=CredentialKind.API_KEY, id=number) for number in dead}
    if gone:
        feed.doubt(gone)
