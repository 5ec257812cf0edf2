-- The index of lists, beside this file, has the values that lists filter, sort and count by. This file
-- has the values that are read by key.
CREATE TABLE new_orders (
    row      INTEGER PRIMARY KEY, -- the position of the event that created it
    order_id TEXT    NOT NULL UNIQUE,
    position INTEGER NOT NULL,    -- of its newest own event
    body     BLOB    NOT NULL     -- orders.v1.Order, without the names it shows
) STRICT;
INSERT INTO new_orders SELECT row, order_id, position, body FROM orders;
DROP TABLE orders;
ALTER TABLE new_orders RENAME TO orders;
DROP TABLE order_products;

-- A new order is found by its row; only those that changed since need this.
CREATE INDEX orders_changed ON orders (position) WHERE position > row;

-- A customer or product gets its number when it first occurs in an event. The index of lists knows it
-- by this number. `name` and `position`, of the event that gave the name, are NULL until it is
-- registered.
CREATE TABLE new_customers (
    number      INTEGER PRIMARY KEY,
    customer_id TEXT    NOT NULL UNIQUE,
    name        TEXT,
    position    INTEGER UNIQUE
) STRICT;
INSERT INTO new_customers (customer_id, name, position)
    SELECT customer_id, name, position FROM customers;
DROP TABLE customers;
ALTER TABLE new_customers RENAME TO customers;

CREATE TABLE new_products (
    number     INTEGER PRIMARY KEY,
    product_id TEXT    NOT NULL UNIQUE,
    name       TEXT,
    position   INTEGER UNIQUE
) STRICT;
INSERT INTO new_products (product_id, name, position)
    SELECT product_id, name, position FROM products;
DROP TABLE products;
ALTER TABLE new_products RENAME TO products;

-- The statistics of a customer are computed from the index of lists.
DELETE FROM statistics WHERE scope = 1;

-- How often an order has changed without a new event, because events that waited were projected.
ALTER TABLE checkpoint ADD COLUMN retries INTEGER NOT NULL DEFAULT 0;
