//! The limits of texts and times in commands. Those of items are in [`crate::items`].

/// Characters in the name of a customer or product.
pub const MAX_NAME_CHARS: usize = 200;

/// Characters in a shipping address, and in the reason of a cancellation.
pub const MAX_TEXT_CHARS: usize = 500;

/// Characters in a tracking number.
pub const MAX_TRACKING_NUMBER_CHARS: usize = 100;

/// Nanoseconds that `occurred_at` may be ahead of the clock, for clocks that differ.
pub const MAX_NANOS_AHEAD: i64 = 5 * 60 * 1_000_000_000;

/// The earliest `occurred_at`: 1700-01-01, in nanoseconds since 1970.
pub const EARLIEST_NANOS: i64 = -8_520_336_000 * 1_000_000_000;
