"""What administrators see, on the wire."""

from pydantic import BaseModel, Field

from app.db.dao.administration import ListedUser
from app.domain.access import Role
from app.schemas.common import Count, Identifier, Instant
from app.services.audit import InstallationAudit

DISCREPANCIES_SHOWN_MAX = 100


class AdminUser(BaseModel):
    """A user as an administrator sees them."""

    id: Identifier
    email: str = Field(examples=["ada@example.com"])
    name: str = Field(examples=["Ada Lovelace"])
    role: Role = Field(examples=["user"])
    created_at: Instant
    disabled_at: Instant | None = Field(None, description="Since when; absent if not disabled.")

    @classmethod
    def of(cls, user: ListedUser) -> "AdminUser":
        """The wire form of a listed user."""
        return cls(
            id=user.id,
            email=user.email,
            name=user.name,
            role=user.role,
            created_at=user.created_at,
            disabled_at=user.disabled_at,
        )


class AdminUserList(BaseModel):
    """A page of users, newest first."""

    users: list[AdminUser]


class InstallationAuditOut(BaseModel):
    """What recomputing everybody's books found."""

    agrees: bool = Field(examples=[True])
    users: Count
    entries: Count
    discrepancy_count: Count
    discrepancies: list[str] = Field(
        description=f"What is wrong, in words; the first {DISCREPANCIES_SHOWN_MAX}.",
        examples=[[]],
    )

    @classmethod
    def of(cls, found: InstallationAudit) -> "InstallationAuditOut":
        """The wire form of an audit."""
        return cls(
            agrees=not found.discrepancies,
            users=found.users,
            entries=found.entries,
            discrepancy_count=len(found.discrepancies),
            discrepancies=[
                discrepancy.text for discrepancy in found.discrepancies[:DISCREPANCIES_SHOWN_MAX]
            ],
        )
