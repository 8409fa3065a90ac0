-- What the HTTP contract promises and V1 could not keep: every row has an owner, money has
-- bounds, an account holds one active order per symbol, and every hot query has its index.
--
-- Rows of V1 stay. Where they cannot (two accounts whose e-mails differ only in case, two
-- active orders of one user and symbol, amounts that no account or order can have) the
-- migration stops and names them, because only their owner can say what is meant.

-- Symbols are trimmed and upper-cased before use, the old ones too.
UPDATE transact         SET symbol = upper(btrim(symbol, E' \t\n\v\f\r'))
WHERE symbol <> upper(btrim(symbol, E' \t\n\v\f\r'));
UPDATE watchlists       SET symbol = upper(btrim(symbol, E' \t\n\v\f\r'))
WHERE symbol <> upper(btrim(symbol, E' \t\n\v\f\r'));
UPDATE log              SET symbol = upper(btrim(symbol, E' \t\n\v\f\r'))
WHERE symbol <> upper(btrim(symbol, E' \t\n\v\f\r'));
UPDATE trade_strategies SET symbol = upper(btrim(symbol, E' \t\n\v\f\r'))
WHERE symbol <> upper(btrim(symbol, E' \t\n\v\f\r'));

DO $$
DECLARE
    found TEXT;
BEGIN
    SELECT string_agg(format('%s (user %s)', email, id), ', ' ORDER BY lower(email), id)
    INTO found
    FROM (
        SELECT id, email FROM users
        WHERE lower(email) IN (SELECT lower(email) FROM users GROUP BY 1 HAVING count(*) > 1)
        ORDER BY lower(email), id LIMIT 20
    ) AS twins;
    IF found IS NOT NULL THEN
        RAISE EXCEPTION 'e-mail addresses of several users differ only in case: %', found
            USING HINT = 'Change users.email of all but one of each, then start again.';
    END IF;

    SELECT string_agg(format('user %s has %s', id, balance), ', ' ORDER BY id) INTO found
    FROM (
        SELECT id, balance FROM users
        WHERE NOT (balance >= 0 AND balance < 10000000000)
        ORDER BY id LIMIT 20
    ) AS impossible;
    IF found IS NOT NULL THEN
        RAISE EXCEPTION 'balances that no account can have: %', found
            USING HINT = 'Set users.balance to a number from 0 to below 10^10, then start again.';
    END IF;

    SELECT string_agg(format('user %s %s', user_id, symbol), ', ' ORDER BY user_id, symbol)
    INTO found
    FROM (
        SELECT user_id, symbol FROM transact WHERE status = 1
        GROUP BY user_id, symbol HAVING count(*) > 1
        ORDER BY user_id, symbol LIMIT 20
    ) AS twice;
    IF found IS NOT NULL THEN
        RAISE EXCEPTION 'several active orders for one user and symbol: %', found
            USING HINT = 'Close all but one of each (status = 2 with a sell_price), then start again.';
    END IF;

    SELECT string_agg(id::text, ', ' ORDER BY id) INTO found
    FROM (
        SELECT id FROM transact
        WHERE NOT (status IN (1, 2)
                   AND (status = 2) = (sell_price IS NOT NULL)
                   AND buy_price > 0 AND buy_price < 10000000000
                   AND quantity > 0 AND quantity < 10000000000
                   AND (sell_price IS NULL OR sell_price > 0 AND sell_price < 10000000000))
        ORDER BY id LIMIT 20
    ) AS impossible;
    IF found IS NOT NULL THEN
        RAISE EXCEPTION 'orders that are neither open nor closed, or without a price: transact.id %',
            found
            USING HINT = 'status is 1 (no sell_price) or 2 (with one), prices and quantity are'
                ' above 0 and below 10^10. Correct or delete the rows, then start again.';
    END IF;
END
$$;

-- Ids outlive 2^31 orders.
ALTER TABLE users            ALTER COLUMN id TYPE BIGINT;
ALTER TABLE transact         ALTER COLUMN id TYPE BIGINT, ALTER COLUMN user_id TYPE BIGINT;
ALTER TABLE watchlists       ALTER COLUMN id TYPE BIGINT;
ALTER TABLE log              ALTER COLUMN id TYPE BIGINT;
ALTER TABLE strategies       ALTER COLUMN id TYPE BIGINT;
ALTER TABLE trade_strategies ALTER COLUMN id TYPE BIGINT, ALTER COLUMN strategy_id TYPE BIGINT;
ALTER SEQUENCE users_id_seq            AS BIGINT;
ALTER SEQUENCE transact_id_seq         AS BIGINT;
ALTER SEQUENCE watchlists_id_seq       AS BIGINT;
ALTER SEQUENCE log_id_seq              AS BIGINT;
ALTER SEQUENCE strategies_id_seq       AS BIGINT;
ALTER SEQUENCE trade_strategies_id_seq AS BIGINT;

