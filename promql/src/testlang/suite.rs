//! Whole directories of scripts, and what passed of them before.
//!
//! A baseline file holds the number of evaluations that passed per script. A run that passes fewer
//! anywhere loses something, which the test that runs the suite reports.

use std::collections::BTreeMap;
use std::env;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::TestStorage;
use super::run::{Outcome, run_script};
use crate::Engine;

/// Names the directory of Prometheus's own scripts.
pub const SUITE_VARIABLE: &str = "FERULA_PROMQL_SUITE";

/// Set to write a new baseline instead of comparing with it.
pub const UPDATE_VARIABLE: &str = "FERULA_UPDATE_BASELINE";

/// Set to print why evaluations fail.
pub const VERBOSE_VARIABLE: &str = "FERULA_PROMQL_VERBOSE";

/// Which scripts a test runs, and what it compares with.
#[derive(Clone, Debug)]
pub struct Suite {
    /// Directories of scripts. One that does not exist is left out, and its part of the baseline.
    pub directories: Vec<PathBuf>,
    /// The baseline file.
    pub baseline: PathBuf,
    /// Whether to write the baseline instead of comparing with it.
    pub update: bool,
    /// Whether to say why evaluations fail.
    pub verbose: bool,
}

/// What a test that runs a suite has to tell.
#[derive(Debug)]
pub struct SuiteOutcome {
    /// What became of the scripts.
    pub report: SuiteReport,
    /// Directories that do not exist.
    pub missing: Vec<PathBuf>,
    /// What passed before and does not now.
    pub losses: Vec<Loss>,
}

impl Suite {
    /// A suite of Prometheus's scripts and the project's own, as the environment says.
    ///
    /// `root` is the root of the workspace. Prometheus's scripts are looked for where
    /// [`SUITE_VARIABLE`] says, relative to `root`, or else in `../shared/promqltest`.
    pub fn from_env(root: &Path, baseline: &Path) -> Self {
        let is_set = |name| env::var_os(name).is_some_and(|value| !value.is_empty());
        let external = env::var_os(SUITE_VARIABLE).unwrap_or_else(|| DEFAULT_SUITE.into());
        Self {
            directories: vec![root.join(external), root.join("promql/tests/scripts")],
            baseline: root.join(baseline),
            update: is_set(UPDATE_VARIABLE),
            verbose: is_set(VERBOSE_VARIABLE),
        }
    }

    /// Runs the scripts over `storage`, prints the report and compares with the baseline.
    ///
    /// # Errors
    /// If a script or the baseline cannot be read or written.
    pub fn run(&self, engine: &Engine, storage: &mut dyn TestStorage) -> io::Result<SuiteOutcome> {
        let mut report = SuiteReport::default();
        let mut missing = Vec::new();
        for directory in &self.directories {
            if directory.is_dir() {
                let part = SuiteReport::run(directory, engine, storage)?;
                self.print(directory, &part);
                report.files.extend(part.files);
            } else {
                println!("skipped, there is no {}", directory.display());
                missing.push(directory.clone());
            }
        }
        if self.update {
            fs::write(&self.baseline, report.baseline().to_string())?;
        }
        let text = fs::read_to_string(&self.baseline)?;
        let baseline = Baseline::parse(&text).map_err(io::Error::other)?;
        // Without all scripts there is nothing to say about those that did not run.
        let losses = if missing.is_empty() { baseline.losses(&report) } else { Vec::new() };
        Ok(SuiteOutcome { report, missing, losses })
    }

    fn print(&self, directory: &Path, report: &SuiteReport) {
        if self.verbose {
            report.files.iter().flat_map(FileReport::failures).for_each(|text| println!("{text}"));
        }
        println!("{}:\n{report}\n", directory.display());
    }
}

/// Where Prometheus's scripts are looked for.
const DEFAULT_SUITE: &str = "../shared/promqltest";

/// What became of the evaluations of one script.
#[derive(Debug)]
pub struct FileReport {
    /// Name of the script.
    pub name: String,
    /// One per evaluation.
    pub outcomes: Vec<Outcome>,
}

impl FileReport {
    /// Number of evaluations that passed.
    pub fn n_passed(&self) -> usize {
        self.outcomes.iter().filter(|outcome| outcome.result.is_ok()).count()
    }

