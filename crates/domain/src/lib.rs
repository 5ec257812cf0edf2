//! The rules of orders, customers and products, without I/O, clock or protobuf.
//!
//! - [`order`] is the main aggregate. [`order::decide`] returns the event that a command leads to,
//!   or a [`order::Refusal`]. [`order::evolve`] applies a change to an order.
//! - [`name`] decides for customers and products, which have only a name.
//! - [`items`] checks an order's lines and computes their total. [`money`] computes exactly, and
//!   returns `None` on overflow.
//! - [`id`] has the rule of ids, [`limits`] bounds texts and times, and [`text`] says which texts can
//!   be seen.

pub mod id;
pub mod items;
pub mod limits;
pub mod money;
pub mod name;
pub mod order;
pub mod text;
