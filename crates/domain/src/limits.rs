//! The limits of texts and times in commands. [`crate::items`] has the limits of items.

/// Limits the characters of a customer's or product's name.
pub const MAX_NAME_CHARS: usize = 200;

/// Limits the characters of a shipping address, and of the reason of a cancellation.
pub const MAX_TEXT_CHARS: usize = 500;

/// Limits the characters of a carrier's tracking number.
pub const MAX_TRACKING_NUMBER_CHARS: usize = 100;

/// Limits how far `occurred_at` may be ahead of the server's clock: 5 minutes, in nanoseconds. The
/// client's clock may differ.
pub const MAX_NANOS_AHEAD: i64 = 5 * 60 * 1_000_000_000;

/// The earliest valid `occurred_at`: 1700-01-01, in nanoseconds since 1970.
pub const EARLIEST_NANOS: i64 = -8_520_336_000 * 1_000_000_000;
