//! The language of Go's regular expressions, which is RE2's.
//!
//! It is parsed here and not by `regex-syntax`, because the two languages differ in many small
//! ways: Perl classes and word boundaries are ASCII; `\Q…\E` quotes; `[`, `&&`, `--` and `~~` mean
//! nothing within brackets; a brace that opens no valid repetition is a literal; repetitions count
//! to 1000 and are not stacked; escapes that stand for nothing are errors. What is parsed is
//! handed on as the intermediate form of `regex-syntax`.

use regex_syntax::hir::{Capture, ClassUnicode, Dot, Hir, Look, Repetition};

use super::class;

/// Highest count of a repetition, counts of nested ones multiplied.
const MAX_REPEAT: u32 = 1000;

/// Deepest nesting of an expression. Go has 1000; what compiles expressions here is recursive.
const MAX_DEPTH: u32 = 250;

/// An expression that was parsed.
pub(super) struct Parsed {
    pub(super) hir: Hir,
    /// The names of the groups that capture, by number from 1, where they have some.
    pub(super) groups: Vec<Option<Box<str>>>,
}

/// Parses a regular expression in which `.` matches newlines too. Groups capture only if they
/// are asked to.
///
/// The error says what is wrong in the words of Go.
pub(super) fn parse(pattern: &str, captures: bool) -> Result<Parsed, SyntaxError> {
    Parser::new(pattern, captures).parse()
}

/// What is wrong with a regular expression, and the part of it where that is.
#[derive(Debug, thiserror::Error)]
#[error("{problem}: `{part}`")]
pub(super) struct SyntaxError {
    problem: &'static str,
    part: String,
}

#[derive(Clone, Copy)]
struct Flags {
    /// `i`
    fold_case: bool,
    /// `m`
    multi_line: bool,
    /// `s`
    dot_newline: bool,
    /// `U`
    lazy: bool,
}

/// A part of an expression, with what is to be known of it where it is repeated.
struct Item {
    hir: Hir,
    depth: u32,
    /// The counts of nested repetitions multiplied, where they are highest.
    repeats: u32,
}

/// A group that is open.
struct Group {
    alternatives: Vec<Item>,
    /// The alternative that is being read.
    items: Vec<Item>,
    /// The flags to go back to.
    outer: Flags,
    /// The number under which it captures.
    capture: Option<u32>,
}

struct Parser<'a> {
    whole: &'a str,
    rest: &'a str,
    flags: Flags,
    /// Never empty: the first is the expression itself.
    groups: Vec<Group>,
    captures: bool,
    names: Vec<Option<Box<str>>>,
}

impl<'a> Parser<'a> {
    fn new(pattern: &'a str, captures: bool) -> Self {
        let flags = Flags { fold_case: false, multi_line: false, dot_newline: true, lazy: false };
        let groups = vec![Group::new(flags, None)];
        Self { whole: pattern, rest: pattern, flags, groups, captures, names: Vec::new() }
    }

    fn parse(mut self) -> Result<Parsed, SyntaxError> {
        // Where the last token began, if it was a repetition.
        let mut last_repeat = None;
        while let Some(c) = self.rest.chars().next() {
            let before = self.rest;
            let mut is_repeat = false;
            match c {
                '(' => self.open_group()?,
                '|' => {
                    self.skip(1);
                    let group = self.group();
                    let items = std::mem::take(&mut group.items);
                    group.alternatives.push(concat(items)?);
                }
                ')' => self.close_group()?,
                '^' => self.push_look(1, Look::StartLF, Look::Start),
                '$' => self.push_look(1, Look::EndLF, Look::End),
                '.' => {
                    self.skip(1);
                    let all = self.flags.dot_newline;
                    let dot = if all { Dot::AnyChar } else { Dot::AnyCharExceptLF };
                    self.push(Hir::dot(dot));
                }
                '[' => {
                    let class = self.bracket_class()?;
                    self.push(class_hir(class));
                }
                '*' | '+' | '?' => {
                    self.skip(1);
                    let (min, max) = match c {
                        '*' => (0, None),
                        '+' => (1, None),
                        _ => (0, Some(1)),
                    };
                    self.repeat(min, max, before, last_repeat)?;
                    is_repeat = true;
                }
                '{' => match parse_counts(before) {
                    Some((counts, rest)) => {
                        self.rest = rest;
                        let Counts::Valid { min, max } = counts else {
                            return Err(self.error("invalid repeat count", before));
                        };
                        self.repeat(min, max, before, last_repeat)?;
                        is_repeat = true;
                    }
                    None => self.push_literal(1, '{'),
                },
                '\\' => self.escape()?,
                c => self.push_literal(c.len_utf8(), c),
            }
            last_repeat = is_repeat.then_some(before);
        }
        match self.groups.pop() {
            Some(group) if self.groups.is_empty() => {
                Ok(Parsed { hir: group.finish()?.hir, groups: self.names })
            }
            _ => Err(problem("missing closing )", self.whole)),
        }
    }

