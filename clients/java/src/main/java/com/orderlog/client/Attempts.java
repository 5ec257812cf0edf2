package com.orderlog.client;

import io.grpc.CallOptions;
import java.time.Duration;
import java.util.Optional;
import java.util.concurrent.TimeUnit;

/** The attempts of one call: the timeout of each, and the waits between them. */
final class Attempts {
    private final Duration timeout;
    private final long endNanos;
    private final Backoff backoff = new Backoff();

    /**
     * Begins the time of a call.
     *
     * @param timeout of each attempt
     * @param patience the time for all attempts
     */
    Attempts(Duration timeout, Duration patience) {
        this.timeout = timeout;
        this.endNanos = System.nanoTime() + patience.toNanos();
    }

    /** Returns the options of an attempt that begins now. */
    CallOptions options() {
        return CallOptions.DEFAULT.withDeadlineAfter(timeout.toNanos(), TimeUnit.NANOSECONDS);
    }

    /** Returns the wait before the next attempt, or nothing if the error is final. */
    Optional<Duration> next(OrderlogException error) {
        Duration wait = backoff.next(error);
        boolean isInTime = wait.toNanos() <= endNanos - System.nanoTime();
        return Optional.of(wait).filter(it -> isInTime && error.mayPass());
    }
}
