package com.orderlog.client;

import com.orderlog.orders.v1.EventFilter;
import com.orderlog.orders.v1.EventServiceGrpc;
import com.orderlog.orders.v1.SubscribeRequest;
import com.orderlog.orders.v1.SubscribeResponse;
import io.grpc.Status;
import java.time.Duration;
import java.util.function.Consumer;

/**
 * Follows the log, and applies each event exactly once.
 *
 * <p>The store commits the projection and the resume token in one transaction. After a failure, the
 * subscriber resumes with that token on a new connection, and the log delivers only later events.
 */
public final class Subscriber implements Runnable {
    private final Connection connection;
    private final Store store;
    private EventFilter filter = EventFilter.getDefaultInstance();
    private Duration silence = Reconnecting.SILENCE;
    private Consumer<Boolean> onCaughtUp = isCaughtUp -> {};
    private Position position = Position.START;
    private boolean isCaughtUp;

    Subscriber(Connection connection, Store store) {
        this.connection = connection;
        this.store = store;
    }

    /** Selects the events. By default, the subscriber gets every event. */
    public Subscriber only(EventFilter filter) {
        this.filter = filter;
        return this;
    }

    /**
     * Sets the time without a response after which the subscriber reconnects: by default 30 s. The
     * first response of a connection always has 30 s.
     */
    public Subscriber silence(Duration silence) {
        this.silence = silence;
        return this;
    }

    /** Gets true at the head of the log, and false when the subscriber lags or a stream ends. */
    public Subscriber onCaughtUp(Consumer<Boolean> onCaughtUp) {
        this.onCaughtUp = onCaughtUp;
        return this;
    }

    /**
     * Follows the log until an interrupt of the thread or the end of its gRPC context, and
     * reconnects after failures.
     *
     * <p>A failure that a retry cannot fix is thrown. A rejected token is one, unless the client
     * has a supplier of tokens: then each attempt asks it, until the server accepts the token.
     * Errors of the store pass through.
     *
     * @throws HistoryException if the log no longer has the events of the store: undo them, for
     *     example with {@link JdbcStore#rewind}, and run the subscriber again
     */
    @Override
    public void run() {
        runUntil(Long.MAX_VALUE);
    }

    /** Follows the log as {@link #run} does, and returns once the store has the position. */
    public void runUntil(long last) {
        try (var responses =
                new Reconnecting<>(
                        connection,
                        EventServiceGrpc.getSubscribeMethod(),
                        this::request,
                        silence,
                        () -> caughtUp(false))) {
            position = store.position();
            while (position.position() < last) {
                apply(responses.next(), responses);
            }
        } catch (OrderlogException error) {
            if (!Backoff.isCallerGone()) {
                throw error;
            }
        } finally {
            caughtUp(false);
        }
    }

    private void apply(SubscribeResponse response, Reconnecting<?, ?> responses) {
        if (store.apply(response, position)) {
            position = Position.after(response);
            caughtUp(response.getCaughtUp());
        } else {
            String message = "another subscriber has moved the store";
            responses.reopen(OrderlogException.of(Status.Code.ABORTED, message, null));
        }
    }

    private SubscribeRequest request() {
        position = store.position();
        SubscribeRequest.Builder request =
                SubscribeRequest.newBuilder().setFilter(filter).setFollow(true);
        return position.resumeToken().isEmpty()
                ? request.setAfterPosition(position.position()).setLogId(position.logId()).build()
                : request.setResumeToken(position.resumeToken()).build();
    }

    private void caughtUp(boolean now) {
        if (now != isCaughtUp) {
            isCaughtUp = now;
            onCaughtUp.accept(now);
        }
    }
}
