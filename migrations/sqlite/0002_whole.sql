-- False while a log is being copied to here: until it is whole, nobody may use it.
ALTER TABLE log ADD COLUMN whole INTEGER NOT NULL DEFAULT 1;
