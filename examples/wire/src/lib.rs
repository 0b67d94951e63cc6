//! Wire formats and the HTTP API shared by the ferula programs.
//!
//! What a Prometheus server speaks, on top of a [`store::Store`] and a
//! [`Queryable`](ferula_promql::storage::Queryable): the text exposition format ([`exposition`]),
//! remote write ([`remote`]), the scraper and its configuration file ([`scrape`], [`config`]), and
//! the HTTP API ([`api`]). The programs beside this crate only put these together.

#![forbid(unsafe_code)]

pub mod api;
mod calendar;
pub mod cli;
pub mod config;
pub mod duration;
mod error;
pub mod exposition;
mod number;
pub mod remote;
pub mod scrape;
pub mod store;
pub mod telemetry;
#[cfg(feature = "testing")]
pub mod testing;

pub use error::{Error, chain};
