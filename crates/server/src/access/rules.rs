//! Which roles may call a method.

use super::{
    Role::{self, Command, Operate, Query, Subscribe},
    Roles,
};

/// Who may call a method.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rule {
    /// Everyone.
    Open,
    /// Whoever has one of the roles.
    One(Roles),
    /// The same, for a method that streams: it goes on for as long as its credential holds.
    Stream(Roles),
}

const ANY: Roles = Roles::of(&Role::ALL);

/// The rule of a method, by the path it is called at. There is none for what is not named here.
pub(super) fn of(path: &str) -> Option<Rule> {
    use Rule::{One, Open, Stream};
    let rule = match path.strip_prefix('/')? {
        "grpc.health.v1.Health/Check"
        | "grpc.health.v1.Health/List"
        | "grpc.health.v1.Health/Watch" => Open,

        "grpc.reflection.v1.ServerReflection/ServerReflectionInfo"
        | "grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo" => Stream(ANY),

        "orders.v1.CommandService/CreateOrder"
        | "orders.v1.CommandService/ShipOrder"
        | "orders.v1.CommandService/DeliverOrder"
        | "orders.v1.CommandService/CancelOrder"
        | "orders.v1.CommandService/RegisterCustomer"
        | "orders.v1.CommandService/RegisterProduct" => One(Roles::of(&[Command])),
        "orders.v1.CommandService/ExecuteCommands" => Stream(Roles::of(&[Command])),

        "orders.v1.EventService/Subscribe" => Stream(Roles::of(&[Subscribe])),
        "orders.v1.EventService/GetOrderHistory" => One(Roles::of(&[Query, Subscribe])),
        // Everyone needs a position to wait for.
        "orders.v1.EventService/GetHead" => One(ANY),
        // A node of queries verifies the log it subscribes to.
        "orders.v1.EventService/VerifyLog" => Stream(Roles::of(&[Subscribe, Operate])),

        "orders.v1.QueryService/GetOrder"
        | "orders.v1.QueryService/SearchOrders"
        | "orders.v1.QueryService/GetCustomerStatistics"
        | "orders.v1.QueryService/GetStatistics" => One(Roles::of(&[Query])),
        "orders.v1.QueryService/WatchOrders" => Stream(Roles::of(&[Query])),

        "orders.v1.ProjectionService/GetStatus" => One(Roles::of(&[Query, Operate])),
        "orders.v1.ProjectionService/ListParked" | "orders.v1.ProjectionService/RetryParked" => {
            One(Roles::of(&[Operate]))
        }
        "orders.v1.ProjectionService/Rebuild" | "orders.v1.ProjectionService/Verify" => {
            Stream(Roles::of(&[Operate]))
        }
        _ => return None,
    };
    Some(rule)
}

#[cfg(test)]
mod tests {
    use prost::Message as _;
    use prost_types::{FileDescriptorSet, MethodDescriptorProto};

    use super::*;

    fn methods() -> Vec<(String, MethodDescriptorProto)> {
        let sets = [
            contract::FILE_DESCRIPTOR_SET,
            tonic_health::pb::FILE_DESCRIPTOR_SET,
            tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET,
            tonic_reflection::pb::v1alpha::FILE_DESCRIPTOR_SET,
        ];
        let mut methods = Vec::new();
        for set in sets {
            for file in FileDescriptorSet::decode(set).unwrap().file {
                for service in &file.service {
                    for method in &service.method {
                        let path =
                            format!("/{}.{}/{}", file.package(), service.name(), method.name());
                        methods.push((path, method.clone()));
                    }
                }
            }
        }
        methods
    }

    #[test]
    fn every_method_has_a_rule_that_knows_whether_it_streams() {
        let methods = methods();
        assert!(methods.len() > 20, "{methods:?}");
        for (path, method) in methods {
            let streams = method.server_streaming() || method.client_streaming();
            match of(&path) {
                Some(Rule::Open) => assert!(path.starts_with("/grpc.health."), "{path} is open"),
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
