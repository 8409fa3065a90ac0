-- The least that an order can be: a balance falls and a row is written, in one statement.
\set user_id :first_user_id + :client_id
WITH paid AS (
    UPDATE users SET balance = balance - 60.27567, updated_at = now()
    WHERE id = :user_id AND balance >= 60.27567
    RETURNING id
)
INSERT INTO transact (user_id, symbol, status, quantity, buy_price, sell_price)
SELECT id, 'BTCUSDT', 2, 0.001, 60275.67, 60275.67 FROM paid;
