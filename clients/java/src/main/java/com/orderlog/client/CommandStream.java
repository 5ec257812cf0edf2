package com.orderlog.client;

import com.orderlog.orders.v1.CommandServiceGrpc;
import com.orderlog.orders.v1.ExecuteCommandsRequest;
import com.orderlog.orders.v1.ExecuteCommandsResponse;
import io.grpc.CallOptions;
import io.grpc.Channel;
import io.grpc.ManagedChannel;
import io.grpc.Status;
import io.grpc.stub.ClientCalls;
import java.time.Duration;
import java.util.ArrayDeque;
import java.util.Deque;
import java.util.Iterator;

/**
 * Executes commands with many in flight.
 *
 * <p>After a break, the next stream sends each unanswered command once more, with its request id
 * and in the same order.
 */
final class CommandStream implements AutoCloseable {
    /** Limits the commands and bytes in flight, which the client keeps until their replies. */
    private static final int MAX_IN_FLIGHT = 256;

    private static final long MAX_BYTES_IN_FLIGHT = 4 << 20;

    private final ManagedChannel connection;
    private final Channel channel;
    private final boolean isTokenRenewed;
    private final Iterator<ExecuteCommandsRequest> source;
    private final Duration timeout;
    private final Duration patience;
    private final Deque<ExecuteCommandsRequest> unsent = new ArrayDeque<>();
    private final Deque<ExecuteCommandsRequest> inFlight = new ArrayDeque<>();
    private final Backoff backoff = new Backoff();
    private long bytesInFlight;
    private long lastReplyNanos = System.nanoTime();
    private StreamCall<ExecuteCommandsRequest, ExecuteCommandsResponse> stream;

    /**
     * Prepares a stream.
     *
     * @param connection the connection behind the channel
     * @param timeout the silence after which the stream counts as broken
     * @param patience the time without a reply after which a break is an error
     */
    CommandStream(
            ManagedChannel connection,
            Channel channel,
            boolean isTokenRenewed,
            Iterator<ExecuteCommandsRequest> source,
            Duration timeout,
            Duration patience) {
        this.connection = connection;
        this.channel = channel;
        this.isTokenRenewed = isTokenRenewed;
        this.source = source;
        this.timeout = timeout;
        this.patience = patience;
    }

    /** Returns the next result, in the order of the commands, or null after the last one. */
    CommandResult next() {
        while (true) {
            try {
                if (stream == null) {
                    open();
                }
                send();
                if (inFlight.isEmpty()) {
                    stream.finishWriting();
                    return null;
                }
                ExecuteCommandsResponse response = stream.read(timeout);
                if (response != null) {
                    return answered(response);
                }
                retry(OrderlogException.of(Status.Code.UNAVAILABLE, "the stream ended", null));
            } catch (OrderlogException error) {
                retry(error);
            }
        }
    }

    private void open() {
        stream =
                new StreamCall<>(
                        ClientCalls.blockingBidiStreamingCall(
                                channel,
                                CommandServiceGrpc.getExecuteCommandsMethod(),
                                CallOptions.DEFAULT));
    }

    /** Sends commands as far as there is place for them, and at least one. */
    private void send() {
        while (inFlight.size() < MAX_IN_FLIGHT && bytesInFlight < MAX_BYTES_IN_FLIGHT) {
            if (unsent.isEmpty()) {
                if (!source.hasNext()) {
                    return;
                }
                unsent.add(Requests.withRequestId(source.next()));
            }
            Duration wait = inFlight.isEmpty() ? timeout : Duration.ZERO;
            if (!stream.write(unsent.peek(), wait)) {
                return;
            }
            bytesInFlight += unsent.peek().getSerializedSize();
            inFlight.add(unsent.poll());
        }
    }

    private CommandResult answered(ExecuteCommandsResponse response) {
        ExecuteCommandsRequest command = inFlight.poll();
        bytesInFlight -= command.getSerializedSize();
        lastReplyNanos = System.nanoTime();
        backoff.reset();
        return new CommandResult(command, response);
    }

    /** Prepares the next stream after a wait, or throws an error that it cannot fix. */
    private void retry(OrderlogException error) {
        close();
        Duration wait = backoff.next(error);
        long endNanos = lastReplyNanos + patience.toNanos();
        boolean mayPass =
                switch (error.code()) {
                    case UNAUTHENTICATED -> isTokenRenewed;
                    default -> error.mayPass();
                };
        if (!mayPass) {
            throw error;
        }
        Backoff.throwIfCallerGone();
        if (endNanos - System.nanoTime() < wait.toNanos()) {
            throw error;
        }
        while (!inFlight.isEmpty()) {
            unsent.addFirst(inFlight.pollLast());
        }
        bytesInFlight = 0;
        Backoff.sleep(wait);
        connection.resetConnectBackoff();
    }

    @Override
    public void close() {
        if (stream != null) {
            stream.close();
            stream = null;
        }
    }
}
