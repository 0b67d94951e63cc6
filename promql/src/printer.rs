//! Canonical text of expressions, on one line and on several.
//!
//! Both forms are those of Prometheus (`promql/parser/{printer,prettier}.go`): `Display` is what its
//! API calls the query, `pretty` what `/format_query` answers. What is printed reads back as the
//! same tree. The few places where Prometheus's text would not are printed differently; they are
//! listed in `tests/data/parser/README.md`.

use std::fmt::{self, Write};

use ferula_index::labels::is_legacy_label_name;
use ferula_index::{METRIC_NAME, MatchOp, Matcher};

use crate::ast::{
    AggregateExpr, AggregateGrouping, At, BinaryExpr, BinaryOp, DurationExpr, DurationKind, Expr,
    ExprKind, Matching, MatchingLabels, MatrixSelector, Modifiers, NumberLiteral, Side, Subquery,
    UnaryOp, VectorSelector,
};
use crate::parser::literal::{format_duration, whole_ms};
use crate::parser::quote::{fixed, quote};
use crate::text::{FloatText, PlainFloat};

/// Longest text that [`Expr::pretty`] leaves on one line, in bytes, its indent not counted.
const MAX_LINE_BYTES: usize = 100;

impl fmt::Display for Expr {
    /// Writes the canonical text on one line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            ExprKind::Number(number) => number.fmt(f),
            ExprKind::String(text) => f.write_str(&quote(text)),
            ExprKind::Selector(selector) => write_selector(f, selector),
            ExprKind::Matrix(matrix) => write_matrix(f, matrix),
            ExprKind::Subquery(subquery) => {
                subquery.expr.fmt(f)?;
                write_subquery_suffix(f, subquery)
            }
            ExprKind::Unary(unary) => write!(f, "{}{}", unary.op, unary.expr),
            ExprKind::Binary(binary) => {
                write_left(f, binary)?;
                f.write_str(" ")?;
                write_operator(f, binary)?;
                write!(f, " {}", binary.right)
            }
            ExprKind::Call(call) => {
                write!(f, "{}(", call.function)?;
                for (i, arg) in call.args.iter().enumerate() {
                    write!(f, "{}{arg}", if i > 0 { ", " } else { "" })?;
                }
                f.write_str(")")
            }
            ExprKind::Aggregate(aggregate) => {
                write_aggregate_head(f, aggregate)?;
                f.write_str("(")?;
                if let Some(param) = &aggregate.param {
                    write!(f, "{param}, ")?;
                }
                write!(f, "{})", aggregate.expr)
            }
            ExprKind::Paren(inner) => write!(f, "({inner})"),
        }
    }
}

impl Expr {
    /// The canonical text, broken into indented lines where it is long.
    ///
    /// ```
    /// let expr = ferula_promql::parse("sum(rate(a[5m])) / 2")?;
    /// assert_eq!(expr.pretty(), "sum(rate(a[5m])) / 2");
    /// # Ok::<(), ferula_promql::ParseError>(())
    /// ```
    pub fn pretty(&self) -> String {
        let mut out = String::new();
        // Writing to a string cannot fail.
        _ = write_pretty(&mut out, self, 0, false);
        out
    }
}

impl fmt::Display for NumberLiteral {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match whole_ms(self.value.abs()) {
            Some(ms) if self.is_duration => {
                let sign = if self.value < 0.0 { "-" } else { "" };
                write!(f, "{sign}{}", format_duration(ms))
            }
            _ => PlainFloat(self.value).fmt(f),
        }
    }
}

impl fmt::Display for UnaryOp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Plus => "+",
            Self::Minus => "-",
        })
    }
}

impl fmt::Display for DurationExpr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            DurationKind::Literal(number) => number.fmt(f),
            DurationKind::Step => f.write_str("step()"),
            DurationKind::Range => f.write_str("range()"),
            DurationKind::Unary { op, expr } => write!(f, "{op}{expr}"),
            DurationKind::Binary { op, left, right } => {
                write!(f, "{left} {} {right}", op.as_str())
            }
            DurationKind::MinOf(left, right) => write!(f, "min_of({left}, {right})"),
            DurationKind::MaxOf(left, right) => write!(f, "max_of({left}, {right})"),
            DurationKind::Paren(inner) => write!(f, "({inner})"),
        }
    }
}

