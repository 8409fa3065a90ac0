"""Accounts on the wire."""

from typing import Annotated, Final, Literal

from email_validator import EmailNotValidError, validate_email
from pydantic import AfterValidator, BaseModel, Field, WithJsonSchema

from app.core.passwords import (
    PASSWORD_BYTES_MAX,
    PASSWORD_CHARACTERS_MIN,
    password_problem,
)
from app.domain.users import User
from app.schemas.common import (
    NO_NUL,
    Amount,
    FilledText,
    Identifier,
    Instant,
    Money,
    PersonName,
    PositiveAmount,
    Request,
    Text,
    storable,
)

EMAIL_CHARACTERS_MAX: Final = 254


def _email(text: str) -> str:
    try:
        return validate_email(text, check_deliverability=False).normalized
    except EmailNotValidError:
        # The library's own message may quote what was sent.
        raise ValueError("expected an e-mail address, for example ada@example.com") from None


def _password(text: str) -> str:
    problem = password_problem(text)
    if problem is not None:
        raise ValueError(problem)
    return text


Email = Annotated[
    Text,
    AfterValidator(_email),
    WithJsonSchema({"type": "string", "format": "email", "maxLength": EMAIL_CHARACTERS_MAX}),
]


Password = Annotated[
    str,
    AfterValidator(storable),
    AfterValidator(_password),
    WithJsonSchema(
        {
            "type": "string",
            "format": "password",
            "pattern": NO_NUL,
            "minLength": PASSWORD_CHARACTERS_MIN,
            "maxLength": PASSWORD_BYTES_MAX,
            "description": f"At least {PASSWORD_CHARACTERS_MIN} characters, at most "
            f"{PASSWORD_BYTES_MAX} bytes of UTF-8, and none of the 3,000 most common passwords.",
        }
    ),
]


class Registration(Request):
    """Who wants a paper account."""

    email: Email = Field(examples=["ada@example.com"])
    password: Password = Field(examples=["correct horse battery"])
    name: PersonName = Field(examples=["Ada Lovelace"])


class Login(Request):
    """Credentials. Whatever is wrong with them, the answer is the same 401."""

    email: Text = Field(examples=["ada@example.com"])
    password: Text = Field(examples=["correct horse battery"])


class TokenForm(Request):
    """The form of OAuth2's password flow; what else such a client sends is ignored."""

    grant_type: Literal["password"] = "password"
    username: FilledText = Field(examples=["ada@example.com"], description="The e-mail.")
    password: FilledText = Field(
        examples=["correct horse battery"], json_schema_extra={"format": "password"}
    )


class Movement(Request):
    """Paper cash to add or to take out."""

    amount: PositiveAmount = Field(examples=["2500.50"])


class Reset(Request):
    """What the new epoch begins with."""

    balance: Amount = Field(examples=["10000"])


class UserOut(BaseModel):
    """An account."""

    id: Identifier
    email: str = Field(examples=["ada@example.com"])
    name: str = Field(examples=["Ada Lovelace"])
    balance: Money
    created_at: Instant

    @classmethod
    def of(cls, user: User) -> "UserOut":
        """The wire form of a user."""
        return cls(
            id=user.id,
            email=user.email,
            name=user.name,
            balance=user.balance,
            created_at=user.created_at,
        )
