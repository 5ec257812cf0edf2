package main

import (
	"context"
	"encoding/json"
	"maps"
	"slices"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	orderlog "github.com/orderlog/orderlog/clients/go"
	ordersv1 "github.com/orderlog/orderlog/clients/go/orders/v1"
)

// call sends one message of JSON, and returns the reply as JSON.
func call[Request, Reply proto.Message](
	ctx context.Context, text json.RawMessage, message Request,
	send func(context.Context, Request, ...grpc.CallOption) (Reply, error),
) (any, error) {
	if err := protojson.Unmarshal(text, message); err != nil {
		return nil, err
	}
	reply, err := send(ctx, message)
	if err != nil {
		return nil, err
	}
	return printed(reply)
}

func printed(message proto.Message) (any, error) {
	text, err := protojson.Marshal(message)
	return json.RawMessage(text), err
}

func search(ctx context.Context, client *orderlog.Client, asked request) (any, error) {
	query := &ordersv1.SearchOrdersRequest{}
	if err := protojson.Unmarshal(asked.Request, query); err != nil {
		return nil, err
	}
	found := []string{}
	for order, err := range client.Orders(ctx, query) {
		if err != nil {
			return nil, err
		}
		found = append(found, order.GetOrderId())
	}
	return object{"order_ids": found}, nil
}

func execute(ctx context.Context, client *orderlog.Client, asked request) (any, error) {
	commands := make([]*ordersv1.ExecuteCommandsRequest, len(asked.Requests))
	for index, text := range asked.Requests {
		commands[index] = &ordersv1.ExecuteCommandsRequest{}
		if err := protojson.Unmarshal(text, commands[index]); err != nil {
			return nil, err
		}
	}
	results := []any{}
	for executed, err := range client.ExecuteCommands(ctx, slices.Values(commands)) {
		switch {
		case err != nil:
			return nil, err
		case executed.Err != nil:
			results = append(results, object{"error": described(executed.Err, executed.Err)})
		default:
			reply, err := result(executed.Reply)
			if err != nil {
				return nil, err
			}
			results = append(results, object{"ok": reply})
		}
	}
	return object{"results": results}, nil
}

// result returns the reply inside the response.
func result(response *ordersv1.ExecuteCommandsResponse) (any, error) {
	message := response.ProtoReflect()
	field := message.WhichOneof(message.Descriptor().Oneofs().ByName("result"))
	return printed(message.Get(field).Message().Interface())
}

func watch(ctx context.Context, client *orderlog.Client, asked request) (any, error) {
	watched := &ordersv1.WatchOrdersRequest{}
	if err := protojson.Unmarshal(asked.Request, watched); err != nil {
		return nil, err
	}
	versions, left := map[string]uint64{}, map[string]bool{}
	for response, err := range client.WatchOrders(ctx, watched) {
		if err != nil {
			return nil, err
		}
		for _, order := range response.GetOrders() {
			versions[order.GetOrderId()] = order.GetVersion()
		}
		for _, id := range response.GetLeftOrderIds() {
			left[id] = true
		}
		write(object{"progress": object{"position": response.GetAsOfPosition()}})
		if response.GetCaughtUp() && response.GetAsOfPosition() >= asked.Until {
			ids := slices.AppendSeq([]string{}, maps.Keys(left))
			slices.Sort(ids)
			return object{"versions": versions, "left": ids, "position": response.GetAsOfPosition()}, nil
		}
	}
	return nil, ctx.Err()
}
