//! Reads the settings of metrics, traces and log lines.

use std::{fs, net::SocketAddr, path::PathBuf};

use http::Uri;

use super::{
    Error, Sources, pem,
    table::{LOG_FORMAT, METRICS_LISTEN, OTLP_CA, OTLP_ENDPOINT},
};

/// The settings of metrics, traces and log lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Telemetry {
    /// The listener for Prometheus. `None` serves no metrics.
    pub metrics: Option<Metrics>,
    /// The trace collector. `None` exports no traces.
    pub collector: Option<Collector>,
    /// The format of log lines.
    pub log: LogFormat,
}

/// A trace collector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Collector {
    /// The URL of its OTLP service over gRPC.
    pub url: String,
    /// The file of the authorities that may issue its certificate. `None` trusts the system's
    /// authorities.
    pub ca: Option<PathBuf>,
}

impl Collector {
    /// Reads the authorities of its certificate. `None` stands for those of the system.
    ///
    /// # Errors
    /// [`Error::Unusable`] when the file cannot be read or holds no certificate.
    pub fn authorities(&self) -> Result<Option<Vec<u8>>, Error> {
        let Some(file) = &self.ca else {
            return Ok(None);
        };
        let unusable = |why| Error::Unusable {
            setting: OTLP_CA.name,
            path: file.clone(),
            why,
        };
        let pem = fs::read(file).map_err(|error| unusable(error.to_string()))?;
        pem::certificates(&pem).map_err(unusable)?;
        Ok(Some(pem))
    }
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
    pub(super) fn telemetry(&self, lacking: Option<&str>) -> Result<Telemetry, Error> {
        let metrics = self.address(METRICS_LISTEN)?;
        let collector = self.optional(
            OTLP_ENDPOINT,
            |value| {
                let url: Uri = value.parse().ok()?;
                let is_http = matches!(url.scheme_str(), Some("http" | "https"));
                is_http.then(|| value.to_owned())
            },
            "must be a URL such as http://127.0.0.1:4317",
        )?;
        let ca = self.path(OTLP_CA)?;
        let log = self.find(
            LOG_FORMAT,
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
            collector: match (collector.value, ca) {
                (Some(url), ca) => Some(Collector { url, ca: ca.value }),
                (None, ca) => {
                    ca.must_be_unset("needs otlp-endpoint")?;
                    None
                }
            },
            log: log.value,
        })
    }
}
