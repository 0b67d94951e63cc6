//! Makes syntax trees from query text.
//!
//! A hand-written parser by precedence climbing over the tokens of the lexer. The grammar, what is
//! refused and in which words are those of Prometheus 3.14 (`promql/parser/generated_parser.y`).
//! The height of the tree is bounded, and with it the depth of every recursion over a tree.

mod duration;
mod expr;
pub(crate) mod literal;
pub(crate) mod quote;
mod selector;

use crate::Span;
use crate::ast::{Expr, ExprKind};
use crate::check;
use crate::error::{ParseError, ParseErrorKind};
use crate::host::HostFunctions;
use crate::lexer::{Lexer, Token, TokenKind, describe};

pub(crate) use selector::is_metric_name;

/// Longest query that is parsed, in bytes.
pub const MAX_QUERY_BYTES: usize = 1 << 20;

/// Most bytes of memory that the matchers of a query take: regular expressions take a great many times
/// their length.
pub const MAX_MATCHER_BYTES: usize = 64 << 20;

/// Greatest height of a syntax tree, in nodes from the root to the deepest leaf. A chain such as
/// `a + b + c` is as high as it has operators.
pub const MAX_DEPTH: usize = 256;

/// Which experimental parts of the language are accepted, as Prometheus's feature flags say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ParseOptions {
    /// Experimental functions and aggregations (`promql-experimental-functions`).
    pub experimental_functions: bool,
    /// `anchored` and `smoothed` (`promql-extended-range-selectors`).
    pub extended_range_selectors: bool,
    /// `fill`, `fill_left` and `fill_right` (`promql-binop-fill-modifiers`).
    pub binop_fill_modifiers: bool,
}

impl ParseOptions {
    /// Accepts everything.
    pub const ALL: Self = Self {
        experimental_functions: true,
        extended_range_selectors: true,
        binop_fill_modifiers: true,
    };
}

/// Parses and checks a query, without the experimental parts of the language.
///
/// # Errors
/// [`ParseError`] for the first thing that is wrong.
///
/// ```
/// let expr = ferula_promql::parse("sum by(job)(rate(requests_total[5m]))")?;
/// assert_eq!(expr.to_string(), "sum by (job) (rate(requests_total[5m]))");
/// # Ok::<(), ferula_promql::ParseError>(())
/// ```
pub fn parse(query: &str) -> Result<Expr, ParseError> {
    parse_with(query, &ParseOptions::default())
}

/// Parses and checks a query with the experimental parts of the language that `options` name.
///
/// # Errors
/// [`ParseError`] for the first thing that is wrong.
pub fn parse_with(query: &str, options: &ParseOptions) -> Result<Expr, ParseError> {
    parse_for_host(query, options, &HostFunctions::default())
}

/// Parses and checks a query that may call functions of the host program.
pub(crate) fn parse_for_host(
    query: &str,
    options: &ParseOptions,
    functions: &HostFunctions,
) -> Result<Expr, ParseError> {
    let parsed = Parser::new(query, options, functions).and_then(Parser::parse_query);
    let expr = parsed.map_err(|failure| {
        let Failure { kind, span } = *failure;
        let kept = match kind {
            ParseErrorKind::TooLong { .. } => &query[..query.floor_char_boundary(128)],
            _ => query,
        };
        ParseError::new(kind, span, kept)
    })?;
    check::check(&expr, query, functions)?;
    Ok(expr)
}

/// Why parsing stopped; the query's text is added when it is handed out.
#[derive(Debug)]
struct Failure {
    kind: ParseErrorKind,
    span: Span,
}

type Parsed<T> = Result<T, Box<Failure>>;

/// An expression and the height of its tree.
struct Node {
    expr: Box<Expr>,
    height: usize,
}

