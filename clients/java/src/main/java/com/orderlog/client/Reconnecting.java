package com.orderlog.client;

import io.grpc.CallOptions;
import io.grpc.ManagedChannel;
import io.grpc.MethodDescriptor;
import io.grpc.Status;
import io.grpc.stub.ClientCalls;
import java.lang.System.Logger;
import java.lang.System.Logger.Level;
import java.time.Duration;
import java.util.function.Supplier;

/** Reads an endless stream. After a failure it opens the next one, on a new connection. */
final class Reconnecting<Q, A> implements AutoCloseable {
    /** The longest time between two responses of a live stream. */
    private static final Duration HEARTBEAT = Duration.ofSeconds(10);

    /** The silence after which a connection counts as lost. */
    static final Duration SILENCE = HEARTBEAT.multipliedBy(3);

    private static final Logger LOG = System.getLogger(Reconnecting.class.getName());

    private final Connection connection;
    private final MethodDescriptor<Q, A> method;
    private final Supplier<Q> request;
    private final Duration silence;
    // A short silence must not end each connection before it is there.
    private final Duration firstSilence;
    private final Runnable onBroken;
    private final Backoff backoff = new Backoff();
    // Each stream has its own connection, because a call on a lost connection fails too.
    private ManagedChannel channel;
    private StreamCall<Q, A> stream;
    private boolean isAnswered;

    /**
     * Prepares the first stream.
     *
     * @param request returns the request of each stream
     * @param onBroken is called after the end of each stream
     */
    Reconnecting(
            Connection connection,
            MethodDescriptor<Q, A> method,
            Supplier<Q> request,
            Duration silence,
            Runnable onBroken) {
        this.connection = connection;
        this.method = method;
        this.request = request;
        this.silence = silence;
        this.firstSilence = silence.compareTo(SILENCE) > 0 ? silence : SILENCE;
        this.onBroken = onBroken;
    }

    /** Waits for the next response, through failures that may pass, and throws the others. */
    A next() {
        while (true) {
            try {
                if (stream == null) {
                    open();
                }
                A response = stream.read(isAnswered ? silence : firstSilence);
                if (response != null) {
                    isAnswered = true;
                    backoff.reset();
                    return response;
                }
                reopen(OrderlogException.of(Status.Code.UNAVAILABLE, "the stream ended", null));
            } catch (OrderlogException error) {
                if (!mayPass(error)) {
                    throw error;
                }
                Backoff.throwIfCallerGone();
                reopen(error);
            }
        }
    }

    /** Leaves the present stream because of an error. The next one begins after a wait. */
    void reopen(OrderlogException error) {
        LOG.log(Level.WARNING, "the stream broke off: {0}", error.getMessage());
        close();
        onBroken.run();
        Backoff.sleep(backoff.next(error));
    }

    private void open() {
        isAnswered = false;
        channel = connection.open();
        stream =
                new StreamCall<>(
                        ClientCalls.blockingV2ServerStreamingCall(
                                connection.withHeaders(channel),
                                method,
                                CallOptions.DEFAULT,
                                request.get()));
    }

    private boolean mayPass(OrderlogException error) {
        return switch (error.code()) {
            case UNAUTHENTICATED, PERMISSION_DENIED -> connection.isTokenRenewed();
            // With a reason, INTERNAL may mean that the server cannot read a newer event yet.
            case INTERNAL -> true;
            default -> error.mayPass();
        };
    }

    @Override
    public void close() {
        if (stream != null) {
            stream.close();
            channel.shutdownNow();
            stream = null;
        }
    }
}
