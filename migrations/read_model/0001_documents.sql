-- An order's document without the names it shows: those are joined when it is read, so that a
-- late name or a rename rewrites nothing. The columns beside `body` are what is searched by.
CREATE TABLE orders (
    row         INTEGER PRIMARY KEY, -- the position of the event that created it
    order_id    TEXT    NOT NULL UNIQUE,
    customer_id TEXT    NOT NULL,
    status      INTEGER NOT NULL,
    created_at  INTEGER NOT NULL,    -- nanoseconds since 1970
    updated_at  INTEGER NOT NULL,
    total       INTEGER NOT NULL,    -- in 1/10,000 of the currency
    currency    TEXT    NOT NULL,
    position    INTEGER NOT NULL,    -- of its newest own event
    body        BLOB    NOT NULL     -- orders.v1.Order
) STRICT;

-- Each costs time at every event, mostly by the page that a batch changes for each order in it:
-- there is one for each order of a list, and one for each of the filters that are used most. All
-- go on by row.
CREATE INDEX orders_by_creation ON orders (created_at);
CREATE INDEX orders_by_update ON orders (updated_at);
CREATE INDEX orders_by_total ON orders (total, row, currency); -- so that a count needs no order
CREATE INDEX orders_by_customer ON orders (customer_id, created_at);
CREATE INDEX orders_by_status ON orders (status, created_at);

-- A new order is found by its row; only those that changed since need this.
CREATE INDEX orders_changed ON orders (position) WHERE position > row;

CREATE TABLE order_products (
    product_id TEXT    NOT NULL,
    row        INTEGER NOT NULL,
    PRIMARY KEY (product_id, row)
) STRICT, WITHOUT ROWID;

CREATE TABLE customers (
    customer_id TEXT    NOT NULL PRIMARY KEY,
    name        TEXT    NOT NULL,
    position    INTEGER NOT NULL UNIQUE -- of the event that gave the name
) STRICT, WITHOUT ROWID;

CREATE TABLE products (
    product_id TEXT    NOT NULL PRIMARY KEY,
    name       TEXT    NOT NULL,
    position   INTEGER NOT NULL UNIQUE
) STRICT, WITHOUT ROWID;

-- Orders counted and summed: all of them, by customer, and by day of their creation. The sum is
-- `high` * 2^32 + `low`, so that no number of orders makes it overflow.
CREATE TABLE statistics (
    scope    INTEGER NOT NULL, -- 0: all; 1: a customer; 2: a day
    subject  TEXT    NOT NULL, -- '', the customer's id, or the day in UTC, such as 2026-11-24
    currency TEXT    NOT NULL,
    status   INTEGER NOT NULL,
    orders   INTEGER NOT NULL,
    high     INTEGER NOT NULL,
    low      INTEGER NOT NULL,
    PRIMARY KEY (scope, subject, currency, status)
) STRICT, WITHOUT ROWID;

-- Up to where all of this is made. It changes in the transaction that changes the rest.
CREATE TABLE checkpoint (
    id         INTEGER PRIMARY KEY CHECK (id = 1),
    log_id     TEXT    NOT NULL,
    position   INTEGER NOT NULL,
    generation INTEGER NOT NULL
) STRICT;
