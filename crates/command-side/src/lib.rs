//! The write side: commands in, events out, and the stream of them
