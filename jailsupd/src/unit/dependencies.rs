//! `[dependencies]`: which other jails a jail needs, or merely comes before or after.
//!
//! Ordering and requirement are one thing here: what is required is ready before the jail starts, and ends after
//! it. systemd has them apart, and a `Requires=` without `After=` starts both at once.

use super::name::JailName;

/// The other jails that a unit names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dependencies {
    /// Needed to start; when one is stopped by someone, so is the jail.
    pub requires: Vec<JailName>,
    /// Started with it and waited for, while they are on their way.
    pub wants: Vec<JailName>,
    /// Needed all the time.
    pub binds_to: Vec<JailName>,
    /// Waited for, while they are on their way.
    pub after: Vec<JailName>,
    /// These wait for it, while it is on its way.
    pub before: Vec<JailName>,
    /// Started when it has failed.
    pub on_failure: Vec<JailName>,
}

/// What one jail is to another that it names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Relation {
    /// `requires`.
    Requires,
    /// `binds_to`.
    BindsTo,
    /// `wants`.
    Wants,
    /// `after`.
    After,
    /// `before`: the other way round.
    Before,
    /// `on_failure`: no order at all.
    OnFailure,
}

impl Relation {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Requires, Self::BindsTo, Self::Wants, Self::After, Self::Before, Self::OnFailure];

    /// The key, with its section.
    #[must_use]
    pub const fn key(self) -> &'static str {
        match self {
            Self::Requires => "dependencies.requires",
            Self::BindsTo => "dependencies.binds_to",
            Self::Wants => "dependencies.wants",
            Self::After => "dependencies.after",
            Self::Before => "dependencies.before",
            Self::OnFailure => "dependencies.on_failure",
        }
    }

    /// Between the names of two jails.
    #[must_use]
    pub const fn verb(self) -> &'static str {
        match self {
            Self::Requires => "requires",
            Self::BindsTo => "binds to",
            Self::Wants => "wants",
            Self::After => "is after",
            Self::Before => "is before",
            Self::OnFailure => "starts on its failure",
        }
    }

    /// Whether the jail cannot start without the other one.
    #[must_use]
    pub const fn is_needed(self) -> bool {
        matches!(self, Self::Requires | Self::BindsTo)
    }

    /// Whether the other one is started with it.
    #[must_use]
    pub const fn starts_it(self) -> bool {
        matches!(self, Self::Requires | Self::BindsTo | Self::Wants)
    }
}

impl Dependencies {
    /// The names of one relation.
    #[must_use]
    pub fn of(&self, relation: Relation) -> &[JailName] {
        match relation {
            Relation::Requires => &self.requires,
            Relation::BindsTo => &self.binds_to,
            Relation::Wants => &self.wants,
            Relation::After => &self.after,
            Relation::Before => &self.before,
            Relation::OnFailure => &self.on_failure,
        }
    }

    /// All names with what they are to the jail.
    pub fn all(&self) -> impl Iterator<Item = (Relation, &str)> {
        Relation::ALL.into_iter().flat_map(|relation| {
            self.of(relation).iter().map(move |name| (relation, name.as_str()))
        })
    }
}
