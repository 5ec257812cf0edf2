//! The durable, gap-free log of events
