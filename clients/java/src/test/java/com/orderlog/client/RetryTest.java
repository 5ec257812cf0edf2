package com.orderlog.client;

import static com.orderlog.client.ClientTest.failure;
import static com.orderlog.client.Orders.create;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;

import com.google.protobuf.Any;
import com.google.protobuf.Duration;
import com.google.protobuf.Message;
import com.google.rpc.ErrorInfo;
import com.google.rpc.RetryInfo;
import com.orderlog.orders.v1.CommandServiceGrpc;
import com.orderlog.orders.v1.CreateOrderRequest;
import com.orderlog.orders.v1.CreateOrderResponse;
import io.grpc.BindableService;
import io.grpc.Grpc;
import io.grpc.InsecureServerCredentials;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import io.grpc.protobuf.StatusProto;
import io.grpc.stub.StreamObserver;
import java.io.IOException;
import java.util.List;
import java.util.Queue;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** Tests retries against a fake server with scripted failures. */
class RetryTest {
    /** A server that fails as told, then accepts orders. */
    static final class Fake extends CommandServiceGrpc.CommandServiceImplBase
            implements AutoCloseable {
        final List<String> requestIds = new CopyOnWriteArrayList<>();
        private final Queue<StatusRuntimeException> failures;
        private final io.grpc.Server server;

        Fake(StatusRuntimeException... failures) throws IOException {
            this.failures = new ConcurrentLinkedQueue<>(List.of(failures));
            this.server = serve(this);
        }

        String target() {
            return "127.0.0.1:" + server.getPort();
        }

        @Override
        public void createOrder(
                CreateOrderRequest request, StreamObserver<CreateOrderResponse> reply) {
            requestIds.add(request.getRequestId());
            StatusRuntimeException failure = failures.poll();
            if (failure != null) {
                reply.onError(failure);
                return;
            }
            reply.onNext(CreateOrderResponse.newBuilder().setOrderId("o").build());
            reply.onCompleted();
        }

        @Override
        public void close() {
            server.shutdownNow();
        }
    }

    static io.grpc.Server serve(BindableService service) throws IOException {
        return Grpc.newServerBuilderForPort(0, InsecureServerCredentials.create())
                .addService(service)
                .build()
                .start();
    }

    static StatusRuntimeException error(Status.Code code, Message... details) {
        var status = com.google.rpc.Status.newBuilder().setCode(code.value()).setMessage("as told");
        Stream.of(details).map(Any::pack).forEach(status::addDetails);
        return StatusProto.toStatusRuntimeException(status.build());
    }

    static ErrorInfo reason(String reason) {
        return ErrorInfo.newBuilder().setReason(reason).build();
    }

    static StatusRuntimeException unavailable(long retryAfterSeconds) {
        Duration delay = Duration.newBuilder().setSeconds(retryAfterSeconds).build();
        return error(Status.Code.UNAVAILABLE, RetryInfo.newBuilder().setRetryDelay(delay).build());
    }

    @Test
    void outageIsWaitedForWithTheSameRequestId() throws Exception {
        RetryInfo soon =
                RetryInfo.newBuilder().setRetryDelay(Duration.newBuilder().setNanos(1000)).build();
        try (Fake fake =
                        new Fake(
                                error(Status.Code.UNAVAILABLE),
                                error(Status.Code.UNAVAILABLE, reason("STORE_UNAVAILABLE"), soon),
                                error(Status.Code.RESOURCE_EXHAUSTED, reason("OVERLOADED"), soon),
                                error(Status.Code.DEADLINE_EXCEEDED),
                                // The server notices the end of the attempt before the client.
                                error(Status.Code.DEADLINE_EXCEEDED, reason("DEADLINE_EXCEEDED")),
                                // A connection that breaks during a reply may end with these.
                                error(Status.Code.INTERNAL),
                                error(Status.Code.CANCELLED));
                Orderlog orderlog = Orderlog.connect(fake.target())) {
            assertEquals("o", create(orderlog, "o").getOrderId());
            assertEquals(8, fake.requestIds.size());
            assertEquals(1, fake.requestIds.stream().distinct().count());
            assertFalse(fake.requestIds.get(0).isEmpty());
        }
    }

    @Test
    void noRetryComesBeforeTheTimeThatTheServerNames() throws Exception {
        try (Fake fake = new Fake(unavailable(3600));
                Orderlog orderlog = Orderlog.connect(fake.target())) {
            var error = failure(() -> create(orderlog, "o"));
            assertEquals(3600, error.retryAfter().orElseThrow().toSeconds());
            assertEquals(1, fake.requestIds.size());
        }
    }

    static List<StatusRuntimeException> lastingErrors() {
        return List.of(
                error(Status.Code.INVALID_ARGUMENT, reason("INVALID_FIELD")),
                error(Status.Code.ABORTED, reason("VERSION_MISMATCH")),
                error(Status.Code.DEADLINE_EXCEEDED, reason("READ_MODEL_BEHIND")),
                error(Status.Code.RESOURCE_EXHAUSTED),
                error(Status.Code.INTERNAL, reason("INTERNAL")));
    }

    @ParameterizedTest
    @MethodSource("lastingErrors")
    void lastingErrorIsNotRetried(StatusRuntimeException lasting) throws Exception {
        try (Fake fake = new Fake(lasting);
                Orderlog orderlog = Orderlog.connect(fake.target())) {
            var error = failure(() -> create(orderlog, "o"));
            assertEquals(lasting.getStatus().getCode(), error.code());
            assertEquals(1, fake.requestIds.size());
        }
    }
}
