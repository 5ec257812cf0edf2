package com.orderlog.client;

import java.util.concurrent.Callable;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;

/** Runs and awaits work beside a test. */
final class Threads {
    /** Work that may throw. */
    @FunctionalInterface
    interface Work {
        void run() throws Exception;
    }

    private Threads() {}

    static Thread start(Work work) {
        Thread thread =
                new Thread(
                        () -> {
                            try {
                                work.run();
                            } catch (Exception ended) {
                                // The test sees the effect, or its absence.
                            }
                        });
        thread.setDaemon(true);
        thread.start();
        return thread;
    }

    /** Runs the work on a thread of its own, which `interrupt` reaches. */
    static <T> Task<T> task(Callable<T> work) {
        CompletableFuture<T> result = new CompletableFuture<>();
        Thread thread =
                start(
                        () -> {
                            try {
                                result.complete(work.call());
                            } catch (Throwable error) {
                                result.completeExceptionally(error);
                            }
                        });
        return new Task<>(thread, result);
    }

    record Task<T>(Thread thread, CompletableFuture<T> result) {
        T get() throws Exception {
            try {
                return result.get(60, TimeUnit.SECONDS);
            } catch (ExecutionException error) {
                if (error.getCause() instanceof Exception cause) {
                    throw cause;
                }
                throw error;
            } catch (TimeoutException error) {
                throw new AssertionError("the task has not ended in 60 s", error);
            }
        }

        boolean isDone() {
            return result.isDone();
        }
    }

    /** Waits until the condition holds. */
    static void until(Callable<Boolean> condition) throws Exception {
        long end = System.nanoTime() + TimeUnit.SECONDS.toNanos(60);
        while (!condition.call()) {
            if (System.nanoTime() > end) {
                throw new AssertionError("the condition does not hold after 60 s");
            }
            Thread.sleep(5);
        }
    }
}
