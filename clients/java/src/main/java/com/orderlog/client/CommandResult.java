package com.orderlog.client;

import com.orderlog.orders.v1.ExecuteCommandsRequest;
import com.orderlog.orders.v1.ExecuteCommandsResponse;
import java.util.Optional;

/**
 * A command of {@link Orderlog#executeAll}, and its reply or error.
 *
 * @param command the command, with its request id
 * @param response the answer
 */
public record CommandResult(ExecuteCommandsRequest command, ExecuteCommandsResponse response) {
    /** Returns the error of a rejected command. */
    public Optional<OrderlogException> error() {
        return response.hasError()
                ? Optional.of(OrderlogException.of(response.getError(), null))
                : Optional.empty();
    }
}
