package orderlog

import (
	"context"
	"errors"
	"io"
	"strconv"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Error is a failed call: the server rejected it, or did not reply. Find it with [errors.As].
type Error struct {
	// Code is the gRPC code.
	Code codes.Code
	// Message is the error in English, for the developer.
	Message string
	// Reason is such as ORDER_NOT_SHIPPABLE. It is empty if the error is not from orderlog.
	Reason string
	// Metadata has the values of the reason, such as "expected" and "actual".
	Metadata map[string]string
	// Violations has each invalid field, with the rule that it breaks.
	Violations map[string]string
	// Resource is the id of the resource that does not exist, or exists already.
	Resource string
	// RetryAfter is the time to wait before a retry, if the server names it.
	RetryAfter time.Duration

	status    *status.Status
	hasDelay  bool
	ofContext error
}

// HistoryError says that the log no longer has the events that the subscriber has seen.
//
// The reason says how the server found out:
//
//   - LOG_DIVERGED: the log went back, and has another event at Position, or none.
//   - POSITION_BEYOND_HEAD: the log ends before Position, so it went back too.
//   - LOG_MISMATCH: the server has another log.
//
// A retry cannot help: the results of the lost events must go first. See [SQLStore.Rewind].
type HistoryError struct {
	// Cause is the error of the call. [errors.As] finds it too.
	Cause *Error
	// Position is the newest one that the subscriber has seen, if the server names it.
	Position *uint64
	// SharedPosition is the newest one with the same event in both histories, if the server knows it.
	SharedPosition *uint64
}

// Error returns the message of the cause.
func (e *HistoryError) Error() string { return e.Cause.Error() }

// Unwrap returns the cause.
func (e *HistoryError) Unwrap() error { return e.Cause }

// Error returns the message, with the reason or else the code.
func (e *Error) Error() string {
	if e.Reason != "" {
		return e.Message + " (" + e.Reason + ")"
	}
	return e.Message + " (" + e.Code.String() + ")"
}

// GRPCStatus makes [status.Code] and [status.Convert] work.
func (e *Error) GRPCStatus() *status.Status { return e.status }

// Unwrap returns the error of the caller's context if its end is the cause.
func (e *Error) Unwrap() error { return e.ofContext }

// Retryable reports whether a retry may succeed. RESOURCE_EXHAUSTED without a delay means that a
// message is too large.
func (e *Error) Retryable() bool {
	return e.Code == codes.Unavailable || (e.Code == codes.ResourceExhausted && e.hasDelay)
}

// Unanswered reports whether the call ended without a reply, so that its outcome is unknown. A
// timeout or a lost connection may cause these codes, in addition to UNAVAILABLE.
func (e *Error) Unanswered() bool {
	if e.Reason == "DEADLINE_EXCEEDED" {
		// The server noticed the timeout first.
		return true
	}
	if e.Reason != "" {
		return false
	}
	switch e.Code {
	case codes.DeadlineExceeded, codes.Canceled, codes.Internal, codes.Unknown:
		return true
	default:
		return false
	}
}

// callError makes an error of a call's error: an [*Error], or a [*HistoryError].
func callError(ctx context.Context, err error) error {
	var known *Error
	if err == nil || errors.Is(err, io.EOF) || errors.As(err, &known) {
		return err
	}
	failed := statusError(status.Convert(err))
	if failed.Code == codes.Canceled || failed.Code == codes.DeadlineExceeded {
		failed.ofContext = ctx.Err()
	}
	switch failed.Reason {
	case "LOG_DIVERGED", "POSITION_BEYOND_HEAD", "LOG_MISMATCH":
		return &HistoryError{
			Cause:          failed,
			Position:       failed.position("position"),
			SharedPosition: failed.position("shared_position"),
		}
	default:
		return failed
	}
}

// statusError reads the details of a status.
func statusError(from *status.Status) *Error {
	failed := &Error{Code: from.Code(), Message: from.Message(), status: from}
	for _, detail := range from.Details() {
		switch detail := detail.(type) {
		case *errdetails.ErrorInfo:
			failed.Reason = detail.GetReason()
			failed.Metadata = detail.GetMetadata()
		case *errdetails.BadRequest:
			failed.Violations = map[string]string{}
			for _, violation := range detail.GetFieldViolations() {
				failed.Violations[violation.GetField()] = violation.GetDescription()
			}
		case *errdetails.ResourceInfo:
			failed.Resource = detail.GetResourceName()
		case *errdetails.RetryInfo:
			failed.RetryAfter = detail.GetRetryDelay().AsDuration()
			failed.hasDelay = true
		}
	}
	return failed
}

// position reads a position of the metadata.
func (e *Error) position(name string) *uint64 {
	position, err := strconv.ParseUint(e.Metadata[name], 10, 64)
	if err != nil {
		return nil
	}
	return &position
}
