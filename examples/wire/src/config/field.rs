//! Durations and sizes as a configuration file writes them.

use std::fmt;

use serde::Deserialize;
use serde::de::{self, Deserializer, Visitor};

use crate::duration;

/// A duration; zero stands for one that is not given.
#[derive(Clone, Copy, Default)]
pub(super) struct Milliseconds(pub(super) i64);

impl Milliseconds {
    pub(super) fn or(self, default: i64) -> i64 {
        if self.0 == 0 { default } else { self.0 }
    }
}

impl<'de> Deserialize<'de> for Milliseconds {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Text("a duration", |text| {
            duration::parse(text).map(Self).map_err(|e| format!("{e}: {text:?}"))
        }))
    }
}

/// Reads a text by a function, inside of the parser's call, so that errors have the text's place.
pub(super) struct Text<T>(pub(super) &'static str, pub(super) fn(&str) -> Result<T, String>);

impl<T> Visitor<'_> for Text<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        self.1(text).map_err(E::custom)
    }
}

/// A size in bytes; zero stands for one that is not given.
#[derive(Clone, Copy, Default)]
pub(super) struct Bytes(pub(super) usize);

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Text("a size in bytes", |text| {
            parse_bytes(text)
                .map(Self)
                .ok_or_else(|| format!("not a valid size in bytes: {text:?}"))
        }))
    }
}

/// Reads a size such as `10MB`; all units are powers of 1024.
pub(crate) fn parse_bytes(text: &str) -> Option<usize> {
    if text == "0" {
        return Some(0);
    }
    let (digits, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit())?);
    let shift = match unit {
        "B" => 0,
        "KB" | "KiB" => 10,
        "MB" | "MiB" => 20,
        "GB" | "GiB" => 30,
        "TB" | "TiB" => 40,
        _ => return None,
    };
    digits.parse::<usize>().ok()?.checked_mul(1 << shift)
}
