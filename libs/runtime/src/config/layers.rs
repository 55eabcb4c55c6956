//! The layers and their merging.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde::de::DeserializeOwned;
use toml::{Table, Value};

use super::{ConfigError, ENV_PREFIX, Key, Kind};

#[cfg(test)]
mod tests;

/// Largest file that a secret is read from, in bytes.
const SECRET_FILE_BYTES_MAX: u64 = 64 * 1024;
/// Furthest a name may be from a key for a variable without `__` to count as a mistake: other programs set variables with
/// our prefix too (Kubernetes does, for a service called `postrider`).
const TYPO_DISTANCE_MAX: usize = 2;

/// Values from all layers, the later ones over the earlier.
pub struct Layers {
    keys: &'static [Key],
    moved: &'static [(&'static str, &'static str)],
    values: BTreeMap<&'static str, (Value, String)>,
}

/// Shows where values came from, never the values: some are secret.
impl std::fmt::Debug for Layers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let origins = self.values.iter().map(|(path, (_, origin))| (path, origin));
        f.debug_map().entries(origins).finish()
    }
}

impl Layers {
    /// Starts with nothing but defaults.
    #[must_use]
    pub fn new(keys: &'static [Key]) -> Self {
        Self { keys, moved: &[], values: BTreeMap::new() }
    }

    /// Names keys of earlier versions with their names of today. They are refused, and the error says the new name.
    #[must_use]
    pub fn moved(mut self, moved: &'static [(&'static str, &'static str)]) -> Self {
        self.moved = moved;
        self
    }

    /// Adds a TOML file.
    ///
    /// # Errors
    /// [`ConfigError`] when it cannot be read, or has an unknown key or a value of another kind.
    pub fn file(mut self, path: &Path) -> Result<Self, ConfigError> {
        let text = fs::read_to_string(path)
            .map_err(|source| ConfigError::Unreadable { path: path.to_owned(), source })?;
        let table: Table = text.parse().map_err(|error| not_toml(path, &text, &error))?;
        let origin = path.display().to_string();
        self.table("", table, &origin)?;
        Ok(self)
    }

    /// Adds environment variables: those that start with `POSTRIDER_`. `own` are variables of that prefix with another use.
    ///
    /// # Errors
    /// [`ConfigError`] for an unknown key or a value of another kind.
    pub fn environment(
        mut self,
        variables: impl IntoIterator<Item = (String, String)>,
        own: &[&str],
    ) -> Result<Self, ConfigError> {
        for (name, value) in variables {
            let Some(rest) = name.strip_prefix(ENV_PREFIX) else {
                continue;
            };
            if own.contains(&name.as_str()) {
                continue;
            }
            let path = rest.replace("__", ".").to_lowercase();
            let origin = format!("the environment ({name})");
            match self.find(&path) {
                Some(found) => self.text(found, &value, &origin)?,
                None if rest.contains("__") || self.is_typo(&path) => {
                    return Err(self.unknown(&path, &name, "the environment", env_name));
                }
                None => {}
            }
        }
        Ok(self)
    }

    /// Adds a flag that was given.
    ///
    /// # Errors
    /// [`ConfigError`] when the value is of another kind than the key.
    pub fn flag(
        mut self,
        path: &'static str,
        value: Option<&str>,
        flag: &str,
    ) -> Result<Self, ConfigError> {
        let Some(value) = value else { return Ok(self) };
        let origin = format!("the command line ({flag})");
        match self.find(path) {
            Some(found) => self.text(found, value, &origin)?,
            None => return Err(self.unknown(path, path, &origin, str::to_owned)),
        }
        Ok(self)
    }

    /// Where the value of a key came from: `built-in defaults` when no layer set it.
    #[must_use]
    pub fn origin(&self, path: &str) -> &str {
        self.values.get(path).map_or("built-in defaults", |(_, origin)| origin)
    }