    fn group(&mut self) -> &mut Group {
        self.groups.last_mut().expect("the expression itself is a group")
    }

    fn skip(&mut self, n_bytes: usize) {
        self.rest = &self.rest[n_bytes..];
    }

    fn push(&mut self, hir: Hir) {
        self.group().items.push(Item { hir, depth: 1, repeats: 1 });
    }

    fn push_look(&mut self, n_bytes: usize, multi_line: Look, otherwise: Look) {
        self.skip(n_bytes);
        let look = if self.flags.multi_line { multi_line } else { otherwise };
        self.push(Hir::look(look));
    }

    fn push_literal(&mut self, n_bytes: usize, c: char) {
        self.skip(n_bytes);
        let hir = self.literal(u32::from(c));
        self.push(hir);
    }

    /// One code point, or those it is folded with.
    fn literal(&self, code: u32) -> Hir {
        class_hir(self.folded(class::ranges(&[(code, code)])))
    }

    fn folded(&self, mut class: ClassUnicode) -> ClassUnicode {
        if self.flags.fold_case {
            class.try_case_fold_simple().expect("the case tables are built in");
        }
        class
    }

    /// Reads `(`, `(?flags)`, `(?flags:`, `(?P<name>` or `(?<name>`.
    fn open_group(&mut self) -> Result<(), SyntaxError> {
        let before = self.rest;
        let outer = self.flags;
        let Some(special) = before.strip_prefix("(?") else {
            self.skip(1);
            self.open_capture(outer, None);
            return Ok(());
        };
        let named = special.strip_prefix("P<").or(special.strip_prefix('<'));
        if let Some(named) = named.filter(|named| !named.is_empty()) {
            let Some((name, rest)) = named.split_once('>') else {
                return Err(problem("invalid named capture", before));
            };
            if name.is_empty() || !name.chars().all(|c| c == '_' || c.is_ascii_alphanumeric()) {
                let part = &before[..before.len() - rest.len()];
                return Err(problem("invalid named capture", part));
            }
            self.rest = rest;
            self.open_capture(outer, Some(name));
            return Ok(());
        }
        self.rest = special;
        let mut flags = self.flags;
        let mut set_to = true;
        let mut saw_flag = false;
        while let Some(c) = self.rest.chars().next() {
            self.skip(c.len_utf8());
            match c {
                'i' => flags.fold_case = set_to,
                'm' => flags.multi_line = set_to,
                's' => flags.dot_newline = set_to,
                'U' => flags.lazy = set_to,
                '-' if set_to => {
                    set_to = false;
                    saw_flag = false;
                    continue;
                }
                ':' | ')' if set_to || saw_flag => {
                    if c == ':' {
                        self.groups.push(Group::new(outer, None));
                    }
                    self.flags = flags;
                    return Ok(());
                }
                _ => break,
            }
            saw_flag = true;
        }
        Err(self.error("invalid or unsupported Perl syntax", before))
    }

