//! Reads the settings of metrics, traces and log lines.

use std::net::SocketAddr;

use http::Uri;

use super::{Error, ServeFlags, Sources};

/// The settings of metrics, traces and log lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Telemetry {
    /// The listener for Prometheus. `None` serves no metrics.
    pub metrics: Option<Metrics>,
    /// The URL of the trace collector, by OTLP over gRPC. `None` exports no traces.
    pub collector: Option<String>,
    /// The format of log lines.
    pub log: LogFormat,
}

/// The listener of the metrics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metrics {
    /// The address and port to serve the metrics on.
    pub listen: SocketAddr,
    /// Whether a setting names the address. The node runs without metrics if the default address is
    /// in use, for example by another node on this machine.
    pub wanted: bool,
}

/// The format of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// Text for people.
    Text,
    /// One JSON object a line, for programs.
    Json,
}

impl Sources<'_> {
    /// Reads the settings of telemetry. `lacking` names the settings without which the metrics may
    /// listen on loopback only.
    pub(super) fn telemetry(
        &self,
        flags: &ServeFlags,
        lacking: Option<&str>,
    ) -> Result<Telemetry, Error> {
        let at = SocketAddr::from(([127, 0, 0, 1], 9464));
        let metrics = self.address("metrics-listen", flags.metrics_listen.clone(), at)?;
        let collector = self.find(
            "otlp-endpoint",
            flags.otlp_endpoint.clone(),
            None,
            |value| {
                let url: Uri = value.parse().ok()?;
                let is_http = matches!(url.scheme_str(), Some("http" | "https"));
                is_http.then(|| Some(value.to_owned()))
            },
            "must be a URL such as http://127.0.0.1:4317",
        )?;
        let log = self.find(
            "log-format",
            flags.log_format.clone(),
            LogFormat::Text,
            |value| match value {
                "text" => Some(LogFormat::Text),
                "json" => Some(LogFormat::Json),
                _ => None,
            },
            "must be text or json",
        )?;
        Ok(Telemetry {
            metrics: Some(Metrics {
                wanted: metrics.given.is_some(),
                listen: metrics.within(lacking)?,
            }),
            collector: collector.value,
            log: log.value,
        })
    }
}
