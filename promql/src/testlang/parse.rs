//! The commands of a script.
//!
//! A script is read line by line; a blank line or a comment ends a command. A command that is
//! wrong is kept as such, so that one bad line does not hide the others.

use regex::Regex;

use super::series::{SeriesError, SeriesLine, parse_series, parse_start_timestamps, quoted};
use crate::parser::literal;

/// One command of a script.
#[derive(Clone, Debug)]
pub struct Command {
    /// Its first line, from 1.
    pub line: usize,
    /// What it is.
    pub kind: CommandKind,
}

/// The kinds of command.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum CommandKind {
    /// `clear`: removes all samples.
    Clear,
    /// `load`: appends samples.
    Load(Load),
    /// `eval`: evaluates a query and compares.
    Eval(Box<Eval>),
    /// A load or another command that cannot be understood.
    Broken(ScriptError),
    /// An evaluation that cannot be understood, with its first line.
    BrokenEval(String, ScriptError),
}

/// Samples to append.
#[derive(Clone, Debug)]
pub struct Load {
    /// Distance of the values, in milliseconds.
    pub step_ms: i64,
    /// Whether classic histograms are loaded as native ones too.
    pub with_nhcb: bool,
    /// The series.
    pub series: Vec<LoadedSeries>,
}

/// A series of a load.
#[derive(Clone, Debug)]
pub struct LoadedSeries {
    /// Labels and values.
    pub line: SeriesLine,
    /// How far each start timestamp lies from its sample, in milliseconds; empty if there are none.
    pub start_offsets: Vec<Option<i64>>,
}

/// A query, when it is evaluated, and what must come out.
#[derive(Clone, Debug)]
pub struct Eval {
    /// The query.
    pub query: String,
    /// When it is evaluated.
    pub time: EvalTime,
    /// The times of expected values, if the result is a range vector.
    pub window: Option<Steps>,
    /// Whether the order of the result matters.
    pub is_ordered: bool,
    /// What the error must be, if there must be one.
    pub fail: Option<TextTest>,
    /// Warnings that must come up, and no others if there are any here.
    pub warns: Vec<TextTest>,
    /// Infos that must come up, and no others if there are any here.
    pub infos: Vec<TextTest>,
    /// Whether there must be no warning.
    pub no_warn: bool,
    /// Whether there must be no info.
    pub no_info: bool,
    /// The value.
    pub expected: Expected,
}

/// When a query is evaluated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EvalTime {
    /// Once, in milliseconds since the Unix epoch.
    Instant(i64),
    /// At several times.
    Range(Steps),
}

/// Times at equal distances, in milliseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Steps {
    /// The first.
    pub start: i64,
    /// None is later.
    pub end: i64,
    /// Their distance.
    pub step: i64,
}

/// The value that must come out.
#[derive(Clone, Debug)]
pub enum Expected {
    /// A scalar.
    Scalar(f64),
    /// A string.
    String(String),
    /// These series and no others.
    Series(Vec<SeriesLine>),
}

/// A test of an error's or annotation's text.
#[derive(Clone, Debug)]
pub enum TextTest {
    /// Every text passes.
    Any,
    /// This text passes.
    Message(String),
    /// Texts that this matches pass.
    Matches(Regex),
}

impl TextTest {
    /// Tells whether `text` passes.
    pub fn passes(&self, text: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Message(message) => message == text,
            Self::Matches(regex) => regex.is_match(text),
        }
    }
}

/// What is wrong with a command.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ScriptError {
    /// The command is none of those known.
    #[error("unknown command {0:?}")]
    UnknownCommand(String),
    /// A part of the command is missing or wrong.
    #[error("expected {expected} at {found:?}")]
    Syntax {
        /// What should stand there.
        expected: &'static str,
        /// The text found instead.
        found: String,
    },
    /// A duration is none.
    #[error("{0:?} is no duration")]
    Duration(String),
    /// A regular expression is none.
    #[error("{0:?} is no regular expression")]
    Regex(String),
    /// An end lies before its start.
    #[error("the end lies before the start")]
    Inverted,
    /// A line of an instant query's result has several values.
    #[error("an instant query has one value per series")]
    SeveralValues,
    /// Expectations that exclude each other.
    #[error("{0} and no_{0} exclude each other, and there is one fail at most")]
    Contradiction(&'static str),
    /// Start timestamps that do not fit the line behind them.
    #[error("start timestamps of {0} have no line of samples that fits")]
    StartTimestamps(String),
    /// A series or its values are wrong.
    #[error(transparent)]
    Series(#[from] SeriesError),
}

/// Parses a script.
pub fn parse_script(text: &str) -> Vec<Command> {
    let lines: Vec<&str> = text
        .lines()
        .map(|line| Some(line.trim()).filter(|line| !line.starts_with('#')).unwrap_or_default())
        .collect();
    let mut commands = Vec::new();
    let mut reader = Reader { lines: &lines, next: 0 };
    while let Some(first) = reader.next_line() {
        if first.is_empty() {
            continue;
        }
        let line = reader.next;
        let word = first.split_whitespace().next().unwrap_or_default().to_ascii_lowercase();
        let kind = if word == "clear" {
            CommandKind::Clear
        } else if word.starts_with("load") {
            match load(first, &mut reader) {
                Ok(load) => CommandKind::Load(load),
                Err(error) => {
                    reader.skip_block();
                    CommandKind::Broken(error)
                }
            }
        } else if word.starts_with("eval") {
            match eval(first, &mut reader) {
                Ok(eval) => CommandKind::Eval(Box::new(eval)),
                Err(error) => {
                    reader.skip_block();
                    CommandKind::BrokenEval(first.to_owned(), error)
                }
            }
        } else {
            CommandKind::Broken(ScriptError::UnknownCommand(first.to_owned()))
        };
        commands.push(Command { line, kind });
    }
    commands
}

struct Reader<'a> {
    lines: &'a [&'a str],
    next: usize,
}

