"""What a migration may not contain, found without asking PostgreSQL.

A file runs in one transaction together with its row in the history. A statement that ends
the transaction would leave half a migration behind, and one that PostgreSQL refuses inside
a transaction would make Flyway run the file without any. Both are found before anything is
applied. This is not an SQL parser: it knows where comments, strings and statements end.
"""

import re
from collections.abc import Iterator
from typing import Final

TOKEN: Final = re.compile(
    r"""
      (?P<comment> --[^\r\n]* )
    | (?P<block> /\* )
    | (?P<string> [eE]'(?:[^'\\]|\\.|'')*' | '(?:[^']|'')*' | "(?:[^"]|"")*" )
    | (?P<dollar> \$(?P<tag>(?:[^\W\d]\w*)?)\$ .*? \$(?P=tag)\$ )
    | (?P<end> ; )
    | (?P<word> [^\W\d][\w$]* )
    | (?P<other> \S )
    """,
    re.VERBOSE | re.DOTALL,
)
BLOCK_EDGE: Final = re.compile(r"/\*|\*/")

OWN_TRANSACTION: Final = (
    "it already runs in one transaction together with its row in the history; remove the statement"
)
NO_TRANSACTION: Final = (
    "it cannot run inside a transaction, where every migration runs; run it by hand,"
    " or choose a form that can (CREATE INDEX without CONCURRENTLY)"
)
CLIENT_DATA: Final = "its data would come from the client; write INSERT statements instead"

FORBIDDEN: Final = tuple(
    (re.compile(pattern), reason)
    for pattern, reason in (
        (r"(?:BEGIN|START TRANSACTION|COMMIT|END|ABORT|PREPARE TRANSACTION)\b", OWN_TRANSACTION),
        (r"ROLLBACK\b(?!(?: WORK| TRANSACTION)? TO\b)", OWN_TRANSACTION),
        (r"(?:CREATE(?: UNIQUE)?|DROP) INDEX CONCURRENTLY\b", NO_TRANSACTION),
        (r"REINDEX\b.* (?:CONCURRENTLY|SCHEMA|DATABASE|SYSTEM)\b", NO_TRANSACTION),
        (r"REINDEX (?:SCHEMA|DATABASE|SYSTEM)\b", NO_TRANSACTION),
        (r"ALTER TABLE\b.* DETACH PARTITION\b.* CONCURRENTLY\b", NO_TRANSACTION),
        (r"(?:CREATE|DROP) (?:DATABASE|TABLESPACE|SUBSCRIPTION)\b", NO_TRANSACTION),
        (r"ALTER DATABASE\b.* SET TABLESPACE\b", NO_TRANSACTION),
        (r"(?:ALTER SYSTEM|VACUUM|DISCARD ALL)\b", NO_TRANSACTION),
        (r"COPY\b.* (?:FROM STDIN|TO STDOUT)\b", CLIENT_DATA),
    )
)


def forbidden_statement(sql: str) -> tuple[int, str, str] | None:
    """Return line, first words and reason of the first statement that may not be here."""
    for position, words in statements(sql):
        for pattern, reason in FORBIDDEN:
            match = pattern.match(words)
            if match is not None:
                return line_of(sql, position), match.group(), reason
    return None


def statements(sql: str) -> Iterator[tuple[int, str]]:
    """Yield where each statement starts and its words in upper case, without its literals."""
    words: list[str] = []
    start = 0
    bodies: list[str] = []  # BEGIN ATOMIC ... END of a function, and CASE ... END inside
    for kind, text, position in _tokens(sql):
        if kind == "end" and not bodies:
            if words:
                yield start, " ".join(words)
            words = []
        elif kind == "word":
            if not words:
                start = position
            word = text.upper()
            if (word == "ATOMIC" and words[-1:] == ["BEGIN"]) or (word == "CASE" and bodies):
                bodies.append(word)
            elif word == "END" and bodies:
                bodies.pop()
            words.append(word)
    if words:
        yield start, " ".join(words)


def line_of(text: str, position: int) -> int:
    """Return the line, counted from 1, of a character, counted from 0."""
    return len(re.findall(r"\r\n|\r|\n", text[:position])) + 1


def _tokens(sql: str) -> Iterator[tuple[str, str, int]]:
    position = 0
    while match := TOKEN.search(sql, position):
        kind = match.lastgroup
        assert kind is not None, "every alternative of TOKEN is named"
        position = match.end()
        if kind == "block":
            position = _end_of_block_comment(sql, position)
        else:
            yield kind, match.group(), match.start()


def _end_of_block_comment(sql: str, position: int) -> int:
    """Block comments nest in PostgreSQL."""
    depth = 1
    while depth and (edge := BLOCK_EDGE.search(sql, position)):
        depth += 1 if edge.group() == "/*" else -1
        position = edge.end()
    return position if depth == 0 else len(sql)
