//! The names of connections, publications and limits. State belongs to these names, so they are
//! plain: lower-case letters, digits and `-`.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use serde::Serialize;

fn is_plain(text: &str) -> bool {
    !text.is_empty()
        && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
}

macro_rules! plain_name {
    ($(#[$meaning:meta])* $name:ident) => {
        $(#[$meaning])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
        #[serde(transparent)]
        pub struct $name(Arc<str>);

        impl $name {
            /// `None` unless the text is lower-case letters, digits and `-`.
            pub fn parse(text: &str) -> Option<$name> {
                is_plain(text).then(|| $name(text.into()))
            }

            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

plain_name! {
    /// The name of a connection: `district`.
    ConnectionName
}

plain_name! {
    /// The name of a publication: `district-to-state`.
    PublicationName
}

plain_name! {
    /// The name of a limit that connections share: `state-ods`.
    LimitName
}
