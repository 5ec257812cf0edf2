package com.orderlog.client;

import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CountDownLatch;

/** A network that a test cuts, or on which it holds the answers. */
final class Proxy implements AutoCloseable {
    private final ServerSocket listener = new ServerSocket(0, 50, InetAddress.getLoopbackAddress());
    private final Set<Link> links = ConcurrentHashMap.newKeySet();
    private volatile int port;

    Proxy() throws IOException {
        Threads.start(this::accept);
    }

    int port() {
        return listener.getLocalPort();
    }

    void forwardTo(int port) {
        this.port = port;
    }

    /** Lets no answer through any more on the present connections, without closing them. */
    void holdAnswers() {
        links.forEach(link -> link.isHeld = true);
    }

    /** Closes the present connections. */
    void cut() {
        links.forEach(Link::close);
    }

    private void accept() throws IOException {
        while (!listener.isClosed()) {
            Socket client = listener.accept();
            try {
                links.add(new Link(client, new Socket(listener.getInetAddress(), port)));
            } catch (IOException refused) {
                client.close();
            }
        }
    }

    @Override
    public void close() throws IOException {
        listener.close();
        cut();
    }

    private final class Link {
        private final Socket client;
        private final Socket server;
        private final CountDownLatch closed = new CountDownLatch(1);
        private volatile boolean isHeld;

        Link(Socket client, Socket server) {
            this.client = client;
            this.server = server;
            Threads.start(() -> pump(client, server));
            Threads.start(() -> pump(server, client));
        }

        private void pump(Socket from, Socket to) {
            try {
                InputStream source = from.getInputStream();
                OutputStream sink = to.getOutputStream();
                byte[] data = new byte[65536];
                for (int size = source.read(data); size >= 0; size = source.read(data)) {
                    if (isHeld && from == server) {
                        closed.await();
                    }
                    sink.write(data, 0, size);
                }
            } catch (IOException | InterruptedException broken) {
                // Both ends learn of it below.
            } finally {
                close();
            }
        }

        void close() {
            links.remove(this);
            closed.countDown();
            try {
                client.close();
                server.close();
            } catch (IOException ignored) {
                // It is closed all the same.
            }
        }
    }
}
