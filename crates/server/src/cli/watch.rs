//! `orderlog watch`: prints events as they happen.

use std::convert::Infallible;

use clap::Args;
use contract::orders::v1::{
    AggregateType, EventFilter, GetHeadRequest, RecordedEvent, SubscribeRequest, SubscribeResponse,
    event_service_client::EventServiceClient,
};
use wire::Connection;

use super::{
    Failure, Run, Session, event, json,
    retry::{Backoff, Interruption},
    session::{print, tell},
};

#[derive(Debug, Args)]
#[command(
    after_help = "Ends with Ctrl-C. A broken connection is taken up again where it was: no \
                        event is lost, none comes twice.\n\nExamples:\n  \
                        orderlog watch --customer ALFKI\n  \
                        orderlog watch --after 0 --type OrderShipped --json"
)]
pub(super) struct Watch {
    /// Begin after this log position, 0 for the first event [default: what comes from now on]
    #[arg(long, value_name = "POSITION")]
    after: Option<u64>,
    /// Only events of this order; may be repeated
    #[arg(long = "order", value_name = "ID")]
    orders: Vec<String>,
    /// Only events of this customer and of its orders; may be repeated
    #[arg(long = "customer", value_name = "ID")]
    customers: Vec<String>,
    /// Only events of this type, such as OrderShipped; may be repeated
    #[arg(long = "type", value_name = "EVENT")]
    types: Vec<String>,
}

impl Run for Watch {
    async fn run(self, session: &Session) -> Result<(), Failure> {
        let mut client = EventServiceClient::new(session.connect().await?);
        let mut request = SubscribeRequest {
            follow: true,
            filter: Some(EventFilter {
                aggregate_types: match self.orders[..] {
                    [] => Vec::new(),
                    _ => vec![AggregateType::Order.into()],
                },
                aggregate_ids: self.orders,
                event_types: self.types,
                customer_ids: self.customers,
            }),
            ..SubscribeRequest::default()
        };
        match self.after {
            Some(position) => request.after_position = position,
            None => {
                let head = client.get_head(GetHeadRequest {}).await?.into_inner();
                request.after_position = head.position;
                request.log_id = head.log_id;
            }
        }
        let show = |event: &RecordedEvent| {
            let line = if session.json {
                json::text("RecordedEvent", event)?
            } else {
                event::line(event)
            };
            Ok(print(&line)?)
        };
        tokio::select! {
            Err(failure) = follow(client, request, show, |line| tell(&line)) => Err(failure),
            interrupted = tokio::signal::ctrl_c() => Ok(interrupted?),
        }
    }
}

/// Shows all events that match the request, and resubscribes when the stream breaks.
///
/// # Errors
/// [`Failure`] if a retry would not help.
async fn follow(
    mut client: EventServiceClient<Connection>,
    mut request: SubscribeRequest,
    mut show: impl FnMut(&RecordedEvent) -> Result<(), Failure>,
    tell: impl Fn(String),
) -> Result<Infallible, Failure> {
    let mut backoff = Backoff::new();
    let mut position = request.after_position;
    loop {
        let shown = |response: &SubscribeResponse| {
            position = response.position;
            response.events.iter().try_for_each(&mut show)
        };
        let Err(interruption) = stream(&mut client, &mut request, shown, &mut backoff).await;
        match interruption {
            Interruption::Final(failure) => return Err(failure),
            Interruption::Transient(cause) => {
                if backoff.failed() {
                    tell(format!("{cause}: trying again, from position {position}"));
                }
            }
        }
        backoff.pause().await;
    }
}

/// Shows the responses of one subscription. `request` always holds the token with which the next
/// subscription must resume.
async fn stream(
    client: &mut EventServiceClient<Connection>,
    request: &mut SubscribeRequest,
    mut show: impl FnMut(&SubscribeResponse) -> Result<(), Failure>,
    backoff: &mut Backoff,
) -> Result<Infallible, Interruption> {
    let mut responses = client.subscribe(request.clone()).await?.into_inner();
    while let Some(response) = responses.message().await? {
        backoff.succeeded();
        show(&response)?;
        request.resume_token = response.resume_token;
        // The token replaces both.
        request.after_position = 0;
        request.log_id.clear();
    }
    Err(Interruption::ended())
}

#[cfg(test)]
mod tests;
