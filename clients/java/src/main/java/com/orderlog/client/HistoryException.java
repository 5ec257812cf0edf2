package com.orderlog.client;

import java.util.OptionalLong;

/**
 * The log no longer has the events that the subscriber has seen.
 *
 * <p>The reason says how the server found out:
 *
 * <ul>
 *   <li>LOG_DIVERGED: the log went back, and has another event at {@link #position}, or none.
 *   <li>POSITION_BEYOND_HEAD: the log ends before {@link #position}, so it went back too.
 *   <li>LOG_MISMATCH: the server has another log.
 * </ul>
 *
 * <p>A retry cannot help: the results of the lost events must go first.
 */
public final class HistoryException extends OrderlogException {
    private static final long serialVersionUID = 1;

    HistoryException(com.google.rpc.Status status, Throwable cause) {
        super(status, cause);
    }

    /** Returns the newest position that the subscriber has seen, if the server names it. */
    public OptionalLong position() {
        return number("position");
    }

    /** Returns the newest position with the same event in both histories, if known. */
    public OptionalLong sharedPosition() {
        return number("shared_position");
    }

    private OptionalLong number(String name) {
        String value = metadata().get(name);
        return value == null
                ? OptionalLong.empty()
                : OptionalLong.of(Long.parseUnsignedLong(value));
    }
}
