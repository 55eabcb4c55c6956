//! Keys in a file, and the sealing of secrets with them.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use chacha20poly1305::aead::{Aead as _, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use hmac::{Hmac, KeyInit as _, Mac as _};
use ports::{KeyError, KeyProvider};
use sha2::Sha256;
use zeroize::Zeroizing;

#[cfg(test)]
mod tests;

/// First byte of what is sealed here: XChaCha20-Poly1305 under a key of the file.
const FORMAT: u8 = 1;
const NONCE_BYTES: usize = 24;
const KEY_BYTES: usize = 32;
/// Random bytes of a key's id, written as hex.
const KEY_ID_BYTES: usize = 4;
/// Longest id of a key, so that its length fits a byte.
const KEY_ID_CHARS_MAX: usize = 64;
const HEADER: &str = "# Postrider key file: one key a line, `id:base64`. The first one seals, all of them open.\n\
# Without it the secrets of the data directory beside it cannot be opened. Keep it, and keep it secret.\n";

/// A key file that cannot be used; says which one and what to do.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// There is none.
    #[error("key file {} does not exist: put back the file that sealed this data directory, or name it with --key-file", .0.display())]
    Missing(PathBuf),
    /// It exists already, so it is not made anew.
    #[error("key file {} exists already", .0.display())]
    Exists(PathBuf),
    /// Others may read it.
    #[error("key file {} can be read by others (mode {mode:03o}): run `chmod 600` on it", path.display())]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// It is not a key file.
    #[error("key file {} line {line}: {problem}; each line is `id:` and base64 of 32 bytes", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong; never the line itself.
        problem: &'static str,
    },
    /// The system refused.
    #[error("key file {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// The keys of a file as a [`KeyProvider`].
///
/// Sealed: format byte (1), length and bytes of the key's id, nonce (24 bytes), ciphertext with its tag. The context is
/// authenticated with it (SE-3).
pub struct LocalKeys {
    /// The first one seals.
    keys: Vec<Key>,
}

struct Key {
    id: String,
    bytes: Zeroizing<Vec<u8>>,
    cipher: XChaCha20Poly1305,
}

impl std::fmt::Debug for LocalKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let ids = self.keys.iter().map(|key| &key.id);
        f.debug_list().entries(ids).finish()
    }
}

impl LocalKeys {
    /// Makes a key file with one new key, readable by its owner alone, and its directory where that is missing.
    ///
    /// # Errors
    /// [`KeyFileError::Exists`] when there is one: a key is never overwritten.
    pub fn create(path: &Path) -> Result<Self, KeyFileError> {
        let io = |source| KeyFileError::Io { path: path.to_owned(), source };
        if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            fs::create_dir_all(parent).map_err(io)?;
        }
        let mut id = [0_u8; KEY_ID_BYTES];
        let mut key = Zeroizing::new([0_u8; KEY_BYTES]);
        getrandom::fill(&mut id).expect("the operating system provides randomness");
        getrandom::fill(key.as_mut()).expect("the operating system provides randomness");
        let id: String = id.iter().map(|byte| format!("{byte:02x}")).collect();
        let text = Zeroizing::new(format!("{HEADER}{id}:{}\n", STANDARD.encode(key.as_ref())));
        write_secret_file(path, text.as_bytes()).map_err(|source| {
            if source.kind() == io::ErrorKind::AlreadyExists {
                KeyFileError::Exists(path.to_owned())
            } else {
                io(source)
            }
        })?;
        Self::load(path)
    }

    /// Reads a key file.
    ///
    /// # Errors
    /// [`KeyFileError`] when it is missing, readable by others, or not a key file.
    pub fn load(path: &Path) -> Result<Self, KeyFileError> {
        let io = |source: io::Error| {
            let path = path.to_owned();
            if source.kind() == io::ErrorKind::NotFound {
                KeyFileError::Missing(path)
            } else {
                KeyFileError::Io { path, source }
            }
        };
        let mode = fs::metadata(path).map_err(io)?.permissions().mode() & 0o777;
        // Group read is what Kubernetes gives mounted secrets under an fsGroup.
        if mode & 0o027 != 0 {
            return Err(KeyFileError::Exposed { path: path.to_owned(), mode });
        }
        let text = Zeroizing::new(fs::read_to_string(path).map_err(io)?);
        let malformed =
            |line, problem| KeyFileError::Malformed { path: path.to_owned(), line, problem };
        let mut keys = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            if !line.is_empty() && !line.starts_with('#') {
                keys.push(Key::parse(line).map_err(|problem| malformed(index + 1, problem))?);
            }
        }
        if keys.is_empty() {
            return Err(malformed(1, "there is no key"));
        }
        Ok(Self { keys })
    }

    /// Derives a key for another purpose from the first one: the same for every process with this file, and as secret.
    ///
    /// Shape: HMAC-SHA256 over the purpose.
    #[must_use]
    pub fn derive(&self, purpose: &str) -> [u8; 32] {
        let key = self.keys.first().expect("a key file has at least one key");
        let mut mac = Hmac::<Sha256>::new_from_slice(&key.bytes).expect("HMAC takes any key");
        mac.update(purpose.as_bytes());
        mac.finalize().into_bytes().into()
    }
}

