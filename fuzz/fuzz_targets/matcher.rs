//! Regular expressions: any text is one or is refused, and the shortcuts agree with matching.
#![no_main]

use ferula_index::{MatchOp, Matcher};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (&str, &str)| {
    let (pattern, value) = input;
    let Ok(matcher) = Matcher::new(MatchOp::Regex, "name", pattern) else { return };
    if matcher.matches(value) {
        assert!(value.starts_with(matcher.prefix()));
    }
    if let Some(set) = matcher.set_values() {
        assert_eq!(matcher.matches(value), set.iter().any(|v| **v == *value));
        assert!(set.iter().all(|value| matcher.matches(value)));
    }
    let _ = matcher.to_string();
});
