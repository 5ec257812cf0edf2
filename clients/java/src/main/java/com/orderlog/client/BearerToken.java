package com.orderlog.client;

import io.grpc.CallCredentials;
import io.grpc.CallOptions;
import io.grpc.Channel;
import io.grpc.ClientCall;
import io.grpc.ClientInterceptor;
import io.grpc.Metadata;
import io.grpc.MethodDescriptor;
import io.grpc.Status;
import java.util.concurrent.Executor;
import java.util.concurrent.Executors;
import java.util.function.Supplier;

/** Sends a token with each call, as the supplier returns it at that time. */
final class BearerToken extends CallCredentials implements ClientInterceptor {
    private static final Metadata.Key<String> AUTHORIZATION =
            Metadata.Key.of("authorization", Metadata.ASCII_STRING_MARSHALLER);

    // The supplier may block. The call's own executor may be the thread that waits for the call.
    private static final Executor THREADS = Executors.newCachedThreadPool(BearerToken::daemon);

    private final Supplier<String> token;

    BearerToken(Supplier<String> token) {
        this.token = token;
    }

    @Override
    public <Q, A> ClientCall<Q, A> interceptCall(
            MethodDescriptor<Q, A> method, CallOptions options, Channel next) {
        return next.newCall(method, options.withCallCredentials(this));
    }

    @Override
    public void applyRequestMetadata(RequestInfo info, Executor executor, MetadataApplier applier) {
        THREADS.execute(() -> apply(applier));
    }

    private static Thread daemon(Runnable work) {
        Thread thread = new Thread(work, "orderlog-token");
        thread.setDaemon(true);
        return thread;
    }

    private void apply(MetadataApplier applier) {
        try {
            String value = token.get().strip();
            // An error about an invalid header would contain the token.
            if (!value.chars().allMatch(it -> it >= ' ' && it <= '~')) {
                throw new IllegalArgumentException("it has characters that no token has");
            }
            Metadata headers = new Metadata();
            headers.put(AUTHORIZATION, "Bearer " + value);
            applier.apply(headers);
        } catch (RuntimeException error) {
            applier.fail(
                    Status.UNAUTHENTICATED.withDescription("no token: " + error).withCause(error));
        }
    }
}
