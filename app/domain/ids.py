"""What ids can be."""

from typing import Final

ID_MAX: Final = 2**63 - 1
"""What PostgreSQL's BIGINT holds."""
