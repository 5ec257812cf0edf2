//! Order documents, names and statistics in SQLite.
