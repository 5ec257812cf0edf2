package com.orderlog.client;

import static com.orderlog.client.Orders.create;
import static com.orderlog.client.Orders.shipping;
import static com.orderlog.client.Threads.task;
import static com.orderlog.client.Threads.until;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.orderlog.client.Threads.Task;
import com.orderlog.orders.v1.CommandServiceGrpc;
import com.orderlog.orders.v1.EventFilter;
import com.orderlog.orders.v1.EventServiceGrpc;
import com.orderlog.orders.v1.RecordedEvent;
import com.orderlog.orders.v1.SubscribeRequest;
import com.orderlog.orders.v1.SubscribeResponse;
import io.grpc.stub.StreamObserver;
import java.nio.file.Path;
import java.sql.SQLException;
import java.time.Duration;
import java.util.List;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.Executors;
import java.util.concurrent.TimeUnit;
import java.util.stream.LongStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Tests the subscriber while servers and networks fail. */
class SubscriberTest extends ServerTest {
    /** Runs a subscriber until the end of the block. */
    record Following(Task<Void> task) implements AutoCloseable {
        static Following start(Subscriber subscriber) {
            return new Following(
                    Threads.task(
                            () -> {
                                subscriber.run();
                                return null;
                            }));
        }

        @Override
        public void close() throws Exception {
            task.thread().interrupt();
            task.get();
        }
    }

    static List<Long> numbers(long last) {
        return LongStream.rangeClosed(1, last).boxed().toList();
    }

    private Recorder recorder(String name) throws SQLException {
        return new Recorder(folder.resolve(name));
    }

    @Test
    void noEventIsLostOrRepeatedWhenTheServerIsKilled() throws Exception {
        Recorder first = recorder("seen.db");
        Task<Void> writing;
        try (var following = Following.start(orderlog.subscriber(first.store))) {
            writing =
                    task(
                            () -> {
                                for (int number = 1; number <= 300; number++) {
                                    create(orderlog, "o-" + number);
                                    if (number == 100 || number == 200) {
                                        server.kill();
                                        server.start();
                                    }
                                }
                                return null;
                            });
            until(() -> first.seen().size() > 120);
        }
        // A second subscriber resumes with the same file while the writer continues.
        Recorder second = recorder("seen.db");
        try (var following = Following.start(orderlog.subscriber(second.store))) {
            writing.get();
            until(() -> second.store.position().position() == 300);
        }
        assertEquals(numbers(300), second.seen());
    }

    @Test
    void callerLearnsOfTheHeadAndOfALostConnection() throws Exception {
        create(orderlog, "o");
        List<Boolean> told = new CopyOnWriteArrayList<>();
        var subscriber = orderlog.subscriber(recorder("seen.db").store).onCaughtUp(told::add);
        try (var following = Following.start(subscriber)) {
            until(() -> told.equals(List.of(true)));
            server.proxy().cut();
            until(() -> told.equals(List.of(true, false, true)));
        }
        assertEquals(List.of(true, false, true, false), told);
    }

    @Test
    void silenceIsALostConnection() throws Exception {
        create(orderlog, "a");
        Recorder recorder = recorder("seen.db");
        var subscriber = orderlog.subscriber(recorder.store).silence(Duration.ofMillis(500));
        try (var following = Following.start(subscriber);
                Orderlog other = server.connect()) {
            until(() -> recorder.seen().size() == 1);
            server.proxy().holdAnswers();
            try (Orderlog writer = server.connect()) {
                create(writer, "b");
            }
            until(() -> recorder.seen().size() == 2);
        }
    }

    @Test
    void silentStreamIsOpenedAgainThoughTheConnectionIsAlive(@TempDir Path files) throws Exception {
        List<Long> asked = new CopyOnWriteArrayList<>();
        var silent =
                new EventServiceGrpc.EventServiceImplBase() {
                    @Override
                    public void subscribe(
                            SubscribeRequest request, StreamObserver<SubscribeResponse> stream) {
                        asked.add(request.getAfterPosition());
                        stream.onNext(response(request.getAfterPosition() + 1));
                    }
                };
        io.grpc.Server fake = RetryTest.serve(silent);
        Recorder recorder = new Recorder(files.resolve("seen.db"));
        try (Orderlog client = Orderlog.connect("127.0.0.1:" + fake.getPort());
                var following =
                        Following.start(
                                client.subscriber(recorder.store)
                                        .silence(Duration.ofMillis(300)))) {
            until(() -> recorder.seen().size() == 3);
        } finally {
            fake.shutdownNow();
        }
        // On a busy machine, a request may be silent before its response too, and is repeated.
        assertEquals(List.of(0L, 1L, 2L), asked.stream().distinct().limit(3).toList());
    }