    /// The value that a layer set, as TOML; `None` when the built-in one holds.
    #[must_use]
    pub fn value(&self, path: &str) -> Option<&Value> {
        self.values.get(path).map(|(value, _)| value)
    }

    /// An error about a key's value, for what only the program can check.
    #[must_use]
    pub fn bad_value(&self, path: &str, problem: impl Into<String>) -> ConfigError {
        ConfigError::BadValue {
            key: path.to_owned(),
            origin: self.origin(path).to_owned(),
            problem: problem.into(),
        }
    }

    /// Makes the program's struct; its `Default` supplies what no layer set.
    ///
    /// # Errors
    /// [`ConfigError`] when a number does not fit its field.
    pub fn build<T: DeserializeOwned>(&self) -> Result<T, ConfigError> {
        let mut root = Table::new();
        for (path, (value, _)) in &self.values {
            insert(&mut root, path, value.clone());
        }
        root.try_into().map_err(|error: toml::de::Error| ConfigError::BadValue {
            key: "a value".to_owned(),
            origin: "the configuration".to_owned(),
            problem: format!("does not fit: {}", error.message()),
        })
    }

    fn table(&mut self, prefix: &str, table: Table, origin: &str) -> Result<(), ConfigError> {
        for (name, value) in table {
            let path = if prefix.is_empty() { name } else { format!("{prefix}.{name}") };
            // What is a key today may have been a section, whose keys have other names now.
            let was_section = value.is_table() && self.was_section(&path);
            if let Some(found) = self.find(&path).filter(|_| !was_section) {
                self.toml_value(found, value, origin)?;
                continue;
            }
            let Value::Table(inner) = value else {
                return Err(self.unknown(&path, &path, origin, str::to_owned));
            };
            if !was_section && !self.is_section(&path) {
                return Err(self.unknown(&path, &path, origin, str::to_owned));
            }
            self.table(&path, inner, origin)?;
        }
        Ok(())
    }

    fn toml_value(&mut self, found: Found, value: Value, origin: &str) -> Result<(), ConfigError> {
        let fits = match (found.key.kind, &value) {
            (Kind::Text | Kind::Secret, Value::String(_))
            | (Kind::Integer, Value::Integer(_))
            | (Kind::Switch, Value::Boolean(_)) => true,
            (Kind::List, Value::Array(items)) => items.iter().all(Value::is_str),
            _ => false,
        };
        match (fits, found.by_file, &value) {
            (true, true, Value::String(path)) => self.secret_file(found.key, path, origin),
            (true, _, _) => self.set(found.key, value, origin),
            (false, _, _) => Err(bad(
                found.key,
                origin,
                format!("is {}: it takes {}", value.type_str(), found.key.kind.wanted()),
            )),
        }
    }

    fn text(&mut self, found: Found, text: &str, origin: &str) -> Result<(), ConfigError> {
        let key = found.key;
        if found.by_file {
            return self.secret_file(key, text, origin);
        }
        let wrong = || bad(key, origin, format!("is {text:?}: it takes {}", key.kind.wanted()));
        let value = match key.kind {
            Kind::Text | Kind::Secret => Value::String(text.to_owned()),
            Kind::Integer => Value::Integer(text.parse().map_err(|_| wrong())?),
            Kind::Switch => Value::Boolean(text.parse().map_err(|_| wrong())?),
            Kind::List => Value::Array(
                text.split(',')
                    .map(str::trim)
                    .filter(|item| !item.is_empty())
                    .map(|item| Value::String(item.to_owned()))
                    .collect(),
            ),
        };
        self.set(key, value, origin)
    }

    fn secret_file(&mut self, key: Key, path: &str, origin: &str) -> Result<(), ConfigError> {
        let problem = |what: String| bad(key, origin, format!("names the file {path}, {what}"));
        let size = fs::metadata(path).map(|metadata| metadata.len());
        if size.is_ok_and(|size| size > SECRET_FILE_BYTES_MAX) {
            return Err(problem("which is larger than 64 KiB".to_owned()));
        }
        let text = fs::read_to_string(path)
            .map_err(|error| problem(format!("which cannot be read: {error}")))?;
        let text = text.trim_end_matches(['\r', '\n']);
        if text.is_empty() {
            return Err(problem("which is empty".to_owned()));
        }
        self.set(key, Value::String(text.to_owned()), origin)
    }