impl<'a> Reader<'a> {
    fn next_line(&mut self) -> Option<&'a str> {
        let line = *self.lines.get(self.next)?;
        self.next += 1;
        Some(line)
    }

    /// The next line of the current command.
    fn block_line(&mut self) -> Option<&'a str> {
        let line = self.lines.get(self.next).filter(|line| !line.is_empty())?;
        self.next += 1;
        Some(line)
    }

    fn skip_block(&mut self) {
        while self.block_line().is_some() {}
    }
}

type Scripted<T> = Result<T, ScriptError>;

fn load(first: &str, reader: &mut Reader<'_>) -> Scripted<Load> {
    let (word, step) = first.split_once(char::is_whitespace).unwrap_or((first, ""));
    let with_nhcb = match word {
        "load" => false,
        "load_with_nhcb" => true,
        _ => return Err(ScriptError::UnknownCommand(word.to_owned())),
    };
    let step_ms = duration(step.trim())?;
    let mut series: Vec<LoadedSeries> = Vec::new();
    while let Some(line) = reader.block_line() {
        let mut loaded = LoadedSeries { line: SeriesLine::default(), start_offsets: Vec::new() };
        if line.split_whitespace().next().is_some_and(|word| word.ends_with("@st")) {
            let (labels, offsets) = parse_start_timestamps(line)?;
            let fail = || ScriptError::StartTimestamps(labels.to_string());
            loaded.line = parse_series(reader.block_line().ok_or_else(fail)?)?;
            if loaded.line.labels != labels || loaded.line.values.len() != offsets.len() {
                return Err(fail());
            }
            loaded.start_offsets = offsets;
        } else {
            loaded.line = parse_series(line)?;
        }
        // A later line for the same series replaces the earlier one.
        series.retain(|before| before.line.labels != loaded.line.labels);
        series.push(loaded);
    }
    Ok(Load { step_ms, with_nhcb, series })
}

fn eval(first: &str, reader: &mut Reader<'_>) -> Scripted<Eval> {
    let (word, rest) = first.split_once(char::is_whitespace).unwrap_or((first, ""));
    let (kind, rest) = word_of(rest);
    let (time, query) = match kind {
        "instant" => {
            let rest = keyword(rest, "at")?;
            let (at, rest) = word_of(rest);
            (EvalTime::Instant(duration(at)?), rest)
        }
        "range" => {
            let (start, rest) = word_of(keyword(rest, "from")?);
            let (end, rest) = word_of(keyword(rest, "to")?);
            let (step, rest) = word_of(keyword(rest, "step")?);
            (EvalTime::Range(steps(start, end, step)?), rest)
        }
        _ => return Err(syntax("\"instant\" or \"range\"", kind)),
    };
    if query.is_empty() {
        return Err(syntax("a query", query));
    }
    let mut eval = Eval {
        query: query.to_owned(),
        time,
        window: None,
        is_ordered: false,
        fail: None,
        warns: Vec::new(),
        infos: Vec::new(),
        no_warn: false,
        no_info: false,
        expected: Expected::Series(Vec::new()),
    };
    match word {
        "eval" => {}
        "eval_ordered" if kind == "instant" => eval.is_ordered = true,
        "eval_fail" => eval.fail = Some(TextTest::Any),
        "eval_warn" => eval.warns.push(TextTest::Any),
        "eval_info" => eval.infos.push(TextTest::Any),
        _ => return Err(ScriptError::UnknownCommand(word.to_owned())),
    }
    while let Some(line) = reader.block_line() {
        if !eval_line(&mut eval, line)? {
            break;
        }
    }
    Ok(eval)
}

