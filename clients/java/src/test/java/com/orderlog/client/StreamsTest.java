package com.orderlog.client;

import static com.orderlog.client.Orders.create;
import static com.orderlog.client.Orders.head;
import static com.orderlog.client.Orders.order;
import static com.orderlog.client.Orders.shipping;
import static com.orderlog.client.Threads.task;
import static com.orderlog.client.Threads.until;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.orderlog.orders.v1.CommandServiceGrpc;
import com.orderlog.orders.v1.ExecuteCommandsRequest;
import com.orderlog.orders.v1.OrderStatus;
import com.orderlog.orders.v1.WatchOrdersRequest;
import com.orderlog.orders.v1.WatchOrdersResponse;
import io.grpc.Status;
import java.util.List;
import java.util.Queue;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.stream.IntStream;
import java.util.stream.LongStream;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;

/** Tests commands in bulk, and watched orders. */
class StreamsTest extends ServerTest {
    private static Stream<ExecuteCommandsRequest> orders(int count) {
        return IntStream.range(0, count)
                .mapToObj(
                        number ->
                                ExecuteCommandsRequest.newBuilder()
                                        .setCreateOrder(order("o-" + number))
                                        .build());
    }

    private static List<Long> positions(Stream<CommandResult> results) {
        return results.map(it -> it.response().getCreateOrder().getPosition()).toList();
    }

    @Test
    void manyCommandsAreExecutedInOrder() {
        AtomicInteger taken = new AtomicInteger();
        var counted = orders(2_000).peek(it -> taken.incrementAndGet());
        try (Stream<CommandResult> results = orderlog.executeAll(counted)) {
            assertEquals(0, taken.get());
            AtomicInteger read = new AtomicInteger();
            var all =
                    results.peek(
                            it -> {
                                // The commands in flight are bounded.
                                int ahead = taken.get() - read.incrementAndGet();
                                assertTrue(ahead <= 257, "ahead by " + ahead);
                            });
            assertEquals(LongStream.rangeClosed(1, 2_000).boxed().toList(), positions(all));
        }
        assertEquals(2_000, head(orderlog));
        assertEquals(0, orderlog.executeAll(Stream.of()).count());
    }

    @Test
    void rejectedCommandIsAResultAndTheOthersTakeEffect() {
        var ship = ExecuteCommandsRequest.newBuilder().setShipOrder(shipping("nobody")).build();
        var empty = ExecuteCommandsRequest.getDefaultInstance();
        var commands = Stream.concat(Stream.of(ship, empty), orders(1));
        List<CommandResult> results = orderlog.executeAll(commands).toList();
        var missing = results.get(0).error().orElseThrow();
        assertEquals(Status.Code.NOT_FOUND, missing.code());
        assertEquals("nobody", missing.resource());
        assertTrue(results.get(1).error().orElseThrow() instanceof InvalidRequestException);
        assertTrue(results.get(2).error().isEmpty());
        assertFalse(results.get(2).command().getCreateOrder().getRequestId().isEmpty());
    }

    @Test
    void unansweredCommandsAreSentOnceMoreAndHaveOneEffect() throws Exception {
        create(orderlog, "first");
        server.proxy().holdAnswers();
        var all = task(() -> positions(orderlog.executeAll(orders(300))));
        try (Orderlog other = server.connect()) {
            until(() -> head(other) > 100);
            assertFalse(all.isDone());
            server.proxy().cut();
            assertEquals(LongStream.rangeClosed(2, 301).boxed().toList(), all.get());
            assertEquals(301, head(other));
        }
    }

    @Test
    void bulkOutlivesTheServer() throws Exception {
        AtomicInteger read = new AtomicInteger();
        var all =
                task(
                        () ->
                                positions(
                                        orderlog.executeAll(orders(2_000))
                                                .peek(it -> read.incrementAndGet())));
        until(() -> read.get() > 100);
        server.kill();
        server.start();
        assertEquals(LongStream.rangeClosed(1, 2_000).boxed().toList(), all.get());
        assertEquals(2_000, head(orderlog));
    }

    @Test
    void watchTellsChangesAndWatchesOnceMoreAfterABreak() throws Exception {
        create(orderlog, "o");
        var request = WatchOrdersRequest.newBuilder().setMinPosition(1).build();
        Queue<WatchOrdersResponse> told = new ConcurrentLinkedQueue<>();
        var watching =
                task(
                        () -> {
                            try (var watch = orderlog.watch(request)) {
                                watch.forEach(told::add);
                            } catch (OrderlogException error) {
                                return error.code();
                            }
                            return Status.Code.OK;
                        });
        until(() -> told.stream().anyMatch(WatchOrdersResponse::getCaughtUp));
        orderlog.call(CommandServiceGrpc.getShipOrderMethod(), shipping("o").build());
        until(() -> statuses(told).contains(OrderStatus.ORDER_STATUS_SHIPPED));
        server.kill();
        server.start();
        create(orderlog, "p");
        until(() -> ids(told).contains("p"));
        watching.thread().interrupt();
        assertEquals(Status.Code.CANCELLED, watching.get());
    }

    private static List<OrderStatus> statuses(Queue<WatchOrdersResponse> told) {
        return told.stream()
                .flatMap(it -> it.getOrdersList().stream())
                .map(it -> it.getStatus())
                .toList();
    }

    private static List<String> ids(Queue<WatchOrdersResponse> told) {
        return told.stream()
                .flatMap(it -> it.getOrdersList().stream())
                .map(it -> it.getOrderId())
                .toList();
    }
}
