package com.orderlog.client;

import io.grpc.Context;
import io.grpc.Contexts;
import io.grpc.Status;
import java.time.Duration;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ThreadLocalRandom;
import java.util.concurrent.TimeUnit;

/** The waits between retries. They grow, and are random, so that clients do not retry together. */
final class Backoff {
    private static final long FIRST_MILLIS = 100;
    private static final long LONGEST_MILLIS = 5_000;

    private long longest = FIRST_MILLIS;

    /** Returns the wait before the next retry: at least as long as the error asks for. */
    Duration next(OrderlogException error) {
        long millis = ThreadLocalRandom.current().nextLong(longest / 2, longest + 1);
        longest = Math.min(longest * 2, LONGEST_MILLIS);
        Duration wait = Duration.ofMillis(millis);
        Duration asked = error.retryAfter().orElse(Duration.ZERO);
        return asked.compareTo(wait) > 0 ? asked : wait;
    }

    /** Begins with short waits again, after a success. */
    void reset() {
        longest = FIRST_MILLIS;
    }

    /** Returns whether the caller has given up: by an interrupt, or by its gRPC context. */
    static boolean isCallerGone() {
        return Thread.currentThread().isInterrupted() || Context.current().isCancelled();
    }

    /** Throws the caller's own end as an error, even if a call has failed otherwise meanwhile. */
    static void throwIfCallerGone() {
        sleep(Duration.ZERO);
    }

    /** Waits, but not longer than the caller does: its end is an error, also before the wait. */
    static void sleep(Duration wait) {
        CountDownLatch cancelled = new CountDownLatch(1);
        Context.CancellationListener listener = context -> cancelled.countDown();
        Context context = Context.current();
        context.addListener(listener, Runnable::run);
        try {
            if (cancelled.await(wait.toNanos(), TimeUnit.NANOSECONDS)) {
                Status status = Contexts.statusFromCancelled(context);
                throw OrderlogException.of(status.asRuntimeException());
            }
        } catch (InterruptedException error) {
            throw interrupted(error);
        } finally {
            context.removeListener(listener);
        }
    }

    /** Passes an interrupt on: as an error, and to the code that looks at the thread. */
    static OrderlogException interrupted(InterruptedException error) {
        Thread.currentThread().interrupt();
        return OrderlogException.of(Status.Code.CANCELLED, "interrupted", error);
    }
}
