//! The services for operators: [`health`] for load balancers, [`scrape`] for Prometheus.

pub(crate) mod health;
pub(crate) mod scrape;
