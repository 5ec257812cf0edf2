package com.orderlog.client;

/** The order, customer or product is not at `expected_version`: another command came first. */
public final class VersionMismatchException extends OrderlogException {
    private static final long serialVersionUID = 1;

    VersionMismatchException(com.google.rpc.Status status, Throwable cause) {
        super(status, cause);
    }

    /** Returns the `expected_version` of the command. */
    public long expected() {
        return Long.parseUnsignedLong(metadata().get("expected"));
    }

    /** Returns the version that the server has. */
    public long actual() {
        return Long.parseUnsignedLong(metadata().get("actual"));
    }
}
