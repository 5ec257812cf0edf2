package com.orderlog.client;

import io.grpc.Channel;
import io.grpc.ClientCall;
import io.grpc.Context;
import io.grpc.Contexts;
import io.grpc.ManagedChannel;
import io.grpc.MethodDescriptor;
import io.grpc.Status;
import io.grpc.stub.ClientCalls;
import io.grpc.stub.StreamObserver;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;

/** A call in the background, and its retries. Cancelling the result cancels the call. */
final class RetryingCall<Q, A> {
    private final ManagedChannel connection;
    private final Channel channel;
    private final MethodDescriptor<Q, A> method;
    private final Q request;
    private final Attempts attempts;
    // Retries run on other threads, but for the caller.
    private final Context context = Context.current();
    private final CompletableFuture<A> result = new CompletableFuture<>();
    private volatile ClientCall<Q, A> present;

    /** Prepares a call on a channel of the connection. */
    RetryingCall(
            ManagedChannel connection,
            Channel channel,
            MethodDescriptor<Q, A> method,
            Q request,
            Attempts attempts) {
        this.connection = connection;
        this.channel = channel;
        this.method = method;
        this.request = request;
        this.attempts = attempts;
    }

    CompletableFuture<A> start() {
        Context.CancellationListener listener = this::contextEnded;
        context.addListener(listener, Runnable::run);
        result.whenComplete(
                (reply, error) -> {
                    context.removeListener(listener);
                    cancelPresent();
                });
        attempt();
        return result;
    }

    private void contextEnded(Context ended) {
        Status status = Contexts.statusFromCancelled(ended);
        result.completeExceptionally(OrderlogException.of(status.asRuntimeException()));
    }

    private void attempt() {
        ClientCall<Q, A> call = channel.newCall(method, attempts.options());
        ClientCalls.asyncUnaryCall(call, request, new Reply());
        present = call;
        cancelPresent();
    }

    private void cancelPresent() {
        ClientCall<Q, A> call = present;
        if (call != null && result.isCancelled()) {
            call.cancel("the caller cancelled it", null);
        }
    }

    private void failed(OrderlogException error) {
        attempts.next(error)
                .ifPresentOrElse(
                        wait ->
                                CompletableFuture.delayedExecutor(
                                                wait.toNanos(), TimeUnit.NANOSECONDS)
                                        .execute(context.wrap(this::retry)),
                        () -> result.completeExceptionally(error));
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
            failed(OrderlogException.of(error));
        }

        @Override
        public void onCompleted() {
            result.complete(reply);
        }
    }
}