struct Parser<'a> {
    text: &'a str,
    options: &'a ParseOptions,
    functions: &'a HostFunctions,
    lexer: Lexer<'a>,
    current: Token,
    /// Where the token before the current one ended.
    last_end: usize,
    /// Expressions and duration expressions that are being parsed around the current token.
    depth: usize,
    /// Aggregations whose arguments are being parsed; errors in them say so.
    aggregations: usize,
    /// Memory that the matchers so far take, in bytes.
    matcher_bytes: usize,
}

impl<'a> Parser<'a> {
    fn new(text: &'a str, options: &'a ParseOptions, functions: &'a HostFunctions) -> Parsed<Self> {
        if text.len() > MAX_QUERY_BYTES {
            let kind = ParseErrorKind::TooLong { len: text.len(), limit: MAX_QUERY_BYTES };
            return Err(Box::new(Failure { kind, span: Span::new(0, 0) }));
        }
        let mut lexer = Lexer::new(text);
        let current = lexer.next_token();
        let (last_end, depth, aggregations, matcher_bytes) = (0, 0, 0, 0);
        Ok(Self {
            text,
            options,
            functions,
            lexer,
            current,
            last_end,
            depth,
            aggregations,
            matcher_bytes,
        })
    }

    fn parse_query(mut self) -> Parsed<Expr> {
        if self.current.kind == TokenKind::End {
            return Err(failure(ParseErrorKind::Empty, Span::new(0, 0)));
        }
        let node = self.expression(0)?;
        if self.current.kind != TokenKind::End {
            return Err(self.unexpected());
        }
        Ok(*node.expr)
    }

    /// Consumes the current token.
    fn advance(&mut self) -> Token {
        let token = self.current;
        // Behind an invalid token there is nothing; it stays until it is reported.
        if token.kind != TokenKind::Invalid {
            self.last_end = token.span.end;
            self.current = self.lexer.next_token();
        }
        token
    }

    fn at(&self, kind: TokenKind) -> bool {
        self.current.kind == kind
    }

    /// Consumes the current token if it is of this kind.
    fn eat(&mut self, kind: TokenKind) -> bool {
        let found = self.at(kind);
        if found {
            self.advance();
        }
        found
    }

    fn text_of(&self, token: Token) -> &'a str {
        self.text.get(token.span.start..token.span.end).unwrap_or_default()
    }

    /// The current token may not stand here.
    fn unexpected(&mut self) -> Box<Failure> {
        let context = (self.aggregations > 0).then_some("aggregation");
        self.unexpected_in(context, None)
    }

    fn unexpected_in(
        &mut self,
        context: Option<&'static str>,
        expected: Option<&'static str>,
    ) -> Box<Failure> {
        let kind = self.lexer.take_error().unwrap_or_else(|| ParseErrorKind::Unexpected {
            found: describe(self.current, self.text),
            context,
            expected,
        });
        failure(kind, self.current.span)
    }

    /// Consumes a token that must be of this kind.
    fn expect(&mut self, kind: TokenKind) -> Parsed<Token> {
        if self.at(kind) { Ok(self.advance()) } else { Err(self.unexpected()) }
    }

    /// Enters one more level of recursion.
    fn enter(&mut self) -> Parsed<()> {
        self.depth += 1;
        self.check_height(self.depth)
    }

    fn leave(&mut self) {
        self.depth -= 1;
    }

    fn check_height(&self, height: usize) -> Parsed<()> {
        if height > MAX_DEPTH {
            return Err(failure(ParseErrorKind::TooDeep { limit: MAX_DEPTH }, self.current.span));
        }
        Ok(())
    }

    /// Makes a node above children of which the highest has this height.
    fn node(&self, kind: ExprKind, span: Span, child_height: usize) -> Parsed<Node> {
        self.check_height(child_height + 1)?;
        Ok(Node { expr: Box::new(Expr { kind, span }), height: child_height + 1 })
    }
}

fn failure(kind: ParseErrorKind, span: Span) -> Box<Failure> {
    Box::new(Failure { kind, span })
}
