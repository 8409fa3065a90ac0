"""Tokens, sessions and API keys on the wire."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Final, Literal

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    Field,
    WithJsonSchema,
)

from app.domain.access import Scope
from app.domain.api_keys import ApiKey
from app.domain.instants import iso_instant
from app.schemas.common import Identifier, Instant, PersonName, StrictRequest, Text
from app.schemas.users import Password, UserOut
from app.services.api_keys import MadeApiKey
from app.services.sessions import IssuedTokens

KEY_LIFETIME_MAX: Final = timedelta(days=36_525)


def _in_the_future(instant: datetime) -> datetime:
    now = datetime.now(UTC)
    if not now < instant <= now + KEY_LIFETIME_MAX:
        raise ValueError("expected an instant in the next hundred years")
    return instant


def _each_once(scopes: list[Scope]) -> list[Scope]:
    if len(set(scopes)) != len(scopes):
        raise ValueError("expected each scope once")
    return scopes


Scopes = Annotated[
    list[Scope],
    Field(min_length=1, max_length=len(Scope), examples=[["read", "trade"]]),
    Field(json_schema_extra={"uniqueItems": True}),
    AfterValidator(_each_once),
]


class Token(BaseModel):
    """What OAuth2 calls a token response."""

    access_token: str = Field(examples=["eyJhbGciOiJIUzI1NiIs..."])
    token_type: Literal["bearer"] = "bearer"  # noqa: S105 - the name of a scheme
    expires_in: int = Field(description="Seconds until access_token expires.", examples=[3600])
    refresh_token: str = Field(
        description="What POST /auth/refresh takes, once.", examples=["gor_J3k..."]
    )
    scope: str = Field(description="What the token allows.", examples=["read trade"])

    @classmethod
    def of(cls, issued: IssuedTokens) -> "Token":
        """The wire form of tokens."""
        return cls(
            access_token=issued.access_token,
            expires_in=int(issued.expires_in.total_seconds()),
            refresh_token=issued.refresh_token,
            scope=" ".join(scope for scope in Scope if scope in issued.scopes),
        )


class Session(Token):
    """The same, and whose it is."""

    user: UserOut


class Refresh(StrictRequest):
    """The last refresh token of a session."""

    refresh_token: Text = Field(examples=["gor_J3k..."])


class PasswordChange(StrictRequest):
    """The password there is, and the one to be."""

    old_password: Text = Field(examples=["correct horse battery"])
    new_password: Password = Field(examples=["staple wrong battery"])


class ApiKeyCreate(StrictRequest):
    """A key to be made."""

    name: PersonName = Field(examples=["grid bot"])
    scopes: Scopes
    expires_at: (
        Annotated[
            AwareDatetime,
            BeforeValidator(iso_instant),
            AfterValidator(_in_the_future),
            WithJsonSchema(
                {"type": "string", "format": "date-time", "examples": ["2099-12-31T23:59:59Z"]}
            ),
        ]
        | None
    ) = Field(
        None,
        description="ISO 8601 with a zone, in the next hundred years. Without it: no end.",
    )


class ApiKeyOut(BaseModel):
    """A key without its secret."""

    id: Identifier
    name: str = Field(examples=["grid bot"])
    prefix: str = Field(description="How the key begins.", examples=["gob_V1StGXR8"])
    scopes: list[Scope] = Field(examples=[["read", "trade"]])
    created_at: Instant
    expires_at: Instant | None = None
    last_used_at: Instant | None = Field(None, description="To the minute.")

    @classmethod
    def of(cls, key: ApiKey) -> "ApiKeyOut":
        """The wire form of a key."""
        return cls(
            id=key.id,
            name=key.name,
            prefix=key.prefix,
            scopes=list(key.scopes),
            created_at=key.created_at,
            expires_at=key.expires_at,
            last_used_at=key.last_used_at,
        )


class NewApiKey(ApiKeyOut):
    """A key with its secret, which is never shown again."""

    key: str = Field(examples=["gob_V1StGXR8_Z5jdHi6B-myT..."])

    @classmethod
    def made(cls, made: MadeApiKey) -> "NewApiKey":
        """The wire form of a key that was just made."""
        return cls(**dict(ApiKeyOut.of(made.key)), key=made.secret)


class ApiKeyList(BaseModel):
    """The caller's keys, newest first."""

    api_keys: list[ApiKeyOut]