    fn open_capture(&mut self, outer: Flags, name: Option<&str>) {
        self.names.push(name.map(Box::from));
        let number = u32::try_from(self.names.len()).ok().filter(|_| self.captures);
        self.groups.push(Group::new(outer, number));
    }

    fn close_group(&mut self) -> Result<(), SyntaxError> {
        if self.groups.len() < 2 {
            return Err(problem("unexpected )", self.whole));
        }
        self.skip(1);
        if let Some(group) = self.groups.pop() {
            self.flags = group.outer;
            let capture = group.capture;
            let mut item = group.finish()?;
            if let Some(index) = capture {
                let sub = Box::new(item.hir);
                item.hir = Hir::capture(Capture { index, name: None, sub });
                item.depth = deeper(item.depth)?;
            }
            self.group().items.push(item);
        }
        Ok(())
    }

    /// Repeats the last item; the operator itself was read, a `?` behind it was not.
    fn repeat(
        &mut self,
        min: u32,
        max: Option<u32>,
        before: &'a str,
        last_repeat: Option<&'a str>,
    ) -> Result<(), SyntaxError> {
        let greedy = match self.rest.strip_prefix('?') {
            Some(rest) => {
                self.rest = rest;
                self.flags.lazy
            }
            None => !self.flags.lazy,
        };
        if let Some(last) = last_repeat {
            return Err(self.error("invalid nested repetition operator", last));
        }
        let Some(item) = self.group().items.pop() else {
            return Err(self.error("missing argument to repetition operator", before));
        };
        // A count of zero takes away whatever is repeated, and no count at all does not add up.
        let repeats = match max.unwrap_or(min) {
            0 if max.is_some() => 0,
            0 => item.repeats,
            count => item.repeats.saturating_mul(count),
        };
        if repeats > MAX_REPEAT && (min >= 2 || max.is_some_and(|max| max >= 2)) {
            return Err(self.error("invalid repeat count", before));
        }
        let depth = deeper(item.depth)?;
        let hir = Hir::repetition(Repetition { min, max, greedy, sub: Box::new(item.hir) });
        self.group().items.push(Item { hir, depth, repeats });
        Ok(())
    }

    /// Reads what begins with a backslash, outside of brackets.
    fn escape(&mut self) -> Result<(), SyntaxError> {
        let before = self.rest;
        match before[1..].chars().next() {
            Some('A') => {
                self.skip(2);
                self.push(Hir::look(Look::Start));
            }
            Some('z') => {
                self.skip(2);
                self.push(Hir::look(Look::End));
            }
            Some('b') => {
                self.skip(2);
                self.push(Hir::look(Look::WordAscii));
            }
            Some('B') => {
                self.skip(2);
                self.push(Hir::look(Look::WordAsciiNegate));
            }
            Some('C') => return Err(problem("invalid escape sequence", r"\C")),
            Some('Q') => {
                let quoted = &before[2..];
                let (quoted, rest) = quoted.split_once(r"\E").unwrap_or((quoted, ""));
                for c in quoted.chars() {
                    self.push_literal(0, c);
                }
                self.rest = rest;
            }
            _ => {
                let hir = match self.escaped_class()? {
                    Some(class) => class_hir(class),
                    None => {
                        let code = self.escaped_code_point()?;
                        self.literal(code)
                    }
                };
                self.push(hir);
            }
        }
        Ok(())
    }

    /// Reads `\d` and its like or `\p{…}`, if that is what comes.
    fn escaped_class(&mut self) -> Result<Option<ClassUnicode>, SyntaxError> {
        let before = self.rest;
        let Some(letter) = before.strip_prefix('\\').and_then(|rest| rest.chars().next()) else {
            return Ok(None);
        };
        if let Some(class) = class::perl(letter.to_ascii_lowercase()) {
            self.skip(2);
            return Ok(Some(class::negated(self.folded(class), letter.is_ascii_uppercase())));
        }
        if !matches!(letter, 'p' | 'P') {
            return Ok(None);
        }
        let after = &before[2..];
        let (name, rest) = match after.strip_prefix('{') {
            Some(braced) => match braced.split_once('}') {
                Some(split) => split,
                None => return Err(problem("invalid character class range", before)),
            },
            None => after.split_at(after.chars().next().map_or(0, char::len_utf8)),
        };
        let (name, negate) = match name.strip_prefix('^') {
            Some(name) => (name, letter == 'p'),
            None => (name, letter == 'P'),
        };
        self.rest = rest;
        match class::unicode(name) {
            Some(class) => Ok(Some(class::negated(self.folded(class), negate))),
            None => Err(self.error("invalid character class range", before)),
        }
    }

