-- When somebody tried a password, or to register, from one origin: an address, or the /64
-- network of an IPv6 address. The account is the SHA-256 of the e-mail, which need not be
-- anybody's; the empty one stands for the origin as a whole.
CREATE TABLE attempts (
    purpose TEXT NOT NULL,
    origin TEXT NOT NULL,
    account BYTEA NOT NULL,
    tried_at TIMESTAMPTZ[] NOT NULL,
    PRIMARY KEY (purpose, origin, account),
    CONSTRAINT attempts_purpose_known CHECK (purpose IN ('login', 'registration')),
    CONSTRAINT attempts_account_is_a_hash CHECK (length(account) IN (0, 32))
);