    @Test
    void slowConnectionIsNotLeftForItsSilence() throws Exception {
        List<Long> asked = new CopyOnWriteArrayList<>();
        var timer = Executors.newSingleThreadScheduledExecutor();
        var slow =
                new EventServiceGrpc.EventServiceImplBase() {
                    @Override
                    public void subscribe(
                            SubscribeRequest request, StreamObserver<SubscribeResponse> stream) {
                        asked.add(request.getAfterPosition());
                        timer.schedule(() -> stream.onNext(response(1)), 1, TimeUnit.SECONDS);
                    }
                };
        io.grpc.Server fake = RetryTest.serve(slow);
        Recorder recorder = recorder("seen.db");
        try (Orderlog client = Orderlog.connect("127.0.0.1:" + fake.getPort())) {
            task(() -> {
                        client.subscriber(recorder.store)
                                .silence(Duration.ofMillis(50))
                                .runUntil(1);
                        return null;
                    })
                    .get();
        } finally {
            fake.shutdownNow();
            timer.shutdownNow();
        }
        assertEquals(List.of(0L), asked);
    }

    private static SubscribeResponse response(long position) {
        return SubscribeResponse.newBuilder()
                .setLogId("fake")
                .setPosition(position)
                .addEvents(RecordedEvent.newBuilder().setPosition(position))
                .build();
    }

    @Test
    void filterMovesOnWithTheEventsThatItSkips() throws Exception {
        for (int number = 0; number < 5; number++) {
            create(orderlog, "o-" + number);
        }
        orderlog.call(CommandServiceGrpc.getShipOrderMethod(), shipping("o-3").build());
        Recorder shipped = recorder("shipped.db");
        Recorder nothing = recorder("nothing.db");
        var ofAnn = EventFilter.newBuilder().addEventTypes("OrderShipped").addCustomerIds("ann");
        var ofBob = EventFilter.newBuilder().addCustomerIds("bob");
        try (var first = Following.start(orderlog.subscriber(shipped.store).only(ofAnn.build()));
                var second =
                        Following.start(orderlog.subscriber(nothing.store).only(ofBob.build()))) {
            until(() -> shipped.store.position().position() == 6);
            until(() -> nothing.store.position().position() == 6);
        }
        assertEquals(List.of(6L), shipped.seen());
        assertEquals(List.of(), nothing.seen());
    }

    @Test
    void responseIsAppliedOnlyAfterThePositionThatItFollows() throws Exception {
        Recorder one = recorder("seen.db");
        Recorder other = recorder("seen.db");
        Position first = new Position("fake", 1, "");
        assertEquals(Position.START, one.store.position());
        assertTrue(one.store.apply(response(1), Position.START));
        assertFalse(other.store.apply(response(1), Position.START));
        assertTrue(other.store.apply(response(2), first));
        // The event at position 2 is another one in another history.
        assertFalse(one.store.apply(response(3), new Position("fake", 2, "after another 2")));
        assertEquals(new Position("fake", 2, ""), one.store.position());
        assertEquals(List.of(1L, 2L), one.seen());
    }

    @Test
    void storeThatAnotherSubscriberMovesIsReadAgain() throws Exception {
        Recorder one = recorder("seen.db");
        Recorder other = recorder("seen.db");
        try (var first = Following.start(orderlog.subscriber(one.store));
                var second = Following.start(orderlog.subscriber(other.store))) {
            for (int number = 0; number < 50; number++) {
                create(orderlog, "o-" + number);
            }
            until(() -> one.store.position().position() == 50);
            assertFalse(first.task().isDone());
            assertFalse(second.task().isDone());
        }
        assertEquals(numbers(50), one.seen());
    }

    @Test
    void eventThatCannotBeProjectedIsNotCountedAsApplied() throws Exception {
        for (int number = 0; number < 3; number++) {
            create(orderlog, "o-" + number);
        }
        Recorder broken =
                new Recorder(
                        folder.resolve("seen.db"),
                        (connection, event) -> {
                            Recorder.record(connection, event);
                            if (event.getPosition() == 2) {
                                throw new SQLException("broken");
                            }
                        });
        var error = assertThrows(StoreException.class, orderlog.subscriber(broken.store)::run);
        assertEquals("broken", error.getMessage());
        assertEquals(Position.START, broken.store.position());
        assertEquals(List.of(), broken.seen());
    }
}
