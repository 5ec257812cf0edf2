package com.orderlog.client;

import com.google.protobuf.Message;
import com.orderlog.orders.v1.DayStatistics;
import com.orderlog.orders.v1.ExecuteCommandsRequest;
import com.orderlog.orders.v1.GetStatisticsRequest;
import com.orderlog.orders.v1.GetStatisticsResponse;
import com.orderlog.orders.v1.ListParkedRequest;
import com.orderlog.orders.v1.ListParkedResponse;
import com.orderlog.orders.v1.Order;
import com.orderlog.orders.v1.ParkedAggregate;
import com.orderlog.orders.v1.ProjectionServiceGrpc;
import com.orderlog.orders.v1.QueryServiceGrpc;
import com.orderlog.orders.v1.SearchOrdersRequest;
import com.orderlog.orders.v1.SearchOrdersResponse;
import com.orderlog.orders.v1.WatchOrdersRequest;
import com.orderlog.orders.v1.WatchOrdersResponse;
import io.grpc.CallOptions;
import io.grpc.Channel;
import io.grpc.ChannelCredentials;
import io.grpc.ManagedChannel;
import io.grpc.MethodDescriptor;
import io.grpc.StatusRuntimeException;
import io.grpc.stub.ClientCalls;
import java.time.Duration;
import java.util.Map;
import java.util.Optional;
import java.util.Spliterator;
import java.util.Spliterators;
import java.util.concurrent.CompletableFuture;
import java.util.function.Consumer;
import java.util.function.Function;
import java.util.function.Supplier;
import java.util.stream.Stream;
import java.util.stream.StreamSupport;

/**
 * A client of orderlog, for any number of threads.
 *
 * <pre>{@code
 * try (Orderlog orderlog = Orderlog.connect("127.0.0.1:50051")) {
 *     CreateOrderResponse made =
 *             orderlog.call(CommandServiceGrpc.getCreateOrderMethod(), request);
 * }
 * }</pre>
 *
 * <p>Errors are {@link OrderlogException}. An interrupt of the thread, and the end of its gRPC
 * {@link io.grpc.Context}, end a call with the code CANCELLED or DEADLINE_EXCEEDED.
 */
public final class Orderlog implements AutoCloseable {
    private final Connection connection;
    private final ManagedChannel channel;
    private final Duration patience;
    private final Duration answerWithin;

    private Orderlog(Connection connection, Duration patience, Duration answerWithin) {
        this.connection = connection;
        this.channel = connection.open();
        this.patience = patience;
        this.answerWithin = answerWithin;
    }

    /** Makes a client of the server at ADDRESS:PORT, or with TLS at https://NAME:PORT. */
    public static Orderlog connect(String target) {
        return builder(target).build();
    }

    /** Begins a client with options. */
    public static Builder builder(String target) {
        return new Builder(target);
    }

    /**
     * Calls any method with one reply, and retries until the server replies.
     *
     * <p>A command without a request id gets one, so that retries take effect once. A query with
     * the {@code position} of a command's reply as {@code min_position} sees the command's events.
     */
    public <Q extends Message, A> A call(MethodDescriptor<Q, A> method, Q request) {
        Q sent = Requests.withRequestId(request);
        Channel withHeaders = connection.withHeaders(channel);
        Attempts attempts = attempts(request);
        while (true) {
            try {
                return ClientCalls.blockingUnaryCall(withHeaders, method, attempts.options(), sent);
            } catch (StatusRuntimeException failed) {
                OrderlogException error = OrderlogException.of(failed);
                if (error.mayPass()) {
                    Backoff.throwIfCallerGone();
                }
                Optional<Duration> wait = attempts.next(error);
                if (wait.isEmpty()) {
                    throw error;
                }
                Backoff.sleep(wait.get());
                // gRPC waits up to two minutes before it connects again.
                channel.resetConnectBackoff();
            }
        }
    }

    /** Calls as {@link #call} does. Cancelling the result cancels the call and its retries. */
    public <Q extends Message, A> CompletableFuture<A> callAsync(
            MethodDescriptor<Q, A> method, Q request) {
        return new RetryingCall<>(
                        channel,
                        connection.withHeaders(channel),
                        method,
                        Requests.withRequestId(request),
                        attempts(request))
                .start();
    }

    private Attempts attempts(Message request) {
        return new Attempts(answerWithin.plus(Requests.maxWait(request)), patience);
    }

    /**
     * Calls a method that streams replies until its end, such as Rebuild and Verify. Close the
     * result to cancel the call.
     */
    public <Q, A> Stream<A> stream(MethodDescriptor<Q, A> method, Q request) {
        var call =
                new StreamCall<>(
                        ClientCalls.blockingV2ServerStreamingCall(
                                connection.withHeaders(channel),
                                method,
                                CallOptions.DEFAULT,
                                request));
        return of(call::read).onClose(call::close);
    }

    /** Returns the orders that match, page by page as the result is read. */
    public Stream<Order> search(SearchOrdersRequest search) {
        return pages(
                        token ->
                                call(
                                        QueryServiceGrpc.getSearchOrdersMethod(),
                                        search.toBuilder().setPageToken(token).build()),
                        SearchOrdersResponse::getNextPageToken)
                .flatMap(page -> page.getOrdersList().stream());
    }

