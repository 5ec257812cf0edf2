//! Access control: the roles that may call each method, and the credentials that grant roles.
//!
//! [`rules`] lists the roles for every method; a method without a rule is forbidden to all clients.
//! [`Credentials`] verifies a client's token from a file ([`tokens`]) or JWT from an issuer
//! ([`jwt`]). The layer `Access` checks every call, and ends streams whose credential is no longer
//! valid.

pub(crate) mod audit;
pub(crate) mod credentials;
pub(crate) mod jwt;
pub(crate) mod rules;
pub(crate) mod tokens;

use clap::ValueEnum;

pub(crate) use credentials::Credentials;

/// Returns the name of the method at this path, and whether the method streams. Returns `None` if
/// the method has no rule, so that no client may call the method.
pub(crate) fn method(path: &str) -> Option<(&'static str, bool)> {
    let (name, rule) = rules::find(path)?;
    let is_stream = matches!(rule, rules::Rule::Stream(_) | rules::Rule::OpenStream);
    Some((name, is_stream))
}

/// A permission that a credential grants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Role {
    /// Executing commands.
    Command,
    /// Asking the read models.
    Query,
    /// Following the log.
    Subscribe,
    /// Looking after the read models.
    Operate,
}

impl Role {
    pub(crate) const ALL: [Self; 4] = [Self::Command, Self::Query, Self::Subscribe, Self::Operate];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Command => "command",
            Self::Query => "query",
            Self::Subscribe => "subscribe",
            Self::Operate => "operate",
        }
    }

    fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.name() == name)
    }
}

/// A set of roles, one bit each.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Roles(u8);

impl Roles {
    const NONE: Self = Self(0);

    const fn of(roles: &[Role]) -> Self {
        let mut all = 0;
        let mut index = 0;
        while index < roles.len() {
            all |= 1 << roles[index] as u8;
            index += 1;
        }
        Self(all)
    }

    fn has_one_of(self, others: Self) -> bool {
        self.0 & others.0 != 0
    }

    fn names(self) -> Vec<&'static str> {
        let roles = Role::ALL.into_iter();
        let named = roles.filter(|role| self.has_one_of(Self::of(&[*role])));
        named.map(Role::name).collect()
    }
}
