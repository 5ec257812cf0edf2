package com.orderlog.client;

import com.orderlog.orders.v1.RecordedEvent;
import com.orderlog.orders.v1.SubscribeResponse;
import java.sql.Connection;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import javax.sql.DataSource;

/**
 * A store in a database, such as Postgres or SQLite.
 *
 * <p>The table {@code orderlog_progress} has a row for each subscriber. It and the tables of the
 * projection are in one database, so that one transaction changes both.
 */
public final class JdbcStore implements Store {
    /** Applies events, or undoes them, in the transaction of a connection. */
    @FunctionalInterface
    public interface Work {
        /** Does the work, without a commit. */
        void run(Connection connection) throws SQLException;
    }

    /** Applies one event. */
    @FunctionalInterface
    public interface Projection {
        /**
         * Applies the event, without a commit. {@code event.getPayloadCase()} is PAYLOAD_NOT_SET
         * for an event of unknown type.
         */
        void apply(Connection connection, RecordedEvent event) throws SQLException;
    }

    private final DataSource database;
    private final String name;
    private final Projection projection;

    /**
     * Makes the table if it is missing, and the subscriber's row.
     *
     * @param name the name of the subscriber in the table
     */
    public JdbcStore(DataSource database, String name, Projection projection) {
        this.database = database;
        this.name = name;
        this.projection = projection;
        transaction(
                connection -> {
                    execute(
                            connection,
                            "CREATE TABLE IF NOT EXISTS orderlog_progress (name VARCHAR(200) PRIMARY"
                                    + " KEY, log_id VARCHAR(100) NOT NULL, position BIGINT NOT NULL,"
                                    + " resume_token VARCHAR(1000) NOT NULL)");
                    execute(
                            connection,
                            "INSERT INTO orderlog_progress VALUES (?, '', 0, '') ON CONFLICT DO"
                                    + " NOTHING",
                            name);
                    return true;
                });
    }

    @Override
    public Position position() {
        try (Connection connection = database.getConnection()) {
            return position(connection);
        } catch (SQLException error) {
            throw new StoreException(error);
        }
    }

    @Override
    public boolean apply(SubscribeResponse response, Position after) {
        return transaction(
                connection -> {
                    // The update comes first: it locks the row.
                    if (!move(connection, after, Position.after(response))) {
                        return false;
                    }
                    for (RecordedEvent event : response.getEventsList()) {
                        projection.apply(connection, event);
                    }
                    return true;
                });
    }

    /**
     * Goes back to a position after a {@link HistoryException}, in one transaction.
     *
     * @param undo removes the results of the events after the position from the tables: all of them
     *     for position 0, after which the store takes any log
     */
    public void rewind(long position, Work undo) {
        transaction(
                connection -> {
                    Position present = position(connection);
                    Position back =
                            position == 0
                                    ? Position.START
                                    : new Position(present.logId(), position, "");
                    if (!move(connection, present, back)) {
                        throw new SQLException("a subscriber still moves the store");
                    }
                    undo.run(connection);
                    return true;
                });
    }

    private Position position(Connection connection) throws SQLException {
        String query =
                "SELECT log_id, position, resume_token FROM orderlog_progress WHERE name = ?";
        try (PreparedStatement statement = connection.prepareStatement(query)) {
            statement.setString(1, name);
            try (ResultSet rows = statement.executeQuery()) {
                rows.next();
                return new Position(rows.getString(1), rows.getLong(2), rows.getString(3));
            }
        }
    }

    /** Moves the row, and returns false if it is elsewhere. */
    private boolean move(Connection connection, Position from, Position to) throws SQLException {
        return 1
                == execute(
                        connection,
                        "UPDATE orderlog_progress SET log_id = ?, position = ?, resume_token = ?"
                                + " WHERE name = ? AND log_id = ? AND position = ? AND resume_token ="
                                + " ?",
                        to.logId(),
                        to.position(),
                        to.resumeToken(),
                        name,
                        from.logId(),
                        from.position(),
                        from.resumeToken());
    }

    private static int execute(Connection connection, String sql, Object... values)
            throws SQLException {
        try (PreparedStatement statement = connection.prepareStatement(sql)) {
            for (int index = 0; index < values.length; index++) {
                statement.setObject(index + 1, values[index]);
            }
            return statement.executeUpdate();
        }
    }

    @FunctionalInterface
    private interface Transaction {
        /** Returns whether to commit. */
        boolean run(Connection connection) throws SQLException;
    }

    private boolean transaction(Transaction work) {
        try (Connection connection = database.getConnection()) {
            connection.setAutoCommit(false);
            boolean isDone = false;
            try {
                isDone = work.run(connection);
                if (isDone) {
                    connection.commit();
                }
                return isDone;
            } finally {
                if (!isDone) {
                    connection.rollback();
                }
                connection.setAutoCommit(true);
            }
        } catch (SQLException error) {
            throw new StoreException(error);
        }
    }
}
