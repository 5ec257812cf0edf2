//! The rules of orders, customers and products, and nothing else: no I/O, no clock, no protobuf.
//!
//! [`order`] is the aggregate of this system: `decide` says which event a command leads to, or why
//! it is refused, and `evolve` what an event makes of an order. [`name`] is the same for customers
//! and products, of which only the name is known. [`items`] are an order's lines with a total that
//! fits, in [`money`] that is exact.

pub mod items;
pub mod limits;
pub mod money;
pub mod name;
pub mod order;
