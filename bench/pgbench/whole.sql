-- An order of goblin, buying and selling in turn: the same rows as app/db/dao/bookings.py writes,
-- decided in the same statement. bench/books.py finds nothing wrong with what it leaves.
-- What both ways share stands in both: pgbench includes no file and has no variables for text, and
-- a function would be other work than the statement that is measured.
\set user_id :first_user_id + :client_id
\if :is_holding
WITH holder AS MATERIALIZED (
    SELECT users.id, epoch, event_number, clock_timestamp() AS at,
        nextval('ledger_transfers_id_seq') AS cash_transfer_id,
        nextval('ledger_transfers_id_seq') AS asset_transfer_id,
        (SELECT active.id FROM transact AS active
         WHERE active.user_id = users.id AND active.epoch = users.epoch
             AND active.symbol = 'BTCUSDT' AND active.status = 1) AS order_id
    FROM users WHERE users.id = :user_id
    FOR NO KEY UPDATE OF users
),
ordered AS (
    UPDATE transact SET status = 2, sell_price = 60275.67, updated_at = holder.at
    FROM holder WHERE transact.id = holder.order_id
),
booked AS (
    UPDATE ledger_accounts AS account
    SET balance = account.balance + side.amount, version = account.version + 1
    FROM holder, (VALUES
        ('venue', 'USD', -60.27567), ('cash', 'USD', 60.27567),
        ('holding', 'BTCUSDT', -0.001), ('venue', 'BTCUSDT', 0.001)
    ) AS side (kind, asset, amount)
    WHERE account.user_id = holder.id AND account.epoch = holder.epoch
        AND account.kind = side.kind AND account.asset = side.asset
    RETURNING account.id, account.asset, account.version, account.balance, side.amount,
        CASE side.asset WHEN 'USD' THEN cash_transfer_id ELSE asset_transfer_id END AS transfer_id
),
transfers AS (
    INSERT INTO ledger_transfers (id, user_id, cause, asset, amount, source_account_id,
        target_account_id, order_id, request_id, event_at)
    SELECT source.transfer_id, holder.id, 'order_closed', source.asset, target.amount, source.id,
        target.id, holder.order_id, 'pgbench', holder.at
    FROM holder, booked AS source, booked AS target
    WHERE source.transfer_id = target.transfer_id AND source.amount < 0 AND target.amount > 0
),
entries AS (
    INSERT INTO ledger_entries (user_id, account_id, version, transfer_id, amount,
        balance_before, balance_after, event_at)
    SELECT holder.id, booked.id, version, transfer_id, amount, balance - amount, balance, at
    FROM holder, booked
),
filled AS (
    INSERT INTO fills (order_id, side, price, source, venue_time_ms, price_age_ms, request_id,
        filled_at)
    SELECT order_id, 'sell', 60275.67, 'Bybit', 1750000000000, 100, 'pgbench', at FROM holder
),
told AS (
    INSERT INTO events (user_id, number, type, epoch, data, request_id, event_at)
    SELECT id, event_number + 1, 'order_closed', epoch, jsonb_build_object(
        'order_id', order_id, 'client_order_id', NULL, 'symbol', 'BTCUSDT',
        'quantity', '0.00100000000000000000', 'price', '60275.67000000000000000000',
        'proceeds', '60.27567000000000000000', 'profit', '0.00000000000000000000'
    ), 'pgbench', at
    FROM holder
)
UPDATE users
SET balance = users.balance + 60.27567, event_number = holder.event_number + 1, updated_at = at
FROM holder WHERE users.id = holder.id;
\set is_holding 0
\else
WITH holder AS MATERIALIZED (
    SELECT id, epoch, event_number, clock_timestamp() AS at,
        nextval('ledger_transfers_id_seq') AS cash_transfer_id,
        nextval('ledger_transfers_id_seq') AS asset_transfer_id,
        nextval('transact_id_seq') AS order_id
    FROM users WHERE id = :user_id AND balance >= 60.27567
    FOR NO KEY UPDATE
),
ordered AS (
    INSERT INTO transact (id, user_id, epoch, symbol, quantity, buy_price, created_at, updated_at)
    SELECT order_id, id, epoch, 'BTCUSDT', 0.001, 60275.67, at, at FROM holder
),
booked AS (
    UPDATE ledger_accounts AS account
    SET balance = account.balance + side.amount, version = account.version + 1
    FROM holder, (VALUES
        ('cash', 'USD', -60.27567), ('venue', 'USD', 60.27567),
        ('venue', 'BTCUSDT', -0.001), ('holding', 'BTCUSDT', 0.001)
    ) AS side (kind, asset, amount)
    WHERE account.user_id = holder.id AND account.epoch = holder.epoch
        AND account.kind = side.kind AND account.asset = side.asset
    RETURNING account.id, account.asset, account.version, account.balance, side.amount,
        CASE side.asset WHEN 'USD' THEN cash_transfer_id ELSE asset_transfer_id END AS transfer_id
),
transfers AS (
    INSERT INTO ledger_transfers (id, user_id, cause, asset, amount, source_account_id,
        target_account_id, order_id, request_id, event_at)
    SELECT source.transfer_id, holder.id, 'order_opened', source.asset, target.amount, source.id,
        target.id, holder.order_id, 'pgbench', holder.at
    FROM holder, booked AS source, booked AS target
    WHERE source.transfer_id = target.transfer_id AND source.amount < 0 AND target.amount > 0
),
entries AS (
    INSERT INTO ledger_entries (user_id, account_id, version, transfer_id, amount,
        balance_before, balance_after, event_at)
    SELECT holder.id, booked.id, version, transfer_id, amount, balance - amount, balance, at
    FROM holder, booked
),
filled AS (
    INSERT INTO fills (order_id, side, price, source, venue_time_ms, price_age_ms, request_id,
        filled_at)
    SELECT order_id, 'buy', 60275.67, 'Bybit', 1750000000000, 100, 'pgbench', at FROM holder
),
told AS (
    INSERT INTO events (user_id, number, type, epoch, data, request_id, event_at)
    SELECT id, event_number + 1, 'order_opened', epoch, jsonb_build_object(
        'order_id', order_id, 'client_order_id', NULL, 'symbol', 'BTCUSDT',
        'quantity', '0.00100000000000000000', 'price', '60275.67000000000000000000',
        'cost', '60.27567000000000000000'
    ), 'pgbench', at
    FROM holder
)
UPDATE users
SET balance = users.balance - 60.27567, event_number = holder.event_number + 1, updated_at = at
FROM holder WHERE users.id = holder.id;
\set is_holding 1
\endif
