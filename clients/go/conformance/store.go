package main

import (
	"context"
	"database/sql"
	"errors"
	"time"

	_ "modernc.org/sqlite" // The driver of the stores.

	orderlog "github.com/orderlog/orderlog/clients/go"
	ordersv1 "github.com/orderlog/orderlog/clients/go/orders/v1"
)

// store records the position of each event.
type store struct {
	*orderlog.SQLStore
	db    *sql.DB
	delay time.Duration
	until uint64
	done  func()
}

func open(ctx context.Context, asked request) (*store, error) {
	db, err := sql.Open("sqlite", "file:"+asked.Store+"?_pragma=journal_mode(WAL)&_pragma=busy_timeout(10000)")
	if err != nil {
		return nil, err
	}
	s := &store{db: db, delay: milliseconds(asked.ApplyMS), until: asked.Until}
	if _, err := db.ExecContext(ctx, "CREATE TABLE IF NOT EXISTS seen (position INTEGER PRIMARY KEY)"); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	s.SQLStore, err = orderlog.NewSQLStore(ctx, db, "conformance", project)
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return s, nil
}

func project(ctx context.Context, tx *sql.Tx, event *ordersv1.RecordedEvent) error {
	_, err := tx.ExecContext(ctx, "INSERT INTO seen VALUES ($1)", event.GetPosition())
	return err
}

// Apply implements [orderlog.Store]. It reports the position, and ends the subscriber at the last.
func (s *store) Apply(
	ctx context.Context, after orderlog.Position, response *ordersv1.SubscribeResponse,
) (bool, error) {
	time.Sleep(s.delay)
	moved, err := s.SQLStore.Apply(ctx, after, response)
	if moved {
		write(object{"progress": object{"position": response.GetPosition()}})
		if response.GetPosition() >= s.until {
			s.done()
		}
	}
	return moved, err
}

func follow(ctx context.Context, client *orderlog.Client, asked request) (any, error) {
	s, err := open(ctx, asked)
	if err != nil {
		return nil, err
	}
	defer s.db.Close()
	var options []orderlog.StreamOption
	if asked.SilenceMS > 0 {
		options = append(options, orderlog.WithSilence(milliseconds(asked.SilenceMS)))
	}
	following, done := context.WithCancel(ctx)
	defer done()
	s.done = done
	at, err := s.Position(ctx)
	if err == nil && at.Position < asked.Until {
		err = client.Follow(following, s, nil, options...)
	}
	if err != nil && !errors.Is(err, context.Canceled) {
		return nil, err
	}
	return s.seen(ctx)
}

func (s *store) seen(ctx context.Context) (any, error) {
	at, err := s.Position(ctx)
	if err != nil {
		return nil, err
	}
	rows, err := s.db.QueryContext(ctx, "SELECT position FROM seen ORDER BY position")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	seen := []uint64{}
	for rows.Next() {
		var position uint64
		if err := rows.Scan(&position); err != nil {
			return nil, err
		}
		seen = append(seen, position)
	}
	return object{"seen": seen, "position": at.Position}, rows.Err()
}

func rewind(ctx context.Context, asked request) (any, error) {
	s, err := open(ctx, asked)
	if err != nil {
		return nil, err
	}
	defer s.db.Close()
	return object{}, s.Rewind(ctx, asked.Position, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, "DELETE FROM seen WHERE position > $1", asked.Position)
		return err
	})
}
