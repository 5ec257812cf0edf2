package com.orderlog.client;

import com.google.protobuf.Descriptors.FieldDescriptor;
import com.google.protobuf.Message;
import com.orderlog.orders.v1.ExecuteCommandsRequest;
import java.security.SecureRandom;
import java.time.Duration;
import java.util.UUID;

/** Reads and completes the fields that many requests of the contract share. */
final class Requests {
    private static final SecureRandom RANDOM = new SecureRandom();

    private Requests() {}

    /** Adds a request id to a command that has none, so that retries take effect once. */
    @SuppressWarnings("unchecked")
    static <T extends Message> T withRequestId(T request) {
        FieldDescriptor field = request.getDescriptorForType().findFieldByName("request_id");
        if (field == null || !request.getField(field).equals("")) {
            return request;
        }
        return (T) request.toBuilder().setField(field, uuid7().toString()).build();
    }

    /** Adds a request id to the command of a stream. */
    static ExecuteCommandsRequest withRequestId(ExecuteCommandsRequest request) {
        FieldDescriptor set =
                request.getOneofFieldDescriptor(request.getDescriptorForType().getOneofs().get(0));
        if (set == null) {
            return request;
        }
        Message command = withRequestId((Message) request.getField(set));
        return request.toBuilder().setField(set, command).build();
    }

    /** Returns the time that the server may wait for its read model: 5 s without `max_wait`. */
    static Duration maxWait(Message request) {
        FieldDescriptor field = request.getDescriptorForType().findFieldByName("max_wait");
        if (field == null) {
            return Duration.ZERO;
        }
        if (!request.hasField(field)) {
            return Duration.ofSeconds(5);
        }
        return duration((com.google.protobuf.Duration) request.getField(field));
    }

    static Duration duration(com.google.protobuf.Duration message) {
        return Duration.ofSeconds(message.getSeconds(), message.getNanos());
    }

    /** Makes an id that sorts by time, because random ids make the log slower. */
    static UUID uuid7() {
        long high = System.currentTimeMillis() << 16 | 0x7000 | RANDOM.nextInt(0x1000);
        long low = RANDOM.nextLong() >>> 2 | 0x8000_0000_0000_0000L;
        return new UUID(high, low);
    }
}
