package com.orderlog.client;

import static com.orderlog.client.ClientTest.failure;
import static com.orderlog.client.Orders.create;
import static com.orderlog.client.Orders.head;
import static com.orderlog.client.Orders.order;
import static com.orderlog.client.Threads.task;
import static com.orderlog.client.Threads.until;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.orderlog.client.SubscriberTest.Following;
import com.orderlog.orders.v1.ExecuteCommandsRequest;
import com.orderlog.orders.v1.GetOrderRequest;
import com.orderlog.orders.v1.QueryServiceGrpc;
import com.orderlog.orders.v1.WatchOrdersRequest;
import io.grpc.Status;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayDeque;
import java.util.Deque;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicReference;
import java.util.function.Supplier;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Tests TLS and tokens against a real server that requires both. */
class AccessTest {
    @TempDir Path folder;
    private Secured server;

    @BeforeEach
    void startServer() throws Exception {
        server = Secured.start(folder);
    }

    @AfterEach
    void stopServer() throws Exception {
        server.close();
    }

    private static Status.Code code(Runnable call) {
        return failure(call).code();
    }

    private void subscribe(Orderlog orderlog) {
        try {
            Recorder recorder = new Recorder(folder.resolve("unused.db"));
            task(() -> {
                        orderlog.subscriber(recorder.store).run();
                        return null;
                    })
                    .get();
        } catch (OrderlogException error) {
            throw error;
        } catch (Exception error) {
            throw new AssertionError(error);
        }
    }

    @Test
    void everyKindOfCallSendsTheToken() throws Exception {
        String token = server.token("command", "query", "subscribe");
        try (Orderlog orderlog = server.builder().token(token).build()) {
            long position = create(orderlog, "o").getPosition();
            var query = GetOrderRequest.newBuilder().setOrderId("o").setMinPosition(position);
            var method = QueryServiceGrpc.getGetOrderMethod();
            assertEquals(1, orderlog.call(method, query.build()).getOrder().getVersion());
            var command = ExecuteCommandsRequest.newBuilder().setCreateOrder(order("p")).build();
            assertEquals(
                    List.of(2L),
                    orderlog.executeAll(Stream.of(command))
                            .map(it -> it.response().getCreateOrder().getPosition())
                            .toList());
            var request = WatchOrdersRequest.newBuilder().setMinPosition(2).build();
            try (var watch = orderlog.watch(request)) {
                assertEquals(2, watch.findFirst().orElseThrow().getOrdersCount());
            }
            Recorder recorder = new Recorder(folder.resolve("seen.db"));
            try (var following = Following.start(orderlog.subscriber(recorder.store))) {
                until(() -> recorder.seen().size() == 2);
            }
        }
    }

    @Test
    void wrongTokenIsUnauthenticatedAndMissingRoleIsDenied() throws Exception {
        String token = server.token("query");
        for (String wrong : new String[] {"", "wrong"}) {
            try (Orderlog orderlog = server.builder().token(wrong).build()) {
                assertEquals(Status.Code.UNAUTHENTICATED, code(() -> create(orderlog, "o")));
                assertEquals(Status.Code.UNAUTHENTICATED, code(() -> subscribe(orderlog)));
            }
        }
        try (Orderlog orderlog = server.builder().build()) {
            assertEquals(Status.Code.UNAUTHENTICATED, code(() -> create(orderlog, "o")));
        }
        try (Orderlog orderlog = server.builder().token(token).build()) {
            assertEquals(Status.Code.PERMISSION_DENIED, code(() -> create(orderlog, "o")));
            assertEquals(Status.Code.PERMISSION_DENIED, code(() -> subscribe(orderlog)));
        }
    }

    @Test
    void eachCallAsksForTheToken() throws Exception {
        String valid = server.token("command");
        Deque<String> tokens = new ArrayDeque<>(List.of(valid, "wrong", valid));
        try (Orderlog orderlog = server.builder().token(tokens::poll).build()) {
            create(orderlog, "a");
            assertEquals(Status.Code.UNAUTHENTICATED, code(() -> create(orderlog, "b")));
            create(orderlog, "c");
        }
    }

    @Test
    void failureToGetATokenIsToldAndATokenIsNot() {
        Supplier<String> broken =
                () -> {
                    throw new IllegalStateException("the issuer is down");
                };
        try (Orderlog orderlog = server.builder().token(broken).build()) {
            var error = failure(() -> create(orderlog, "o"));
            assertEquals(Status.Code.UNAUTHENTICATED, error.code());
            assertTrue(error.getMessage().contains("the issuer is down"));
        }
        try (Orderlog orderlog = server.builder().token("secret\nsecret").build()) {
            var error = failure(() -> create(orderlog, "o"));
            assertEquals(Status.Code.UNAUTHENTICATED, error.code());
            assertFalse(error.getMessage().contains("secret"));
        }
    }

    @Test
    void callEndsAtItsDeadlineThoughTheTokenIsLate() {
        CountDownLatch never = new CountDownLatch(1);
        Supplier<String> late =
                () -> {
                    try {
                        never.await();
                    } catch (InterruptedException ended) {
                        Thread.currentThread().interrupt();
                    }
                    return "";
                };
        try (Orderlog orderlog =
                server.builder()
                        .token(late)
                        .answerWithin(Duration.ofMillis(200))
                        .patience(Duration.ofMillis(500))
                        .build()) {
            assertEquals(Status.Code.DEADLINE_EXCEEDED, code(() -> create(orderlog, "o")));
        } finally {
            never.countDown();
        }
    }

