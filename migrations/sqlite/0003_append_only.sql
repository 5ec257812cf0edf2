-- INSERT OR REPLACE deletes the rows in its way, and the triggers on DELETE do not see it.
CREATE TRIGGER events_are_never_replaced BEFORE INSERT ON events
BEGIN
    SELECT RAISE(ABORT, 'events are append-only') FROM events WHERE position = NEW.position;
    SELECT RAISE(ABORT, 'events are append-only') FROM events
    WHERE aggregate_type = NEW.aggregate_type AND aggregate_id = NEW.aggregate_id
        AND version = NEW.version;
END;

CREATE TRIGGER requests_are_never_replaced BEFORE INSERT ON requests
BEGIN
    SELECT RAISE(ABORT, 'requests are append-only') FROM requests
    WHERE request_id = NEW.request_id;
END;
