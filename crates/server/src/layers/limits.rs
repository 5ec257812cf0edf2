//! Limits that gRPC does not enforce itself, or rejects without orderlog's error details.

use std::{
    task::{Context, Poll},
    time::Duration,
};

use futures_util::future::{Either, FutureExt as _, Map, Ready, ready};
use http::{HeaderName, HeaderValue, Request, Response};
use tokio::time::{Timeout, error::Elapsed, timeout};
use tokio_util::sync::CancellationToken;
use tonic::{Status, body::Body};
use tower::{Layer, Service};
use wire::Error;

/// Ends calls whose response does not begin within `call_time` or the client's own deadline, and
/// rejects new calls once
/// `shuts_down` is cancelled. Adds error details to a status about a message that is too large.
#[derive(Debug, Clone)]
pub(crate) struct Limited {
    pub(crate) call_time: Duration,
    pub(crate) shuts_down: CancellationToken,
}

impl<S> Layer<S> for Limited {
    type Service = LimitedService<S>;

    fn layer(&self, service: S) -> LimitedService<S> {
        LimitedService {
            service,
            limits: self.clone(),
        }
    }
}

/// A service behind [`Limited`].
#[derive(Debug, Clone)]
pub(crate) struct LimitedService<S> {
    service: S,
    limits: Limited,
}

/// Calls of the health service pass during shutdown: it reports itself that the node is not
/// serving.
const HEALTH: &str = "/grpc.health.v1.Health/";

/// Maximum bytes of a call's metadata. The HTTP/2 library takes more, so that the call gets a status.
pub(crate) const MAX_METADATA_BYTES: usize = 16 << 10;

/// The header with the time that a client gives a call.
const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");

type Answer<E> = Result<Response<Body>, E>;

/// Makes the answer of a call from its result in time.
type End<E> = fn(Result<Answer<E>, Elapsed>) -> Answer<E>;

impl<S> Service<Request<Body>> for LimitedService<S>
where
    S: Service<Request<Body>, Response = Response<Body>>,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Either<Map<Timeout<S::Future>, End<S::Error>>, Ready<Answer<S::Error>>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.service.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let Limited {
            call_time,
            shuts_down,
        } = &self.limits;
        if shuts_down.is_cancelled() && !request.uri().path().starts_with(HEALTH) {
            let refused = Status::from(Error::ShuttingDown).into_http();
            return Either::Right(ready(Ok(refused)));
        }
        let metadata = request.headers().iter();
        let metadata: usize = metadata
            .map(|(name, value)| name.as_str().len() + value.len())
            .sum();
        if metadata > MAX_METADATA_BYTES {
            let rule = format!("must have at most {MAX_METADATA_BYTES} bytes");
            let error = Error::invalid_field("metadata", rule);
            return Either::Right(ready(Ok(Status::from(error).into_http())));
        }
        let wanted = request.headers().get(GRPC_TIMEOUT).and_then(duration);
        let (time, end): (_, End<S::Error>) = match wanted {
            Some(wanted) if wanted < *call_time => {
                (wanted, |answer| ended(answer, Error::DeadlineExceeded))
            }
            _ => (*call_time, |answer| {
                ended(answer, Error::Overloaded("the call took too long"))
            }),
        };
        Either::Left(timeout(time, self.service.call(request)).map(end))
    }
}

/// Turns the end of a call's time into `error`.
fn ended<E>(answer: Result<Answer<E>, Elapsed>, error: Error) -> Answer<E> {
    match answer {
        Ok(answer) => answer.map(told),
        Err(_) => Ok(Status::from(error).into_http()),
    }
}

/// Parses the time that a client gives a call: at most 8 digits and a unit. Returns `None` for
/// anything else (gRPC over HTTP/2, "Timeout").
fn duration(value: &HeaderValue) -> Option<Duration> {
    let (digits, unit) = value
        .to_str()
        .ok()?
        .split_at_checked(value.len().checked_sub(1)?)?;
    let is_number = (1..=8).contains(&digits.len()) && digits.bytes().all(|it| it.is_ascii_digit());
    let number = digits.parse().ok().filter(|_| is_number)?;
    match unit {
        "H" => Some(Duration::from_secs(3600 * number)),
        "M" => Some(Duration::from_secs(60 * number)),
        "S" => Some(Duration::from_secs(number)),
        "m" => Some(Duration::from_millis(number)),
        "u" => Some(Duration::from_micros(number)),
        "n" => Some(Duration::from_nanos(number)),
        _ => None,
    }
}

fn told(answer: Response<Body>) -> Response<Body> {
    // Only a call that failed immediately has a status in its headers.
    match Status::from_header_map(answer.headers()) {
        Some(status) if wire::is_too_large(&status) => Status::from(Error::TooLarge).into_http(),
        _ => answer,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_deadline_of_a_client_is_a_number_and_a_unit() {
        let parsed = |text: &'static str| duration(&HeaderValue::from_static(text));
        assert_eq!(parsed("100m"), Some(Duration::from_millis(100)));
        assert_eq!(
            parsed("99999999H"),
            Some(Duration::from_secs(99_999_999 * 3600))
        );
        assert_eq!(parsed("5S"), Some(Duration::from_secs(5)));
        assert_eq!(parsed("7u"), Some(Duration::from_micros(7)));
        for wrong in [
            "",
            "m",
            "100",
            "100 m",
            "-1m",
            "+1m",
            "1.5S",
            "100000000m",
            "1x",
        ] {
            assert_eq!(parsed(wrong), None, "{wrong:?}");
        }
    }
}