    @Test
    void subscriberGoesOnWhenItsTokenIsReplaced() throws Exception {
        writeAs(server.token("command"), "a");
        AtomicReference<String> token = new AtomicReference<>(server.token("subscribe"));
        AtomicInteger asked = new AtomicInteger();
        Supplier<String> current =
                () -> {
                    asked.incrementAndGet();
                    return token.get();
                };
        Recorder recorder = new Recorder(folder.resolve("seen.db"));
        try (Orderlog orderlog = server.builder().token(current).build();
                var following = Following.start(orderlog.subscriber(recorder.store))) {
            until(() -> recorder.seen().equals(List.of(1L)));
            server.revokeAll();
            // The subscriber retries with the revoked token, then with one that lacks the role.
            until(() -> asked.get() >= 2);
            writeAs(server.token("command"), "b");
            token.set(server.token("query"));
            int before = asked.get();
            until(() -> asked.get() >= before + 2);
            token.set(server.token("subscribe"));
            until(() -> recorder.seen().equals(List.of(1L, 2L)));
        }
    }

    private void writeAs(String token, String id) {
        try (Orderlog orderlog = server.builder().token(token).build()) {
            create(orderlog, id);
        }
    }

    @Test
    void subscriberEndsWhenItsOnlyTokenIsRevoked() throws Exception {
        CountDownLatch caughtUp = new CountDownLatch(1);
        Recorder recorder = new Recorder(folder.resolve("seen.db"));
        try (Orderlog orderlog = server.builder().token(server.token("subscribe")).build()) {
            var following =
                    task(
                            () ->
                                    code(
                                            orderlog.subscriber(recorder.store)
                                                            .onCaughtUp(it -> caughtUp.countDown())
                                                    ::run));
            assertTrue(caughtUp.await(60, TimeUnit.SECONDS));
            server.revokeAll();
            assertEquals(Status.Code.UNAUTHENTICATED, following.get());
        }
    }

    @Test
    void serverOfAnotherAuthorityGetsNothing() throws Exception {
        String token = server.token("command");
        var other = Secured.Certificate.make(folder.resolve("other"));
        for (var tls : new io.grpc.ChannelCredentials[] {Secured.trusting(other).build(), null}) {
            try (Orderlog orderlog =
                    Orderlog.builder(server.target())
                            .tls(tls)
                            .token(token)
                            .patience(Duration.ofMillis(500))
                            .build()) {
                assertEquals(Status.Code.UNAVAILABLE, code(() -> head(orderlog)));
            }
        }
    }

    @Test
    void clientMayHaveACertificate() throws Exception {
        var client = Secured.Certificate.make(folder.resolve("client"));
        Path data = folder.resolve("mutual");
        try (Secured mutual = Secured.start(data, "--tls-client-ca", client.cert().toString())) {
            var tls =
                    mutual.trusting()
                            .keyManager(client.cert().toFile(), client.key().toFile())
                            .build();
            try (Orderlog orderlog =
                    Orderlog.builder(mutual.target()).tls(tls).token("wrong").build()) {
                assertEquals(Status.Code.UNAUTHENTICATED, code(() -> head(orderlog)));
            }
            try (Orderlog orderlog =
                    mutual.builder().token("wrong").patience(Duration.ofMillis(500)).build()) {
                assertEquals(Status.Code.UNAVAILABLE, code(() -> head(orderlog)));
            }
        }
    }

    @ParameterizedTest
    @ValueSource(
            strings = {
                "orders.example:50051",
                "http://orders.example:50051",
                "http://127.0.0.1:50051@orders.example",
                "127.0.0.1.orders.example:50051",
                "dns://127.0.0.1/orders.example:50051",
                "0.0.0.0:50051",
                "[2001:db8::1]:50051"
            })
    void tokenIsNotSentInClearToAnotherMachine(String target) {
        var builder = Orderlog.builder(target).token("secret");
        var refused = assertThrows(IllegalArgumentException.class, builder::build);
        assertFalse(refused.getMessage().contains("secret"));
    }

    @Test
    void tlsIsForHttps() {
        var builder = Orderlog.builder("127.0.0.1:50051").tls(server.tls());
        assertThrows(IllegalArgumentException.class, builder::build);
    }

    @Test
    void tokenIsSentInClearOnTheSameMachine() throws Exception {
        String token = server.token("command");
        String tokens = folder.resolve("tokens").toString();
        try (Server plain = new Server(folder.resolve("plain"), "--tokens", tokens)) {
            for (String target : List.of(plain.target(), "http://" + plain.target())) {
                try (Orderlog orderlog = Orderlog.builder(target).token(token).build()) {
                    assertEquals(0, head(orderlog));
                }
            }
            try (Orderlog orderlog = plain.connect()) {
                assertEquals(Status.Code.UNAUTHENTICATED, code(() -> head(orderlog)));
            }
        }
    }
}