    /// Reads an escape that stands for one code point.
    fn escaped_code_point(&mut self) -> Result<u32, SyntaxError> {
        let before = self.rest;
        self.skip(1);
        let Some(c) = self.rest.chars().next() else {
            return Err(problem("trailing backslash at end of expression", ""));
        };
        self.skip(c.len_utf8());
        let code = match c {
            '0'..='7' => self.octal(c),
            'x' => self.hexadecimal(),
            'a' => Some(0x07),
            'f' => Some(0x0c),
            'n' => Some(0x0a),
            'r' => Some(0x0d),
            't' => Some(0x09),
            'v' => Some(0x0b),
            c if c.is_ascii() && !c.is_ascii_alphanumeric() => Some(u32::from(c)),
            _ => None,
        };
        code.ok_or_else(|| self.error("invalid escape sequence", before))
    }

    /// Reads up to two more octal digits. A single one that is not zero would refer back to a
    /// group.
    fn octal(&mut self, first: char) -> Option<u32> {
        let mut code = first.to_digit(8)?;
        for i in 0..2 {
            match self.rest.chars().next().and_then(|c| c.to_digit(8)) {
                Some(digit) => code = code * 8 + digit,
                None if i == 0 && first != '0' => return None,
                None => break,
            }
            self.skip(1);
        }
        Some(code)
    }

    /// Reads two hexadecimal digits, or any number of them in braces.
    fn hexadecimal(&mut self) -> Option<u32> {
        let mut digit = || {
            let c = self.rest.chars().next()?;
            self.rest = &self.rest[c.len_utf8()..];
            Some(c)
        };
        let first = digit()?;
        if first != '{' {
            let second = digit()?;
            return Some(first.to_digit(16)? * 16 + second.to_digit(16)?);
        }
        let mut code = digit()?.to_digit(16)?;
        loop {
            match digit()? {
                '}' => return Some(code),
                c => code = code * 16 + c.to_digit(16)?,
            }
            if code > u32::from(char::MAX) {
                return None;
            }
        }
    }

    /// Reads a class in brackets.
    fn bracket_class(&mut self) -> Result<ClassUnicode, SyntaxError> {
        let whole = self.rest;
        self.skip(1);
        let negate = self.rest.starts_with('^');
        if negate {
            self.skip(1);
        }
        let mut class = ClassUnicode::empty();
        let mut is_first = true;
        // A closing bracket that comes first is an ordinary character.
        while is_first || !self.rest.starts_with(']') {
            is_first = false;
            let part = match self.named_class()? {
                Some(named) => named,
                None => match self.escaped_class()? {
                    Some(escaped) => escaped,
                    None => self.class_range(whole)?,
                },
            };
            class.union(&part);
        }
        self.skip(1);
        Ok(class::negated(class, negate))
    }

    /// Reads `[:name:]`, if that is what comes.
    fn named_class(&mut self) -> Result<Option<ClassUnicode>, SyntaxError> {
        let before = self.rest;
        let split = before.strip_prefix("[:").and_then(|rest| rest.split_once(":]"));
        let Some((name, rest)) = split else { return Ok(None) };
        self.rest = rest;
        let plain = name.strip_prefix('^').unwrap_or(name);
        match class::named(plain) {
            Some(class) => Ok(Some(class::negated(self.folded(class), plain.len() < name.len()))),
            None => Err(self.error("invalid character class range", before)),
        }
    }