    /// Writes why evaluations failed, one line each.
    pub fn failures(&self) -> impl Iterator<Item = String> + '_ {
        self.outcomes.iter().filter_map(|Outcome { line, query, result }| {
            let failure = result.as_ref().err()?;
            Some(format!("{}:{line}: {query}\n    {failure}", self.name))
        })
    }
}

impl fmt::Display for FileReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (passed, total) = (self.n_passed(), self.outcomes.len());
        // Nothing is ever skipped: what cannot be evaluated yet has failed.
        write!(f, "{}: {passed} of {total} evals passed, 0 skipped", self.name)
    }
}

/// What became of all scripts.
#[derive(Debug, Default)]
pub struct SuiteReport {
    /// One per script, in the order of their names.
    pub files: Vec<FileReport>,
}

impl SuiteReport {
    /// Runs every `*.test` file of `directory` over `storage`.
    ///
    /// # Errors
    /// If the directory or a script cannot be read.
    pub fn run(
        directory: &Path,
        engine: &Engine,
        storage: &mut dyn TestStorage,
    ) -> io::Result<Self> {
        let mut paths: Vec<PathBuf> = fs::read_dir(directory)?
            .map(|entry| entry.map(|entry| entry.path()))
            .collect::<io::Result<_>>()?;
        paths.retain(|path| path.extension().is_some_and(|extension| extension == "test"));
        paths.sort_unstable();
        let mut files = Vec::new();
        for path in paths {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let outcomes = run_script(&fs::read_to_string(&path)?, engine, storage);
            files.push(FileReport { name, outcomes });
        }
        Ok(Self { files })
    }

    /// Number of evaluations that passed, and of all.
    pub fn totals(&self) -> (usize, usize) {
        self.files.iter().fold((0, 0), |(passed, total), file| {
            (passed + file.n_passed(), total + file.outcomes.len())
        })
    }

    /// What passed, as a baseline for later runs.
    pub fn baseline(&self) -> Baseline {
        let passed = self.files.iter().map(|file| (file.name.clone(), file.n_passed()));
        Baseline { passed: passed.collect() }
    }
}

impl fmt::Display for SuiteReport {
    /// Writes one line per script and a total.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for file in &self.files {
            writeln!(f, "{file}")?;
        }
        let (passed, total) = self.totals();
        write!(f, "total: {passed} of {total} evals passed, 0 skipped")
    }
}

/// How many evaluations of each script passed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Baseline {
    passed: BTreeMap<String, usize>,
}

/// Evaluations of one script that passed before and do not now.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file}: {found} evals passed, {recorded} are on record")]
pub struct Loss {
    /// Name of the script.
    pub file: String,
    /// How many passed before.
    pub recorded: usize,
    /// How many pass now.
    pub found: usize,
}

impl Baseline {
    /// Reads a baseline: lines of a name and a number; a `#` starts a comment.
    ///
    /// # Errors
    /// [`BaselineError`] for the first line that is neither.
    pub fn parse(text: &str) -> Result<Self, BaselineError> {
        let mut passed = BTreeMap::new();
        for (i, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let entry = line.rsplit_once(' ').and_then(|(n, p)| Some((n.trim(), p.parse().ok()?)));
            let (name, count) = entry.ok_or(BaselineError { line: i + 1 })?;
            passed.insert(name.to_owned(), count);
        }
        Ok(Self { passed })
    }

    /// What passed before and does not in `report`.
    pub fn losses(&self, report: &SuiteReport) -> Vec<Loss> {
        let now = report.baseline().passed;
        self.passed
            .iter()
            .map(|(file, recorded)| Loss {
                file: file.clone(),
                recorded: *recorded,
                found: now.get(file).copied().unwrap_or_default(),
            })
            .filter(|loss| loss.found < loss.recorded)
            .collect()
    }
}

impl fmt::Display for Baseline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (file, passed) in &self.passed {
            writeln!(f, "{file} {passed}")?;
        }
        Ok(())
    }
}

/// A line of a baseline that is no name and number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line} of the baseline is no name and number")]
pub struct BaselineError {
    /// The line, from 1.
    pub line: usize,
}
