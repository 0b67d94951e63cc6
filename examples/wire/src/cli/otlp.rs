//! Flags for OTLP, as the `otlp` section of Prometheus's configuration has them.

use clap::{Args, ValueEnum};

use crate::otlp::{Deltas, OtlpOptions, PromotedAttributes, Translation};

/// Flags of a program that takes OTLP.
#[derive(Args, Clone, Debug)]
pub struct OtlpFlags {
    /// What becomes of names, by Prometheus's word: UnderscoreEscapingWithSuffixes,
    /// UnderscoreEscapingWithoutSuffixes, NoUTF8EscapingWithSuffixes, NoTranslation.
    #[arg(long, value_name = "STRATEGY", default_value = Translation::default().name())]
    pub otlp_translation_strategy: Translation,

    /// Attribute of resources that becomes a label of all their series; may be given several times.
    #[arg(long, value_name = "ATTRIBUTE", conflicts_with = "otlp_promote_all_resource_attributes")]
    pub otlp_promote_resource_attribute: Vec<String>,

    /// Make all attributes of resources labels of their series.
    #[arg(long)]
    pub otlp_promote_all_resource_attributes: bool,

    /// Attribute of resources that does not; may be given several times.
    #[arg(long, value_name = "ATTRIBUTE", requires = "otlp_promote_all_resource_attributes")]
    pub otlp_ignore_resource_attribute: Vec<String>,

    /// Keep service.name, service.namespace and service.instance.id in target_info.
    #[arg(long)]
    pub otlp_keep_identifying_resource_attributes: bool,

    /// Make histograms native ones with custom buckets.
    #[arg(long)]
    pub otlp_convert_histograms_to_nhcb: bool,

    /// Make name, version, schema and attributes of the scope labels.
    #[arg(long)]
    pub otlp_promote_scope_metadata: bool,

    /// What becomes of sums and histograms with delta temporality.
    #[arg(long, value_name = "WHAT", value_enum, default_value_t = DeltaFlag::Refuse)]
    pub otlp_deltas: DeltaFlag,
}

/// What becomes of deltas.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum DeltaFlag {
    /// They are refused.
    Refuse,
    /// They are stored as they are, with an unknown type.
    Keep,
}

impl OtlpFlags {
    /// What they say.
    pub fn options(&self) -> OtlpOptions {
        OtlpOptions {
            translation: self.otlp_translation_strategy,
            promoted_attributes: if self.otlp_promote_all_resource_attributes {
                PromotedAttributes::AllBut(self.otlp_ignore_resource_attribute.clone())
            } else {
                PromotedAttributes::Only(self.otlp_promote_resource_attribute.clone())
            },
            keep_identifying_attributes: self.otlp_keep_identifying_resource_attributes,
            custom_buckets: self.otlp_convert_histograms_to_nhcb,
            promote_scope: self.otlp_promote_scope_metadata,
            deltas: match self.otlp_deltas {
                DeltaFlag::Refuse => Deltas::Refuse,
                DeltaFlag::Keep => Deltas::Keep,
            },
            ..OtlpOptions::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Flags {
        #[command(flatten)]
        otlp: OtlpFlags,
    }

    #[test]
    fn flags_become_options() {
        let parse = |args: &[&str]| {
            Flags::try_parse_from([&["program"], args].concat()).map(|flags| flags.otlp.options())
        };
        let options = parse(&[]).unwrap();
        let expected = format!("{:?}", OtlpOptions::default());
        assert_eq!(format!("{options:?}"), expected);
        let options = parse(&[
            "--otlp-translation-strategy=NoTranslation",
            "--otlp-promote-all-resource-attributes",
            "--otlp-ignore-resource-attribute=a",
            "--otlp-deltas=keep",
        ])
        .unwrap();
        assert_eq!(options.translation, Translation::NoTranslation);
        assert_eq!(options.promoted_attributes, PromotedAttributes::AllBut(vec!["a".to_owned()]));
        assert_eq!(options.deltas, Deltas::Keep);
        assert!(parse(&["--otlp-ignore-resource-attribute=a"]).is_err());
        assert!(parse(&["--otlp-translation-strategy=Other"]).is_err());
    }
}
