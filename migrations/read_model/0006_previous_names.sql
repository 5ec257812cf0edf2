-- The name before the present one, and the event that gave it; NULL for a first name. A text index
-- that is behind may still show it. Of the names that are there already, the ones before are unknown:
-- they have a position and no name.
ALTER TABLE customers ADD COLUMN previous_name TEXT;
ALTER TABLE customers ADD COLUMN previous_position INTEGER;
UPDATE customers SET previous_position = position;
ALTER TABLE products ADD COLUMN previous_name TEXT;
ALTER TABLE products ADD COLUMN previous_position INTEGER;
UPDATE products SET previous_position = position;
