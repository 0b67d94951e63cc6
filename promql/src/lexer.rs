//! Splits query text into tokens with byte spans.
//!
//! Tokens are made one at a time, so that an error further on does not hide one before it. The
//! lexer keeps the little state that the language needs: inside braces every word is a label name,
//! inside brackets words are those of duration expressions and a colon splits window and step.
//! Which sequences are refused, and in which words, is what Prometheus's lexer does
//! (`promql/parser/lex.go`), down to its numbers: `1__0`, `1.e5.` and `0xfee` are no numbers there.

use nom::bytes::complete::{take_till, take_while, take_while1};
use nom::{IResult, Parser as _};

use crate::Span;
use crate::ast::{AggregateOp, BinaryOp};
use crate::error::ParseErrorKind;
use crate::parser::quote;

/// A token and where it stands.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Token {
    pub(crate) kind: TokenKind,
    pub(crate) span: Span,
}

/// The kinds of token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TokenKind {
    End,
    /// The text from here on cannot be split into tokens; the lexer holds the reason.
    Invalid,
    LeftParen,
    RightParen,
    LeftBrace,
    RightBrace,
    LeftBracket,
    RightBracket,
    Comma,
    Colon,
    /// `=`
    Assign,
    /// `=~`
    MatchRegex,
    /// `!~`
    MatchNotRegex,
    /// `@`
    At,
    Binary(BinaryOp),
    Aggregate(AggregateOp),
    Keyword(Keyword),
    /// A word that is a function, or a part of `@` or of a duration expression.
    Special(Special),
    Identifier,
    /// A word with a colon in it.
    MetricIdentifier,
    Number,
    Duration,
    String,
}

/// Words with a meaning of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keyword {
    Bool,
    By,
    Without,
    On,
    Ignoring,
    GroupLeft,
    GroupRight,
    Fill,
    FillLeft,
    FillRight,
    Offset,
    Anchored,
    Smoothed,
}

/// Words that are functions, and parts of `@` or of duration expressions too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Special {
    Start,
    End,
    Step,
    Range,
    MinOf,
    MaxOf,
}

/// Finds the meaning of a word, whatever its case.
fn keyword(word: &str) -> Option<TokenKind> {
    use TokenKind::{Aggregate, Binary, Keyword as K, Number, Special as S};
    // No keyword is longer, so a long word need not be copied.
    if word.len() > 12 {
        return None;
    }
    Some(match word.to_ascii_lowercase().as_str() {
        "and" => Binary(BinaryOp::And),
        "or" => Binary(BinaryOp::Or),
        "unless" => Binary(BinaryOp::Unless),
        "atan2" => Binary(BinaryOp::Atan2),
        "bool" => K(Keyword::Bool),
        "by" => K(Keyword::By),
        "without" => K(Keyword::Without),
        "on" => K(Keyword::On),
        "ignoring" => K(Keyword::Ignoring),
        "group_left" => K(Keyword::GroupLeft),
        "group_right" => K(Keyword::GroupRight),
        "fill" => K(Keyword::Fill),
        "fill_left" => K(Keyword::FillLeft),
        "fill_right" => K(Keyword::FillRight),
        "offset" => K(Keyword::Offset),
        "anchored" => K(Keyword::Anchored),
        "smoothed" => K(Keyword::Smoothed),
        "start" => S(Special::Start),
        "end" => S(Special::End),
        "inf" | "nan" => Number,
        lower => match duration_keyword(lower) {
            Some(special) => S(special),
            None => return AggregateOp::from_name(lower).map(Aggregate),
        },
    })
}

/// The words of duration expressions, in lower case.
fn duration_keyword(lower: &str) -> Option<Special> {
    Some(match lower {
        "step" => Special::Step,
        "range" => Special::Range,
        "min_of" => Special::MinOf,
        "max_of" => Special::MaxOf,
        _ => return None,
    })
}

/// Words that are metric names unless a parenthesis follows.
fn is_fill(kind: TokenKind) -> bool {
    matches!(kind, TokenKind::Keyword(Keyword::Fill | Keyword::FillLeft | Keyword::FillRight))
}

/// Where in the text the lexer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// Anywhere else.
    Plain,
    /// In a selector's braces.
    Braces,
    /// In brackets, before the first number.
    DurationStart,
    /// In brackets, behind the first number.
    Brackets,
}

