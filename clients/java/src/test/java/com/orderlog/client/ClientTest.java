package com.orderlog.client;

import static com.orderlog.client.Orders.cancelling;
import static com.orderlog.client.Orders.create;
import static com.orderlog.client.Orders.head;
import static com.orderlog.client.Orders.order;
import static com.orderlog.client.Orders.shipping;
import static com.orderlog.client.Threads.task;
import static com.orderlog.client.Threads.until;
import static com.orderlog.orders.v1.CommandServiceGrpc.getCancelOrderMethod;
import static com.orderlog.orders.v1.CommandServiceGrpc.getCreateOrderMethod;
import static com.orderlog.orders.v1.CommandServiceGrpc.getDeliverOrderMethod;
import static com.orderlog.orders.v1.CommandServiceGrpc.getShipOrderMethod;
import static com.orderlog.orders.v1.QueryServiceGrpc.getGetOrderMethod;
import static com.orderlog.orders.v1.QueryServiceGrpc.getSearchOrdersMethod;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.protobuf.Duration;
import com.google.protobuf.UnknownFieldSet;
import com.orderlog.orders.v1.CreateOrderItem;
import com.orderlog.orders.v1.CreateOrderRequest;
import com.orderlog.orders.v1.DayStatistics;
import com.orderlog.orders.v1.DeliverOrderRequest;
import com.orderlog.orders.v1.GetOrderRequest;
import com.orderlog.orders.v1.GetStatisticsRequest;
import com.orderlog.orders.v1.GetStatusRequest;
import com.orderlog.orders.v1.ListParkedRequest;
import com.orderlog.orders.v1.Order;
import com.orderlog.orders.v1.OrderStatus;
import com.orderlog.orders.v1.ProjectionServiceGrpc;
import com.orderlog.orders.v1.QueryServiceGrpc;
import com.orderlog.orders.v1.SearchOrdersRequest;
import com.orderlog.orders.v1.VerifyRequest;
import com.orderlog.orders.v1.VerifyResponse;
import io.grpc.Context;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.Executors;
import java.util.concurrent.TimeUnit;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;

/** Tests commands and queries against a real server. */
class ClientTest extends ServerTest {
    @Test
    void ordersAreCreatedShippedAndCancelled() {
        var made = create(orderlog, "");
        assertEquals(1, made.getVersion());
        assertEquals(1, made.getPosition());
        var shipped = orderlog.call(getShipOrderMethod(), shipping(made.getOrderId()).build());
        assertEquals(2, shipped.getVersion());
        create(orderlog, "b");
        assertEquals(2, orderlog.call(getCancelOrderMethod(), cancelling("b")).getVersion());
    }

    @Test
    void ownWritesAreRead() {
        for (int number = 0; number < 20; number++) {
            var written = create(orderlog, "o-" + number);
            var query =
                    GetOrderRequest.newBuilder()
                            .setOrderId("o-" + number)
                            .setMinPosition(written.getPosition());
            var answer = orderlog.call(getGetOrderMethod(), query.build());
            assertEquals(1, answer.getOrder().getVersion());
            assertTrue(answer.getAsOfPosition() >= written.getPosition());
        }
    }

    @Test
    void pagesHaveEveryOrderOnce() {
        List<String> made =
                IntStream.range(0, 25)
                        .mapToObj(number -> create(orderlog, "o-%02d".formatted(number)))
                        .map(it -> it.getOrderId())
                        .toList();
        var search =
                SearchOrdersRequest.newBuilder()
                        .setPageSize(10)
                        .setOrderBy("created_at")
                        .setMinPosition(25)
                        .build();
        try (Stream<Order> found = orderlog.search(search)) {
            assertEquals(made, found.map(Order::getOrderId).toList());
        }
        try (Stream<Order> found = orderlog.search(search)) {
            assertEquals("o-00", found.findFirst().orElseThrow().getOrderId());
        }
    }

