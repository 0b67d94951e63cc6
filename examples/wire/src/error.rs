//! What can go wrong between the wire and the store.

use std::error::Error as StdError;
use std::fmt::Write;
use std::io;
use std::path::PathBuf;

use crate::config::ConfigProblem;

/// Errors of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file cannot be read.
    #[error("cannot read {file}", file = file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// An address cannot be served.
    #[error("cannot listen on {address}")]
    Listen {
        /// Host and port.
        address: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A configuration file does not have the form it must have.
    #[error("{file}:{line}: {field}: {reason}", file = file.display())]
    ConfigSyntax {
        /// The file.
        file: PathBuf,
        /// The line, counted from 1; 0 if it is not known.
        line: usize,
        /// The field, by its path from the top.
        field: String,
        /// What is wrong, in the words of the YAML parser.
        reason: String,
    },
    /// A configuration file makes no sense.
    #[error("{file}", file = file.display())]
    Config {
        /// The file.
        file: PathBuf,
        /// What is wrong.
        #[source]
        source: ConfigProblem,
    },
    /// A web configuration cannot be used.
    #[error("cannot use the web configuration")]
    Web(#[from] crate::cli::WebConfigError),
    /// The client that fetches pages cannot be made.
    #[error("cannot make the HTTP client")]
    Client(#[source] crate::client::ClientError),
}

/// The message of an error and of everything that caused it.
pub fn chain(error: &(dyn StdError + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        // Writing to a string cannot fail.
        let _ = write!(text, ": {error}");
        source = error.source();
    }
    text
}