-- timezone('utc', now()) has no time zone: stored in a TIMESTAMPTZ it is wrong in every
-- session whose TimeZone is not UTC.
UPDATE users            SET created_at = now() WHERE created_at IS NULL;
UPDATE users            SET updated_at = created_at WHERE updated_at IS NULL;
UPDATE transact         SET created_at = now() WHERE created_at IS NULL;
UPDATE transact         SET updated_at = created_at WHERE updated_at IS NULL;
UPDATE watchlists       SET created_at = now() WHERE created_at IS NULL;
UPDATE log              SET created_at = now() WHERE created_at IS NULL;
UPDATE log              SET updated_at = created_at WHERE updated_at IS NULL;
UPDATE strategies       SET created_at = now() WHERE created_at IS NULL;
UPDATE strategies       SET updated_at = created_at WHERE updated_at IS NULL;
UPDATE trade_strategies SET created_at = now() WHERE created_at IS NULL;
UPDATE trade_strategies SET updated_at = created_at WHERE updated_at IS NULL;

ALTER TABLE users
    ALTER COLUMN created_at SET DEFAULT now(), ALTER COLUMN created_at SET NOT NULL,
    ALTER COLUMN updated_at SET DEFAULT now(), ALTER COLUMN updated_at SET NOT NULL;
ALTER TABLE transact
    ALTER COLUMN created_at SET DEFAULT now(), ALTER COLUMN created_at SET NOT NULL,
    ALTER COLUMN updated_at SET DEFAULT now(), ALTER COLUMN updated_at SET NOT NULL;
ALTER TABLE watchlists
    ALTER COLUMN created_at SET DEFAULT now(), ALTER COLUMN created_at SET NOT NULL;
ALTER TABLE log
    ALTER COLUMN created_at SET DEFAULT now(), ALTER COLUMN created_at SET NOT NULL,
    ALTER COLUMN updated_at SET DEFAULT now(), ALTER COLUMN updated_at SET NOT NULL;
ALTER TABLE strategies
    ALTER COLUMN created_at SET DEFAULT now(), ALTER COLUMN created_at SET NOT NULL,
    ALTER COLUMN updated_at SET DEFAULT now(), ALTER COLUMN updated_at SET NOT NULL;
ALTER TABLE trade_strategies
    ALTER COLUMN created_at SET DEFAULT now(), ALTER COLUMN created_at SET NOT NULL,
    ALTER COLUMN updated_at SET DEFAULT now(), ALTER COLUMN updated_at SET NOT NULL;

-- Owners. What was shared before belongs to the oldest account. Rows without any account
-- (their users were removed by hand) go to one that nobody can log in to.
INSERT INTO users (email, password, name)
SELECT 'nobody@goblin.invalid', '!', 'Owner of rows from before accounts'
WHERE NOT EXISTS (SELECT FROM users)
  AND (EXISTS (SELECT FROM watchlists) OR EXISTS (SELECT FROM log)
       OR EXISTS (SELECT FROM strategies) OR EXISTS (SELECT FROM trade_strategies));

ALTER TABLE watchlists       ADD COLUMN user_id BIGINT;
ALTER TABLE log              ADD COLUMN user_id BIGINT;
ALTER TABLE strategies       ADD COLUMN user_id BIGINT;
ALTER TABLE trade_strategies ADD COLUMN user_id BIGINT;
UPDATE watchlists       SET user_id = (SELECT min(id) FROM users);
UPDATE log              SET user_id = (SELECT min(id) FROM users);
UPDATE strategies       SET user_id = (SELECT min(id) FROM users);
UPDATE trade_strategies SET user_id = (SELECT min(id) FROM users);
ALTER TABLE watchlists       ALTER COLUMN user_id SET NOT NULL;
ALTER TABLE log              ALTER COLUMN user_id SET NOT NULL;
ALTER TABLE strategies       ALTER COLUMN user_id SET NOT NULL;
ALTER TABLE trade_strategies ALTER COLUMN user_id SET NOT NULL;

