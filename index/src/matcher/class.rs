//! The character classes of Go's regular expressions.
//!
//! `\d`, `\s`, `\w` and the named classes are ASCII; `\p` takes the general categories and scripts
//! of Unicode by their exact names.

use regex_syntax::hir::{ClassUnicode, ClassUnicodeRange, HirKind};

/// Makes a class of inclusive ranges of code points. Surrogates, which no text holds, fall out.
pub(super) fn ranges(ranges: &[(u32, u32)]) -> ClassUnicode {
    let ranges = ranges.iter().filter_map(|&(low, high)| {
        let low = char::from_u32(low).unwrap_or('\u{e000}');
        let high = char::from_u32(high).unwrap_or('\u{d7ff}');
        (low <= high).then(|| ClassUnicodeRange::new(low, high))
    });
    ClassUnicode::new(ranges)
}

/// The class of a Perl escape, by its letter.
pub(super) fn perl(letter: char) -> Option<ClassUnicode> {
    let name = match letter.to_ascii_lowercase() {
        'd' => "digit",
        's' => return Some(negated(ascii_ranges("\t\n\u{c}\r "), letter == 'S')),
        'w' => "word",
        _ => return None,
    };
    named(name).map(|class| negated(class, letter.is_ascii_uppercase()))
}

/// A class in the manner of POSIX, by what stands between the colons of `[:name:]`.
pub(super) fn named(name: &str) -> Option<ClassUnicode> {
    let (name, negate) = match name.strip_prefix('^') {
        Some(name) => (name, true),
        None => (name, false),
    };
    let spans: &[(char, char)] = match name {
        "alnum" => &[('0', '9'), ('A', 'Z'), ('a', 'z')],
        "alpha" => &[('A', 'Z'), ('a', 'z')],
        "ascii" => &[('\0', '\x7f')],
        "blank" => &[('\t', '\t'), (' ', ' ')],
        "cntrl" => &[('\0', '\x1f'), ('\x7f', '\x7f')],
        "digit" => &[('0', '9')],
        "graph" => &[('!', '~')],
        "lower" => &[('a', 'z')],
        "print" => &[(' ', '~')],
        "punct" => &[('!', '/'), (':', '@'), ('[', '`'), ('{', '~')],
        "space" => &[('\t', '\r'), (' ', ' ')],
        "upper" => &[('A', 'Z')],
        "word" => &[('0', '9'), ('A', 'Z'), ('_', '_'), ('a', 'z')],
        "xdigit" => &[('0', '9'), ('A', 'F'), ('a', 'f')],
        _ => return None,
    };
    let class = spans.iter().map(|&(low, high)| ClassUnicodeRange::new(low, high));
    Some(negated(ClassUnicode::new(class), negate))
}

/// The class of a general category or script.
pub(crate) fn unicode(name: &str) -> Option<ClassUnicode> {
    match name {
        "Any" => return Some(ranges(&[(0, 0x10_ffff)])),
        // Go leaves the unassigned code points out of C, and no text holds surrogates.
        "C" => {
            let mut class = property("Cc")?;
            class.union(&property("Cf")?);
            class.union(&property("Co")?);
            return Some(class);
        }
        "Cs" => return Some(ClassUnicode::empty()),
        _ => {}
    }
    let is_category = match name.as_bytes() {
        [first] => b"LMNPSZ".contains(first),
        b"LC" => true,
        [first, second] => first.is_ascii_uppercase() && second.is_ascii_lowercase(),
        _ => false,
    };
    if is_category {
        return property(name);
    }
    // Scripts go by their long names only. Codes have four letters, like these names.
    let four = ["Ahom", "Cham", "Kawi", "Lisu", "Miao", "Modi", "Newa", "Thai", "Toto"];
    let is_word = |word: &str| {
        word.starts_with(|c: char| c.is_ascii_uppercase())
            && word.chars().skip(1).all(|c| c.is_ascii_lowercase())
    };
    // Lower case within the name, as Go has it: Nko, Phags_Pa, SignWriting.
    let is_name = name.split('_').all(is_word) || name == "SignWriting";
    if !is_name || (name.len() == 4 && !four.contains(&name)) {
        return None;
    }
    property(&format!("Script={name}"))
}

/// Makes the complement if `negate` says so.
pub(super) fn negated(mut class: ClassUnicode, negate: bool) -> ClassUnicode {
    if negate {
        class.negate();
    }
    class
}

fn ascii_ranges(chars: &str) -> ClassUnicode {
    ClassUnicode::new(chars.chars().map(|c| ClassUnicodeRange::new(c, c)))
}

/// Looks a property up in the tables of `regex-syntax`, which only its parser reaches.
fn property(name: &str) -> Option<ClassUnicode> {
    let hir = regex_syntax::parse(&format!(r"[\p{{{name}}}\p{{{name}}}]")).ok()?;
    match hir.into_kind() {
        HirKind::Class(regex_syntax::hir::Class::Unicode(class)) => Some(class),
        // A class of a single character is folded to a literal.
        HirKind::Literal(literal) => {
            let text = std::str::from_utf8(&literal.0).ok()?;
            Some(ascii_ranges(text))
        }
        _ => None,
    }
}
