package com.orderlog.client;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;

/** An orderlog server with its own data folder, behind a proxy, at one address across restarts. */
class Server implements AutoCloseable {
    static final Path PROGRAM =
            Path.of(System.getenv().getOrDefault("ORDERLOG", "../../target/debug/orderlog"))
                    .toAbsolutePath();
    private static final Pattern SERVING = Pattern.compile("serving address=\\S+:(\\d+)");

    final Path folder;
    private final List<String> command;
    private final Proxy proxy;
    private Process process;

    /** Starts a server whose data is in the folder. */
    Server(Path folder, String... more) throws IOException {
        this.folder = Files.createDirectories(folder);
        this.command = new ArrayList<>(List.of(PROGRAM.toString(), "serve"));
        command.addAll(List.of("--listen", "127.0.0.1:0", "--data-dir", folder.toString()));
        command.addAll(List.of(more));
        this.proxy = new Proxy();
        start();
    }

    String target() {
        return "127.0.0.1:" + proxy.port();
    }

    Proxy proxy() {
        return proxy;
    }

    Orderlog connect() {
        return Orderlog.connect(target());
    }

    final void start() throws IOException {
        ProcessBuilder builder = new ProcessBuilder(command).directory(folder.toFile());
        builder.environment().keySet().removeIf(name -> name.startsWith("ORDERLOG"));
        process = builder.redirectOutput(ProcessBuilder.Redirect.DISCARD).start();
        var lines =
                new BufferedReader(
                        new InputStreamReader(process.getErrorStream(), StandardCharsets.UTF_8));
        List<String> told = new ArrayList<>();
        for (String line = lines.readLine(); line != null; line = lines.readLine()) {
            told.add(line);
            Matcher serving = SERVING.matcher(line);
            if (serving.find()) {
                proxy.forwardTo(Integer.parseInt(serving.group(1)));
                // Reads on, so that the pipe never fills.
                Threads.start(() -> lines.lines().forEach(more -> {}));
                return;
            }
        }
        throw new AssertionError(String.join("\n", told));
    }

    void kill() throws InterruptedException {
        process.destroyForcibly().waitFor();
    }

    /** Copies the log while the server is killed. */
    void saveLog(Path to) throws IOException {
        copyLog(folder, Files.createDirectories(to));
    }

    /** Replaces the log by a saved one while the server is killed. */
    void putBackLog(Path saved) throws IOException {
        for (Path file : logFiles(folder)) {
            Files.delete(file);
        }
        copyLog(saved, folder);
    }

    private static void copyLog(Path from, Path to) throws IOException {
        for (Path file : logFiles(from)) {
            Files.copy(file, to.resolve(file.getFileName()));
        }
    }

    private static List<Path> logFiles(Path folder) throws IOException {
        try (Stream<Path> files = Files.list(folder)) {
            return files.filter(it -> it.getFileName().toString().startsWith("events.db")).toList();
        }
    }

    @Override
    public void close() throws Exception {
        proxy.close();
        kill();
    }
}
