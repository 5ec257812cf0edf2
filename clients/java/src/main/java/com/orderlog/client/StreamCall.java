package com.orderlog.client;

import io.grpc.Status;
import io.grpc.StatusException;
import io.grpc.stub.BlockingClientCall;
import java.time.Duration;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;

/** Reads and writes a stream, and raises its errors as {@link OrderlogException}. */
final class StreamCall<Q, A> implements AutoCloseable {
    private final BlockingClientCall<Q, A> call;

    StreamCall(BlockingClientCall<Q, A> call) {
        this.call = call;
    }

    /** Returns the next response, or null at the end. Fails after a silence. */
    A read(Duration silence) {
        try {
            return call.read(silence.toNanos(), TimeUnit.NANOSECONDS);
        } catch (TimeoutException error) {
            String message = "no response for " + silence.toMillis() + " ms";
            throw OrderlogException.of(Status.Code.DEADLINE_EXCEEDED, message, error);
        } catch (StatusException error) {
            throw OrderlogException.of(error);
        } catch (InterruptedException error) {
            throw Backoff.interrupted(error);
        }
    }

    /** Returns the next response, or null at the end. */
    A read() {
        try {
            return call.read();
        } catch (StatusException error) {
            throw OrderlogException.of(error);
        } catch (InterruptedException error) {
            throw Backoff.interrupted(error);
        }
    }

    /** Sends a message, and returns false if there is no place for it in time. */
    boolean write(Q message, Duration wait) {
        try {
            return call.write(message, wait.toNanos(), TimeUnit.NANOSECONDS);
        } catch (TimeoutException full) {
            return false;
        } catch (StatusException error) {
            throw OrderlogException.of(error);
        } catch (InterruptedException error) {
            throw Backoff.interrupted(error);
        }
    }

    void finishWriting() {
        call.halfClose();
    }

    @Override
    public void close() {
        call.cancel("the caller closed it", null);
    }
}