    /** Returns the statistics of each day that has orders, page by page as the result is read. */
    public Stream<DayStatistics> days(GetStatisticsRequest statistics) {
        return pages(
                        token ->
                                call(
                                        QueryServiceGrpc.getGetStatisticsMethod(),
                                        statistics.toBuilder()
                                                .setByDay(true)
                                                .setPageToken(token)
                                                .build()),
                        GetStatisticsResponse::getNextPageToken)
                .flatMap(page -> page.getDaysList().stream());
    }

    /** Returns the parked orders, page by page as the result is read. */
    public Stream<ParkedAggregate> parked(ListParkedRequest list) {
        return pages(
                        token ->
                                call(
                                        ProjectionServiceGrpc.getListParkedMethod(),
                                        list.toBuilder().setPageToken(token).build()),
                        ListParkedResponse::getNextPageToken)
                .flatMap(page -> page.getParkedList().stream());
    }

    /**
     * Executes commands by one stream with many in flight, for imports and bulk work.
     *
     * <p>The results have the order of the commands. Reading them sends the next commands: up to
     * 256 are taken from the stream of commands before the first result. After a break, unanswered
     * commands are sent once more, with the same request ids. Close the result to cancel the call.
     */
    public Stream<CommandResult> executeAll(Stream<ExecuteCommandsRequest> commands) {
        var stream =
                new CommandStream(
                        channel,
                        connection.withHeaders(channel),
                        connection.isTokenRenewed(),
                        commands.iterator(),
                        answerWithin,
                        patience);
        return of(stream::next).onClose(stream::close);
    }

    /**
     * Returns the orders that match now, then each change to them, without an end.
     *
     * <p>After a break it watches once more, on a new connection: responses with the present state
     * follow, until {@code caught_up}. Close the result to end it.
     */
    public Stream<WatchOrdersResponse> watch(WatchOrdersRequest request) {
        var responses =
                new Reconnecting<>(
                        connection,
                        QueryServiceGrpc.getWatchOrdersMethod(),
                        () -> request,
                        Reconnecting.SILENCE.plus(Requests.maxWait(request)),
                        () -> {});
        return of(responses::next).onClose(responses::close);
    }

    /** Makes a subscriber, which follows the log on connections of its own. */
    public Subscriber subscriber(Store store) {
        return new Subscriber(connection, store);
    }

    /** Returns the channel, for the generated stubs. It sends the token, and retries nothing. */
    public Channel channel() {
        return channel;
    }

    /** Closes the connection. Calls in progress fail. */
    @Override
    public void close() {
        channel.shutdownNow();
    }

    /** Returns what the supplier returns, up to null, each when it is asked for. */
    private static <T> Stream<T> of(Supplier<T> next) {
        return StreamSupport.stream(
                new Spliterators.AbstractSpliterator<T>(Long.MAX_VALUE, Spliterator.ORDERED) {
                    @Override
                    public boolean tryAdvance(Consumer<? super T> action) {
                        T value = next.get();
                        if (value != null) {
                            action.accept(value);
                        }
                        return value != null;
                    }
                },
                false);
    }

    private static <P> Stream<P> pages(Function<String, P> page, Function<P, String> nextToken) {
        return of(
                new Supplier<P>() {
                    private String token = "";

                    @Override
                    public P get() {
                        if (token == null) {
                            return null;
                        }
                        P found = page.apply(token);
                        String next = nextToken.apply(found);
                        token = next.isEmpty() ? null : next;
                        return found;
                    }
                });
    }

    /** The options of a client. */
    public static final class Builder {
        private final String target;
        private ChannelCredentials tls;
        private Supplier<String> token;
        private boolean isTokenRenewed;
        private Supplier<Map<String, String>> headers = Map::of;
        private Duration patience = Duration.ofSeconds(30);
        private Duration answerWithin = Duration.ofSeconds(10);

        private Builder(String target) {
            this.target = target;
        }

        /**
         * Sets the authorities to trust and the client's certificate, for https://.
         *
         * <p>By default the client trusts the authorities of the Java runtime. See {@link
         * io.grpc.TlsChannelCredentials}.
         */
        public Builder tls(ChannelCredentials tls) {
            this.tls = tls;
            return this;
        }

        /** Sends a token with each call. Without TLS, the server must be on this machine. */
        public Builder token(String token) {
            this.token = () -> token;
            this.isTokenRenewed = false;
            return this;
        }

        /** Sends a token that can be renewed: each call and each retry asks the supplier. */
        public Builder token(Supplier<String> token) {
            this.token = token;
            this.isTokenRenewed = true;
            return this;
        }

        /**
         * Sends headers, such as {@code traceparent} and {@code x-correlation-id}, which the events
         * of a command keep. Each call asks the supplier once, on the caller's thread.
         */
        public Builder headers(Supplier<Map<String, String>> headers) {
            this.headers = headers;
            return this;
        }

        /** Sets the time for all retries of a call: by default 30 s. */
        public Builder patience(Duration patience) {
            this.patience = patience;
            return this;
        }

        /** Sets the timeout of each attempt, besides its {@code max_wait}: by default 10 s. */
        public Builder answerWithin(Duration answerWithin) {
            this.answerWithin = answerWithin;
            return this;
        }

        /** Makes the client. Its first call connects. */
        public Orderlog build() {
            return new Orderlog(
                    new Connection(target, tls, token, isTokenRenewed, headers),
                    patience,
                    answerWithin);
        }
    }
}
