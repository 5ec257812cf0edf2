package com.orderlog.client;

import com.orderlog.orders.v1.RecordedEvent;
import java.nio.file.Path;
import java.sql.Connection;
import java.sql.SQLException;
import java.util.ArrayList;
import java.util.List;
import org.sqlite.SQLiteDataSource;

/** A projection of every event's position. A repeated event violates the primary key. */
final class Recorder {
    final SQLiteDataSource database = new SQLiteDataSource();
    final JdbcStore store;

    Recorder(Path file) throws SQLException {
        this(file, Recorder::record);
    }

    Recorder(Path file, JdbcStore.Projection projection) throws SQLException {
        database.setUrl("jdbc:sqlite:" + file);
        database.setBusyTimeout(60_000);
        try (Connection connection = database.getConnection();
                var statement = connection.createStatement()) {
            statement.execute(
                    "CREATE TABLE IF NOT EXISTS seen (position INTEGER PRIMARY KEY, id TEXT)");
        }
        store = new JdbcStore(database, "recorder", projection);
    }

    static void record(Connection connection, RecordedEvent event) throws SQLException {
        try (var insert = connection.prepareStatement("INSERT INTO seen VALUES (?, ?)")) {
            insert.setLong(1, event.getPosition());
            insert.setString(2, event.getAggregateId());
            insert.executeUpdate();
        }
    }

    /** Rewinds the store, and deletes the later events. */
    void rewind(long position) {
        store.rewind(position, connection -> deleteAfter(connection, position));
    }

    static void deleteAfter(Connection connection, long position) throws SQLException {
        try (var delete = connection.prepareStatement("DELETE FROM seen WHERE position > ?")) {
            delete.setLong(1, position);
            delete.executeUpdate();
        }
    }

    List<Long> seen() throws SQLException {
        return column("position", Long.class);
    }

    List<String> ids() throws SQLException {
        return column("id", String.class);
    }

    private <T> List<T> column(String name, Class<T> type) throws SQLException {
        List<T> found = new ArrayList<>();
        try (Connection connection = database.getConnection();
                var statement = connection.createStatement();
                var rows =
                        statement.executeQuery("SELECT " + name + " FROM seen ORDER BY position")) {
            while (rows.next()) {
                found.add(
                        type.cast(
                                type == Long.class ? (Object) rows.getLong(1) : rows.getString(1)));
            }
        }
        return found;
    }
}
