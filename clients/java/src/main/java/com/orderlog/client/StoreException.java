package com.orderlog.client;

import java.sql.SQLException;

/** The database of a {@link JdbcStore} failed. Its cause says why. */
public final class StoreException extends RuntimeException {
    private static final long serialVersionUID = 1;

    StoreException(SQLException cause) {
        super(cause.getMessage(), cause);
    }
}
