package com.orderlog.client;

import java.nio.file.Path;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.io.TempDir;

/** A test with a server of its own and a client of it. */
abstract class ServerTest {
    @TempDir Path folder;
    Server server;
    Orderlog orderlog;

    @BeforeEach
    void startServer() throws Exception {
        server = new Server(folder.resolve("data"));
        orderlog = server.connect();
    }

    @AfterEach
    void stopServer() throws Exception {
        orderlog.close();
        server.close();
    }
}
