// Package orderlog is a client of orderlog.
//
//   - [New] makes a [Client]. Its fields Commands, Queries, Events and Projections are the generated
//     clients of orders.v1. They retry a call when a retry is safe, and return an [*Error].
//   - [Client.Orders], [Client.Days] and [Client.Parked] read all pages of a list.
//   - [Client.ExecuteCommands] executes commands with many in flight.
//   - [Client.Subscribe] reads the log, and [Client.WatchOrders] the orders that match, across broken
//     connections.
//   - [Client.Follow] applies each event of the log exactly once to a [Store]. [SQLStore] is one.
//   - [Money] and [Amount] convert amounts to decimals and back.
//
// To read your own write, send the Position of a command's reply as MinPosition of a query.
//
// Calls send the trace context that the global propagator of OpenTelemetry writes, and the events of a
// command carry it. The metadata x-correlation-id of a call's context becomes the correlation id of
// its events.
package orderlog

// Version is the version of this module, and of the server it comes from.
const Version = "0.1.0"