    /// Reads a character or a range of them.
    fn class_range(&mut self, whole: &'a str) -> Result<ClassUnicode, SyntaxError> {
        let before = self.rest;
        let low = self.class_code_point(whole)?;
        let mut high = low;
        if let Some(rest) = self.rest.strip_prefix('-')
            && !rest.is_empty()
            && !rest.starts_with(']')
        {
            self.rest = rest;
            high = self.class_code_point(whole)?;
            if high < low {
                return Err(self.error("invalid character class range", before));
            }
        }
        Ok(self.folded(class::ranges(&[(low, high)])))
    }

    fn class_code_point(&mut self, whole: &'a str) -> Result<u32, SyntaxError> {
        match self.rest.chars().next() {
            None => Err(problem("missing closing ]", whole)),
            Some('\\') => self.escaped_code_point(),
            Some(c) => {
                self.skip(c.len_utf8());
                Ok(u32::from(c))
            }
        }
    }

    /// An error about what was read since `before`.
    fn error(&self, what: &'static str, before: &'a str) -> SyntaxError {
        problem(what, &before[..before.len() - self.rest.len()])
    }
}

impl Group {
    fn new(outer: Flags, capture: Option<u32>) -> Self {
        Self { alternatives: Vec::new(), items: Vec::new(), outer, capture }
    }

    fn finish(mut self) -> Result<Item, SyntaxError> {
        let last = concat(self.items)?;
        if self.alternatives.is_empty() {
            return Ok(last);
        }
        self.alternatives.push(last);
        combine(self.alternatives, Hir::alternation)
    }
}

/// The counts of a repetition in braces.
enum Counts {
    Valid {
        min: u32,
        max: Option<u32>,
    },
    /// Well-formed, but too large or the wrong way round.
    Invalid,
}

/// Reads `{n}`, `{n,}` or `{n,m}`; anything else is no repetition.
fn parse_counts(text: &str) -> Option<(Counts, &str)> {
    let (min, rest) = parse_count(text.strip_prefix('{')?)?;
    let (max, rest) = match rest.strip_prefix(',') {
        None => (Some(min), rest),
        Some(rest) if rest.starts_with('}') => (None, rest),
        Some(rest) => {
            let (max, rest) = parse_count(rest)?;
            (Some(max), rest)
        }
    };
    let rest = rest.strip_prefix('}')?;
    let is_valid = min <= MAX_REPEAT && max.is_none_or(|max| max <= MAX_REPEAT && min <= max);
    Some((if is_valid { Counts::Valid { min, max } } else { Counts::Invalid }, rest))
}

/// Reads a number without leading zeros; one that is too large becomes the largest there is.
fn parse_count(text: &str) -> Option<(u32, &str)> {
    let len = text.bytes().take_while(u8::is_ascii_digit).count();
    let (digits, rest) = text.split_at(len);
    let is_number = len == 1 || (len > 1 && !digits.starts_with('0'));
    is_number.then(|| (digits.parse().unwrap_or(u32::MAX), rest))
}

fn concat(items: Vec<Item>) -> Result<Item, SyntaxError> {
    combine(items, Hir::concat)
}

fn combine(items: Vec<Item>, with: impl FnOnce(Vec<Hir>) -> Hir) -> Result<Item, SyntaxError> {
    let depth = items.iter().map(|item| item.depth).max().unwrap_or(0);
    let depth = if items.len() > 1 { deeper(depth)? } else { depth };
    let repeats = items.iter().map(|item| item.repeats).max().unwrap_or(1);
    let hir = with(items.into_iter().map(|item| item.hir).collect());
    Ok(Item { hir, depth, repeats })
}

fn deeper(depth: u32) -> Result<u32, SyntaxError> {
    if depth >= MAX_DEPTH {
        return Err(problem("expression nests too deeply", ""));
    }
    Ok(depth + 1)
}

fn class_hir(class: ClassUnicode) -> Hir {
    Hir::class(regex_syntax::hir::Class::Unicode(class))
}

fn problem(problem: &'static str, part: &str) -> SyntaxError {
    SyntaxError { problem, part: part.to_owned() }
}
