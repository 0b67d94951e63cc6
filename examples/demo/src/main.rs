//! Scraper, store and page in one process: the shortest way to see the rest at work.

#![forbid(unsafe_code)]

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use ferula_wire::api::{self, ApiState, page::Page};
use ferula_wire::cli::{self, Failure, QueryFlags, Server, ServerFlags, StoreFlags};
use ferula_wire::config::ScrapeFile;
use ferula_wire::scrape::Scraper;
use ferula_wire::telemetry::Registry;
use tokio::time::timeout;

/// What the page shows first: it is there after the first scrape, and moves with each one.
const FIRST_QUERY: &str = "scrape_duration_seconds";

/// Scrapes itself and whatever else is named, stores that, and shows it on a page.
///
/// Open the address that it prints in a browser.
#[derive(Debug, Parser)]
#[command(version, after_help = cli::EXIT_CODES)]
struct Flags {
    #[command(flatten)]
    server: ServerFlags,

    #[command(flatten)]
    query: QueryFlags,

    #[command(flatten)]
    store: StoreFlags,

    /// Also scrape http://HOST:PORT/metrics; may be given several times.
    #[arg(long, value_name = "HOST:PORT", value_parser = host_and_port)]
    scrape: Vec<String>,

    /// Time between the scrapes of a target, with its unit, for instance 500ms or 5s.
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = duration)]
    interval: String,
}

fn main() -> ExitCode {
    let (flags, values) = cli::parse::<Flags>();
    cli::run(flags.server.log_level, serve(flags, values))
}

async fn serve(flags: Flags, values: Vec<(String, String)>) -> Result<(), Failure> {
    let server = Server::bind(&flags.server).await?;
    let targets = targets(&server.local_address().to_string(), &flags);
    let file = ScrapeFile::parse(&targets, Path::new("--interval"))?;
    let registry = Arc::new(Registry::new());
    let db = flags.store.open(&registry).await?;
    let scraper = Scraper::start(&file, db.clone(), &registry)?;
    let state = server
        .configure(flags.query.configure(ApiState::builder(db.clone())))
        .notes(db.clone())
        .store(db.clone())
        .data_dir(&flags.store.data)
        .targets(scraper.targets())
        .registry(registry)
        .config_text(file.text)
        .build_information(cli::build_information())
        .flags(values)
        .enable_admin(flags.store.enable_admin_api)
        .build();
    let page = Page::new().query(FIRST_QUERY).range("1m").refresh("1s");
    let outcome = server.serve(api::router(state).merge(page.router())).await;
    // The series end here instead of being looked back to, unless that takes long.
    let _ = timeout(cli::GRACE_PERIOD, scraper.remove_targets()).await;
    db.close()?;
    Ok(outcome?)
}

/// The configuration file that a scraper with these targets would have.
fn targets(own: &str, flags: &Flags) -> String {
    let mut file = format!(
        "global: {{scrape_interval: '{interval}', scrape_timeout: '{interval}'}}\n\
         scrape_configs:\n\
         - {{job_name: demo, static_configs: [{{targets: ['{own}']}}]}}\n",
        interval = flags.interval,
    );
    if !flags.scrape.is_empty() {
        let targets = flags.scrape.join("', '");
        file.push_str(&format!(
            "- {{job_name: scrape, static_configs: [{{targets: ['{targets}']}}]}}\n"
        ));
    }
    file
}

/// Accepts a duration. Zero would mean the default of the file above.
fn duration(text: &str) -> Result<String, String> {
    match ferula_wire::duration::parse(text) {
        Ok(0) => Err("it must be at least a millisecond".to_owned()),
        Ok(_) => Ok(text.to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

/// Accepts what a target address consists of, and so nothing that has a meaning in the file above.
fn host_and_port(text: &str) -> Result<String, String> {
    let (host, port) = text.rsplit_once(':').ok_or("the port is missing")?;
    if host.is_empty() || !host.chars().all(|c| c.is_ascii_alphanumeric() || "-._:[]".contains(c)) {
        return Err("this is no host".to_owned());
    }
    port.parse::<u16>().map_err(|error| format!("port: {error}"))?;
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_that_are_accepted_make_a_file() {
        for interval in ["0", "0s", "x", "5", "1s', x: '"] {
            assert!(Flags::try_parse_from(["demo", "--interval", interval]).is_err(), "{interval}");
        }
        for target in ["a", "a:x", "a:65536", ":1", "a', 'b:1", "a b:1"] {
            assert!(Flags::try_parse_from(["demo", "--scrape", target]).is_err(), "{target}");
        }
        let flags = ["demo", "--interval", "500ms", "--scrape", "a-b.c:1", "--scrape", "[::1]:2"];
        let flags = Flags::try_parse_from(flags).expect("all flags are right");
        let text = targets("127.0.0.1:9090", &flags);
        let file = ScrapeFile::parse(&text, Path::new("x")).expect("a file that is right");
        assert_eq!(file.jobs[0].interval_ms, 500);
        assert_eq!(file.jobs[1].static_configs[0].targets, ["a-b.c:1", "[::1]:2"]);
    }
}
