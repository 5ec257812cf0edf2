package orderlog

import (
	"context"
	"database/sql"
	"fmt"

	ordersv1 "github.com/orderlog/orderlog/clients/go/orders/v1"
)

const createProgress = `CREATE TABLE IF NOT EXISTS orderlog_progress (
	subscriber TEXT PRIMARY KEY,
	log_id TEXT NOT NULL,
	position BIGINT NOT NULL,
	resume_token TEXT NOT NULL
)`

const insertProgress = `INSERT INTO orderlog_progress (subscriber, log_id, position, resume_token)
	VALUES ($1, '', 0, '') ON CONFLICT (subscriber) DO NOTHING`

// The condition also locks the row, so that two subscribers cannot both apply a batch.
const moveProgress = `UPDATE orderlog_progress SET log_id = $1, position = $2, resume_token = $3
	WHERE subscriber = $4 AND log_id = $5 AND position = $6 AND resume_token = $7`

const selectProgress = `SELECT log_id, position, resume_token FROM orderlog_progress
	WHERE subscriber = $1`

// Project applies one event to tables, in the transaction that also stores the event's position.
// The payload is nil for an event of unknown type.
type Project func(ctx context.Context, tx *sql.Tx, event *ordersv1.RecordedEvent) error

// SQLStore is a [Store] in an SQLite or Postgres database. It applies each event exactly once.
type SQLStore struct {
	db         *sql.DB
	subscriber string
	project    Project
}

// NewSQLStore makes a store in the table orderlog_progress, which it creates if it is missing. The
// subscriber's name tells stores in one database apart.
func NewSQLStore(ctx context.Context, db *sql.DB, subscriber string, project Project) (*SQLStore, error) {
	if _, err := db.ExecContext(ctx, createProgress); err != nil {
		return nil, fmt.Errorf("create orderlog_progress: %w", err)
	}
	if _, err := db.ExecContext(ctx, insertProgress, subscriber); err != nil {
		return nil, fmt.Errorf("insert into orderlog_progress: %w", err)
	}
	return &SQLStore{db, subscriber, project}, nil
}

// Position implements [Store].
func (s *SQLStore) Position(ctx context.Context) (Position, error) {
	var position Position
	row := s.db.QueryRowContext(ctx, selectProgress, s.subscriber)
	err := row.Scan(&position.LogID, &position.Position, &position.ResumeToken)
	return position, err
}

// Apply implements [Store].
func (s *SQLStore) Apply(
	ctx context.Context, after Position, response *ordersv1.SubscribeResponse,
) (bool, error) {
	return s.move(ctx, after, PositionOf(response), func(tx *sql.Tx) error {
		for _, event := range response.GetEvents() {
			if err := s.project(ctx, tx, event); err != nil {
				return fmt.Errorf("apply event %d: %w", event.GetPosition(), err)
			}
		}
		return nil
	})
}

// Rewind goes back to a position after a [*HistoryError], in one transaction. undo removes the
// results of the events after the position from the tables: all of them for position 0, after which
// the store takes any log.
func (s *SQLStore) Rewind(ctx context.Context, position uint64, undo func(*sql.Tx) error) error {
	for {
		from, err := s.Position(ctx)
		if err != nil {
			return err
		}
		to := Position{Position: position}
		if position > 0 {
			to.LogID = from.LogID
		}
		if moved, err := s.move(ctx, from, to, undo); moved || err != nil {
			return err
		}
	}
}

// move changes the position and does the work in one transaction, if the store is still at from.
func (s *SQLStore) move(ctx context.Context, from, to Position, work func(*sql.Tx) error) (bool, error) {
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return false, err
	}
	defer tx.Rollback() //nolint:errcheck // After a commit it does nothing.
	result, err := tx.ExecContext(ctx, moveProgress, to.LogID, to.Position, to.ResumeToken,
		s.subscriber, from.LogID, from.Position, from.ResumeToken)
	if err != nil {
		return false, err
	}
	if rows, err := result.RowsAffected(); err != nil || rows == 0 {
		return false, err
	}
	if err := work(tx); err != nil {
		return false, err
	}
	return true, tx.Commit()
}
