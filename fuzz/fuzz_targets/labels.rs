//! Label sets: any pairs make the set that an ordered map makes, or are refused; what a matcher and
//! a builder do agrees with it.
#![no_main]

use std::collections::BTreeMap;

use ferula_index::{Labels, LabelsBuilder, MatchOp, Matcher};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|pairs: Vec<(&str, &str)>| {
    let model: BTreeMap<&str, &str> = pairs.iter().copied().collect();
    let made = Labels::from_pairs(pairs.iter().copied());
    assert_eq!(made.is_ok(), model.len() == pairs.len());

    let mut builder = LabelsBuilder::new();
    for (name, value) in &pairs {
        builder.set(name, value);
    }
    let Ok(labels) = builder.build() else { return };
    if let Ok(made) = made {
        assert_eq!(made, labels);
        assert_eq!(made.stable_hash(), labels.stable_hash());
    }
    let expected = model.iter().filter(|(_, value)| !value.is_empty());
    assert!(labels.iter().eq(expected.map(|(name, value)| (*name, *value))));
    assert_eq!(labels.iter().count(), labels.len());
    for (name, value) in &model {
        assert_eq!(labels.get(name).unwrap_or_default(), *value);
        if let Ok(matcher) = Matcher::new(MatchOp::Equal, *name, *value) {
            assert!(matcher.matches(labels.get(name).unwrap_or_default()));
        }
    }
    let mut builder = LabelsBuilder::from_labels(&labels);
    builder.retain(|name| name.len() % 2 == 0);
    let some = builder.build().expect("fewer labels of a set");
    assert!(some.iter().all(|(name, value)| labels.get(name) == Some(value)));
    let _ = labels.to_string();
});
