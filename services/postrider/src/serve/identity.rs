//! What makes a data directory this one's: the keys that seal its secrets, and the token of its API.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use control_plane::server::StaticToken;
use ports::Rng as _;
use runtime::{KeyFileError, LocalKeys, SystemRng, create_private_dir, write_secret_file};

use super::config::{Mode, Role, Settings};

/// Name of the key file in the data directory.
const KEYS: &str = "keys";
/// Name of the file with the token that was made at the first start.
const TOKEN: &str = "token";

/// Reads the keys. They are made only when nothing was sealed yet: a data directory without its keys is an error, never a
/// reason to make new ones.
///
/// A cluster's keys are shared by its processes: `postrider migrate` makes them ([`make_keys`]), and here they must be.
pub(crate) fn keys(settings: &Settings) -> Result<LocalKeys> {
    let path = key_file(settings);
    if !settings.needs_data_dir() {
        return Ok(LocalKeys::load(&path)?);
    }
    // Events lie there in the clear.
    create_private_dir(&settings.data_dir)
        .with_context(|| format!("cannot make {}", settings.data_dir.display()))?;
    if !path.exists() && is_new(&settings.data_dir)? {
        match LocalKeys::create(&path) {
            // Another process was quicker; only one of them gets the data directory.
            Err(KeyFileError::Exists(_)) => {}
            created => return Ok(created?),
        }
    }
    Ok(LocalKeys::load(&path)?)
}

/// Makes the keys of a cluster unless they are there; whether they were made.
pub(crate) fn make_keys(settings: &Settings) -> Result<bool> {
    match LocalKeys::create(&key_file(settings)) {
        Ok(_) => Ok(true),
        Err(KeyFileError::Exists(_)) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Where the keys lie.
pub(crate) fn key_file(settings: &Settings) -> PathBuf {
    settings.key_file.clone().unwrap_or_else(|| settings.data_dir.join(KEYS))
}

/// Whether the directory holds no data yet.
pub(crate) fn is_new(data_dir: &Path) -> Result<bool> {
    let entries = match fs::read_dir(data_dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(true),
        Err(error) => {
            return Err(error).with_context(|| format!("cannot read {}", data_dir.display()));
        }
    };
    for entry in entries {
        let entry = entry.with_context(|| format!("cannot read {}", data_dir.display()))?;
        if Path::new(&entry.file_name()).extension().is_some_and(|extension| extension == "db") {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The token that callers send.
pub(crate) struct Token {
    /// The token itself.
    pub(crate) secret: String,
    /// Where it lies, when it was not configured.
    pub(crate) file: Option<PathBuf>,
}

/// Reads or makes the token; `dev` has none, and neither has a process without an API.
pub(crate) fn token(settings: &Settings) -> Result<Option<Token>> {
    if settings.mode == Mode::Dev || !settings.roles.contains(&Role::ControlPlane) {
        return Ok(None);
    }
    if let Some(secret) = settings.token.clone() {
        return Ok(Some(Token { secret, file: None }));
    }
    let path = settings.data_dir.join(TOKEN);
    let rng = SystemRng::new();
    let made = format!("{:032x}{:032x}\n", rng.next_u128(), rng.next_u128());
    create_private_dir(&settings.data_dir)
        .and_then(|()| write_secret_file(&path, made.as_bytes()))
        .or_else(
            |error| {
                if error.kind() == io::ErrorKind::AlreadyExists { Ok(()) } else { Err(error) }
            },
        )
        .with_context(|| format!("cannot write {}", path.display()))?;
    let secret = fs::read_to_string(&path)
        .with_context(|| format!("cannot read {}", path.display()))?
        .trim()
        .to_owned();
    StaticToken::new(&secret).with_context(|| {
        format!("{} holds no token: remove it, and the next start makes one", path.display())
    })?;
    Ok(Some(Token { secret, file: Some(path) }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::serve::config;
    use crate::terminal::Environment;

    fn settings(mode: Mode, data_dir: &Path) -> Settings {
        let flags = [("data_dir", Some(data_dir.display().to_string()), "--data-dir")];
        config::load(mode, None, &Environment::new(), &flags).unwrap()
    }

    #[test]
    fn keys_are_made_for_a_new_directory_alone() {
        let dir = tempfile::tempdir().unwrap();
        let settings = settings(Mode::Serve, &dir.path().join("data"));
        let made = keys(&settings).unwrap();
        assert_eq!(keys(&settings).unwrap().derive("x"), made.derive("x"));
        fs::write(settings.data_dir.join("store.db"), b"").unwrap();
        keys(&settings).unwrap();
        fs::remove_file(settings.data_dir.join(KEYS)).unwrap();
        let error = keys(&settings).unwrap_err().to_string();
        assert!(error.contains("does not exist") && error.contains("--key-file"), "{error}");
    }

    #[test]
    fn a_token_is_made_once_and_dev_has_none() {
        let dir = tempfile::tempdir().unwrap();
        let serve = settings(Mode::Serve, dir.path());
        let first = token(&serve).unwrap().unwrap();
        assert_eq!(first.secret.len(), 64);
        assert_eq!(token(&serve).unwrap().unwrap().secret, first.secret);
        fs::write(dir.path().join(TOKEN), "\n").unwrap();
        let error = token(&serve).err().unwrap().to_string();
        assert!(error.contains("token holds no token: remove it"), "{error}");
        assert!(token(&settings(Mode::Dev, dir.path())).unwrap().is_none());
    }
}
