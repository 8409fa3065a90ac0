"""What a new password has to be: long enough, storable whole, and not one of the first guesses.

common_passwords.txt has the 3,000 most common passwords of at least eight characters, most
common first, in lower case: ranked by the better of their places in two published lists of
leaked passwords, that of zxcvbn (30,000 entries, MIT licence) and "10k most common" by Mark
Burnett, as SecLists has it (MIT licence).
"""

from pathlib import Path
from typing import Final

PASSWORD_CHARACTERS_MIN: Final = 8
PASSWORD_BYTES_MAX: Final = 72
"""What plain bcrypt can take in; nothing is ever cut off."""

COMMON_PASSWORDS: Final = frozenset(
    Path(__file__).with_name("common_passwords.txt").read_text(encoding="utf-8").split()
)


def password_problem(password: str) -> str | None:
    """What is wrong with a new password, in words that never repeat it; None if it will do.

    As ASVS 5 (6.2.1 to 6.2.9) has it: a length, no rules about which characters, none of the
    3,000 most common in whatever case.
    """
    if len(password) < PASSWORD_CHARACTERS_MIN:
        return f"expected at least {PASSWORD_CHARACTERS_MIN} characters"
    if len(password.encode()) > PASSWORD_BYTES_MAX:
        return f"expected at most {PASSWORD_BYTES_MAX} bytes of UTF-8"
    if password.lower() in COMMON_PASSWORDS:
        return (
            "one of the 3,000 most common passwords, which are tried first: "
            "choose another, for example three words of your own"
        )
    return None
