//! Configuration from layers: defaults < TOML file < environment < flags.
//!
//! A program lists its keys once, as [`Key`]s. [`Layers`] collects values for them, knows where each came from, refuses keys
//! that do not exist (naming the nearest one), and at the end makes the program's own struct, whose `Default` holds the
//! built-in values. Nothing is bound or opened here.
//!
//! A [`Kind::Secret`] may be given by a file instead, as `…_file` in the TOML file or `…_FILE` in the environment.

mod error;
mod layers;

pub use error::ConfigError;
pub use layers::Layers;

/// Prefix of environment variables; what follows is the key in upper case, with `__` for `.`.
pub const ENV_PREFIX: &str = "POSTRIDER_";

/// One key of the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key {
    /// Its path in the TOML file, such as `auth.token`.
    pub path: &'static str,
    /// What its value is.
    pub kind: Kind,
}

/// What a key's value is, and so how an environment variable or a flag is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Text, which includes addresses, paths and durations.
    Text,
    /// Text that is never shown, and that a file may hold.
    Secret,
    /// A whole number.
    Integer,
    /// `true` or `false`.
    Switch,
    /// Texts; in an environment variable or a flag separated by commas.
    List,
}

impl Kind {
    fn wanted(self) -> &'static str {
        match self {
            Self::Text | Self::Secret => "text",
            Self::Integer => "a whole number",
            Self::Switch => "true or false",
            Self::List => "a list of texts",
        }
    }
}
