"""What a batch of money requests is decided on, read at once.

One statement over several tables: all of it is of one instant, and costs one round trip.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from app.db.arrays import number_array
from app.db.connection import Connection
from app.domain.access import Claim, CredentialKind, Role, Scope, Standing
from app.domain.answers import Answer, KeyedRequest, StoredAnswer
from app.domain.instruments import Symbol
from app.domain.ledger import Account, AccountId, AccountKey, AccountKind, Asset
from app.domain.orders import Order, OrderId, OrderStatus
from app.domain.users import LockedUser, User, UserId


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """The state of the books, and what new orders are written with."""

    users: dict[UserId, LockedUser]
    """Those of the asked users that exist."""

    at: datetime
    """The instant that whatever is decided is written as of."""
    order_ids: Sequence[OrderId]
    """Nobody else's; those of refused orders are never used."""
    accounts: dict[AccountKey, Account]
    """The asked accounts in the users' present epochs; new ones are written when first used."""
    active_orders: dict[tuple[UserId, Symbol], Order]
    used_client_order_ids: set[tuple[UserId, str]]
    stored_answers: dict[tuple[UserId, str], StoredAnswer]
    """By user and idempotency key."""
    standings: dict[Claim, Standing]
    """Of those whose users and keys exist."""


async def get_ground(
    conn: Connection,
    *,
    user_ids: Sequence[UserId],
    accounts: Sequence[tuple[UserId, AccountKind, str]],
    order_count: int,
    closings: Sequence[tuple[UserId, Symbol]],
    client_order_ids: Sequence[tuple[UserId, str]],
    keyed: Sequence[KeyedRequest],
    claims: Sequence[Claim],
) -> Ground:
    """Everything at once; accounts are asked for by kind and asset, `closings` by symbol.

    So is what the callers of the requests claim: no order asks a question more for it.
    """
    by_session = [c for c in claims if c.credential.kind is CredentialKind.SESSION]
    by_key = [c for c in claims if c.credential.kind is CredentialKind.API_KEY]
    row = await conn.fetchrow(
        """
        SELECT clock_timestamp() AS at,
            ARRAY(
                SELECT nextval('transact_id_seq') FROM generate_series(1, $4::int)
            ) AS order_ids,
            EXISTS (
                SELECT FROM ledger_alarms WHERE cleared_at IS NULL
            ) AS is_ledger_stopped,
            ARRAY(
                SELECT ROW(id, email, name, balance, created_at, epoch, event_number)
                FROM users
                WHERE id = ANY($11::text::bigint[])
            ) AS users,
            ARRAY(
                SELECT ROW(coalesce(account.id, nextval('ledger_accounts_id_seq')),
                    users.id, users.epoch, asked.kind, asked.asset,
                    coalesce(account.balance, 0), coalesce(account.version, 0),
                    account.id IS NULL)
                FROM unnest($1::text::bigint[], $2::text[], $3::text[])
                    AS asked (user_id, kind, asset)
                JOIN users ON users.id = asked.user_id
                LEFT JOIN ledger_accounts AS account
                    ON account.user_id = users.id AND account.epoch = users.epoch
                    AND account.kind = asked.kind AND account.asset = asked.asset
            ) AS accounts,
            ARRAY(
                SELECT ROW(active.id, active.user_id, active.epoch, active.client_order_id,
                    active.symbol, active.quantity, active.buy_price, active.created_at,
                    active.updated_at)
                FROM transact AS active
                WHERE (active.user_id, active.epoch, active.symbol) IN (
                        SELECT users.id, users.epoch, asked.symbol
                        FROM unnest($5::text::bigint[], $6::text[]) AS asked (user_id, symbol)
                        JOIN users ON users.id = asked.user_id
                    )
                    AND active.status = 1
            ) AS active_orders,
            ARRAY(
                SELECT ROW(used.user_id, used.client_order_id)
                FROM transact AS used
                WHERE (used.user_id, used.client_order_id) IN (
                    SELECT asked.user_id, asked.client_order_id
                    FROM unnest($7::text::bigint[], $8::text[]) AS asked (user_id, client_order_id)
                )
            ) AS used_client_order_ids,
            ARRAY(
                SELECT ROW(stored.user_id, stored.key, stored.fingerprint, stored.status,
                    stored.body)
                FROM idempotency_keys AS stored
                WHERE (stored.user_id, stored.key) IN (
                    SELECT asked.user_id, asked.key
                    FROM unnest($9::text::bigint[], $10::text[]) AS asked (user_id, key)
                )
            ) AS stored_answers,
            ARRAY(
                SELECT ROW(claimed.number, users.email, users.role,
                    users.disabled_at IS NOT NULL, coalesce(sessions.user_id = users.id, false))
                FROM unnest($12::text::bigint[], $13::text::bigint[])
                    WITH ORDINALITY AS claimed (user_id, session_id, number)
                JOIN users ON users.id = claimed.user_id
                LEFT JOIN sessions
                    ON sessions.id = claimed.session_id AND sessions.revoked_at IS NULL
            ) AS sessions,
            ARRAY(
                SELECT ROW(claimed.number, users.email, users.role,
                    users.disabled_at IS NOT NULL, coalesce(api_keys.expires_at <= now(), false),
                    api_keys.scopes)
                FROM unnest($14::text::bigint[], $15::bytea[])
                    WITH ORDINALITY AS claimed (user_id, key_hash, number)
                JOIN api_keys ON api_keys.key_hash = claimed.key_hash
                    AND api_keys.user_id = claimed.user_id
                JOIN users ON users.id = api_keys.user_id
            ) AS api_keys
        """,
        number_array(user_id for user_id, _, _ in accounts),
        [kind for _, kind, _ in accounts],
        [asset for _, _, asset in accounts],
        order_count,
        number_array(user_id for user_id, _ in closings),
        [symbol for _, symbol in closings],
        number_array(user_id for user_id, _ in client_order_ids),
        [client_order_id for _, client_order_id in client_order_ids],
        number_array(request.user_id for request in keyed),
        [request.key for request in keyed],
        number_array(user_ids),
        number_array(claim.user_id for claim in by_session),
        number_array(claim.credential.id for claim in by_session),
        number_array(claim.user_id for claim in by_key),
        [claim.key_hash for claim in by_key],
    )
    assert row is not None, "it is one row"
    is_ledger_stopped = row["is_ledger_stopped"]
    return Ground(
        at=row["at"],
        users={
            user.id: LockedUser(
                user=user, event_number=event_number, is_ledger_stopped=is_ledger_stopped
            )
            for user, event_number in map(_user, row["users"])
        },
        order_ids=[OrderId(order_id) for order_id in row["order_ids"]],
        accounts={account.key: account for account in map(_account, row["accounts"])},
        active_orders={
            (order.user_id, order.symbol): order for order in map(_order, row["active_orders"])
        },
        used_client_order_ids={
            (UserId(user_id), client_order_id)
            for user_id, client_order_id in row["used_client_order_ids"]
        },
        stored_answers={
            (UserId(user_id), key): StoredAnswer(
                fingerprint=fingerprint,
                answer=Answer(status=status, body=body, is_replayed=True),
            )
            for user_id, key, fingerprint, status, body in row["stored_answers"]
        },
        standings={
            by_session[number - 1]: Standing(
                email=email, role=Role(role), is_disabled=is_disabled, is_session_live=is_live
            )
            for number, email, role, is_disabled, is_live in row["sessions"]
        }
        | {
            by_key[number - 1]: Standing(
                email=email,
                role=Role(role),
                is_disabled=is_disabled,
                is_key_expired=is_expired,
                scopes=frozenset(map(Scope, scopes)),
            )
            for number, email, role, is_disabled, is_expired, scopes in row["api_keys"]
        },
    )


def _user(row: tuple[Any, ...]) -> tuple[User, int]:
    user_id, email, name, balance, created_at, epoch, event_number = row
    user = User(
        id=UserId(user_id),
        email=email,
        name=name,
        balance=balance,
        created_at=created_at,
        epoch=epoch,
    )
    return user, event_number


def _account(row: tuple[Any, ...]) -> Account:
    account_id, user_id, epoch, kind, asset, balance, version, is_new = row
    key = AccountKey(UserId(user_id), epoch, AccountKind(kind), Asset(asset))
    return Account(AccountId(account_id), key, balance, version, is_new)


def _order(row: tuple[Any, ...]) -> Order:
    order_id, user_id, epoch, client_order_id, symbol, quantity, buy_price, created, updated = row
    return Order(
        id=OrderId(order_id),
        user_id=UserId(user_id),
        epoch=epoch,
        client_order_id=client_order_id,
        symbol=Symbol(symbol),
        status=OrderStatus.ACTIVE,
        quantity=quantity,
        buy_price=buy_price,
        sell_price=None,
        created_at=created,
        updated_at=updated,
    )
