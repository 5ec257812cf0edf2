package com.orderlog.client;

import static com.orderlog.client.Orders.order;
import static com.orderlog.orders.v1.CommandServiceGrpc.getCreateOrderMethod;

import com.orderlog.orders.v1.CommandServiceGrpc;
import com.orderlog.orders.v1.CreateOrderRequest;
import com.orderlog.orders.v1.EventServiceGrpc;
import com.orderlog.orders.v1.ExecuteCommandsRequest;
import com.orderlog.orders.v1.SubscribeRequest;
import com.orderlog.orders.v1.SubscribeResponse;
import io.grpc.Grpc;
import io.grpc.InsecureChannelCredentials;
import io.grpc.ManagedChannel;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Callable;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.Semaphore;
import java.util.function.Function;
import java.util.stream.Stream;

/**
 * Compares the client with the raw stubs against a running server: {@code java -cp
 * 'target/test-classes:target/classes:target/lib/*' com.orderlog.client.Benchmark ADDRESS:PORT}.
 *
 * <p>Short rounds of both alternate, so that other load meets both. The ratio is the median of the
 * ratios of all rounds.
 */
final class Benchmark {
    private static final int ROUNDS = 40;
    private static final int COMMANDS = 500;
    private static final int CATCH_UP = 200_000;

    private Benchmark() {}

    public static void main(String[] arguments) throws Exception {
        String target = arguments[0];
        ManagedChannel channel = open(target);
        var blocking = CommandServiceGrpc.newBlockingStub(channel);
        var future = CommandServiceGrpc.newFutureStub(channel);
        try (Orderlog orderlog = Orderlog.connect(target)) {
            compare(
                    "commands, 1 in flight",
                    () -> lone(request -> orderlog.call(getCreateOrderMethod(), request)),
                    () -> lone(blocking::createOrder));
            compare(
                    "commands, 64 in flight",
                    () -> many(it -> orderlog.callAsync(getCreateOrderMethod(), it)),
                    () -> many(it -> completable(future.createOrder(it))));
            fill(orderlog, CATCH_UP);
            compare(
                    "events of a catch-up",
                    () -> follow(orderlog),
                    () -> read(target, Orders.head(orderlog)));
        }
        channel.shutdownNow();
    }

    /** Measures operations a second of both, and prints the medians and their ratio. */
    private static void compare(String name, Callable<Double> client, Callable<Double> raw)
            throws Exception {
        client.call();
        raw.call();
        List<Double> clients = new ArrayList<>();
        List<Double> raws = new ArrayList<>();
        List<Double> ratios = new ArrayList<>();
        for (int round = 0; round < ROUNDS; round++) {
            // Each is first in turn, because the log grows.
            boolean isClientFirst = round % 2 == 0;
            double first = isClientFirst ? client.call() : raw.call();
            double second = isClientFirst ? raw.call() : client.call();
            clients.add(isClientFirst ? first : second);
            raws.add(isClientFirst ? second : first);
            ratios.add(clients.get(round) / raws.get(round));
        }
        System.out.printf(
                "%s: client %.0f/s, raw stub %.0f/s, ratio %.2f%n",
                name, median(clients), median(raws), median(ratios));
    }

    private static double median(List<Double> values) {
        double[] sorted = values.stream().mapToDouble(it -> it).sorted().toArray();
        return sorted[sorted.length / 2];
    }

    private static double rate(long operations, long beganNanos) {
        return operations * 1e9 / (System.nanoTime() - beganNanos);
    }

    private static CreateOrderRequest request() {
        return order("").setRequestId(Requests.uuid7().toString()).build();
    }

    private static double lone(Function<CreateOrderRequest, ?> call) {
        long began = System.nanoTime();
        for (int number = 0; number < COMMANDS / 5; number++) {
            call.apply(request());
        }
        return rate(COMMANDS / 5, began);
    }

    private static double many(Function<CreateOrderRequest, CompletableFuture<?>> call)
            throws InterruptedException {
        Semaphore places = new Semaphore(64);
        long began = System.nanoTime();
        for (int number = 0; number < COMMANDS; number++) {
            places.acquire();
            call.apply(request()).thenRun(places::release);
        }
        places.acquire(64);
        return rate(COMMANDS, began);
    }

    private static <T> CompletableFuture<T> completable(
            com.google.common.util.concurrent.ListenableFuture<T> call) {
        CompletableFuture<T> result = new CompletableFuture<>();
        call.addListener(
                () -> {
                    try {
                        result.complete(call.get());
                    } catch (Exception error) {
                        throw new IllegalStateException(error);
                    }
                },
                Runnable::run);
        return result;
    }

    private static void fill(Orderlog orderlog, int count) {
        var one = ExecuteCommandsRequest.newBuilder().setCreateOrder(order("")).build();
        orderlog.executeAll(Stream.generate(() -> one).limit(count)).forEach(result -> {});
    }

    /** A store that forgets the events, so that the client alone is measured. */
    private static final class Forgetful implements Store {
        private Position position = Position.START;

        @Override
        public Position position() {
            return position;
        }

        @Override
        public boolean apply(SubscribeResponse response, Position after) {
            position = Position.after(response);
            return true;
        }
    }

    private static double follow(Orderlog orderlog) {
        long head = Orders.head(orderlog);
        long began = System.nanoTime();
        orderlog.subscriber(new Forgetful()).runUntil(head);
        return rate(head, began);
    }

    /** Reads on a connection of its own, as the subscriber does. */
    private static double read(String target, long head) {
        var request = SubscribeRequest.newBuilder().setFollow(true).build();
        long began = System.nanoTime();
        ManagedChannel channel = open(target);
        var responses = EventServiceGrpc.newBlockingStub(channel).subscribe(request);
        while (responses.next().getPosition() < head) {
            continue;
        }
        double rate = rate(head, began);
        channel.shutdownNow();
        return rate;
    }

    private static ManagedChannel open(String target) {
        return Grpc.newChannelBuilder(target, InsecureChannelCredentials.create()).build();
    }
}