    @Test
    void largeOrdersAreReadInShortPages() {
        var large = order("");
        var item = large.getItems(0).toBuilder().setProductId("p".repeat(64));
        for (int number = 1; number < 1000; number++) {
            large.addItems(item);
        }
        long position = 0;
        for (int number = 0; number < 60; number++) {
            position = orderlog.call(getCreateOrderMethod(), large.build()).getPosition();
        }
        // All of them together exceed gRPC's default limit of 4 MiB.
        var search = SearchOrdersRequest.newBuilder().setPageSize(500).setMinPosition(position);
        assertEquals(60, orderlog.search(search.build()).count());
    }

    @Test
    void statisticsAndParkedOrdersArePaged() {
        for (int day = 0; day < 5; day++) {
            var occurred =
                    com.google.protobuf.Timestamp.newBuilder().setSeconds(day * 86_400L).build();
            orderlog.call(
                    getCreateOrderMethod(), order("o-" + day).setOccurredAt(occurred).build());
        }
        var statistics = GetStatisticsRequest.newBuilder().setMinPosition(5).setPageSize(2);
        assertEquals(
                List.of("1970-01-01", "1970-01-02", "1970-01-03", "1970-01-04", "1970-01-05"),
                orderlog.days(statistics.build()).map(DayStatistics::getDay).toList());
        assertEquals(0, orderlog.parked(ListParkedRequest.getDefaultInstance()).count());
    }

    @Test
    void operatorsReadTheStatusAndVerifyEverything() {
        long position = create(orderlog, "o").getPosition();
        orderlog.call(
                getGetOrderMethod(),
                GetOrderRequest.newBuilder().setOrderId("o").setMinPosition(position).build());
        var status =
                orderlog.call(
                        ProjectionServiceGrpc.getGetStatusMethod(),
                        GetStatusRequest.getDefaultInstance());
        assertEquals(2, status.getProjectionsCount());
        var verify = VerifyRequest.newBuilder().addParts("log").addParts("documents").build();
        try (Stream<VerifyResponse> progress =
                orderlog.stream(ProjectionServiceGrpc.getVerifyMethod(), verify)) {
            List<VerifyResponse> told = progress.toList();
            assertEquals(2, told.stream().filter(VerifyResponse::getFinished).count());
            assertTrue(told.stream().allMatch(it -> it.getDifferencesCount() == 0));
        }
        var wrong = VerifyRequest.newBuilder().addParts("nothing").build();
        assertThrows(
                InvalidRequestException.class,
                () -> orderlog.stream(ProjectionServiceGrpc.getVerifyMethod(), wrong).count());
    }

    @Test
    void requestIdHasOneEffect() {
        CreateOrderRequest request = order("").setRequestId(Requests.uuid7().toString()).build();
        var first = orderlog.call(getCreateOrderMethod(), request);
        assertEquals(first, orderlog.call(getCreateOrderMethod(), request));
        assertEquals(1, head(orderlog));
    }

    @Test
    void lostAnswerIsAskedForAgainAndTheCommandHasOneEffect() throws Exception {
        create(orderlog, "first");
        server.proxy().holdAnswers();
        var call = orderlog.callAsync(getCreateOrderMethod(), order("o").build());
        // The proxy forwards replies on a new connection, which shows the committed command.
        try (Orderlog other = server.connect()) {
            until(() -> head(other) == 2);
            assertFalse(call.isDone());
            server.proxy().cut();
            assertEquals(2, call.get(60, TimeUnit.SECONDS).getPosition());
            assertEquals(2, head(other));
        }
    }

    @Test
    void commandOutlivesTheServer() throws Exception {
        create(orderlog, "before");
        server.kill();
        var call = orderlog.callAsync(getCreateOrderMethod(), order("after").build());
        server.start();
        assertEquals("after", call.get(60, TimeUnit.SECONDS).getOrderId());
        assertEquals(2, head(orderlog));
    }