/// Makes tokens from the text of a query.
#[derive(Clone, Debug)]
pub(crate) struct Lexer<'a> {
    text: &'a str,
    pos: usize,
    mode: Mode,
    paren_depth: usize,
    seen_colon: bool,
    seen_duration: bool,
    error: Option<ParseErrorKind>,
}

type Lexed = Result<TokenKind, ParseErrorKind>;

impl<'a> Lexer<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        Self {
            text,
            pos: 0,
            mode: Mode::Plain,
            paren_depth: 0,
            seen_colon: false,
            seen_duration: false,
            error: None,
        }
    }

    /// Why the last token was [`TokenKind::Invalid`].
    pub(crate) fn take_error(&mut self) -> Option<ParseErrorKind> {
        self.error.take()
    }

    /// Makes the next token; behind the last one comes [`TokenKind::End`] again and again.
    pub(crate) fn next_token(&mut self) -> Token {
        self.skip_blanks();
        let mut start = self.pos;
        let kind = match self.lex() {
            Ok(kind) => kind,
            Err(error) => {
                // A closing parenthesis or colon too many is reported behind itself.
                let behind = match error {
                    ParseErrorKind::UnexpectedPunctuation { found: ')', .. }
                    | ParseErrorKind::ColonBeforeDuration
                    | ParseErrorKind::RepeatedColon => 1,
                    _ => 0,
                };
                start += behind;
                self.error = Some(error);
                self.pos = self.text.len();
                return Token {
                    kind: TokenKind::Invalid,
                    span: Span::new(start, self.text.len().max(start)),
                };
            }
        };
        Token { kind, span: Span::new(start, self.pos) }
    }

    fn rest(&self) -> &'a str {
        &self.text[self.pos..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    /// Consumes one character if it is one of `valid`.
    fn accept(&mut self, valid: &str) -> bool {
        let accepted = self.is(valid);
        if accepted {
            self.pos += 1;
        }
        accepted
    }

    /// Tells whether the next character is one of `valid`, all of which are ASCII.
    fn is(&self, valid: &str) -> bool {
        self.text.as_bytes().get(self.pos).is_some_and(|b| valid.as_bytes().contains(b))
    }

    fn skip_blanks(&mut self) {
        loop {
            let rest = self.rest();
            let after = skip(blanks, rest);
            // Before the first number in brackets there are no comments.
            let comments = self.mode != Mode::DurationStart && after.starts_with('#');
            let after = if comments { skip(comment, after) } else { after };
            self.pos += rest.len() - after.len();
            if !comments {
                return;
            }
        }
    }

    fn lex(&mut self) -> Lexed {
        match self.mode {
            Mode::Plain | Mode::Brackets => self.lex_statement(),
            Mode::Braces => self.lex_in_braces(),
            Mode::DurationStart => self.lex_duration_start(),
        }
    }

    fn lex_statement(&mut self) -> Lexed {
        let Some(c) = self.peek() else {
            return if self.paren_depth > 0 {
                Err(ParseErrorKind::UnclosedParen)
            } else if self.mode == Mode::Brackets {
                Err(ParseErrorKind::UnclosedBracket)
            } else {
                Ok(TokenKind::End)
            };
        };
        if c.is_ascii_digit() || c == '.' && starts_with_digit(&self.rest()[1..]) {
            return self.lex_number_or_duration();
        }
        if is_alpha(c) || c == ':' {
            return if self.mode == Mode::Brackets {
                self.lex_word_in_brackets(c)
            } else {
                Ok(self.lex_word())
            };
        }
        if let Some(quote @ ('"' | '\'' | '`')) = Some(c) {
            return self.lex_string(quote);
        }
        self.pos += c.len_utf8();
        Ok(match c {
            '=' => match self.peek() {
                Some('~') => {
                    return Err(ParseErrorKind::UnexpectedAfter { after: '=', found: Some('~') });
                }
                _ if self.accept("=") => TokenKind::Binary(BinaryOp::Eq),
                _ => TokenKind::Assign,
            },
            '!' if self.accept("=") => TokenKind::Binary(BinaryOp::Ne),
            '!' => return Err(ParseErrorKind::UnexpectedAfter { after: '!', found: self.peek() }),
            '<' if self.accept("=") => TokenKind::Binary(BinaryOp::Le),
            '<' if self.accept("/") => TokenKind::Binary(BinaryOp::TrimUpper),
            '<' => TokenKind::Binary(BinaryOp::Lt),
            '>' if self.accept("=") => TokenKind::Binary(BinaryOp::Ge),
            '>' if self.accept("/") => TokenKind::Binary(BinaryOp::TrimLower),
            '>' => TokenKind::Binary(BinaryOp::Gt),
            '{' => {
                self.mode = Mode::Braces;
                TokenKind::LeftBrace
            }
            '[' if self.mode == Mode::Brackets => {
                return Err(ParseErrorKind::UnexpectedPunctuation {
                    what: "left bracket",
                    found: c,
                });
            }
            '[' => {
                self.seen_colon = false;
                self.mode = Mode::DurationStart;
                TokenKind::LeftBracket
            }
            ']' if self.mode != Mode::Brackets => {
                return Err(ParseErrorKind::UnexpectedPunctuation {
                    what: "right bracket",
                    found: c,
                });
            }
            ']' => {
                self.mode = Mode::Plain;
                TokenKind::RightBracket
            }
            '@' => TokenKind::At,
            _ => {
                return self
                    .lex_shared(c)
                    .unwrap_or(Err(ParseErrorKind::UnexpectedCharacter { found: c }));
            }
        })
    }

    /// Lexes what is the same inside and outside of brackets; `c` is consumed already.
    fn lex_shared(&mut self, c: char) -> Option<Lexed> {
        Some(Ok(match c {
            ',' => TokenKind::Comma,
            '*' => TokenKind::Binary(BinaryOp::Mul),
            '/' => TokenKind::Binary(BinaryOp::Div),
            '%' => TokenKind::Binary(BinaryOp::Mod),
            '+' => TokenKind::Binary(BinaryOp::Add),
            '-' => TokenKind::Binary(BinaryOp::Sub),
            '^' => TokenKind::Binary(BinaryOp::Pow),
            '(' => {
                self.paren_depth += 1;
                TokenKind::LeftParen
            }
            ')' => match self.paren_depth.checked_sub(1) {
                Some(depth) => {
                    self.paren_depth = depth;
                    TokenKind::RightParen
                }
                None => {
                    return Some(Err(ParseErrorKind::UnexpectedPunctuation {
                        what: "right parenthesis",
                        found: c,
                    }));
                }
            },
            _ => return None,
        }))
    }

    fn lex_duration_start(&mut self) -> Lexed {
        let Some(c) = self.peek() else {
            return Err(ParseErrorKind::UnexpectedEnd { place: "in duration expression" });
        };
        if c.is_ascii_digit() || c == '.' && starts_with_digit(&self.rest()[1..]) {
            self.seen_duration = true;
            self.mode = Mode::Brackets;
            return self.lex_number_or_duration();
        }
        if let Some(special) = self.lex_duration_keyword() {
            return Ok(TokenKind::Special(special));
        }
        self.pos += c.len_utf8();
        match c {
            ']' => {
                self.mode = Mode::Plain;
                self.seen_colon = false;
                Ok(TokenKind::RightBracket)
            }
            ':' if !self.seen_duration => Err(ParseErrorKind::ColonBeforeDuration),
            ':' if self.seen_colon => Err(ParseErrorKind::RepeatedColon),
            ':' => {
                self.seen_colon = true;
                Ok(TokenKind::Colon)
            }
            _ => {
                self.lex_shared(c).unwrap_or(Err(ParseErrorKind::UnexpectedInDuration { found: c }))
            }
        }
    }

    /// Consumes a word if it is one of those of duration expressions.
    fn lex_duration_keyword(&mut self) -> Option<Special> {
        let (after, word) = letters(self.rest()).ok()?;
        let special = (word.len() <= 6).then(|| duration_keyword(&word.to_ascii_lowercase()))??;
        self.pos = self.text.len() - after.len();
        Some(special)
    }

    fn lex_word_in_brackets(&mut self, c: char) -> Lexed {
        if c == ':' {
            if self.seen_colon {
                return Err(ParseErrorKind::UnexpectedPunctuation { what: "colon", found: c });
            }
            self.seen_colon = true;
            self.pos += 1;
            return Ok(TokenKind::Colon);
        }
        let special = self.lex_duration_keyword();
        special.map(TokenKind::Special).ok_or(ParseErrorKind::ExpectedColon { found: c })
    }

    fn lex_word(&mut self) -> TokenKind {
        let rest = self.rest();
        let after = skip(word, rest);
        let word = &rest[..rest.len() - after.len()];
        self.pos += word.len();
        match keyword(word) {
            Some(kind) if is_fill(kind) && !skip(blanks, after).starts_with('(') => {
                TokenKind::Identifier
            }
            Some(kind) => kind,
            None if word.contains(':') => TokenKind::MetricIdentifier,
            None => TokenKind::Identifier,
        }
    }

    fn lex_in_braces(&mut self) -> Lexed {
        let Some(c) = self.peek() else {
            return Err(ParseErrorKind::UnexpectedEnd { place: "inside braces" });
        };
        if is_alpha(c) {
            self.pos = self.text.len() - skip(label_name, self.rest()).len();
            return Ok(TokenKind::Identifier);
        }
        if let Some(quote @ ('"' | '\'' | '`')) = Some(c) {
            return self.lex_string(quote);
        }
        self.pos += c.len_utf8();
        match c {
            ',' => Ok(TokenKind::Comma),
            '=' if self.accept("~") => Ok(TokenKind::MatchRegex),
            '=' => Ok(TokenKind::Assign),
            '!' if self.accept("~") => Ok(TokenKind::MatchNotRegex),
            '!' if self.accept("=") => Ok(TokenKind::Binary(BinaryOp::Ne)),
            '!' => Err(ParseErrorKind::UnexpectedAfterInBraces { found: self.peek() }),
            '{' => Err(ParseErrorKind::UnexpectedPunctuation { what: "left brace", found: c }),
            '}' => {
                self.mode = Mode::Plain;
                Ok(TokenKind::RightBrace)
            }
            _ => Err(ParseErrorKind::UnexpectedInBraces { found: c }),
        }
    }

    fn lex_string(&mut self, quote: char) -> Lexed {
        self.pos += 1;
        loop {
            let rest = self.rest();
            let after = if quote == '`' {
                skip(|text| take_till(|c| c == '`').parse(text), rest)
            } else {
                skip(|text| take_till(|c| c == quote || c == '\\' || c == '\n').parse(text), rest)
            };
            self.pos += rest.len() - after.len();
            match self.peek() {
                Some('\\') => {
                    self.pos += 1;
                    self.lex_escape(quote)?;
                }
                Some(c) if c == quote => {
                    self.pos += 1;
                    return Ok(TokenKind::String);
                }
                None if quote == '`' => return Err(ParseErrorKind::UnterminatedRawString),
                _ => return Err(ParseErrorKind::UnterminatedString),
            }
        }
    }

    /// Checks one escape sequence behind its backslash; its value is made by the parser.
    fn lex_escape(&mut self, quote: char) -> Result<(), ParseErrorKind> {
        let c = self.peek().ok_or(ParseErrorKind::UnterminatedEscape)?;
        let (digits, base, max) = match c {
            'x' => (2, 16, 255),
            'u' => (4, 16, 0x10_ffff),
            'U' => (8, 16, 0x10_ffff),
            '0'..='7' => (3, 8, 255),
            _ if c == quote || "abfnrtv\\".contains(c) => {
                self.pos += c.len_utf8();
                return Ok(());
            }
            _ => return Err(ParseErrorKind::UnknownEscape { found: c }),
        };
        if base == 16 {
            self.pos += 1;
        }
        let mut code: u64 = 0;
        for _ in 0..digits {
            let c = self.peek().ok_or(ParseErrorKind::UnterminatedEscape)?;
            let digit =
                c.to_digit(base).ok_or(ParseErrorKind::IllegalEscapeCharacter { found: c })?;
            code = code * u64::from(base) + u64::from(digit);
            self.pos += 1;
        }
        if code > max || (0xd800..0xe000).contains(&code) {
            return Err(ParseErrorKind::InvalidCodePoint);
        }
        Ok(())
    }

    fn lex_number_or_duration(&mut self) -> Lexed {
        let start = self.pos;
        if self.scan_number() {
            return Ok(TokenKind::Number);
        }
        if self.scan_duration_rest() {
            return Ok(TokenKind::Duration);
        }
        Err(ParseErrorKind::BadNumberOrDuration { text: self.text[start..self.pos].to_owned() })
    }

    /// Scans what may be a number; whether it is one is decided when its value is made.
    fn scan_number(&mut self) -> bool {
        const EXPONENT: &str = "eE";
        let mut digits = "0123456789";
        if self.accept("0") && self.accept("xX") {
            self.accept("_");
            digits = "0123456789abcdefABCDEF";
        }
        let is_hex = digits.len() > 10;
        self.accept(".");
        self.accept(digits);
        let (mut dot, mut exponent) = (false, false);
        while self.is(digits) || self.is("._eE") {
            if dot && self.accept(".") || exponent && self.accept(EXPONENT) {
                return false;
            }
            if self.accept(".") {
                dot = true;
                if self.accept("_.") || is_hex {
                    return false;
                }
            } else if self.accept(EXPONENT) {
                exponent = true;
                self.accept("+-");
                if self.accept("._eE") || self.peek().is_none() {
                    return false;
                }
            } else if self.accept("_") {
                if self.accept("._eE") || self.peek().is_none() {
                    return false;
                }
            } else {
                while self.accept(digits) {}
            }
        }
        !self.peek().is_some_and(is_alphanumeric)
    }

    /// Scans the rest of a duration whose first number was scanned.
    fn scan_duration_rest(&mut self) -> bool {
        const DIGITS: &str = "0123456789";
        if !self.accept("smhdwy") {
            return false;
        }
        self.accept("s");
        while self.accept(DIGITS) {
            while self.accept(DIGITS) {}
            if !self.accept("smhdw") {
                return false;
            }
            self.accept("s");
        }
        match self.peek() {
            Some(c) if is_alphanumeric(c) => {
                self.pos += 1;
                false
            }
            _ => true,
        }
    }
}

