//! Secrets: where one comes from, and its text when it is needed. Nothing here prints one.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use secrecy::{ExposeSecret, SecretString};
use serde::{Serialize, Serializer};

use super::problem::Place;

/// Far above any key or token; a path that names something else is not read into memory.
const LARGEST_FILE: u64 = 64 * 1024;

/// A secret as the configuration gives it: a literal, `{env: NAME}` or `{file: PATH}`.
#[derive(Clone)]
pub struct Secret {
    origin: SecretOrigin,
    place: Option<Place>,
}

#[derive(Clone)]
pub(super) enum SecretOrigin {
    Literal(SecretString),
    Environment(String),
    File(PathBuf),
}

/// Why a secret cannot be read. Names variables and files, never what they hold.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    #[error("the environment variable {0} is not set: set it where tidemark starts")]
    Unset(String),
    #[error("the environment variable {0} is empty: set it where tidemark starts")]
    EmptyVariable(String),
    #[error("cannot read the secret's file {}: check its path and permissions", path.display())]
    Unreadable { path: PathBuf, source: std::io::Error },
    #[error("the secret's file {} is empty: write the secret into it", .0.display())]
    EmptyFile(PathBuf),
    #[error("the secret's file {} is larger than 64 KiB: name the file of the secret alone", .0.display())]
    TooLarge(PathBuf),
    #[error("the secret's file {} is not UTF-8 text: write the secret as text", .0.display())]
    NotText(PathBuf),
}

impl Secret {
    /// A secret that is known already, as tests and the demo make them.
    pub fn literal(text: impl Into<String>) -> Secret {
        Secret { origin: SecretOrigin::Literal(SecretString::from(text.into())), place: None }
    }

    pub(super) fn new(origin: SecretOrigin, place: Option<Place>) -> Secret {
        Secret { origin, place }
    }

    pub(super) fn place(&self) -> Option<&Place> {
        self.place.as_ref()
    }

    /// Whether reading it asks the disk, which blocks.
    pub fn is_in_a_file(&self) -> bool {
        match &self.origin {
            SecretOrigin::File(_) => true,
            SecretOrigin::Literal(_) | SecretOrigin::Environment(_) => false,
        }
    }

    /// The secret's text. A file is read at each call, so a rotated secret is seen; line ends at
    /// its end do not count.
    pub fn read(&self, env: &BTreeMap<String, String>) -> Result<SecretString, SecretError> {
        match &self.origin {
            SecretOrigin::Literal(text) => Ok(text.clone()),
            SecretOrigin::Environment(name) => match env.get(name) {
                None => Err(SecretError::Unset(name.clone())),
                Some(text) if text.is_empty() => Err(SecretError::EmptyVariable(name.clone())),
                Some(text) => Ok(SecretString::from(text.clone())),
            },
            SecretOrigin::File(path) => read_file(path),
        }
    }
}

fn read_file(path: &Path) -> Result<SecretString, SecretError> {
    let unreadable = |source| SecretError::Unreadable { path: path.to_owned(), source };
    if std::fs::metadata(path).map_err(unreadable)?.len() > LARGEST_FILE {
        return Err(SecretError::TooLarge(path.to_owned()));
    }
    let bytes = std::fs::read(path).map_err(unreadable)?;
    let text = String::from_utf8(bytes).map_err(|_| SecretError::NotText(path.to_owned()))?;
    let text = text.trim_end_matches(['\r', '\n']);
    if text.is_empty() {
        return Err(SecretError::EmptyFile(path.to_owned()));
    }
    Ok(SecretString::from(text))
}

/// Two secrets are equal when they come from the same place; a literal, when its text is equal.
impl PartialEq for Secret {
    fn eq(&self, other: &Secret) -> bool {
        match (&self.origin, &other.origin) {
            (SecretOrigin::Literal(one), SecretOrigin::Literal(other)) => {
                one.expose_secret() == other.expose_secret()
            }
            (SecretOrigin::Environment(one), SecretOrigin::Environment(other)) => one == other,
            (SecretOrigin::File(one), SecretOrigin::File(other)) => one == other,
            (
                SecretOrigin::Literal(_) | SecretOrigin::Environment(_) | SecretOrigin::File(_),
                _,
            ) => false,
        }
    }
}

impl Eq for Secret {}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str("***")
    }
}
