package com.orderlog.client;

import io.grpc.Channel;
import io.grpc.ChannelCredentials;
import io.grpc.ClientInterceptors;
import io.grpc.Grpc;
import io.grpc.InsecureChannelCredentials;
import io.grpc.ManagedChannel;
import io.grpc.ManagedChannelBuilder;
import io.grpc.Metadata;
import io.grpc.TlsChannelCredentials;
import io.grpc.stub.MetadataUtils;
import java.net.URI;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import java.util.function.Supplier;
import java.util.regex.Pattern;

/** The server, and the credentials and headers of calls to it. Opens channels. */
final class Connection {
    private static final Pattern LOOPBACK =
            Pattern.compile("localhost|127\\.\\d+\\.\\d+\\.\\d+|\\[::1]");

    private final String address;
    private final ChannelCredentials credentials;
    private final boolean isTls;
    private final BearerToken token;
    private final boolean isTokenRenewed;
    private final Supplier<Map<String, String>> headers;

    Connection(
            String target,
            ChannelCredentials tls,
            Supplier<String> token,
            boolean isTokenRenewed,
            Supplier<Map<String, String>> headers) {
        URI url = parse(target);
        this.address = url.getHost() + ":" + url.getPort();
        this.isTls = "https".equals(url.getScheme());
        if (tls != null && !isTls) {
            throw new IllegalArgumentException("TLS is for https://, not for " + target);
        }
        if (token != null && !isTls && !LOOPBACK.matcher(url.getHost()).matches()) {
            throw new IllegalArgumentException(
                    "a token is not sent in clear to " + address + ": use https://");
        }
        ChannelCredentials secure = tls == null ? TlsChannelCredentials.create() : tls;
        this.credentials = isTls ? secure : InsecureChannelCredentials.create();
        this.token = token == null ? null : new BearerToken(token);
        this.isTokenRenewed = isTokenRenewed;
        this.headers = headers;
    }

    private static URI parse(String target) {
        boolean isUrl = target.startsWith("http://") || target.startsWith("https://");
        URI url = URI.create(isUrl ? target : "//" + target);
        boolean isMore = url.getUserInfo() != null || !url.getRawPath().isEmpty();
        if (url.getHost() == null || url.getPort() < 0 || isMore) {
            throw new IllegalArgumentException(
                    "the target must be ADDRESS:PORT or https://NAME:PORT, not " + target);
        }
        return url;
    }

    /** Returns whether an error of authentication may pass, because each call asks for a token. */
    boolean isTokenRenewed() {
        return isTokenRenewed;
    }

    /** Makes a channel, which connects at its first call. Each call on it sends the token. */
    ManagedChannel open() {
        ManagedChannelBuilder<?> builder =
                Grpc.newChannelBuilder(address, credentials)
                        // Pings detect a lost server while a call waits for it. The server allows
                        // them.
                        .keepAliveTime(10, TimeUnit.SECONDS)
                        .keepAliveTimeout(5, TimeUnit.SECONDS)
                        .disableRetry();
        if (!isTls) {
            // A proxy of the environment could read a token that is not encrypted.
            builder.proxyDetector(server -> null);
        }
        if (token != null) {
            builder.intercept(token);
        }
        return builder.build();
    }

    /** Adds the headers of the caller, as they are now, to all calls on the result. */
    Channel withHeaders(Channel channel) {
        Metadata metadata = new Metadata();
        headers.get()
                .forEach(
                        (name, value) ->
                                metadata.put(
                                        Metadata.Key.of(name, Metadata.ASCII_STRING_MARSHALLER),
                                        value));
        return ClientInterceptors.intercept(
                channel, MetadataUtils.newAttachHeadersInterceptor(metadata));
    }
}
