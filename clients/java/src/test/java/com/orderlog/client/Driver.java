package com.orderlog.client;

import static com.orderlog.client.DriverLines.described;
import static com.orderlog.client.DriverLines.json;
import static com.orderlog.client.DriverLines.parse;
import static com.orderlog.client.DriverLines.say;
import static com.orderlog.client.DriverLines.unlessZero;
import static com.orderlog.orders.v1.CommandServiceGrpc.getCreateOrderMethod;
import static com.orderlog.orders.v1.CommandServiceGrpc.getShipOrderMethod;
import static com.orderlog.orders.v1.QueryServiceGrpc.getGetOrderMethod;

import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import com.google.protobuf.InvalidProtocolBufferException;
import com.google.protobuf.Message;
import com.orderlog.orders.v1.*;
import io.grpc.MethodDescriptor;
import io.grpc.TlsChannelCredentials;
import java.io.*;
import java.nio.file.Path;
import java.util.*;
import java.util.concurrent.locks.LockSupport;
import java.util.stream.Stream;

/** Shows the client to the conformance suite: see clients/conformance/README.md. */
final class Driver {
    private Orderlog orderlog;

    public static void main(String[] arguments) throws Exception {
        Driver driver = new Driver();
        var input = new BufferedReader(new InputStreamReader(System.in));
        for (String line = input.readLine(); line != null; line = input.readLine()) {
            try {
                say(Map.of("ok", driver.serve(JsonParser.parseString(line).getAsJsonObject())));
            } catch (OrderlogException error) {
                say(described(error));
            }
        }
    }

    private Object serve(JsonObject it) throws Exception {
        return switch (it.get("do").getAsString()) {
            case "connect" -> connect(it);
            case "create_order" -> call(getCreateOrderMethod(), it);
            case "ship_order" -> call(getShipOrderMethod(), it);
            case "get_order" -> call(getGetOrderMethod(), it);
            case "search" -> search(it);
            case "execute_commands" -> executeCommands(it);
            case "follow" -> follow(it);
            case "rewind" -> rewind(it);
            case "watch_orders" -> watchOrders(it);
            default -> throw new IllegalArgumentException("unknown request: " + it);
        };
    }

    private Object connect(JsonObject it) throws IOException {
        String target = it.get("target").getAsString();
        Orderlog.Builder builder = Orderlog.builder(target);
        if (it.get("tls").getAsBoolean()) {
            File authority = new File(it.get("ca").getAsString());
            var tls = TlsChannelCredentials.newBuilder().trustManager(authority).build();
            builder = Orderlog.builder("https://" + target).tls(tls);
        }
        String token = it.get("token_file").getAsString();
        if (!token.isEmpty()) {
            builder.token(() -> DriverLines.read(Path.of(token)));
        }
        unlessZero(it, "answer_within_ms", builder::answerWithin);
        unlessZero(it, "patience_ms", builder::patience);
        if (orderlog != null) {
            orderlog.close();
        }
        orderlog = builder.build();
        return Map.of();
    }

    private <Q extends Message, A extends Message> Object call(
            MethodDescriptor<Q, A> method, JsonObject it) throws InvalidProtocolBufferException {
        var marshaller = (MethodDescriptor.PrototypeMarshaller<Q>) method.getRequestMarshaller();
        Q request = parse(marshaller.getMessagePrototype(), it.get("request"));
        return json(orderlog.call(method, request));
    }

    private Object search(JsonObject it) throws InvalidProtocolBufferException {
        var search = parse(SearchOrdersRequest.getDefaultInstance(), it.get("request"));
        return Map.of("order_ids", orderlog.search(search).map(Order::getOrderId).toList());
    }

    private Object executeCommands(JsonObject it) throws InvalidProtocolBufferException {
        List<ExecuteCommandsRequest> requests = new ArrayList<>();
        for (JsonElement request : it.get("requests").getAsJsonArray()) {
            requests.add(parse(ExecuteCommandsRequest.getDefaultInstance(), request));
        }
        List<Object> results = new ArrayList<>();
        for (CommandResult result : orderlog.executeAll(requests.stream()).toList()) {
            Message reply = (Message) result.response().getAllFields().values().iterator().next();
            var error = result.error();
            results.add(error.isPresent() ? described(error.get()) : Map.of("ok", json(reply)));
        }
        return Map.of("results", results);
    }

    private Object follow(JsonObject it) throws Exception {
        Recorder recorder = new Recorder(Path.of(it.get("store").getAsString()));
        long applyMillis = it.get("apply_ms").getAsLong();
        Subscriber subscriber = orderlog.subscriber(told(recorder.store, applyMillis));
        unlessZero(it, "silence_ms", subscriber::silence);
        subscriber.runUntil(it.get("until").getAsLong());
        return Map.of("seen", recorder.seen(), "position", recorder.store.position().position());
    }

    private static Store told(Store store, long applyMillis) {
        return new Store() {
            @Override
            public Position position() {
                return store.position();
            }

            @Override
            public boolean apply(SubscribeResponse response, Position after) {
                LockSupport.parkNanos(applyMillis * 1_000_000);
                boolean isApplied = store.apply(response, after);
                say(Map.of("progress", Map.of("position", position().position())));
                return isApplied;
            }
        };
    }

    private static Object rewind(JsonObject it) throws Exception {
        Recorder recorder = new Recorder(Path.of(it.get("store").getAsString()));
        recorder.rewind(it.get("position").getAsLong());
        return Map.of();
    }

    private Object watchOrders(JsonObject it) throws InvalidProtocolBufferException {
        var request = parse(WatchOrdersRequest.getDefaultInstance(), it.get("request"));
        Map<String, Long> versions = new HashMap<>();
        Set<String> left = new TreeSet<>();
        try (Stream<WatchOrdersResponse> responses = orderlog.watch(request)) {
            for (var each = responses.iterator(); ; ) {
                WatchOrdersResponse response = each.next();
                response.getOrdersList().forEach(o -> versions.put(o.getOrderId(), o.getVersion()));
                left.addAll(response.getLeftOrderIdsList());
                long position = response.getAsOfPosition();
                say(Map.of("progress", Map.of("position", position)));
                if (response.getCaughtUp() && position >= it.get("until").getAsLong()) {
                    return Map.of("versions", versions, "left", left, "position", position);
                }
            }
        }
    }
}
