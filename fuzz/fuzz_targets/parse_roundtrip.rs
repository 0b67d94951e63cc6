//! No text makes the parser panic, and what it prints reads back as the same query.
#![no_main]

use ferula_promql::parser::{ParseOptions, parse_with};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let expr = match parse_with(text, &ParseOptions::ALL) {
        Ok(expr) => expr,
        Err(error) => {
            // Drawing the place must hold for any text too.
            let drawn = format!("{error:#}");
            assert!(drawn.len() >= error.to_string().len());
            return;
        }
    };
    let printed = expr.to_string();
    for again in [&printed, &expr.pretty()] {
        match parse_with(again, &ParseOptions::ALL) {
            Ok(again) => assert_eq!(again.to_string(), printed),
            Err(error) => panic!("{text:?} printed as {again:?}: {error:#}"),
        }
    }
});
