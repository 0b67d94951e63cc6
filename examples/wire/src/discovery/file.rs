//! Targets of files in JSON and YAML, read again when they change.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};
use std::{fs, io};

use tokio::task::spawn_blocking;
use tokio::time::sleep;

use super::{Group, Groups, MAX_DOCUMENT_BYTES, RawGroup, Sink};
use crate::config::FileDiscovery;
use crate::error::chain;

/// Label that tells the file of a target.
const FILE_PATH: &str = "__meta_filepath";

/// How often files are looked at; they are read if they have changed.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// Why a file is not taken. What it said before stays.
#[derive(Debug, thiserror::Error)]
enum FileError {
    #[error("cannot read the file")]
    Read(#[source] io::Error),
    #[error("the file has more than {MAX_DOCUMENT_BYTES} bytes")]
    TooLarge,
    #[error("not a list of target groups")]
    Json(#[source] serde_json::Error),
    #[error("not a list of target groups")]
    Yaml(#[source] serde_yaml_ng::Error),
}

/// What is known of one file.
#[derive(Debug, Default)]
struct Known {
    /// When it was written last, and how large it is.
    version: Option<(SystemTime, u64)>,
    groups: Groups,
}

/// Reads the files of a configuration until the task is ended.
pub(super) async fn run(config: FileDiscovery, sink: Sink) {
    let mut files = BTreeMap::new();
    let mut read_at: Option<Instant> = None;
    let interval = Duration::from_millis(config.refresh_ms.unsigned_abs());
    loop {
        let is_due = read_at.is_none_or(|at| at.elapsed() >= interval);
        let patterns = config.files.clone();
        let looked = spawn_blocking(move || {
            let is_changed = look(&patterns, &mut files, is_due);
            (files, is_changed)
        });
        let Ok((looked, is_changed)) = looked.await else { return };
        files = looked;
        if is_changed || read_at.is_none() {
            sink(files.values().flat_map(|known| known.groups.clone()).collect());
        }
        if is_due {
            read_at = Some(Instant::now());
        }
        sleep(LOOK_INTERVAL.min(interval)).await;
    }
}

/// Looks which files there are, and reads those that have changed, or all. Tells whether any group has.
fn look(patterns: &[PathBuf], files: &mut BTreeMap<PathBuf, Known>, is_due: bool) -> bool {
    let found: Vec<PathBuf> = patterns.iter().flat_map(|pattern| matching(pattern)).collect();
    let n_before = files.len();
    files.retain(|path, _| found.contains(path));
    let mut is_changed = files.len() < n_before;
    for path in found {
        let version = fs::metadata(&path)
            .and_then(|metadata| Ok((metadata.modified()?, metadata.len())))
            .ok();
        let known = files.entry(path.clone()).or_default();
        if !is_due && known.version == version {
            continue;
        }
        match read(&path) {
            Ok(groups) => {
                is_changed |= known.groups != groups;
                known.groups = groups;
            }
            // Said once for a version of the file.
            Err(error) if known.version != version => {
                let (file, error) = (path.display(), chain(&error));
                tracing::warn!(%file, error, "targets of a file stay as they were");
            }
            Err(_) => {}
        }
        known.version = version;
    }
    is_changed
}

/// The files that a path with asterisks and question marks in its last part stands for.
fn matching(pattern: &Path) -> Vec<PathBuf> {
    let name = pattern.file_name().unwrap_or_default().to_string_lossy();
    if !name.contains(['*', '?']) {
        return if pattern.exists() { vec![pattern.to_owned()] } else { Vec::new() };
    }
    let parent = pattern.parent().unwrap_or_else(|| Path::new(""));
    let dir = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
    let Ok(entries) = fs::read_dir(dir) else { return Vec::new() };
    let mut found: Vec<PathBuf> = entries
        .filter_map(Result::ok)
        .filter(|entry| is_match(name.as_bytes(), entry.file_name().to_string_lossy().as_bytes()))
        .map(|entry| parent.join(entry.file_name()))
        .collect();
    found.sort();
    found
}

/// Whether a name fits a pattern, in time that is the product of their lengths at most.
fn is_match(pattern: &[u8], name: &[u8]) -> bool {
    let (mut p, mut n) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    while n < name.len() {
        match pattern.get(p) {
            Some(b'*') => {
                retry = Some((p, n));
                p += 1;
            }
            Some(byte) if *byte == b'?' || *byte == name[n] => (p, n) = (p + 1, n + 1),
            _ => match &mut retry {
                Some((star, from)) => {
                    *from += 1;
                    (p, n) = (*star + 1, *from);
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

fn read(path: &Path) -> Result<Groups, FileError> {
    let size = fs::metadata(path).map_err(FileError::Read)?.len();
    if usize::try_from(size).is_ok_and(|size| size > MAX_DOCUMENT_BYTES) {
        return Err(FileError::TooLarge);
    }
    let text = fs::read(path).map_err(FileError::Read)?;
    let is_json = path.extension().is_some_and(|e| e.eq_ignore_ascii_case("json"));
    let groups: Vec<RawGroup> = match is_json {
        true => serde_json::from_slice(&text).map_err(FileError::Json)?,
        // An empty file is one without groups.
        false if text.iter().all(u8::is_ascii_whitespace) => Vec::new(),
        false => serde_yaml_ng::from_slice(&text).map_err(FileError::Yaml)?,
    };
    let origin = path.to_string_lossy();
    let groups = groups.into_iter().map(|group| group.into_group(FILE_PATH, &origin));
    Ok(groups.collect::<Vec<Group>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_stand_for_names() {
        for (pattern, name, fits) in [
            ("*.json", "a.json", true),
            ("*.json", ".json", true),
            ("a*b?.yml", "axxbc.yml", true),
            ("a*b?.yml", "axxb.yml", false),
            ("*.json", "a.jsonx", false),
            ("a.json", "a.json", true),
            ("*a*a*a*", "aaa", true),
            ("*a*a*a*", "aa", false),
        ] {
            assert_eq!(is_match(pattern.as_bytes(), name.as_bytes()), fits, "{pattern} {name}");
        }
    }

    #[test]
    fn files_come_change_break_and_go() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        let write = |name: &str, text: &str| fs::write(path(name), text).unwrap();
        let patterns = [path("*.json"), path("b.yml")];
        let mut files = BTreeMap::new();
        assert!(!look(&patterns, &mut files, true));
        write("a.json", r#"[{"targets": ["a:1", "b:2"], "labels": {"x": "y"}}, {"targets": []}]"#);
        write("b.yml", "- targets: ['c:3']\n");
        assert!(look(&patterns, &mut files, false));
        let addresses = |files: &BTreeMap<PathBuf, Known>| -> Vec<String> {
            let groups = files.values().flat_map(|known| &known.groups);
            groups.flat_map(|group| &group.targets).map(|t| t["__address__"].clone()).collect()
        };
        assert_eq!(addresses(&files), ["a:1", "b:2", "c:3"]);
        let group = &files[&path("a.json")].groups[0];
        assert_eq!(group.labels["x"], "y");
        assert_eq!(group.labels[FILE_PATH], path("a.json").to_string_lossy());
        // What is broken, or unknown, leaves what was there.
        for text in ["[{\"targets\": ", r#"[{"targets": [], "label": {}}]"#, "[null]", "{}"] {
            write("a.json", text);
            assert!(!look(&patterns, &mut files, false), "{text}");
            assert_eq!(addresses(&files), ["a:1", "b:2", "c:3"]);
        }
        write("a.json", r#"[{"targets": ["d:4"]}]"#);
        assert!(look(&patterns, &mut files, true));
        assert_eq!(addresses(&files), ["d:4", "c:3"]);
        fs::remove_file(path("b.yml")).unwrap();
        assert!(look(&patterns, &mut files, false));
        assert_eq!(addresses(&files), ["d:4"]);
    }
}
