//! Follows the log and keeps the read model
