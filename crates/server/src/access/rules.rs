//! The roles that may call each method.

use std::{collections::HashMap, sync::LazyLock};

use super::{
    Role::{self, Command, Operate, Query, Subscribe},
    Roles,
};

/// The rule for the callers of a method.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rule {
    /// All clients may call the method, also without a credential.
    Open,
    /// All clients may call the streaming method, also without a credential.
    OpenStream,
    /// Clients with one of the roles may call the method.
    One(Roles),
    /// Clients with one of the roles may call the streaming method. The stream ends when the
    /// credential expires or is revoked.
    Stream(Roles),
}

impl Rule {
    /// Returns whether the method is for operators alone.
    pub(crate) fn is_for_operators(self) -> bool {
        matches!(self, Self::One(roles) | Self::Stream(roles) if roles == OPERATE)
    }
}

/// The role of operators.
pub(super) const OPERATE: Roles = Roles::of(&[Operate]);

const ANY: Roles = Roles::of(&Role::ALL);

/// All methods that clients may call, with their rules.
const RULES: [(&str, Rule); 26] = {
    use Rule::{One, Open, OpenStream, Stream};
    const COMMAND: Roles = Roles::of(&[Command]);
    const QUERY: Roles = Roles::of(&[Query]);
    [
        ("grpc.health.v1.Health/Check", Open),
        ("grpc.health.v1.Health/List", Open),
        ("grpc.health.v1.Health/Watch", OpenStream),
        (
            "grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
            Stream(ANY),
        ),
        (
            "grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
            Stream(ANY),
        ),
        ("orders.v1.CommandService/CreateOrder", One(COMMAND)),
        ("orders.v1.CommandService/ShipOrder", One(COMMAND)),
        ("orders.v1.CommandService/DeliverOrder", One(COMMAND)),
        ("orders.v1.CommandService/CancelOrder", One(COMMAND)),
        ("orders.v1.CommandService/RegisterCustomer", One(COMMAND)),
        ("orders.v1.CommandService/RegisterProduct", One(COMMAND)),
        ("orders.v1.CommandService/ExecuteCommands", Stream(COMMAND)),
        (
            "orders.v1.EventService/Subscribe",
            Stream(Roles::of(&[Subscribe])),
        ),
        (
            "orders.v1.EventService/GetOrderHistory",
            One(Roles::of(&[Query, Subscribe])),
        ),
        // Every role needs the head position, to wait for it in a query.
        ("orders.v1.EventService/GetHead", One(ANY)),
        // A node with the role `query` verifies the log that it subscribes to.
        (
            "orders.v1.EventService/VerifyLog",
            Stream(Roles::of(&[Subscribe, Operate])),
        ),
        ("orders.v1.QueryService/GetOrder", One(QUERY)),
        ("orders.v1.QueryService/SearchOrders", One(QUERY)),
        ("orders.v1.QueryService/GetCustomerStatistics", One(QUERY)),
        ("orders.v1.QueryService/GetStatistics", One(QUERY)),
        ("orders.v1.QueryService/WatchOrders", Stream(QUERY)),
        (
            "orders.v1.ProjectionService/GetStatus",
            One(Roles::of(&[Query, Operate])),
        ),
        ("orders.v1.ProjectionService/ListParked", One(OPERATE)),
        ("orders.v1.ProjectionService/RetryParked", One(OPERATE)),
        ("orders.v1.ProjectionService/Rebuild", Stream(OPERATE)),
        ("orders.v1.ProjectionService/Verify", Stream(OPERATE)),
    ]
};

/// The rule for the metrics, which are not a gRPC method.
pub(crate) const METRICS: Rule = Rule::One(OPERATE);

static BY_NAME: LazyLock<HashMap<&str, (&str, Rule)>> =
    LazyLock::new(|| RULES.map(|(name, rule)| (name, (name, rule))).into());

/// Returns name and rule of the method at this path, or `None` if the method has no rule.
pub(crate) fn find(path: &str) -> Option<(&'static str, Rule)> {
    BY_NAME.get(path.strip_prefix('/')?).copied()
}

/// Returns the rule of the method at this path.
pub(crate) fn of(path: &str) -> Option<Rule> {
    find(path).map(|(_, rule)| rule)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_method_has_a_rule_that_knows_whether_it_streams() {
        let methods = test_support::methods(&[
            contract::FILE_DESCRIPTOR_SET,
            tonic_health::pb::FILE_DESCRIPTOR_SET,
            tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET,
            tonic_reflection::pb::v1alpha::FILE_DESCRIPTOR_SET,
        ]);
        assert!(methods.len() > 20, "{methods:?}");
        for (path, method) in methods {
            let streams = method.server_streaming() || method.client_streaming();
            match of(&path) {
                Some(rule @ (Rule::Open | Rule::OpenStream)) => {
                    assert!(path.starts_with("/grpc.health."), "{path} is open");
                    assert_eq!(rule == Rule::OpenStream, streams, "{path}");
                }
                Some(Rule::One(roles)) => assert!(!streams && roles != Roles::NONE, "{path}"),
                Some(Rule::Stream(roles)) => assert!(streams && roles != Roles::NONE, "{path}"),
                None => panic!("{path} has no rule"),
            }
        }
    }

    #[test]
    fn what_is_not_named_has_no_rule() {
        for path in [
            "",
            "/",
            "orders.v1.QueryService/GetOrder",
            "//orders.v1.QueryService/GetOrder",
            "/orders.v1.QueryService/GetOrder/",
            "/orders.v1.QueryService/getOrder",
            "/orders.v1.QueryService/GetOrde%72",
            "/orders.v1.QueryService/Other",
            "/grpc.health.v1.Health/Other",
        ] {
            assert_eq!(of(path), None, "{path}");
        }
    }
}
