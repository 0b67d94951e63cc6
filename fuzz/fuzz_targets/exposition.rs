//! Pages of metrics: any bytes are read or refused with a line of the page.
#![no_main]

use ferula_wire::exposition::text::{Entry, TextParser};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|page: &[u8]| {
    let mut parser = TextParser::new(page);
    let n_lines = page.iter().filter(|byte| **byte == b'\n').count() + 1;
    let mut n_entries = 0;
    loop {
        match parser.next_entry() {
            Ok(None) => break,
            Ok(Some(entry)) => {
                n_entries += 1;
                assert!(n_entries <= n_lines, "an entry takes a line");
                if let Entry::Sample(sample) = entry {
                    let labels = parser.labels();
                    assert_eq!(labels[0].0, "__name__");
                    assert!(page.windows(sample.series.len()).any(|part| part == sample.series));
                }
            }
            Err(error) => {
                assert!(!error.to_string().is_empty());
                break;
            }
        }
        assert!(parser.line() <= n_lines + 1);
    }
});
