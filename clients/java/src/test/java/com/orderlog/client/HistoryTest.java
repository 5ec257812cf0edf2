package com.orderlog.client;

import static com.orderlog.client.Orders.create;
import static com.orderlog.client.Orders.order;
import static com.orderlog.client.Threads.task;
import static com.orderlog.client.Threads.until;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.rpc.ErrorInfo;
import com.orderlog.client.SubscriberTest.Following;
import com.orderlog.orders.v1.CommandServiceGrpc;
import com.orderlog.orders.v1.EventServiceGrpc;
import com.orderlog.orders.v1.RecordedEvent;
import com.orderlog.orders.v1.SubscribeRequest;
import com.orderlog.orders.v1.SubscribeResponse;
import io.grpc.Status;
import io.grpc.stub.StreamObserver;
import java.sql.SQLException;
import java.util.List;
import java.util.OptionalLong;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.stream.LongStream;
import org.junit.jupiter.api.Test;

/** Tests the subscriber when the log does not have the events that the store has. */
class HistoryTest extends ServerTest {
    /** Follows until the log proves to be of another history. */
    private static HistoryException lost(Orderlog orderlog, Recorder recorder) throws Exception {
        return task(() ->
                        assertThrows(
                                HistoryException.class, orderlog.subscriber(recorder.store)::run))
                .get();
    }

    @Test
    void g12SubscriberStopsAtALogThatLostItsEventsAndStartsOver() throws Exception {
        create(orderlog, "kept-0");
        create(orderlog, "kept-1");
        server.kill();
        server.saveLog(folder.resolve("saved"));
        server.start();
        create(orderlog, "lost");
        Recorder recorder = new Recorder(folder.resolve("seen.db"));
        try (var following = Following.start(orderlog.subscriber(recorder.store))) {
            until(() -> recorder.ids().equals(List.of("kept-0", "kept-1", "lost")));
        }
        server.kill();
        server.putBackLog(folder.resolve("saved"));
        server.start();
        // The log grows past the position of the subscriber.
        create(orderlog, "other-0");
        create(orderlog, "other-1");

        HistoryException error = lost(orderlog, recorder);
        assertEquals("LOG_DIVERGED", error.reason());
        assertEquals(OptionalLong.of(3), error.position());
        assertEquals(OptionalLong.empty(), error.sharedPosition());
        recorder.rewind(0);
        assertEquals(Position.START, recorder.store.position());
        try (var following = Following.start(orderlog.subscriber(recorder.store))) {
            var all = List.of("kept-0", "kept-1", "other-0", "other-1");
            until(() -> recorder.ids().equals(all));
        }
    }

    @Test
    void anotherLogIsRejected() throws Exception {
        create(orderlog, "o");
        Recorder recorder = new Recorder(folder.resolve("seen.db"));
        var of = SubscribeResponse.newBuilder().setLogId("another").setPosition(1).build();
        assertTrue(recorder.store.apply(of, Position.START));
        HistoryException error = lost(orderlog, recorder);
        assertEquals("LOG_MISMATCH", error.reason());
        assertEquals("another", error.metadata().get("expected"));
        assertEquals(OptionalLong.empty(), error.position());
    }

    @Test
    void positionBeyondTheHeadIsRejected() throws Exception {
        create(orderlog, "o");
        Recorder recorder = new Recorder(folder.resolve("seen.db"));
        try (var following = Following.start(orderlog.subscriber(recorder.store))) {
            until(() -> recorder.store.position().position() == 1);
        }
        // Such a store has no token: the application has set its position.
        recorder.rewind(9);
        HistoryException error = lost(orderlog, recorder);
        assertEquals("POSITION_BEYOND_HEAD", error.reason());
        assertEquals(OptionalLong.of(9), error.position());
    }

    /** Goes back to position 5 after it has delivered position 10. */
    private static final class Fake extends EventServiceGrpc.EventServiceImplBase {
        final List<String> requests = new CopyOnWriteArrayList<>();

        @Override
        public void subscribe(SubscribeRequest request, StreamObserver<SubscribeResponse> stream) {
            requests.add(
                    request.getResumeToken()
                            + "/"
                            + request.getAfterPosition()
                            + "/"
                            + request.getLogId());
            if (requests.size() == 1) {
                stream.onNext(response(1, 10));
                var reason =
                        ErrorInfo.newBuilder()
                                .setReason("LOG_DIVERGED")
                                .putMetadata("position", "10")
                                .putMetadata("shared_position", "5");
                stream.onError(RetryTest.error(Status.Code.FAILED_PRECONDITION, reason.build()));
                return;
            }
            if (requests.size() == 2) {
                stream.onNext(response(6, 6));
            }
            stream.onCompleted();
        }
    }

    private static SubscribeResponse response(long first, long last) {
        var events =
                LongStream.rangeClosed(first, last)
                        .mapToObj(it -> RecordedEvent.newBuilder().setPosition(it).build())
                        .toList();
        return SubscribeResponse.newBuilder()
                .addAllEvents(events)
                .setPosition(last)
                .setLogId("log")
                .setResumeToken("after " + last)
                .build();
    }

    @Test
    void g12SubscriberGoesOnAfterTheSharedPosition() throws Exception {
        Fake fake = new Fake();
        io.grpc.Server serving = RetryTest.serve(fake);
        Recorder recorder = new Recorder(folder.resolve("seen.db"));
        try (Orderlog client = Orderlog.connect("127.0.0.1:" + serving.getPort())) {
            HistoryException error = lost(client, recorder);
            assertEquals(OptionalLong.of(5), error.sharedPosition());
            assertEquals(List.of("/0/"), fake.requests, "it is not retried");
            recorder.rewind(5);
            try (var following = Following.start(client.subscriber(recorder.store))) {
                until(() -> fake.requests.size() >= 3);
            }
        } finally {
            serving.shutdownNow();
        }
        assertEquals(List.of("/5/log", "after 6/0/"), fake.requests.subList(1, 3));
        assertEquals(SubscriberTest.numbers(6), recorder.seen());
    }

    @Test
    void rewindWhoseUndoingFailsChangesNothing() throws Exception {
        Recorder recorder = new Recorder(folder.resolve("seen.db"));
        recorder.store.apply(response(1, 2), Position.START);
        assertThrows(
                StoreException.class,
                () ->
                        recorder.store.rewind(
                                0,
                                connection -> {
                                    Recorder.deleteAfter(connection, 0);
                                    throw new SQLException("broken");
                                }));
        assertEquals(List.of(1L, 2L), recorder.seen());
        assertEquals(new Position("log", 2, "after 2"), recorder.store.position());
    }

    @Test
    void lostRequestIdTakesEffectOnceMore() throws Exception {
        server.kill();
        server.saveLog(folder.resolve("empty"));
        server.start();
        var command = order("o").setRequestId("one").build();
        var method = CommandServiceGrpc.getCreateOrderMethod();
        assertEquals(1, orderlog.call(method, command).getPosition());
        server.kill();
        server.putBackLog(folder.resolve("empty"));
        server.start();
        create(orderlog, "other");
        assertEquals(2, orderlog.call(method, command).getPosition());
    }
}
