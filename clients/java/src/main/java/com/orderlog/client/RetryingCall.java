package com.orderlog.client;

import io.grpc.CallOptions;
import io.grpc.Channel;
import io.grpc.ClientCall;
import io.grpc.Context;
import io.grpc.Contexts;
import io.grpc.ManagedChannel;
import io.grpc.MethodDescriptor;
import io.grpc.Status;
import io.grpc.stub.ClientCalls;
import io.grpc.stub.StreamObserver;
import java.time.Duration;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;

/** A call with one reply, and its retries. Cancelling the result cancels the call. */
final class RetryingCall<Q, A> {
    private final ManagedChannel connection;
    private final Channel channel;
    private final MethodDescriptor<Q, A> method;
    private final Q request;
    private final Duration timeout;
    private final long endNanos;
    private final Backoff backoff = new Backoff();
    // Retries run on other threads, but for the caller.
    private final Context context = Context.current();
    private final CompletableFuture<A> result = new CompletableFuture<>();
    private volatile ClientCall<Q, A> attempt;

    /**
     * Prepares a call.
     *
     * @param connection the connection behind the channel
     * @param timeout of each attempt
     * @param patience the time for all attempts
     */
    RetryingCall(
            ManagedChannel connection,
            Channel channel,
            MethodDescriptor<Q, A> method,
            Q request,
            Duration timeout,
            Duration patience) {
        this.connection = connection;
        this.channel = channel;
        this.method = method;
        this.request = request;
        this.timeout = timeout;
        this.endNanos = System.nanoTime() + patience.toNanos();
    }

    CompletableFuture<A> start() {
        Context.CancellationListener listener = this::contextEnded;
        context.addListener(listener, Runnable::run);
        result.whenComplete(
                (reply, error) -> {
                    context.removeListener(listener);
                    cancelAttempt();
                });
        attempt();
        return result;
    }

    private void contextEnded(Context ended) {
        Status status = Contexts.statusFromCancelled(ended);
        result.completeExceptionally(OrderlogException.of(status.asRuntimeException()));
    }

    private void attempt() {
        CallOptions options =
                CallOptions.DEFAULT.withDeadlineAfter(timeout.toNanos(), TimeUnit.NANOSECONDS);
        ClientCall<Q, A> call = channel.newCall(method, options);
        ClientCalls.asyncUnaryCall(call, request, new Reply());
        attempt = call;
        cancelAttempt();
    }

    private void cancelAttempt() {
        ClientCall<Q, A> call = attempt;
        if (call != null && result.isCancelled()) {
            call.cancel("the caller cancelled it", null);
        }
    }

    private void failed(Throwable cause) {
        OrderlogException error = OrderlogException.of(cause);
        Duration wait = backoff.next(error);
        boolean isOver = endNanos - System.nanoTime() < wait.toNanos();
        if (isOver || !(error.isRetryable() || error.isUnanswered())) {
            result.completeExceptionally(error);
            return;
        }
        CompletableFuture.delayedExecutor(wait.toNanos(), TimeUnit.NANOSECONDS)
                .execute(context.wrap(this::retry));
    }

    private void retry() {
        if (!result.isDone()) {
            // gRPC waits up to two minutes before it connects again.
            connection.resetConnectBackoff();
            attempt();
        }
    }

    private final class Reply implements StreamObserver<A> {
        private A reply;

        @Override
        public void onNext(A message) {
            reply = message;
        }

        @Override
        public void onError(Throwable error) {
            failed(error);
        }

        @Override
        public void onCompleted() {
            result.complete(reply);
        }
    }
}
