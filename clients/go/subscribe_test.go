package orderlog_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	_ "modernc.org/sqlite"

	orderlog "github.com/orderlog/orderlog/clients/go"
	ordersv1 "github.com/orderlog/orderlog/clients/go/orders/v1"
)

// recorder records the order of each event. A repeated event violates the primary key.
type recorder struct {
	*orderlog.SQLStore
	t  testing.TB
	db *sql.DB
}

func record(t testing.TB, file string) *recorder {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+file+"?_pragma=journal_mode(WAL)&_pragma=busy_timeout(10000)")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	if _, err := db.Exec("CREATE TABLE IF NOT EXISTS seen (position INTEGER PRIMARY KEY, order_id TEXT)"); err != nil {
		t.Fatal(err)
	}
	store, err := orderlog.NewSQLStore(within(t), db, "recorder", project)
	if err != nil {
		t.Fatal(err)
	}
	return &recorder{store, t, db}
}

func project(ctx context.Context, tx *sql.Tx, event *ordersv1.RecordedEvent) error {
	_, err := tx.ExecContext(ctx, "INSERT INTO seen VALUES ($1, $2)", event.GetPosition(), event.GetAggregateId())
	return err
}

// seen returns the orders of all events, as text.
func (r *recorder) seen() string {
	r.t.Helper()
	rows, err := r.db.Query("SELECT order_id FROM seen ORDER BY position")
	if err != nil {
		r.t.Fatal(err)
	}
	defer rows.Close()
	var orders []string
	for rows.Next() {
		var order string
		if err := rows.Scan(&order); err != nil {
			r.t.Fatal(err)
		}
		orders = append(orders, order)
	}
	return fmt.Sprint(orders)
}

func (r *recorder) at() uint64 {
	r.t.Helper()
	position, err := r.Position(context.Background())
	if err != nil {
		r.t.Fatal(err)
	}
	return position.Position
}

// undoAfter removes the events after a position.
func undoAfter(position uint64) func(*sql.Tx) error {
	return func(tx *sql.Tx) error {
		_, err := tx.Exec("DELETE FROM seen WHERE position > $1", position)
		return err
	}
}

// follow follows in the background. The returned function ends that, and returns its error.
func follow(
	t testing.TB, client *orderlog.Client, store orderlog.Store, filter *ordersv1.EventFilter,
	options ...orderlog.StreamOption,
) (stop func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(within(t))
	ended := make(chan error, 1)
	go func() { ended <- client.Follow(ctx, store, filter, options...) }()
	return func() error { cancel(); return <-ended }
}

// names returns the orders of the commands as seen writes them.
func names(from, to int) string {
	var orders []string
	for number := from; number < to; number++ {
		orders = append(orders, fmt.Sprintf("o-%d", number))
	}
	return fmt.Sprint(orders)
}

func TestG6SubscriberLosesAndRepeatsNoEventWhenTheServerIsKilled(t *testing.T) {
	t.Parallel()
	server := serve(t)
	client := server.client()
	file := filepath.Join(t.TempDir(), "seen.db")
	store := record(t, file)
	stop := follow(t, client, store, nil)
	written := make(chan struct{})
	go func() {
		defer close(written)
		for number := range 300 {
			created(t, client, fmt.Sprintf("o-%d", number))
			if number == 100 || number == 200 {
				server.kill()
				server.start()
			}
		}
	}()
	until(t, func() bool { return store.at() > 20 })
	if err := stop(); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	// A second subscriber resumes with the same file while the writer continues.
	store.db.Close()
	store = record(t, file)
	defer follow(t, client, store, nil)()
	<-written
	until(t, func() bool { return store.at() == 300 })
	equal(t, store.seen(), names(0, 300))
}

func TestSubscriberReportsTheHeadAndABreak(t *testing.T) {
	t.Parallel()
	server := serve(t)
	client := server.client()
	created(t, client, "o")
	told := make(chan bool, 10)
	broken := make(chan error, 10)
	defer follow(t, client, record(t, filepath.Join(t.TempDir(), "seen.db")), nil,
		orderlog.OnCaughtUp(func(is bool) { told <- is }),
		orderlog.OnBroken(func(err error) { broken <- err }))()
	equal(t, <-told, true)
	server.proxy.cut()
	equal(t, <-told, false)
	equal(t, <-told, true)
	err := <-broken
	failure(t, err)
	if errors.Is(err, context.Canceled) {
		t.Error("no context was cancelled")
	}
}

