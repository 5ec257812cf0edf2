-- Customers and products are parked as orders are, if the event that gives them a name cannot be
-- projected. Their documents keep the older name.
CREATE TABLE parked_aggregates (
    projection     TEXT    NOT NULL, -- documents or search
    aggregate_type INTEGER NOT NULL, -- orders.v1.AggregateType: 1 an order, 2 a customer, 3 a product
    aggregate_id   TEXT    NOT NULL,
    position       INTEGER NOT NULL, -- of the event that failed, or of the document that was refused
    error          TEXT    NOT NULL,
    events         INTEGER NOT NULL, -- that one and those that wait behind it
    PRIMARY KEY (projection, aggregate_id, aggregate_type)
) STRICT, WITHOUT ROWID;

INSERT INTO parked_aggregates SELECT projection, 1, order_id, position, error, events FROM parked;
DROP TABLE parked;
ALTER TABLE parked_aggregates RENAME TO parked;