impl Key {
    fn parse(line: &str) -> Result<Self, &'static str> {
        let (id, encoded) = line.split_once(':').ok_or("there is no `:`")?;
        let plain = (1..=KEY_ID_CHARS_MAX).contains(&id.len())
            && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
        if !plain {
            return Err("the id is not 1 to 64 letters, digits, - or _");
        }
        let key = STANDARD.decode(encoded).map_err(|_| "the key is not base64")?;
        let key = Zeroizing::new(key);
        let cipher = XChaCha20Poly1305::new_from_slice(&key)
            .map_err(|_| "the key does not have 32 bytes")?;
        Ok(Self { id: id.to_owned(), bytes: key, cipher })
    }

    fn seal(&self, plain: &[u8], context: &str) -> Option<Bytes> {
        let mut nonce = [0_u8; NONCE_BYTES];
        getrandom::fill(&mut nonce).ok()?;
        let payload = Payload { msg: plain, aad: context.as_bytes() };
        let sealed = self.cipher.encrypt(&XNonce::from(nonce), payload).ok()?;
        let mut out = Vec::with_capacity(2 + self.id.len() + NONCE_BYTES + sealed.len());
        out.push(FORMAT);
        out.push(u8::try_from(self.id.len()).ok()?);
        out.extend_from_slice(self.id.as_bytes());
        out.extend_from_slice(&nonce);
        out.extend_from_slice(&sealed);
        Some(out.into())
    }
}

#[async_trait]
impl KeyProvider for LocalKeys {
    async fn seal(&self, plain: &[u8], context: &str) -> Result<Bytes, KeyError> {
        let key = self.keys.first();
        key.and_then(|key| key.seal(plain, context))
            .ok_or_else(|| KeyError::MissingKey("for sealing".to_owned()))
    }

    async fn open(&self, sealed: &[u8], context: &str) -> Result<Vec<u8>, KeyError> {
        let (id, nonce, ciphertext) = parts(sealed).ok_or(KeyError::Damaged)?;
        let key = self
            .keys
            .iter()
            .find(|key| key.id == id)
            .ok_or_else(|| KeyError::MissingKey(id.to_owned()))?;
        let payload = Payload { msg: ciphertext, aad: context.as_bytes() };
        key.cipher.decrypt(&XNonce::from(nonce), payload).map_err(|_| KeyError::Damaged)
    }
}

/// Splits what is sealed into key id, nonce and ciphertext; `None` when it was not sealed here.
fn parts(sealed: &[u8]) -> Option<(&str, [u8; NONCE_BYTES], &[u8])> {
    let (&format, rest) = sealed.split_first()?;
    let (&id_length, rest) = rest.split_first()?;
    let (id, rest) = rest.split_at_checked(usize::from(id_length))?;
    let (nonce, ciphertext) = rest.split_first_chunk()?;
    let id = std::str::from_utf8(id).ok()?;
    let plain = id.bytes().all(|b| b.is_ascii_graphic());
    (format == FORMAT && plain).then_some((id, *nonce, ciphertext))
}

/// Makes a directory that only its owner may enter, and what is missing above it. One that is there stays as it is.
///
/// # Errors
/// What the system says.
pub fn create_private_dir(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Writes a file that must not exist: whole and durable before it has its name, readable by its owner alone.
///
/// # Errors
/// `AlreadyExists` when there is something of that name; whatever else the system says.
pub fn write_secret_file(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".new");
    let temporary = PathBuf::from(temporary);
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
    file.write_all(content)?;
    file.sync_all()?;
    // A link, not a rename: it fails where there is something already.
    let linked = fs::hard_link(&temporary, path);
    fs::remove_file(&temporary)?;
    linked?;
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    // The name must survive a power cut as well as the content.
    File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
}