func TestSilentStreamIsALostConnection(t *testing.T) {
	t.Parallel()
	server := serve(t)
	created(t, server.client(), "a")
	store := record(t, filepath.Join(t.TempDir(), "seen.db"))
	defer follow(t, server.client(), store, nil, orderlog.WithSilence(time.Second))()
	until(t, func() bool { return store.at() == 1 })
	server.proxy.hold()
	created(t, server.client(), "b")
	until(t, func() bool { return store.seen() == "[a b]" })
}

func TestSlowReaderIsNoSilence(t *testing.T) {
	t.Parallel()
	server := serve(t)
	client := server.client()
	for number := range 3 {
		created(t, client, fmt.Sprintf("o-%d", number))
	}
	request := &ordersv1.SubscribeRequest{MaxBatchSize: 1}
	var seen []uint64
	broken := orderlog.OnBroken(func(err error) { t.Error(err) })
	for response, err := range client.Subscribe(within(t), request, orderlog.WithSilence(time.Second), broken) {
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(1500 * time.Millisecond)
		for _, event := range response.GetEvents() {
			seen = append(seen, event.GetPosition())
		}
	}
	equal(t, fmt.Sprint(seen), "[1 2 3]")
}

func TestFilterMovesOnWithTheEventsItSkips(t *testing.T) {
	t.Parallel()
	client := serve(t).client()
	for number := range 5 {
		created(t, client, fmt.Sprintf("o-%d", number))
	}
	if _, err := client.Commands.ShipOrder(within(t), ship("o-3")); err != nil {
		t.Fatal(err)
	}
	store := record(t, filepath.Join(t.TempDir(), "seen.db"))
	filter := &ordersv1.EventFilter{EventTypes: []string{"OrderShipped"}}
	defer follow(t, client, store, filter)()
	until(t, func() bool { return store.at() == 6 })
	equal(t, store.seen(), "[o-3]")
}

func TestTwoSubscribersOfOneStoreApplyEachEventOnce(t *testing.T) {
	t.Parallel()
	server := serve(t)
	client := server.client()
	file := filepath.Join(t.TempDir(), "seen.db")
	first, second := record(t, file), record(t, file)
	stopFirst := follow(t, client, first, nil)
	stopSecond := follow(t, client, second, nil)
	for number := range 50 {
		created(t, client, fmt.Sprintf("o-%d", number))
	}
	until(t, func() bool { return first.at() == 50 })
	for _, stop := range []func() error{stopFirst, stopSecond} {
		if err := stop(); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	}
	equal(t, first.seen(), names(0, 50))
}

func TestEventThatCannotBeAppliedIsNotCountedAsDone(t *testing.T) {
	t.Parallel()
	client := serve(t).client()
	created(t, client, "o")
	store := record(t, filepath.Join(t.TempDir(), "seen.db"))
	broken := errors.New("no place for it")
	failing, err := orderlog.NewSQLStore(within(t), store.db, "recorder",
		func(ctx context.Context, tx *sql.Tx, event *ordersv1.RecordedEvent) error {
			return errors.Join(project(ctx, tx, event), broken)
		})
	if err != nil {
		t.Fatal(err)
	}
	if err := client.Follow(within(t), failing, nil); !errors.Is(err, broken) {
		t.Fatal(err)
	}
	equal(t, store.at(), 0)
	equal(t, store.seen(), "[]")
}

func TestSubscriptionWithoutFollowEndsAtTheHead(t *testing.T) {
	t.Parallel()
	server := serve(t)
	client := server.client()
	for number := range 10 {
		created(t, client, fmt.Sprintf("o-%d", number))
	}
	var events, breaks atomic.Int64
	request := &ordersv1.SubscribeRequest{MaxBatchSize: 1}
	counted := orderlog.OnBroken(func(error) { breaks.Add(1) })
	for response, err := range client.Subscribe(within(t), request, counted) {
		if err != nil {
			t.Fatal(err)
		}
		// It resumes where it was.
		if events.Add(int64(len(response.GetEvents()))) == 5 && breaks.Load() == 0 {
			server.kill()
			server.start()
		}
	}
	equal(t, events.Load(), 10)
}
