package com.orderlog.client;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;

/** Runs the example as the README does, and compares versions. */
class ExampleTest extends ServerTest {
    private static final Path BOARD = Path.of("example/OrderBoard.java");

    @Test
    void boardPrintsTheEventsOfItsOrder() throws Exception {
        String java = Path.of(System.getProperty("java.home"), "bin", "java").toString();
        Process board =
                new ProcessBuilder(
                                java,
                                "-cp",
                                "target/classes:target/lib/*",
                                BOARD.toString(),
                                server.target())
                        .redirectErrorStream(true)
                        .start();
        List<String> told = new String(board.getInputStream().readAllBytes()).lines().toList();
        assertEquals(0, board.waitFor(), told::toString);
        assertTrue(told.get(0).matches("1 .* ORDER_CREATED"), told::toString);
        assertTrue(told.get(1).matches("2 .* ORDER_SHIPPED"), told::toString);
    }

    @Test
    void boardIsShort() throws Exception {
        assertTrue(Files.readAllLines(BOARD).size() < 60);
    }

    @Test
    void versionIsThatOfTheServerAndTheContract() throws Exception {
        String version = System.getProperty("orderlog.version");
        var server = Files.readString(Path.of("../../Cargo.toml"));
        assertTrue(server.contains("\nversion = \"" + version + "\"\n"), version);
    }
}
