//! Names that do not fit the old alphabet, for clients that know no other one.

/// What becomes of such names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Escaping {
    /// They stay, in quotes.
    AllowUtf8,
    /// What does not fit becomes an underscore.
    Underscores,
    /// Dots become `_dot_`, and underscores two of them.
    Dots,
    /// They begin with `U__` and have the codes of characters between underscores.
    Values,
}

impl Escaping {
    const ALL: [(&str, Self); 4] = [
        ("allow-utf-8", Self::AllowUtf8),
        ("underscores", Self::Underscores),
        ("dots", Self::Dots),
        ("values", Self::Values),
    ];

    pub(super) fn find(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(known, _)| *known == name).map(|(_, escaping)| *escaping)
    }

    pub(super) fn as_str(self) -> &'static str {
        Self::ALL.iter().find(|(_, of)| *of == self).map_or("", |(name, _)| name)
    }

    /// The name as it is written.
    pub(super) fn apply(self, name: &str) -> String {
        if self == Self::AllowUtf8 || (self != Self::Dots && is_plain(name)) {
            return name.to_owned();
        }
        let mut out = String::with_capacity(name.len());
        if self == Self::Values {
            out.push_str("U__");
        }
        for (i, c) in name.chars().enumerate() {
            match (self, c) {
                (Self::Dots | Self::Values, '_') => out.push_str("__"),
                (Self::Dots, '.') => out.push_str("_dot_"),
                _ if is_plain_at(c, i) => out.push(c),
                (Self::Dots, _) => out.push_str("__"),
                (Self::Values, _) => out.push_str(&format!("_{:x}_", u32::from(c))),
                _ => out.push('_'),
            }
        }
        out
    }
}

/// Tells whether a name needs no quotes.
pub(super) fn is_plain(name: &str) -> bool {
    !name.is_empty() && name.chars().enumerate().all(|(i, c)| is_plain_at(c, i))
}

fn is_plain_at(c: char, index: usize) -> bool {
    c.is_ascii_alphabetic() || matches!(c, '_' | ':') || (c.is_ascii_digit() && index > 0)
}
