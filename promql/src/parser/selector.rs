//! Vector selectors and lists of labels.

use ferula_index::{METRIC_NAME, MatchOp, Matcher};

use super::{MAX_MATCHER_BYTES, Node, Parsed, Parser, failure};
use crate::Span;
use crate::ast::{BinaryOp, ExprKind, Modifiers, VectorSelector};
use crate::error::ParseErrorKind;
use crate::lexer::{Keyword, Token, TokenKind};

/// Tells whether a token may stand for a metric name.
pub(crate) fn is_metric_name(kind: TokenKind) -> bool {
    match kind {
        TokenKind::Identifier
        | TokenKind::MetricIdentifier
        | TokenKind::Aggregate(_)
        | TokenKind::Special(_)
        | TokenKind::Binary(BinaryOp::And | BinaryOp::Or | BinaryOp::Unless) => true,
        TokenKind::Keyword(keyword) => !matches!(
            keyword,
            Keyword::Bool
                | Keyword::On
                | Keyword::Ignoring
                | Keyword::GroupLeft
                | Keyword::GroupRight
        ),
        _ => false,
    }
}

/// Tells whether a token may stand for a label name in a list of labels.
fn is_label_name(kind: TokenKind) -> bool {
    match kind {
        TokenKind::Identifier
        | TokenKind::MetricIdentifier
        | TokenKind::Aggregate(_)
        | TokenKind::Special(_)
        | TokenKind::Binary(BinaryOp::And | BinaryOp::Or | BinaryOp::Unless | BinaryOp::Atan2) => {
            true
        }
        TokenKind::Keyword(keyword) => keyword != Keyword::Without,
        _ => false,
    }
}

impl Parser<'_> {
    /// Parses a selector behind its name, if it has one in front of the braces.
    pub(super) fn selector(&mut self, name: Option<Token>) -> Parsed<Node> {
        let start = name.map_or(self.current.span.start, |name| name.span.start);
        let name = name.map(|token| self.text_of(token).to_owned());
        let mut matchers =
            if self.at(TokenKind::LeftBrace) { self.matchers()? } else { Vec::new() };
        if let Some(name) = &name {
            matchers.push(Matcher::equal(METRIC_NAME, name));
        }
        let span = Span::new(start, self.last_end);
        let modifiers = Modifiers::default();
        let selector = VectorSelector { name, matchers, modifiers, boundary: None };
        self.node(ExprKind::Selector(selector), span, 0)
    }

    fn matchers(&mut self) -> Parsed<Vec<Matcher>> {
        self.expect(TokenKind::LeftBrace)?;
        let mut matchers = Vec::new();
        while !self.eat(TokenKind::RightBrace) {
            matchers.push(self.matcher()?);
            if !self.eat(TokenKind::Comma) && !self.at(TokenKind::RightBrace) {
                return Err(self.unexpected_in(Some("label matching"), Some("\",\" or \"}\"")));
            }
        }
        Ok(matchers)
    }

    fn matcher(&mut self) -> Parsed<Matcher> {
        const CONTEXT: Option<&str> = Some("label matching");
        let start = self.current.span;
        let (name, is_quoted) = match self.current.kind {
            TokenKind::Identifier => {
                let token = self.advance();
                (self.text_of(token).to_owned(), false)
            }
            TokenKind::String => (self.string_literal()?, true),
            _ => return Err(self.unexpected_in(CONTEXT, Some("identifier or \"}\""))),
        };
        let op = match self.current.kind {
            TokenKind::Assign => MatchOp::Equal,
            TokenKind::Binary(BinaryOp::Ne) => MatchOp::NotEqual,
            TokenKind::MatchRegex => MatchOp::Regex,
            TokenKind::MatchNotRegex => MatchOp::NotRegex,
            // A quoted name alone is that of the metric.
            _ if is_quoted => return Ok(Matcher::equal(METRIC_NAME, &name)),
            _ => return Err(self.unexpected_in(CONTEXT, Some("label matching operator"))),
        };
        self.advance();
        if !self.at(TokenKind::String) {
            return Err(self.unexpected_in(CONTEXT, Some("string")));
        }
        let span = start.to(self.current.span);
        let value = self.string_literal()?;
        let matcher =
            Matcher::new(op, &name, &value).map_err(|error| failure(error.into(), span))?;
        self.matcher_bytes += matcher.memory_bytes();
        if self.matcher_bytes > MAX_MATCHER_BYTES {
            let kind = ParseErrorKind::MatchersTooLarge { limit: MAX_MATCHER_BYTES };
            return Err(failure(kind, span));
        }
        Ok(matcher)
    }

    /// Parses labels in parentheses.
    pub(super) fn grouping_labels(&mut self) -> Parsed<Vec<String>> {
        const CONTEXT: Option<&str> = Some("grouping opts");
        if !self.eat(TokenKind::LeftParen) {
            return Err(self.unexpected_in(CONTEXT, Some("\"(\"")));
        }
        let mut labels = Vec::new();
        while !self.eat(TokenKind::RightParen) {
            let token = self.current;
            if is_label_name(token.kind) {
                self.advance();
                labels.push(self.text_of(token).to_owned());
            } else if token.kind == TokenKind::String {
                let name = self.string_literal()?;
                if name.is_empty() {
                    let kind = ParseErrorKind::InvalidGroupingLabel { name };
                    return Err(failure(kind, token.span));
                }
                labels.push(name);
            } else {
                return Err(self.unexpected_in(CONTEXT, Some("label")));
            }
            if !self.eat(TokenKind::Comma) && !self.at(TokenKind::RightParen) {
                return Err(self.unexpected_in(CONTEXT, Some("\",\" or \")\"")));
            }
        }
        Ok(labels)
    }
}
