//! The rules of orders, customers and products, pure
