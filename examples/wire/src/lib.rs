//! Wire formats and the HTTP API shared by the ferula programs.
//!
//! What a Prometheus server speaks, on top of a [`store::Store`] and a
//! [`Queryable`](ferula_promql::storage::Queryable): the text exposition format ([`exposition`]),
//! remote write ([`remote`]), OTLP metrics ([`otlp`]), the scraper and its configuration file ([`scrape`], [`config`]), and
//! the HTTP API ([`api`]). The programs beside this crate only put these together. To keep metrics
//! within a program, without a server, `ferula-tsdb` and `ferula-promql` are enough.
//!
//! ```
//! use std::sync::Arc;
//!
//! use ferula_tsdb::{Db, Options};
//! use ferula_wire::api::{self, ApiState};
//!
//! # let dir = tempfile::tempdir()?;
//! let db = Arc::new(Db::open(dir.path(), Options::default())?);
//! let state = ApiState::builder(db.clone()).store(db.clone()).enable_remote_write(true).build();
//! let router: axum::Router = api::router(state);
//! // axum::serve(listener, router).await?;
//! # drop(router);
//! db.close()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Guarantees
//!
//! - A remote write request that was answered with success is in the log, all of it; a page is
//!   stored whole with its report, or only the report is.
//! - Answers of the API are Prometheus's, errors included, where both have something to say.
//! - Whatever comes in over the network is bounded (`docs/limits.md`), and none of it panics.
//! - What a configuration file asks for and is not there is refused, not passed over.
//!
//! # Features
//!
//! | feature | what it adds |
//! | --- | --- |
//! | `testing` | `testing`: programs as child processes, for tests |

#![forbid(unsafe_code)]

pub mod api;
mod calendar;
pub mod cli;
pub mod client;
pub mod compression;
pub mod config;
mod discovery;
pub mod duration;
mod error;
pub mod exposition;
mod number;
pub mod otlp;
pub mod pressure;
mod protobuf;
pub mod read;
pub mod relabel;
pub mod remote;
pub mod scrape;
pub mod send;
pub mod store;
pub mod telemetry;
#[cfg(feature = "testing")]
pub mod testing;
pub mod union;

pub use error::{Error, chain};
