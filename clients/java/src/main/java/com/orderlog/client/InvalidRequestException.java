package com.orderlog.client;

import com.google.rpc.BadRequest;
import java.util.Collections;
import java.util.Map;
import java.util.TreeMap;

/** The request has invalid fields. The same request fails again. */
public final class InvalidRequestException extends OrderlogException {
    private static final long serialVersionUID = 1;

    private final TreeMap<String, String> violations = new TreeMap<>();

    InvalidRequestException(com.google.rpc.Status status, Throwable cause) {
        super(status, cause);
        BadRequest request = detail(status, BadRequest.getDefaultInstance());
        for (BadRequest.FieldViolation violation : request.getFieldViolationsList()) {
            violations.put(violation.getField(), violation.getDescription());
        }
    }

    /** Returns each invalid field, such as `items[0].quantity`, with the rule that it breaks. */
    public Map<String, String> violations() {
        return Collections.unmodifiableMap(violations);
    }
}
