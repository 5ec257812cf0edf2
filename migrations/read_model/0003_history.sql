-- The id of the event at `position`, and a name for the history of the log that the documents are made
-- from. A log that goes back and on differently has another history: the documents are then made again,
-- under a new name. Empty in files of older versions.
ALTER TABLE checkpoint ADD COLUMN event_id TEXT NOT NULL DEFAULT '';
ALTER TABLE checkpoint ADD COLUMN history TEXT NOT NULL DEFAULT '';
