package com.orderlog.client;

import com.orderlog.orders.v1.SubscribeResponse;

/** Stores a projection and its position. */
public interface Store {
    /** Returns the position to resume after; at first, {@link Position#START}. */
    Position position();

    /**
     * Applies the events after a position, and stores the new position, in one transaction.
     *
     * <p>Returns false and changes nothing if the store is no longer at {@code after}: another
     * subscriber has moved it.
     */
    boolean apply(SubscribeResponse response, Position after);
}
