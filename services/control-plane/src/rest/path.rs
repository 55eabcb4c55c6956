//! Where in a request something is wrong.

use std::fmt;

/// The path to a field, as people write it: `events[3].type`, `endpoint.headers["X-Team"]`. Costs nothing until it is shown.
#[derive(Debug, Clone, Copy)]
pub(super) enum Path<'a> {
    /// The whole message.
    Root,
    /// A field by its JSON name.
    Field(&'a Path<'a>, &'a str),
    /// An element of a list, from 0.
    Index(&'a Path<'a>, usize),
    /// A key of a map.
    Key(&'a Path<'a>, &'a str),
}

impl<'a> Path<'a> {
    pub(super) fn field(&'a self, name: &'a str) -> Self {
        Self::Field(self, name)
    }

    /// A fault at this place. `problem` says what is wrong and what is allowed.
    pub(super) fn fault(&self, problem: impl Into<String>) -> Violation {
        Violation { path: self.to_string(), problem: problem.into() }
    }
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => Ok(()),
            Self::Field(Self::Root, name) => f.write_str(name),
            Self::Field(parent, name) => write!(f, "{parent}.{name}"),
            Self::Index(parent, index) => write!(f, "{parent}[{index}]"),
            Self::Key(parent, key) => write!(f, "{parent}[{key:?}]"),
        }
    }
}

/// A field that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Violation {
    /// The path to the field; empty for the whole body.
    pub(super) path: String,
    /// What is wrong, and what is allowed.
    pub(super) problem: String,
}
