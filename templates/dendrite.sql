-- What the appliance adds to the database of Dendrite 0.15, on PostgreSQL. It may run any
-- number of times, and while Dendrite runs. With other tables than these it does nothing.
--
-- An event that arrives while one of our users joins its room, as the first of this
-- homeserver, makes Dendrite fetch the events that authorise it. Dendrite files those under
-- the state key of the event that arrived (fetchAuthEvents in
-- roomserver/internal/input/input_events.go), and then finds neither m.room.create nor the
-- power levels: it "soft-fails" each join, and no user of this homeserver can enter that room
-- again. The trigger files them under their own state key.
CREATE OR REPLACE FUNCTION appliance_own_state_key() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  own text;
  own_nid bigint;
BEGIN
  IF position('"state_key"' IN NEW.event_json) = 0 THEN
    RETURN NULL;
  END IF;
  own := NEW.event_json::json ->> 'state_key';
  IF own IS NULL THEN
    RETURN NULL;
  END IF;
  SELECT event_state_key_nid INTO own_nid FROM roomserver_event_state_keys WHERE event_state_key = own;
  IF own_nid IS NULL THEN
    INSERT INTO roomserver_event_state_keys (event_state_key) VALUES (own) ON CONFLICT DO NOTHING;
    SELECT event_state_key_nid INTO own_nid FROM roomserver_event_state_keys WHERE event_state_key = own;
  END IF;
  UPDATE roomserver_events SET event_state_key_nid = own_nid
    WHERE event_nid = NEW.event_nid AND event_state_key_nid <> own_nid;
  RETURN NULL;
EXCEPTION WHEN OTHERS THEN
  RETURN NULL; -- as without the trigger
END
$$;

DO $$
BEGIN
  CREATE OR REPLACE TRIGGER appliance_own_state_key AFTER INSERT OR UPDATE ON roomserver_event_json
    FOR EACH ROW EXECUTE FUNCTION appliance_own_state_key();
  -- Rooms that were lost before: the trigger files their events again. 1 is the number of
  -- the type m.room.create, and of the empty state key.
  UPDATE roomserver_event_json SET event_json = event_json WHERE event_nid IN (
    SELECT event_nid FROM roomserver_events WHERE room_nid IN (
      SELECT room_nid FROM roomserver_events WHERE event_type_nid = 1 AND event_state_key_nid <> 1));
EXCEPTION WHEN undefined_table OR undefined_column THEN
  RAISE NOTICE 'this Dendrite has other tables';
END
$$;