    @Test
    void manyCallsAreInFlight() {
        List<CompletableFuture<Long>> calls = new ArrayList<>();
        for (int number = 0; number < 64; number++) {
            calls.add(
                    orderlog.callAsync(getCreateOrderMethod(), order("").build())
                            .thenApply(it -> it.getPosition()));
        }
        assertEquals(64, calls.stream().map(CompletableFuture::join).distinct().count());
    }

    @Test
    void errorNamesEveryInvalidField() {
        var request = order("no good").setCustomerId("");
        request.getItemsBuilder(0).setQuantity(0).getUnitPriceBuilder().setUnits(-1);
        var error =
                assertThrows(
                        InvalidRequestException.class,
                        () -> orderlog.call(getCreateOrderMethod(), request.build()));
        assertEquals(Status.Code.INVALID_ARGUMENT, error.code());
        assertEquals(
                Set.of("order_id", "customer_id", "items[0].quantity", "items[0].unit_price"),
                error.violations().keySet());
        assertEquals("must match [A-Za-z0-9_-]{1,64}", error.violations().get("order_id"));
        assertFalse(error.isRetryable());
        assertTrue(
                Stream.of(error.getStackTrace())
                        .anyMatch(it -> it.getClassName().equals(ClientTest.class.getName())),
                "the stack is the caller's");
    }

    @Test
    void errorHasTheValuesOfItsReason() {
        var missing =
                failure(() -> orderlog.call(getShipOrderMethod(), shipping("nobody").build()));
        assertEquals("ORDER_NOT_FOUND", missing.reason());
        assertEquals("nobody", missing.resource());
        create(orderlog, "o");
        for (long version : new long[] {7, 0}) {
            var outdated =
                    assertThrows(
                            VersionMismatchException.class,
                            () ->
                                    orderlog.call(
                                            getShipOrderMethod(),
                                            shipping("o").setExpectedVersion(version).build()));
            assertEquals(version, outdated.expected());
            assertEquals(1, outdated.actual());
        }
        var early =
                failure(
                        () ->
                                orderlog.call(
                                        getDeliverOrderMethod(),
                                        DeliverOrderRequest.newBuilder().setOrderId("o").build()));
        assertEquals("ORDER_NOT_DELIVERABLE", early.reason());
        assertEquals("CREATED", early.metadata().get("status"));
    }

    @Test
    void readModelThatIsBehindSaysSo() {
        try (Orderlog hasty =
                Orderlog.builder(server.target())
                        .answerWithin(java.time.Duration.ofMillis(500))
                        .build()) {
            var query =
                    GetOrderRequest.newBuilder()
                            .setOrderId("o")
                            .setMinPosition(99)
                            .setMaxWait(Duration.newBuilder().setSeconds(1));
            var behind = failure(() -> hasty.call(getGetOrderMethod(), query.build()));
            assertEquals("READ_MODEL_BEHIND", behind.reason());
            assertEquals(Map.of("position", "0", "min_position", "99"), behind.metadata());
        }
    }

    @Test
    void unknownValuesAreKeptWhenReadAndRejectedWhenTheyFilter() throws Exception {
        var search = SearchOrdersRequest.newBuilder().addStatusesValue(99).build();
        var error =
                assertThrows(
                        InvalidRequestException.class,
                        () -> orderlog.call(getSearchOrdersMethod(), search));
        assertEquals(Set.of("statuses[0]"), error.violations().keySet());
        Order newer = Order.newBuilder().setStatusValue(99).setUnknownFields(newField()).build();
        Order known = Order.parseFrom(newer.toByteString());
        assertEquals(OrderStatus.UNRECOGNIZED, known.getStatus());
        assertEquals(newer.toByteString(), known.toByteString());
    }

