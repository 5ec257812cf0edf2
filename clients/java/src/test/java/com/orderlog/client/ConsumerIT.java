package com.orderlog.client;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;

/** Makes projects outside the repository that depend on the installed client, and runs them. */
class ConsumerIT extends ServerTest {
    @Test
    void javaProjectCreatesShipsAndFollowsAnOrder() throws Exception {
        Path project = copy("java");
        Path sources = Files.createDirectories(project.resolve("src/main/java"));
        Files.copy(Path.of("example/OrderBoard.java"), sources.resolve("OrderBoard.java"));
        List<String> told = run(project);
        assertEquals(2, told.size(), told::toString);
        assertTrue(told.get(0).matches("1 .* ORDER_CREATED"), told::toString);
        assertTrue(told.get(1).matches("2 .* ORDER_SHIPPED"), told::toString);
    }

    @Test
    void kotlinProjectCreatesShipsAndFollowsAnOrder() throws Exception {
        List<String> told = run(copy("kotlin"));
        assertEquals(3, told.size(), told::toString);
        assertEquals("refused: ORDER_NOT_SHIPPABLE", told.get(0));
        assertTrue(told.get(2).matches("2 .* ORDER_SHIPPED"), told::toString);
    }

    private Path copy(String name) throws IOException {
        Path from = Path.of("src/test/consumer", name);
        Path to = folder.resolve(name);
        try (Stream<Path> files = Files.walk(from)) {
            for (Path file : files.toList()) {
                Files.copy(file, to.resolve(from.relativize(file).toString()));
            }
        }
        return to;
    }

    /** Builds and runs the project, and returns the lines that it prints. */
    private List<String> run(Path project) throws Exception {
        Process maven =
                new ProcessBuilder(
                                "mvn",
                                "--batch-mode",
                                "--quiet",
                                "-Dstyle.color=never",
                                "-Dorderlog.version=" + System.getProperty("orderlog.version"),
                                "-Dtarget=" + server.target(),
                                "compile",
                                "exec:exec")
                        .directory(project.toFile())
                        .redirectErrorStream(true)
                        .start();
        String told = new String(maven.getInputStream().readAllBytes());
        assertEquals(0, maven.waitFor(), told);
        // Maven resets the terminal's colours, though there is none.
        String plain = told.replaceAll("\u001b\\[[0-9;]*m", "");
        return plain.lines().filter(line -> !line.isBlank()).toList();
    }
}