fn write_left(f: &mut impl Write, binary: &BinaryExpr) -> fmt::Result {
    match &binary.left.kind {
        // With its usual sign, the sign would apply to the power when read again.
        ExprKind::Number(NumberLiteral { value: f64::INFINITY, .. })
            if binary.op == BinaryOp::Pow =>
        {
            f.write_str("Inf")
        }
        _ => write!(f, "{}", binary.left),
    }
}

/// Writes the operator of a binary expression with all that stands between it and its right side.
fn write_operator(f: &mut impl Write, binary: &BinaryExpr) -> fmt::Result {
    f.write_str(binary.op.as_str())?;
    if binary.return_bool {
        f.write_str(" bool")?;
    }
    let Matching { labels, group, fill_left, fill_right } = &binary.matching;
    match labels {
        Some(MatchingLabels::On(names)) => write_labels(f, " on (", names)?,
        Some(MatchingLabels::Ignoring(names)) => write_labels(f, " ignoring (", names)?,
        None => {}
    }
    if let Some(group) = group {
        let head = match group.many {
            Side::Left => " group_left (",
            Side::Right => " group_right (",
        };
        write_labels(f, head, &group.include)?;
    }
    match (fill_left, fill_right) {
        (Some(left), Some(right)) if left == right => write!(f, " fill ({})", FloatText(*left)),
        (left, right) => {
            if let Some(left) = left {
                write!(f, " fill_left ({})", FloatText(*left))?;
            }
            if let Some(right) = right {
                write!(f, " fill_right ({})", FloatText(*right))?;
            }
            Ok(())
        }
    }
}

fn write_labels(f: &mut impl Write, head: &str, names: &[String]) -> fmt::Result {
    f.write_str(head)?;
    for (i, name) in names.iter().enumerate() {
        if i > 0 {
            f.write_str(", ")?;
        }
        f.write_str(&label_name(name))?;
    }
    f.write_str(")")
}

fn label_name(name: &str) -> String {
    if is_legacy_label_name(name) { name.to_owned() } else { quote(name) }
}

fn write_aggregate_head(f: &mut impl Write, aggregate: &AggregateExpr) -> fmt::Result {
    f.write_str(aggregate.op.as_str())?;
    match &aggregate.grouping {
        Some(AggregateGrouping::By(names)) => write_labels(f, " by (", names)?,
        Some(AggregateGrouping::Without(names)) => write_labels(f, " without (", names)?,
        None => return Ok(()),
    }
    f.write_str(" ")
}

/// Writes name and matchers of a selector, without its modifiers.
fn write_series(f: &mut impl Write, selector: &VectorSelector) -> fmt::Result {
    let name = selector.name.as_deref().unwrap_or_default();
    f.write_str(name)?;
    let is_name = |matcher: &Matcher| {
        !name.is_empty()
            && matcher.name() == METRIC_NAME
            && matcher.op() == MatchOp::Equal
            && matcher.value() == name
    };
    let mut matchers: Vec<String> =
        selector.matchers.iter().filter(|matcher| !is_name(matcher)).map(matcher_text).collect();
    if !matchers.is_empty() {
        matchers.sort_unstable();
        write!(f, "{{{}}}", matchers.join(","))?;
    } else if name.is_empty() {
        f.write_str("{}")?;
    }
    Ok(())
}

fn matcher_text(matcher: &Matcher) -> String {
    let (name, op) = (label_name(matcher.name()), matcher.op().as_str());
    format!("{name}{op}{}", quote(matcher.value()))
}

fn write_selector(f: &mut impl Write, selector: &VectorSelector) -> fmt::Result {
    write_series(f, selector)?;
    let modifiers = &selector.modifiers;
    let at_is_last = at_is_last(modifiers);
    if !at_is_last {
        write_at(f, modifiers)?;
    }
    if let Some(boundary) = selector.boundary {
        write!(f, " {}", boundary.as_str())?;
    }
    if at_is_last { write_modifiers(f, modifiers) } else { write_offset(f, modifiers) }
}

fn write_matrix(f: &mut impl Write, matrix: &MatrixSelector) -> fmt::Result {
    write_series(f, &matrix.selector)?;
    write!(f, "[{}]", matrix.range)?;
    if let Some(boundary) = matrix.selector.boundary {
        write!(f, " {}", boundary.as_str())?;
    }
    write_modifiers(f, &matrix.selector.modifiers)
}

fn write_subquery_suffix(f: &mut impl Write, subquery: &Subquery) -> fmt::Result {
    write!(f, "[{}:", subquery.range)?;
    if let Some(step) = &subquery.step {
        write!(f, "{step}")?;
    }
    f.write_str("]")?;
    write_modifiers(f, &subquery.modifiers)
}