    /// Within one layer a key has one value: a secret and its file together are a mistake.
    fn set(&mut self, key: Key, value: Value, origin: &str) -> Result<(), ConfigError> {
        if self.origin(key.path) == origin {
            return Err(bad(key, origin, "is given twice, by value and by file".to_owned()));
        }
        self.values.insert(key.path, (value, origin.to_owned()));
        Ok(())
    }

    fn find(&self, path: &str) -> Option<Found> {
        let exact = self.keys.iter().find(|key| key.path == path);
        if let Some(key) = exact {
            return Some(Found { key: *key, by_file: false });
        }
        let secret = path.strip_suffix("_file")?;
        self.keys
            .iter()
            .find(|key| key.kind == Kind::Secret && key.path == secret)
            .map(|key| Found { key: *key, by_file: true })
    }

    fn is_section(&self, path: &str) -> bool {
        self.keys.iter().any(|key| is_in(key.path, path))
    }

    fn was_section(&self, path: &str) -> bool {
        self.moved.iter().any(|(old, _)| is_in(old, path))
    }

    fn is_typo(&self, path: &str) -> bool {
        self.nearest(path)
            .is_some_and(|key| strsim::damerau_levenshtein(key, path) <= TYPO_DISTANCE_MAX)
    }

    fn nearest(&self, path: &str) -> Option<&'static str> {
        self.keys
            .iter()
            .map(|key| key.path)
            .min_by_key(|key| strsim::damerau_levenshtein(key, path))
    }

    fn unknown(
        &self,
        path: &str,
        written: &str,
        origin: &str,
        write: fn(&str) -> String,
    ) -> ConfigError {
        let moved = self.moved.iter().find(|(old, _)| *old == path);
        let hint = match moved {
            Some((_, new)) => Some(format!(": it is {} now", write(new))),
            None => self.nearest(path).map(|key| format!(": did you mean {}?", write(key))),
        };
        ConfigError::UnknownKey {
            key: written.to_owned(),
            origin: origin.to_owned(),
            hint: hint.unwrap_or_default(),
        }
    }
}

/// Whether a key lies in a section.
fn is_in(key: &str, section: &str) -> bool {
    key.strip_prefix(section).is_some_and(|rest| rest.starts_with('.'))
}

/// A key that a path means, itself or its `…_file`.
#[derive(Clone, Copy)]
struct Found {
    key: Key,
    by_file: bool,
}

fn bad(key: Key, origin: &str, problem: String) -> ConfigError {
    ConfigError::BadValue { key: key.path.to_owned(), origin: origin.to_owned(), problem }
}

/// Says the line and the problem, not the line's content: it may hold a secret.
fn not_toml(path: &Path, text: &str, error: &toml::de::Error) -> ConfigError {
    let start = error.span().map_or(0, |span| span.start);
    let before = text.get(..start).unwrap_or_default();
    ConfigError::NotToml {
        path: path.to_owned(),
        line: before.matches('\n').count() + 1,
        problem: error.message().to_owned(),
    }
}

fn env_name(path: &str) -> String {
    format!("{ENV_PREFIX}{}", path.replace('.', "__").to_uppercase())
}

fn insert(table: &mut Table, path: &str, value: Value) {
    match path.split_once('.') {
        None => {
            table.insert(path.to_owned(), value);
        }
        Some((section, rest)) => {
            let inner =
                table.entry(section.to_owned()).or_insert_with(|| Value::Table(Table::new()));
            if let Value::Table(inner) = inner {
                insert(inner, rest, value);
            }
        }
    }
}
