//! For operators and their tools: [`health`] for load balancers, [`scrape`] for Prometheus.

pub(crate) mod health;
pub(crate) mod scrape;