    @Test
    void fieldOfANewerContractIsRejected() {
        var newer = order("o").setUnknownFields(newField()).build();
        var error =
                assertThrows(
                        InvalidRequestException.class,
                        () -> orderlog.call(getCreateOrderMethod(), newer));
        assertEquals(Set.of("1000"), error.violations().keySet());
        assertEquals(0, head(orderlog));
    }

    private static UnknownFieldSet newField() {
        return UnknownFieldSet.newBuilder()
                .mergeField(1000, UnknownFieldSet.Field.newBuilder().addVarint(1).build())
                .build();
    }

    @Test
    void veryManyInvalidFieldsAreCounted() {
        var request = order("o");
        for (int number = 1; number < 1000; number++) {
            request.addItems(CreateOrderItem.getDefaultInstance());
        }
        var error =
                assertThrows(
                        InvalidRequestException.class,
                        () -> orderlog.call(getCreateOrderMethod(), request.build()));
        assertTrue(error.violations().containsKey("items[1].product_id"));
        assertTrue(error.getMessage().contains(" more"));
    }

    @Test
    void absentServerIsAnErrorWhenPatienceIsOver() {
        try (Orderlog hasty =
                Orderlog.builder("127.0.0.1:1")
                        .patience(java.time.Duration.ofMillis(500))
                        .build()) {
            assertEquals(Status.Code.UNAVAILABLE, failure(() -> create(hasty, "o")).code());
        }
    }

    @Test
    void interruptEndsACall() throws Exception {
        server.proxy().holdAnswers();
        server.kill();
        var call =
                task(
                        () -> {
                            var error = failure(() -> create(orderlog, "o"));
                            assertTrue(Thread.currentThread().isInterrupted());
                            return error.code();
                        });
        call.thread().interrupt();
        assertEquals(Status.Code.CANCELLED, call.get());
    }

    @Test
    void contextEndsACallAlsoWhileItWaitsForARetry() throws Exception {
        var retryAfterAnHour = RetryTest.unavailable(3600);
        var patient = java.time.Duration.ofHours(2);
        var timer = Executors.newSingleThreadScheduledExecutor();
        // The cancellation comes before, with or after the server's error: now one, now the other.
        int calls = 100;
        var failures = Collections.nCopies(calls + 1, retryAfterAnHour);
        try (var fake = new RetryTest.Fake(failures.toArray(StatusRuntimeException[]::new));
                var patientClient = Orderlog.builder(fake.target()).patience(patient).build();
                var over = Context.current().withDeadlineAfter(1, TimeUnit.SECONDS, timer)) {
            for (int made = 1; made <= calls; made++) {
                int sent = made;
                try (var cancelled = Context.current().withCancellation()) {
                    var call =
                            task(cancelled.wrap(() -> failure(() -> create(patientClient, "o"))));
                    while (fake.requestIds.size() < sent && !call.isDone()) {
                        Thread.onSpinWait();
                    }
                    cancelled.cancel(null);
                    assertEquals(Status.Code.CANCELLED, call.get().code());
                }
            }
            var call = task(over.wrap(() -> failure(() -> create(patientClient, "o"))));
            assertEquals(Status.Code.DEADLINE_EXCEEDED, call.get().code());
        } finally {
            timer.shutdownNow();
        }
    }

    @Test
    void cancelledFutureEndsItsRetries() throws Exception {
        server.kill();
        var call = orderlog.callAsync(getCreateOrderMethod(), order("o").build());
        assertTrue(call.cancel(true));
        server.start();
        create(orderlog, "other");
        assertEquals(1, head(orderlog));
    }

    @Test
    void generatedStubsShareTheConnection() {
        create(orderlog, "o");
        var stub = QueryServiceGrpc.newBlockingStub(orderlog.channel());
        var query = GetOrderRequest.newBuilder().setOrderId("o").setMinPosition(1).build();
        assertEquals(1, stub.getOrder(query).getOrder().getVersion());
    }

    static OrderlogException failure(Runnable call) {
        return assertThrows(OrderlogException.class, call::run);
    }
}
