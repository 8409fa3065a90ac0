-- What the role `goblin_app` may do: all that goblin does while it serves, and nothing that
-- changes the schema or history. The owner of the database runs this after every migration,
-- as often as they like; docs/security.md says when and how.
REVOKE CREATE ON SCHEMA public FROM PUBLIC, goblin_app;
GRANT USAGE ON SCHEMA public TO goblin_app;
REVOKE ALL ON ALL TABLES IN SCHEMA public FROM goblin_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO goblin_app;
GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO goblin_app;

-- Which migrations were applied is for goblin to read.
REVOKE INSERT, UPDATE, DELETE ON schema_version FROM goblin_app;
-- Nothing of goblin's deletes these.
REVOKE DELETE ON users, transact, ledger_accounts, ledger_alarms FROM goblin_app;

DO $$
DECLARE
    history regclass;
BEGIN
    EXECUTE format('REVOKE CREATE, TEMPORARY ON DATABASE %I FROM PUBLIC, goblin_app',
                   current_database());
    EXECUTE format('GRANT CONNECT ON DATABASE %I TO goblin_app', current_database());
    -- The triggers refuse a change of history to everybody; this role may not even try.
    FOR history IN
        SELECT tgrelid::regclass FROM pg_trigger
        WHERE tgfoid = 'public.refuse_to_change_history'::regproc
    LOOP
        EXECUTE format('REVOKE UPDATE, DELETE ON %s FROM goblin_app', history);
    END LOOP;
END $$;
