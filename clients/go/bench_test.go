package orderlog_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	orderlog "github.com/orderlog/orderlog/clients/go"
	ordersv1 "github.com/orderlog/orderlog/clients/go/orders/v1"
)

const (
	// benchRounds alternate between the raw stub and the client, so that both meet the same machine.
	benchRounds = 5
	benchTime   = time.Second
	benchEvents = 20_000
)

// compare reports the median rates of the raw stub and of the client, and the medians of their ratios:
// by time, and by the processor time of server and client, which other programs disturb less.
func compare(b *testing.B, s *server, unit string, raw, client func() float64) {
	b.Helper()
	raw()
	client()
	var rates [2][]float64
	var ratios, cpuRatios []float64
	for round := range benchRounds {
		var rate, cpu [2]float64
		for turn := range 2 {
			which := (round + turn) % 2
			began, before := time.Now(), processorTime(b, s)
			rate[which] = []func() float64{raw, client}[which]()
			work := rate[which] * time.Since(began).Seconds()
			cpu[which] = (processorTime(b, s) - before).Seconds() / work
			rates[which] = append(rates[which], rate[which])
		}
		ratios = append(ratios, rate[1]/rate[0])
		cpuRatios = append(cpuRatios, cpu[0]/cpu[1])
	}
	b.ReportMetric(median(rates[0]), "raw-"+unit)
	b.ReportMetric(median(rates[1]), "client-"+unit)
	b.ReportMetric(median(ratios), "ratio")
	b.ReportMetric(median(cpuRatios), "cpu-ratio")
	b.ReportMetric(0, "ns/op")
}

// processorTime returns the processor time of this process and of the server, to 10 ms.
func processorTime(b *testing.B, s *server) time.Duration {
	b.Helper()
	total := time.Duration(0)
	for _, process := range []string{"self", strconv.Itoa(s.process.Process.Pid)} {
		stat, err := os.ReadFile("/proc/" + process + "/stat")
		if err != nil {
			b.Fatal(err)
		}
		// The fields after the name, which may have spaces: the state is the first.
		fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
		for _, ticks := range fields[11:13] {
			number, err := strconv.Atoi(ticks)
			if err != nil {
				b.Fatal(err)
			}
			total += time.Duration(number) * 10 * time.Millisecond
		}
	}
	return total
}

func median(of []float64) float64 {
	slices.Sort(of)
	return of[len(of)/2]
}

// rawConn is what a program without this module uses.
func rawConn(b *testing.B, s *server) *grpc.ClientConn {
	b.Helper()
	conn, err := grpc.NewClient(s.proxy.to, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { conn.Close() })
	return conn
}

// BenchmarkCommands compares commands a second. The raw calls have a request id and a deadline, as
// those of the client do.
func BenchmarkCommands(b *testing.B) {
	for _, inFlight := range []int{1, 64} {
		b.Run(fmt.Sprintf("in-flight=%d", inFlight), func(b *testing.B) {
			s := serve(b)
			raw := ordersv1.NewCommandServiceClient(rawConn(b, s))
			client := connect(b, s.proxy.to)
			rate := func(call func() error) func() float64 {
				return func() float64 { return callsPerSecond(b, inFlight, call) }
			}
			compare(b, s, "commands/s", rate(func() error {
				ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
				defer cancel()
				request := create("")
				request.RequestId = uuid.Must(uuid.NewV7()).String()
				_, err := raw.CreateOrder(ctx, request)
				return err
			}), rate(func() error {
				_, err := client.Commands.CreateOrder(context.Background(), create(""))
				return err
			}))
		})
	}
}

func callsPerSecond(b *testing.B, inFlight int, call func() error) float64 {
	var count atomic.Int64
	var callers sync.WaitGroup
	began := time.Now()
	for range inFlight {
		callers.Go(func() {
			for time.Since(began) < benchTime {
				if err := call(); err != nil {
					b.Error(err)
					return
				}
				count.Add(1)
			}
		})
	}
	callers.Wait()
	return float64(count.Load()) / time.Since(began).Seconds()
}

// BenchmarkCatchUp compares events a second from the beginning of the log to its head.
func BenchmarkCatchUp(b *testing.B) {
	s := serve(b)
	client := connect(b, s.proxy.to)
	fill(b, client, benchEvents)
	raw := ordersv1.NewEventServiceClient(rawConn(b, s))
	compare(b, s, "events/s", func() float64 {
		began := time.Now()
		stream, err := raw.Subscribe(context.Background(), &ordersv1.SubscribeRequest{})
		if err != nil {
			b.Fatal(err)
		}
		events := 0
		for response, err := stream.Recv(); err == nil; response, err = stream.Recv() {
			events += len(response.GetEvents())
		}
		return eventsPerSecond(b, events, began)
	}, func() float64 {
		began := time.Now()
		events := 0
		for response, err := range client.Subscribe(context.Background(), &ordersv1.SubscribeRequest{}) {
			if err != nil {
				b.Fatal(err)
			}
			events += len(response.GetEvents())
		}
		return eventsPerSecond(b, events, began)
	})
}

func eventsPerSecond(b *testing.B, events int, began time.Time) float64 {
	b.Helper()
	if events != benchEvents {
		b.Fatal(events)
	}
	return float64(events) / time.Since(began).Seconds()
}

// fill creates orders with many commands in flight.
func fill(b *testing.B, client *orderlog.Client, orders int) {
	b.Helper()
	commands := func(yield func(*ordersv1.ExecuteCommandsRequest) bool) {
		for range orders {
			if !yield(toCreate("")) {
				return
			}
		}
	}
	for executed, err := range client.ExecuteCommands(context.Background(), commands) {
		if err != nil || executed.Err != nil {
			b.Fatal(err, executed.Err)
		}
	}
}
