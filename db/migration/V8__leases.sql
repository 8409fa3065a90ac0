-- Who does what only one process may do: until when, and for the how-manyeth time. A term never
-- comes again, so that what an earlier holder still writes can be told from the present one's.
CREATE TABLE leases (
    name TEXT PRIMARY KEY,
    term BIGINT NOT NULL,
    holder TEXT NOT NULL,
    expires_at TIMESTAMPTZ NOT NULL,
    CONSTRAINT leases_term_counts_from_one CHECK (term >= 1)
);
