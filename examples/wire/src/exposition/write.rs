//! Writing the text exposition format, version 0.0.4.

use super::MetricType;
use crate::number;

/// Content type of what [`PageWriter`] writes.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Writes one page of metrics.
///
/// ```
/// use ferula_wire::exposition::{MetricType, write::PageWriter};
///
/// let mut page = PageWriter::new();
/// page.family("up", "Whether it works.", MetricType::Gauge);
/// page.sample("up", &[("job", "api")], 1.0);
/// assert_eq!(page.finish(), b"# HELP up Whether it works.\n# TYPE up gauge\nup{job=\"api\"} 1\n");
/// ```
#[derive(Debug, Default)]
pub struct PageWriter {
    out: Vec<u8>,
}

impl PageWriter {
    /// Starts an empty page.
    pub fn new() -> Self {
        Self::default()
    }

    /// Starts a metric; its samples follow.
    pub fn family(&mut self, name: &str, help: &str, kind: MetricType) {
        self.push("# HELP ");
        self.push(name);
        self.push(" ");
        for c in help.chars() {
            match c {
                '\\' => self.push("\\\\"),
                '\n' => self.push("\\n"),
                c => self.push(c.encode_utf8(&mut [0; 4])),
            }
        }
        self.push("\n# TYPE ");
        self.push(name);
        self.push(" ");
        self.push(kind.as_str());
        self.push("\n");
    }

    /// Writes a sample of a metric whose name and label names need no quotes.
    pub fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: f64) {
        self.push(name);
        for (i, (label, text)) in labels.iter().enumerate() {
            self.push(if i == 0 { "{" } else { "," });
            self.push(label);
            self.push("=\"");
            for c in text.chars() {
                match c {
                    '\\' => self.push("\\\\"),
                    '\n' => self.push("\\n"),
                    '"' => self.push("\\\""),
                    c => self.push(c.encode_utf8(&mut [0; 4])),
                }
            }
            self.push("\"");
        }
        self.push(if labels.is_empty() { " " } else { "} " });
        number::push_text(&mut self.out, value);
        self.push("\n");
    }

    /// The page.
    pub fn finish(self) -> Vec<u8> {
        self.out
    }

    fn push(&mut self, text: &str) {
        self.out.extend_from_slice(text.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exposition::text::{Entry, TextParser};

    #[test]
    fn what_is_written_is_read_back() {
        let mut page = PageWriter::new();
        page.family("a", "two\nlines \\", MetricType::Counter);
        page.sample("a", &[("x", "q\"\\\n"), ("y", "ü")], 1234567.0);
        let page = page.finish();
        let mut parser = TextParser::new(&page);
        let help = parser.next_entry().unwrap();
        assert_eq!(help, Some(Entry::Help { metric: "a", text: "two\\nlines \\\\" }));
        parser.next_entry().unwrap();
        let Some(Entry::Sample(sample)) = parser.next_entry().unwrap() else { panic!("sample") };
        assert_eq!(sample.value, 1234567.0);
        assert_eq!(
            parser.labels()[1..],
            [("x".into(), "q\"\\\n".into()), ("y".into(), "ü".into())]
        );
    }
}
