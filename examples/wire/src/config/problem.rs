//! What makes a configuration senseless although it can be read.

/// Why a configuration makes no sense.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigProblem {
    /// There is nothing to scrape.
    #[error("there are no scrape configs")]
    NoJobs,
    /// A place to send samples to makes no sense.
    #[error("remote write to {url}: {reason}")]
    RemoteWrite {
        /// Its address.
        url: String,
        /// What is wrong.
        reason: String,
    },
    /// A job has no name.
    #[error("scrape config {index} has no job name")]
    NoJobName {
        /// Its place in the list, counted from 0.
        index: usize,
    },
    /// Two jobs have the same name.
    #[error("found multiple scrape configs with job name {job:?}")]
    DuplicateJob {
        /// The name.
        job: String,
    },
    /// A scrape could take longer than the time until the next one.
    #[error("scrape timeout greater than scrape interval for scrape config with job name {job:?}")]
    TimeoutExceedsInterval {
        /// Name of the job.
        job: String,
    },
    /// The timeout for all jobs is longer than the time between scrapes.
    #[error("global scrape timeout greater than scrape interval")]
    GlobalTimeoutExceedsInterval,
    /// A scheme that cannot be scraped.
    #[error("scheme {scheme:?} is not supported in scrape config with job name {job:?}")]
    Scheme {
        /// Name of the job.
        job: String,
        /// The scheme.
        scheme: String,
    },
    /// A target is not a host and a port.
    #[error("{target:?} is not a valid hostname in scrape config with job name {job:?}")]
    Target {
        /// Name of the job.
        job: String,
        /// The target.
        target: String,
    },
    /// A label has no name.
    #[error("empty label name in scrape config with job name {job:?}")]
    LabelName {
        /// Name of the job.
        job: String,
    },
    /// A list of protocols is empty, or has one twice.
    #[error(
        "scrape_protocols is empty or has a protocol twice in scrape config with job name {job:?}"
    )]
    Protocols {
        /// Name of the job.
        job: String,
    },
    /// Names are to be of letters, digits and underscores only, and asked for as they are.
    #[error(
        "metric_name_escaping_scheme allow-utf-8 needs metric_name_validation_scheme utf8 in scrape \
         config with job name {job:?}"
    )]
    Escaping {
        /// Name of the job.
        job: String,
    },
    /// What is said of how targets are asked does not go together.
    #[error("{reason} in scrape config with job name {job:?}")]
    Client {
        /// Name of the job.
        job: String,
        /// What does not.
        reason: String,
    },
}
