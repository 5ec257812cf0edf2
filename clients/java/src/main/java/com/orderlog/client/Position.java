package com.orderlog.client;

import com.orderlog.orders.v1.SubscribeResponse;

/**
 * A place in the log: the store has every event up to it.
 *
 * @param logId the id of the log; empty at first
 * @param position the position of the last event; 0 at first
 * @param resumeToken names the position and its event; empty at first, and after a rewind
 */
public record Position(String logId, long position, String resumeToken) {
    /** The place before the first event of any log. */
    public static final Position START = new Position("", 0, "");

    /** Returns the place after a response. */
    public static Position after(SubscribeResponse response) {
        return new Position(response.getLogId(), response.getPosition(), response.getResumeToken());
    }
}
