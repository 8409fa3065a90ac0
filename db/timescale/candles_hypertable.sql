-- For a database that has TimescaleDB: psql -f db/timescale/candles_hypertable.sql
-- Moves the candles into a hypertable with chunks of a month. Nothing else changes: goblin's
-- statements are the same, and its two functions for months become Timescale's own.
BEGIN;
CREATE EXTENSION IF NOT EXISTS timescaledb;

ALTER TABLE candles RENAME TO candles_native;
CREATE TABLE candles (LIKE candles_native INCLUDING DEFAULTS INCLUDING CONSTRAINTS);
ALTER TABLE candles ADD PRIMARY KEY (series_id, open_time);
SELECT create_hypertable('candles', by_range('open_time', INTERVAL '1 month'));
INSERT INTO candles (open_time, series_id, open, high, low, close, volume, turnover)
SELECT open_time, series_id, open, high, low, close, volume, turnover FROM candles_native;
DROP TABLE candles_native;

-- Chunks are made by the insert itself.
CREATE OR REPLACE FUNCTION ensure_candle_partitions(begin_at TIMESTAMPTZ, end_at TIMESTAMPTZ)
RETURNS VOID LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
END
$$;

CREATE OR REPLACE FUNCTION drop_candle_partitions(before TIMESTAMPTZ)
RETURNS SETOF TEXT LANGUAGE sql SECURITY DEFINER SET search_path FROM CURRENT AS $$
    SELECT drop_chunks('candles', older_than => before)::text
$$;
COMMIT;
