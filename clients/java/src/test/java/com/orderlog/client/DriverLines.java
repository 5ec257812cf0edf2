package com.orderlog.client;

import com.google.gson.Gson;
import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import com.google.protobuf.InvalidProtocolBufferException;
import com.google.protobuf.Message;
import com.google.protobuf.util.JsonFormat;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.HashMap;
import java.util.Map;
import java.util.Optional;
import java.util.function.Consumer;

/** Reads the requests of the conformance suite, and writes replies. */
final class DriverLines {
    private DriverLines() {}

    static void say(Map<String, ?> line) {
        System.out.println(new Gson().toJson(line));
    }

    static String read(Path file) {
        try {
            return Files.readString(file);
        } catch (IOException error) {
            throw new UncheckedIOException(error);
        }
    }

    static void unlessZero(JsonObject it, String field, Consumer<Duration> option) {
        Optional.of(Duration.ofMillis(it.get(field).getAsLong()))
                .filter(time -> !time.isZero())
                .ifPresent(option);
    }

    @SuppressWarnings("unchecked")
    static <Q extends Message> Q parse(Q empty, JsonElement json)
            throws InvalidProtocolBufferException {
        Message.Builder builder = empty.newBuilderForType();
        JsonFormat.parser().merge(json.toString(), builder);
        return (Q) builder.build();
    }

    static JsonElement json(Message message) throws InvalidProtocolBufferException {
        return JsonParser.parseString(JsonFormat.printer().print(message));
    }

    static Map<String, Object> described(OrderlogException error) {
        Map<String, Object> parts = new HashMap<>();
        parts.put("code", error.code().name());
        parts.put("reason", error.reason());
        parts.put("metadata", error.metadata());
        parts.put("resource", error.resource());
        if (error instanceof InvalidRequestException invalid) {
            parts.put("violations", invalid.violations());
        }
        if (error instanceof HistoryException history) {
            history.position().ifPresent(it -> parts.put("position", it));
            history.sharedPosition().ifPresent(it -> parts.put("shared_position", it));
        }
        return Map.of("error", parts);
    }
}
