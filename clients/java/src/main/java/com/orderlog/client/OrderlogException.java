package com.orderlog.client;

import com.google.protobuf.Any;
import com.google.protobuf.InvalidProtocolBufferException;
import com.google.protobuf.Message;
import com.google.rpc.ErrorInfo;
import com.google.rpc.ResourceInfo;
import com.google.rpc.RetryInfo;
import io.grpc.Status;
import io.grpc.protobuf.StatusProto;
import java.time.Duration;
import java.util.Collections;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeMap;

/**
 * A call failed: the server rejected it, or did not reply.
 *
 * <p>{@link InvalidRequestException}, {@link VersionMismatchException} and {@link HistoryException}
 * have the details of their reasons.
 */
public class OrderlogException extends RuntimeException {
    private static final long serialVersionUID = 1;

    /** The codes with which a call may end if it times out or its connection breaks. */
    private static final Set<Status.Code> BROKEN =
            Set.of(
                    Status.Code.DEADLINE_EXCEEDED,
                    Status.Code.CANCELLED,
                    Status.Code.INTERNAL,
                    Status.Code.UNKNOWN);

    private final Status.Code code;
    private final String reason;
    private final TreeMap<String, String> metadata;
    private final String resource;
    private final Duration retryAfter;

    OrderlogException(com.google.rpc.Status status, Throwable cause) {
        super(status.getMessage(), cause);
        ErrorInfo info = detail(status, ErrorInfo.getDefaultInstance());
        RetryInfo retry = detail(status, RetryInfo.getDefaultInstance());
        this.code = Status.fromCodeValue(status.getCode()).getCode();
        this.reason = info.getReason();
        this.metadata = new TreeMap<>(info.getMetadataMap());
        this.resource = detail(status, ResourceInfo.getDefaultInstance()).getResourceName();
        this.retryAfter = retry.hasRetryDelay() ? Requests.duration(retry.getRetryDelay()) : null;
    }

    /** Reads the details of an error that gRPC raised. */
    static OrderlogException of(Throwable error) {
        com.google.rpc.Status status = StatusProto.fromThrowable(error);
        if (status == null) {
            return of(Status.Code.UNKNOWN, error.toString(), error);
        }
        if (status.getMessage().isEmpty()) {
            String code = Status.fromCodeValue(status.getCode()).getCode().name();
            status = status.toBuilder().setMessage(code).build();
        }
        return of(status, error);
    }

    /** Makes an error of the client itself. */
    static OrderlogException of(Status.Code code, String message, Throwable cause) {
        return of(
                com.google.rpc.Status.newBuilder()
                        .setCode(code.value())
                        .setMessage(message)
                        .build(),
                cause);
    }

    /** Reads the details of an error. */
    static OrderlogException of(com.google.rpc.Status status, Throwable cause) {
        return switch (detail(status, ErrorInfo.getDefaultInstance()).getReason()) {
            case "INVALID_FIELD" -> new InvalidRequestException(status, cause);
            case "VERSION_MISMATCH" -> new VersionMismatchException(status, cause);
            case "LOG_DIVERGED", "POSITION_BEYOND_HEAD", "LOG_MISMATCH" ->
                    new HistoryException(status, cause);
            default -> new OrderlogException(status, cause);
        };
    }

    /** Returns the detail of this type, or the default if there is none. */
    static <T extends Message> T detail(com.google.rpc.Status status, T missing) {
        @SuppressWarnings("unchecked")
        Class<T> type = (Class<T>) missing.getClass();
        for (Any packed : status.getDetailsList()) {
            if (packed.is(type)) {
                try {
                    return packed.unpack(type);
                } catch (InvalidProtocolBufferException error) {
                    throw new IllegalArgumentException("damaged details of an error", error);
                }
            }
        }
        return missing;
    }

    /** Returns the code of the error. */
    public final Status.Code code() {
        return code;
    }

    /** Returns the reason, such as `ORDER_NOT_SHIPPABLE`; empty if the error is not of orderlog. */
    public final String reason() {
        return reason;
    }

    /** Returns the values of the reason, such as `status`. */
    public final Map<String, String> metadata() {
        return Collections.unmodifiableMap(metadata);
    }

    /** Returns the id of the resource that does not exist, or exists already; else empty. */
    public final String resource() {
        return resource;
    }

    /** Returns the time to wait before a retry, if the server names one. */
    public final Optional<Duration> retryAfter() {
        return Optional.ofNullable(retryAfter);
    }

    /**
     * Returns whether a retry may succeed.
     *
     * <p>RESOURCE_EXHAUSTED without a time to wait means that a message is too large.
     */
    public final boolean isRetryable() {
        return code == Status.Code.UNAVAILABLE
                || (code == Status.Code.RESOURCE_EXHAUSTED && retryAfter != null);
    }

    /** Returns whether a retry may succeed, also because the outcome is unknown. */
    final boolean mayPass() {
        return isRetryable() || isUnanswered();
    }

    /**
     * Returns whether the call ended without a reply, so that its outcome is unknown.
     *
     * <p>A timeout or a lost connection may cause these codes, in addition to UNAVAILABLE.
     */
    public final boolean isUnanswered() {
        // With this reason, the server noticed the timeout first.
        return reason.equals("DEADLINE_EXCEEDED") || (reason.isEmpty() && BROKEN.contains(code));
    }
}