/// How messages call a token.
pub(crate) fn describe(token: Token, text: &str) -> String {
    let text = text.get(token.span.start..token.span.end).unwrap_or_default();
    match token.kind {
        TokenKind::End => "end of input".to_owned(),
        TokenKind::Invalid => "error".to_owned(),
        TokenKind::Identifier => format!("identifier {}", quote::quote(text)),
        TokenKind::MetricIdentifier => format!("metric identifier {}", quote::quote(text)),
        TokenKind::Number => format!("number {}", shortened(text)),
        TokenKind::Duration => format!("duration {}", shortened(text)),
        TokenKind::String => format!("string {}", shortened(text)),
        TokenKind::Keyword(_) => format!("<{text}>"),
        TokenKind::Aggregate(_) => format!("<aggr:{text}>"),
        TokenKind::Binary(_) | TokenKind::At | TokenKind::MatchRegex | TokenKind::MatchNotRegex => {
            format!("<op:{text}>")
        }
        TokenKind::LeftParen
        | TokenKind::RightParen
        | TokenKind::LeftBrace
        | TokenKind::RightBrace
        | TokenKind::LeftBracket
        | TokenKind::RightBracket
        | TokenKind::Comma
        | TokenKind::Colon
        | TokenKind::Assign
        | TokenKind::Special(_) => shortened(text),
    }
}

