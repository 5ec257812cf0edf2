-- Which version of the projection made the documents: those of an older one are made again.
ALTER TABLE checkpoint ADD COLUMN schema INTEGER NOT NULL DEFAULT 1;

-- Orders that are set aside, because one of their events cannot be projected, or because the search
-- index refuses them. Their later events wait behind that one, in the log.
CREATE TABLE parked (
    projection TEXT    NOT NULL, -- documents or search
    order_id   TEXT    NOT NULL,
    position   INTEGER NOT NULL, -- of the event that failed, or of the document that was refused
    error      TEXT    NOT NULL,
    events     INTEGER NOT NULL, -- that one and those that wait behind it
    PRIMARY KEY (projection, order_id)
) STRICT, WITHOUT ROWID;

-- Orders that changed otherwise than by the newest events, to be brought to the search index.
CREATE TABLE again (
    row   INTEGER PRIMARY KEY,
    times INTEGER NOT NULL -- what has been brought when it was less is not all
) STRICT;
