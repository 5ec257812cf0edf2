//! The connections on which no call has been admitted yet, and the addresses that sent refused
//! calls.

use std::{
    collections::{BTreeMap, HashMap},
    net::{IpAddr, Ipv6Addr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{sync::watch, time::Instant};

use super::peer::{Close, Orders};

/// Number of refused calls in a row after which new connections from an address wait.
pub(super) const MAX_REFUSALS: u32 = 500;

/// Time for which a new connection from such an address waits.
const WAIT: Duration = Duration::from_secs(1);

/// Time without a refused call after which an address is forgiven.
const FORGIVEN_AFTER: Duration = Duration::from_secs(60);

/// Maximum number of remembered addresses. The table is cleared when it is full.
const MAX_ADDRESSES: usize = 10_000;

/// The strangers of a listener: connections without an admitted call. Their number is limited, and
/// the oldest one is closed for a new one, so that strangers cannot lock out new clients.
#[derive(Debug, Clone)]
pub(crate) struct Strangers {
    max: usize,
    known: Arc<Mutex<Known>>,
}

#[derive(Debug, Default)]
struct Known {
    arrived: u64,
    /// The strangers in order of their arrival.
    strangers: BTreeMap<u64, watch::Sender<Orders>>,
    refusals: HashMap<IpAddr, Refusals>,
}

#[derive(Debug)]
struct Refusals {
    in_a_row: u32,
    last: Instant,
}

/// The number of a stranger. Its drop removes the stranger.
#[derive(Debug)]
pub(super) struct Newcomer {
    number: u64,
    known: Arc<Mutex<Known>>,
}

impl Drop for Newcomer {
    fn drop(&mut self) {
        lock(&self.known).strangers.remove(&self.number);
    }
}

impl Strangers {
    pub(crate) fn new(max: u32) -> Self {
        Self {
            max: max as usize,
            known: Arc::default(),
        }
    }

    /// Adds a connection, and closes the oldest stranger if there are too many.
    pub(super) fn enter(&self, orders: watch::Sender<Orders>) -> Newcomer {
        let mut known = lock(&self.known);
        let number = known.arrived;
        known.arrived += 1;
        let oldest = match known.strangers.len() >= self.max {
            true => known.strangers.pop_first(),
            false => None,
        };
        known.strangers.insert(number, orders);
        drop(known);
        if let Some((_, oldest)) = oldest {
            oldest.send_modify(|orders| orders.close = Some(Close::AtOnce));
        }
        Newcomer {
            number,
            known: Arc::clone(&self.known),
        }
    }

    /// Removes a connection that is no stranger any more, and forgives its address.
    pub(super) fn leave(&self, newcomer: &Newcomer, address: SocketAddr) {
        lock(&self.known).strangers.remove(&newcomer.number);
        self.forgive(address);
    }

    /// Counts a refused call.
    pub(super) fn refused(&self, address: SocketAddr) {
        let refusals = &mut lock(&self.known).refusals;
        let address = network(address);
        if refusals.len() >= MAX_ADDRESSES && !refusals.contains_key(&address) {
            refusals.clear();
        }
        let now = Instant::now();
        let refused = refusals.entry(address).or_insert(Refusals {
            in_a_row: 0,
            last: now,
        });
        if now.duration_since(refused.last) > FORGIVEN_AFTER {
            refused.in_a_row = 0;
        }
        refused.in_a_row = refused.in_a_row.saturating_add(1);
        refused.last = now;
    }

    /// Forgets the refused calls of an address, because a call from there was admitted.
    pub(super) fn forgive(&self, address: SocketAddr) {
        lock(&self.known).refusals.remove(&network(address));
    }

    /// Returns the time for which a new connection from this address waits.
    pub(super) fn wait(&self, address: SocketAddr) -> Option<Duration> {
        let refusals = &lock(&self.known).refusals;
        let refused = refusals.get(&network(address))?;
        let is_barred =
            refused.in_a_row >= MAX_REFUSALS && refused.last.elapsed() <= FORGIVEN_AFTER;
        is_barred.then_some(WAIT)
    }
}

fn lock(known: &Mutex<Known>) -> MutexGuard<'_, Known> {
    known.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Returns the address of a client without its port. One client usually has a whole IPv6 /64.
fn network(address: SocketAddr) -> IpAddr {
    match address.ip().to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::listener::peer::Peer;

    fn address(text: &str) -> SocketAddr {
        format!("{text}:1").parse().unwrap()
    }

    #[test]
    fn the_oldest_stranger_is_closed_for_a_new_one() {
        let strangers = Strangers::new(2);
        let [first, second, third] =
            [1, 2, 3].map(|_| Peer::arrive(address("10.0.0.1"), &strangers, false));
        let is_closed = |peer: &Peer| peer.orders().borrow().close.is_some();
        assert!(is_closed(&first) && !is_closed(&second) && !is_closed(&third));
        // A connection with an admitted call, and one that ended, take no place.
        second.admitted(true);
        drop(third);
        let [fourth, fifth] = [4, 5].map(|_| Peer::arrive(address("10.0.0.1"), &strangers, false));
        assert!([second, fourth, fifth].iter().all(|peer| !is_closed(peer)));
    }

    #[test]
    fn a_connection_closes_after_refusals_in_a_row() {
        let strangers = Strangers::new(10);
        let peer = Peer::arrive(address("10.0.0.1"), &strangers, false);
        for _ in 0..10 {
            for _ in 0..99 {
                peer.refused();
            }
            peer.admitted(false);
        }
        assert_eq!(peer.orders().borrow().close, None);
        for _ in 0..100 {
            peer.refused();
        }
        assert_eq!(peer.orders().borrow().close, Some(Close::Gently));
    }

    #[tokio::test(start_paused = true)]
    async fn new_connections_wait_after_many_refusals_from_their_network() {
        let strangers = Strangers::new(10);
        let refused = |text: &str, times: u32| {
            for _ in 0..times {
                strangers.refused(address(text));
            }
        };
        refused("10.0.0.1", 500);
        refused("10.0.0.2", 499);
        refused("[2001:db8::1]", 250);
        refused("[2001:db8::2]", 250);
        assert_eq!(strangers.wait(address("10.0.0.1")), Some(WAIT));
        assert_eq!(strangers.wait(address("10.0.0.2")), None);
        assert_eq!(strangers.wait(address("[2001:db8::3]")), Some(WAIT));
        assert_eq!(strangers.wait(address("[2001:db8:0:1::1]")), None);
        strangers.forgive(address("10.0.0.1"));
        assert_eq!(strangers.wait(address("10.0.0.1")), None);
        tokio::time::advance(FORGIVEN_AFTER + WAIT).await;
        assert_eq!(strangers.wait(address("[2001:db8::3]")), None);
    }
}
