package orderlog_test

import (
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"testing"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/protoadapt"

	orderlog "github.com/orderlog/orderlog/clients/go"
	ordersv1 "github.com/orderlog/orderlog/clients/go/orders/v1"
)

// lost follows until the log proves to be of another history.
func lost(t testing.TB, client *orderlog.Client, store orderlog.Store) *orderlog.HistoryError {
	t.Helper()
	err := client.Follow(within(t), store, nil)
	var history *orderlog.HistoryError
	if !errors.As(err, &history) {
		t.Fatalf("no *orderlog.HistoryError: %v", err)
	}
	return history
}

func TestG12SubscriberStopsAtALogThatLostItsEventsAndStartsOver(t *testing.T) {
	t.Parallel()
	server := serve(t)
	client := server.client()
	created(t, client, "kept")
	server.kill()
	saved := server.saveLog()
	server.start()
	created(t, client, "lost")
	store := record(t, filepath.Join(t.TempDir(), "seen.db"))
	stop := follow(t, client, store, nil)
	until(t, func() bool { return store.seen() == "[kept lost]" })
	if err := stop(); err == nil {
		t.Fatal("the subscriber must end with its context")
	}
	server.kill()
	server.putBackLog(saved)
	server.start()
	// The log grows past the position of the subscriber.
	created(t, client, "other-0")
	created(t, client, "other-1")

	history := lost(t, client, store)
	equal(t, history.Cause.Reason, "LOG_DIVERGED")
	equal(t, *history.Position, 2)
	equal(t, store.seen(), "[kept lost]")
	if err := store.Rewind(within(t), 0, undoAfter(0)); err != nil {
		t.Fatal(err)
	}
	defer follow(t, client, store, nil)()
	until(t, func() bool { return store.seen() == "[kept other-0 other-1]" })
}

func TestAnotherLogIsRefused(t *testing.T) {
	t.Parallel()
	client := serve(t).client()
	created(t, client, "o")
	store := record(t, filepath.Join(t.TempDir(), "seen.db"))
	response := &ordersv1.SubscribeResponse{LogId: "another", Position: 1}
	if moved, err := store.Apply(within(t), orderlog.Position{}, response); !moved || err != nil {
		t.Fatal(err)
	}
	history := lost(t, client, store)
	equal(t, history.Cause.Reason, "LOG_MISMATCH")
	equal(t, history.Cause.Metadata["expected"], "another")
	if history.Position != nil || history.SharedPosition != nil {
		t.Error("a position is of one log")
	}
	beyond := record(t, filepath.Join(t.TempDir(), "seen.db"))
	response = &ordersv1.SubscribeResponse{Position: 9}
	if moved, err := beyond.Apply(within(t), orderlog.Position{}, response); !moved || err != nil {
		t.Fatal(err)
	}
	equal(t, lost(t, client, beyond).Cause.Reason, "POSITION_BEYOND_HEAD")
}

// wentBack goes back to position 5 after it has delivered position 10.
type wentBack struct {
	ordersv1.UnimplementedEventServiceServer
	t        testing.TB
	lock     sync.Mutex
	requests []string
}

func (s *wentBack) Subscribe(
	request *ordersv1.SubscribeRequest, stream grpc.ServerStreamingServer[ordersv1.SubscribeResponse],
) error {
	s.lock.Lock()
	s.requests = append(s.requests,
		fmt.Sprint(request.GetResumeToken(), request.GetAfterPosition(), request.GetLogId()))
	number := len(s.requests)
	s.lock.Unlock()
	switch number {
	case 1:
		if err := stream.Send(response(1, 10)); err != nil {
			return err
		}
		positions := map[string]string{"position": "10", "shared_position": "5"}
		info := &errdetails.ErrorInfo{Reason: "LOG_DIVERGED", Metadata: positions}
		return fails(s.t, codes.FailedPrecondition, protoadapt.MessageV1Of(info))
	case 2:
		return stream.Send(response(6, 6))
	default:
		return nil
	}
}

func (s *wentBack) calls() []string {
	s.lock.Lock()
	defer s.lock.Unlock()
	return s.requests
}

func response(from, to uint64) *ordersv1.SubscribeResponse {
	made := &ordersv1.SubscribeResponse{
		Position: to, LogId: "log", ResumeToken: fmt.Sprintf("after-%d", to),
	}
	for position := from; position <= to; position++ {
		made.Events = append(made.Events,
			&ordersv1.RecordedEvent{Position: position, AggregateId: fmt.Sprintf("o-%d", position)})
	}
	return made
}

func TestG12SubscriberGoesOnAfterTheSharedPosition(t *testing.T) {
	t.Parallel()
	service := &wentBack{t: t}
	target := serveFake(t, func(s *grpc.Server) { ordersv1.RegisterEventServiceServer(s, service) })
	client := connect(t, target)
	store := record(t, filepath.Join(t.TempDir(), "seen.db"))
	history := lost(t, client, store)
	equal(t, *history.SharedPosition, 5)
	equal(t, len(service.calls()), 1)
	if err := store.Rewind(within(t), *history.SharedPosition, undoAfter(5)); err != nil {
		t.Fatal(err)
	}
	defer follow(t, client, store, nil)()
	until(t, func() bool { return len(service.calls()) >= 3 })
	equal(t, fmt.Sprint(service.calls()[1:3]), "[5log after-60]")
	equal(t, store.seen(), names(1, 7))
}

func TestRewindWhoseUndoingFailsChangesNothing(t *testing.T) {
	t.Parallel()
	store := record(t, filepath.Join(t.TempDir(), "seen.db"))
	if _, err := store.Apply(within(t), orderlog.Position{}, response(1, 2)); err != nil {
		t.Fatal(err)
	}
	broken := errors.New("cannot undo")
	err := store.Rewind(within(t), 0, undoFails(broken))
	if !errors.Is(err, broken) {
		t.Fatal(err)
	}
	equal(t, store.seen(), names(1, 3))
	equal(t, store.at(), 2)
}

// undoFails undoes all, and then fails.
func undoFails(err error) func(*sql.Tx) error {
	return func(tx *sql.Tx) error { return errors.Join(undoAfter(0)(tx), err) }
}
