// The driver of the conformance suite; clients/conformance/README.md describes its protocol.
package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/code"

	orderlog "github.com/orderlog/orderlog/clients/go"
	ordersv1 "github.com/orderlog/orderlog/clients/go/orders/v1"
)

// request is one line of the input.
type request struct {
	Do             string
	Request        json.RawMessage
	Requests       []json.RawMessage
	Target         string
	TLS            bool
	CA             string
	TokenFile      string `json:"token_file"`
	AnswerWithinMS int64  `json:"answer_within_ms"`
	PatienceMS     int64  `json:"patience_ms"`
	Store          string
	Until          uint64
	Position       uint64
	SilenceMS      int64 `json:"silence_ms"`
	ApplyMS        int64 `json:"apply_ms"`
}

type object map[string]any

func main() {
	input := json.NewDecoder(bufio.NewReader(os.Stdin))
	input.DisallowUnknownFields()
	var client *orderlog.Client
	for {
		var asked request
		if err := input.Decode(&asked); errors.Is(err, io.EOF) {
			return
		} else if err != nil {
			log.Fatal(err)
		}
		ok, err := serve(context.Background(), &client, asked)
		var failed *orderlog.Error
		switch {
		case err == nil:
			write(object{"ok": ok})
		case errors.As(err, &failed):
			write(object{"error": described(err, failed)})
		default:
			log.Fatalf("%s: %v", asked.Do, err)
		}
	}
}

func write(reply object) {
	line, err := json.Marshal(reply)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(string(line))
}

func described(err error, failed *orderlog.Error) object {
	reply := object{
		"code": code.Code(failed.Code).String(), "reason": failed.Reason, "metadata": failed.Metadata,
		"violations": failed.Violations, "resource": failed.Resource,
	}
	var lost *orderlog.HistoryError
	if errors.As(err, &lost) {
		reply["position"], reply["shared_position"] = lost.Position, lost.SharedPosition
	}
	return reply
}

func serve(ctx context.Context, client **orderlog.Client, asked request) (any, error) {
	switch asked.Do {
	case "connect":
		made, err := connect(asked)
		*client = made
		return object{}, err
	case "create_order":
		return call(ctx, asked.Request, &ordersv1.CreateOrderRequest{}, (*client).Commands.CreateOrder)
	case "ship_order":
		return call(ctx, asked.Request, &ordersv1.ShipOrderRequest{}, (*client).Commands.ShipOrder)
	case "get_order":
		return call(ctx, asked.Request, &ordersv1.GetOrderRequest{}, (*client).Queries.GetOrder)
	case "search":
		return search(ctx, *client, asked)
	case "execute_commands":
		return execute(ctx, *client, asked)
	case "follow":
		return follow(ctx, *client, asked)
	case "rewind":
		return rewind(ctx, asked)
	case "watch_orders":
		return watch(ctx, *client, asked)
	default:
		return nil, fmt.Errorf("unknown request %q", asked.Do)
	}
}

func connect(asked request) (*orderlog.Client, error) {
	target := asked.Target
	var options []orderlog.Option
	if asked.TLS {
		target = "https://" + target
		authority, err := os.ReadFile(asked.CA)
		if err != nil {
			return nil, err
		}
		pool := x509.NewCertPool()
		pool.AppendCertsFromPEM(authority)
		options = append(options, orderlog.WithTLS(&tls.Config{RootCAs: pool}))
	}
	if asked.TokenFile != "" {
		options = append(options, orderlog.WithTokenSource(func(context.Context) (string, error) {
			token, err := os.ReadFile(asked.TokenFile)
			return strings.TrimSpace(string(token)), err
		}))
	}
	if asked.AnswerWithinMS > 0 {
		options = append(options, orderlog.WithAnswerWithin(milliseconds(asked.AnswerWithinMS)))
	}
	if asked.PatienceMS > 0 {
		options = append(options, orderlog.WithPatience(milliseconds(asked.PatienceMS)))
	}
	return orderlog.New(target, options...)
}

func milliseconds(number int64) time.Duration { return time.Duration(number) * time.Millisecond }