-- The same symbol twice in one watchlist is one fact; the older entry states it.
DELETE FROM watchlists AS later
USING watchlists AS earlier
WHERE earlier.user_id = later.user_id AND earlier.symbol = later.symbol AND earlier.id < later.id;

-- log.data as jsonb. Text that is not a JSON object is kept, inside one.
CREATE FUNCTION pg_temp.to_json_object(raw TEXT) RETURNS JSONB LANGUAGE plpgsql AS $$
DECLARE
    parsed JSONB;
BEGIN
    parsed := raw::jsonb;
    IF jsonb_typeof(parsed) = 'object' THEN
        RETURN parsed;
    END IF;
    RETURN jsonb_build_object('value', parsed);
EXCEPTION WHEN data_exception OR program_limit_exceeded THEN
    RETURN jsonb_build_object('text', raw);
END
$$;
ALTER TABLE log ALTER COLUMN data TYPE JSONB USING pg_temp.to_json_object(data);

-- Invariants. NaN sorts above every number and passes "value >= 0": each has an upper bound.
ALTER TABLE users
    DROP CONSTRAINT IF EXISTS users_email_key,
    ADD CONSTRAINT users_balance_range CHECK (balance >= 0 AND balance < 10000000000);
CREATE UNIQUE INDEX users_email_lower_key ON users (lower(email));

ALTER TABLE transact
    DROP CONSTRAINT IF EXISTS transact_user_id_fkey,
    ADD CONSTRAINT transact_user_fkey FOREIGN KEY (user_id) REFERENCES users (id),
    ADD CONSTRAINT transact_status_known CHECK (status IN (1, 2)),
    ADD CONSTRAINT transact_buy_price_range CHECK (buy_price > 0 AND buy_price < 10000000000),
    ADD CONSTRAINT transact_sell_price_range CHECK (sell_price > 0 AND sell_price < 10000000000),
    ADD CONSTRAINT transact_quantity_range CHECK (quantity > 0 AND quantity < 10000000000),
    ADD CONSTRAINT transact_closed_has_sell_price CHECK ((status = 2) = (sell_price IS NOT NULL));
CREATE UNIQUE INDEX transact_one_active_per_symbol ON transact (user_id, symbol) WHERE status = 1;
CREATE INDEX transact_user_list ON transact (user_id, status, created_at DESC, id DESC);
CREATE INDEX transact_user_symbol_list ON transact (user_id, symbol, status, created_at DESC, id DESC);

ALTER TABLE watchlists
    ADD CONSTRAINT watchlists_user_fkey FOREIGN KEY (user_id) REFERENCES users (id),
    ADD CONSTRAINT watchlists_user_symbol_key UNIQUE (user_id, symbol);
CREATE INDEX watchlists_user_list ON watchlists (user_id, created_at DESC, id DESC);

ALTER TABLE log
    ADD CONSTRAINT log_user_fkey FOREIGN KEY (user_id) REFERENCES users (id),
    ADD CONSTRAINT log_data_is_object CHECK (jsonb_typeof(data) = 'object');
CREATE INDEX log_user_list ON log (user_id, created_at DESC, id DESC);
CREATE INDEX log_user_symbol ON log (user_id, symbol);

ALTER TABLE strategies
    ADD CONSTRAINT strategies_user_fkey FOREIGN KEY (user_id) REFERENCES users (id),
    ADD CONSTRAINT strategies_user_id_key UNIQUE (user_id, id);
CREATE INDEX strategies_user_list ON strategies (user_id, created_at DESC, id DESC);

-- The strategy of an assignment has the same owner; the schema says so, not only the code.
ALTER TABLE trade_strategies
    DROP CONSTRAINT IF EXISTS trade_strategies_strategy_id_fkey,
    ADD CONSTRAINT trade_strategies_user_fkey FOREIGN KEY (user_id) REFERENCES users (id),
    ADD CONSTRAINT trade_strategies_strategy_fkey
        FOREIGN KEY (user_id, strategy_id) REFERENCES strategies (user_id, id);
CREATE INDEX trade_strategies_user_list ON trade_strategies (user_id, created_at DESC, id DESC);
CREATE INDEX trade_strategies_strategy ON trade_strategies (user_id, strategy_id);