fn write_modifiers(f: &mut impl Write, modifiers: &Modifiers) -> fmt::Result {
    if at_is_last(modifiers) {
        write_offset(f, modifiers)?;
        return write_at(f, modifiers);
    }
    write_at(f, modifiers)?;
    write_offset(f, modifiers)
}

/// Tells whether `@` has to stand behind the offset. Behind an offset that begins with a
/// parenthesis or two signs, an operator is read as part of the duration. Prometheus always writes
/// the offset last, and cannot read such a text back.
fn at_is_last(modifiers: &Modifiers) -> bool {
    let reads_on = |offset: &DurationExpr| match &offset.kind {
        DurationKind::Paren(_) => true,
        DurationKind::Unary { expr, .. } => matches!(expr.kind, DurationKind::Unary { .. }),
        _ => false,
    };
    modifiers.at.is_some() && modifiers.offset.as_ref().is_some_and(reads_on)
}

fn write_at(f: &mut impl Write, modifiers: &Modifiers) -> fmt::Result {
    match modifiers.at {
        #[expect(clippy::cast_precision_loss, reason = "printed as Prometheus does")]
        Some(At::Timestamp(ms)) => write!(f, " @ {}", fixed(ms as f64 / 1000.0, 3)),
        Some(At::Start) => f.write_str(" @ start()"),
        Some(At::End) => f.write_str(" @ end()"),
        None => Ok(()),
    }
}

fn write_offset(f: &mut impl Write, modifiers: &Modifiers) -> fmt::Result {
    modifiers.offset.as_ref().map_or(Ok(()), |offset| write!(f, " offset {offset}"))
}

/// Writes an expression over several lines, indented by `level`. `inline` leaves out the indent of
/// the first line, which stands behind other text.
fn write_pretty(out: &mut String, expr: &Expr, level: usize, inline: bool) -> fmt::Result {
    let indent = "  ".repeat(level);
    let fits = fits_line(expr);
    // Prometheus does not indent short subqueries; its text is matched.
    let is_short_subquery = fits && matches!(expr.kind, ExprKind::Subquery(_));
    if !inline && !is_short_subquery {
        out.push_str(&indent);
    }
    match &expr.kind {
        ExprKind::Unary(unary) => {
            write!(out, "{}", unary.op)?;
            write_pretty(out, &unary.expr, level, true)
        }
        _ if fits => write!(out, "{expr}"),
        ExprKind::Aggregate(aggregate) => {
            write_aggregate_head(out, aggregate)?;
            out.push_str("(\n");
            if let Some(param) = &aggregate.param {
                write_pretty(out, param, level + 1, false)?;
                out.push_str(",\n");
            }
            write_pretty(out, &aggregate.expr, level + 1, false)?;
            write!(out, "\n{indent})")
        }
        ExprKind::Binary(binary) => {
            // The left side brings its own, deeper indent, unless other text stands before it.
            if !inline {
                out.truncate(out.len() - indent.len());
            }
            write_pretty(out, &binary.left, level + 1, inline)?;
            write!(out, "\n{indent}")?;
            write_operator(out, binary)?;
            out.push('\n');
            write_pretty(out, &binary.right, level + 1, false)
        }
        ExprKind::Call(call) => {
            writeln!(out, "{}(", call.function)?;
            for (i, arg) in call.args.iter().enumerate() {
                if i > 0 {
                    out.push_str(",\n");
                }
                write_pretty(out, arg, level + 1, false)?;
            }
            write!(out, "\n{indent})")
        }
        ExprKind::Paren(inner) => {
            out.push_str("(\n");
            write_pretty(out, inner, level + 1, false)?;
            write!(out, "\n{indent})")
        }
        ExprKind::Subquery(subquery) => {
            write_pretty(out, &subquery.expr, level, true)?;
            write_subquery_suffix(out, subquery)
        }
        ExprKind::Number(_) | ExprKind::String(_) | ExprKind::Selector(_) | ExprKind::Matrix(_) => {
            write!(out, "{expr}")
        }
    }
}

fn fits_line(expr: &Expr) -> bool {
    write!(Budget(MAX_LINE_BYTES), "{expr}").is_ok()
}

/// Takes this many bytes and refuses more, so that measuring does not cost what printing does.
struct Budget(usize);

impl Write for Budget {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0 = self.0.checked_sub(text.len()).ok_or(fmt::Error)?;
        Ok(())
    }
}