fn shortened(text: &str) -> String {
    if text.len() > 10 {
        let head: String = text.chars().take(10).collect();
        format!("{}...", quote::quote(&head))
    } else {
        quote::quote(text)
    }
}

fn is_alpha(c: char) -> bool {
    c == '_' || c.is_ascii_alphabetic()
}

fn is_alphanumeric(c: char) -> bool {
    c == '_' || c.is_ascii_alphanumeric()
}

fn starts_with_digit(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_digit())
}

/// What is left of `text` behind what `parser` takes.
fn skip<'a>(parser: impl Fn(&'a str) -> IResult<&'a str, &'a str>, text: &'a str) -> &'a str {
    parser(text).map_or(text, |(after, _)| after)
}

fn blanks(text: &str) -> IResult<&str, &str> {
    take_while(|c| matches!(c, ' ' | '\t' | '\n' | '\r')).parse(text)
}

fn comment(text: &str) -> IResult<&str, &str> {
    take_till(|c| matches!(c, '\n' | '\r')).parse(text)
}

fn word(text: &str) -> IResult<&str, &str> {
    take_while1(|c| is_alphanumeric(c) || c == ':').parse(text)
}

fn label_name(text: &str) -> IResult<&str, &str> {
    take_while1(is_alphanumeric).parse(text)
}

fn letters(text: &str) -> IResult<&str, &str> {
    take_while1(is_alpha).parse(text)
}
