package com.orderlog.client;

import static com.orderlog.client.Threads.until;

import io.grpc.ChannelCredentials;
import io.grpc.Status;
import io.grpc.TlsChannelCredentials;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.ArrayList;
import java.util.List;

/** A server with TLS that requires a token. */
final class Secured extends Server {
    /** A certificate of this machine, and its key. */
    record Certificate(Path cert, Path key) {
        /** Makes a self-signed one. */
        static Certificate make(Path folder) throws Exception {
            Files.createDirectories(folder);
            Certificate made =
                    new Certificate(folder.resolve("cert.pem"), folder.resolve("key.pem"));
            List<String> command =
                    new ArrayList<>(
                            List.of(
                                    ("openssl req -x509 -nodes -newkey ec -pkeyopt"
                                                    + " ec_paramgen_curve:prime256v1 -subj"
                                                    + " /CN=orderlog -addext"
                                                    + " subjectAltName=DNS:localhost,IP:127.0.0.1")
                                            .split(" ")));
            // An authority's certificate could not also be a client certificate.
            command.addAll(List.of("-addext", "basicConstraints=critical,CA:FALSE"));
            command.addAll(List.of("-keyout", made.key.toString(), "-out", made.cert.toString()));
            run(command);
            return made;
        }
    }

    private final Certificate certificate;
    private final Path tokens;

    private Secured(Path folder, Certificate certificate, String... more) throws Exception {
        super(folder.resolve("data"), more);
        this.certificate = certificate;
        this.tokens = folder.resolve("tokens");
    }

    static Secured start(Path folder, String... more) throws Exception {
        Certificate certificate = Certificate.make(folder.resolve("server"));
        Path tokens = folder.resolve("tokens");
        newToken(tokens, "operate");
        List<String> options = new ArrayList<>(List.of(more));
        options.addAll(List.of("--tls-cert", certificate.cert.toString()));
        options.addAll(List.of("--tls-key", certificate.key.toString()));
        options.addAll(List.of("--tokens", tokens.toString()));
        return new Secured(folder, certificate, options.toArray(String[]::new));
    }

    @Override
    String target() {
        return "https://" + super.target();
    }

    ChannelCredentials tls() {
        return trusting(certificate).build();
    }

    TlsChannelCredentials.Builder trusting() {
        return trusting(certificate);
    }

    static TlsChannelCredentials.Builder trusting(Certificate certificate) {
        try {
            return TlsChannelCredentials.newBuilder().trustManager(certificate.cert.toFile());
        } catch (IOException error) {
            throw new IllegalStateException(error);
        }
    }

    Orderlog.Builder builder() {
        return Orderlog.builder(target()).tls(tls());
    }

    /** Makes a token, and waits until the server accepts it. */
    String token(String... roles) throws Exception {
        String token = newToken(tokens, roles);
        try (Orderlog client = builder().token(token).build()) {
            until(
                    () -> {
                        try {
                            return Orders.head(client) >= 0;
                        } catch (OrderlogException error) {
                            if (error.code() != Status.Code.UNAUTHENTICATED) {
                                throw error;
                            }
                            return false;
                        }
                    });
        }
        return token;
    }

    void revokeAll() throws IOException {
        Path empty = Files.writeString(tokens.resolveSibling("tokens.new"), "");
        Files.move(empty, tokens, StandardCopyOption.ATOMIC_MOVE);
    }

    private static String newToken(Path tokens, String... roles) throws Exception {
        List<String> command = new ArrayList<>(List.of(PROGRAM.toString(), "token", "new"));
        for (String role : roles) {
            command.addAll(List.of("--role", role));
        }
        command.addAll(List.of("--tokens", tokens.toString()));
        return run(command);
    }

    private static String run(List<String> command) throws Exception {
        Process process =
                new ProcessBuilder(command).redirectError(ProcessBuilder.Redirect.DISCARD).start();
        String told = new String(process.getInputStream().readAllBytes());
        if (process.waitFor() != 0) {
            throw new AssertionError(command + " failed: " + told);
        }
        return told;
    }
}