/// Takes one line behind `eval`; tells whether more may follow.
fn eval_line(eval: &mut Eval, line: &str) -> Scripted<bool> {
    if eval.fail.is_some() {
        if let Some(message) = line.strip_prefix("expected_fail_message") {
            eval.fail = Some(TextTest::Message(message.trim().to_owned()));
            return Ok(false);
        }
        if let Some(pattern) = line.strip_prefix("expected_fail_regexp") {
            eval.fail = Some(TextTest::Matches(regex(pattern)?));
            return Ok(false);
        }
    }
    if let Some(window) = line.strip_prefix("expect range vector") {
        let (start, rest) = word_of(keyword(window, "from")?);
        let (end, rest) = word_of(keyword(rest, "to")?);
        let (step, _) = word_of(keyword(rest, "step")?);
        let steps = steps(start, end, step)?;
        eval.window = Some(steps);
        eval.time = EvalTime::Instant(steps.end);
        return Ok(true);
    }
    if let Some(text) = line.strip_prefix("expect string") {
        let (text, rest) = quoted(text.trim_start()).ok_or_else(|| syntax("a string", text))?;
        if !rest.is_empty() {
            return Err(syntax("the end of the line", rest));
        }
        eval.expected = Expected::String(text);
        return Ok(true);
    }
    if let ("expect", expectation) = word_of(line) {
        expect(eval, expectation)?;
        return Ok(true);
    }
    if let Some(value) = scalar(line) {
        eval.expected = Expected::Scalar(value);
        return Ok(false);
    }
    let series = parse_series(line)?;
    let is_instant = matches!(eval.time, EvalTime::Instant(_));
    if series.values.len() > 1 && is_instant && eval.window.is_none() {
        return Err(ScriptError::SeveralValues);
    }
    match &mut eval.expected {
        Expected::Series(expected) => expected.push(series),
        other => *other = Expected::Series(vec![series]),
    }
    Ok(true)
}

fn expect(eval: &mut Eval, expectation: &str) -> Scripted<()> {
    let (kind, rest) = word_of(expectation);
    let test = if rest.is_empty() {
        TextTest::Any
    } else if let Some(message) = rest.strip_prefix("msg:") {
        TextTest::Message(message.trim().to_owned())
    } else if let Some(pattern) = rest.strip_prefix("regex:") {
        TextTest::Matches(regex(pattern)?)
    } else {
        return Err(syntax("\"msg:\" or \"regex:\"", rest));
    };
    match kind {
        "ordered" => eval.is_ordered = true,
        "fail" if eval.fail.is_some() => return Err(ScriptError::Contradiction("fail")),
        "fail" => eval.fail = Some(test),
        "warn" => eval.warns.push(test),
        "info" => eval.infos.push(test),
        "no_warn" => eval.no_warn = true,
        "no_info" => eval.no_info = true,
        _ => return Err(syntax("an expectation", kind)),
    }
    if eval.no_warn && !eval.warns.is_empty() {
        return Err(ScriptError::Contradiction("warn"));
    }
    if eval.no_info && !eval.infos.is_empty() {
        return Err(ScriptError::Contradiction("info"));
    }
    Ok(())
}

fn scalar(line: &str) -> Option<f64> {
    let unsigned = line.strip_prefix(['+', '-']).unwrap_or(line);
    let value = literal::number(unsigned).ok()?;
    Some(if line.starts_with('-') { -value } else { value })
}

fn syntax(expected: &'static str, found: &str) -> ScriptError {
    ScriptError::Syntax { expected, found: found.to_owned() }
}

/// The first word of `text` and the rest.
fn word_of(text: &str) -> (&str, &str) {
    let text = text.trim_start();
    let (word, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    (word, rest.trim_start())
}

fn keyword<'a>(text: &'a str, expected: &'static str) -> Scripted<&'a str> {
    match word_of(text) {
        (word, rest) if word == expected => Ok(rest),
        (word, _) => Err(syntax(expected, word)),
    }
}

fn duration(text: &str) -> Scripted<i64> {
    let fail = || ScriptError::Duration(text.to_owned());
    literal::duration_ms(text).ok().and_then(|ms| i64::try_from(ms).ok()).ok_or_else(fail)
}

fn steps(start: &str, end: &str, step: &str) -> Scripted<Steps> {
    let steps = Steps { start: duration(start)?, end: duration(end)?, step: duration(step)? };
    if steps.end < steps.start { Err(ScriptError::Inverted) } else { Ok(steps) }
}

fn regex(pattern: &str) -> Scripted<Regex> {
    Regex::new(pattern.trim()).map_err(|_| ScriptError::Regex(pattern.trim().to_owned()))
}
