//! The syntax tree of a query as JSON, for pages that draw it: `parse_query`.

use ferula_index::Matcher;
use ferula_promql::ast::{
    AggregateExpr, AggregateGrouping, At, BinaryExpr, BinaryOp, Boundary, Call, DurationExpr,
    DurationKind, Expr, ExprKind, MatchingLabels, Modifiers, NumberLiteral, Side, Subquery,
    UnaryOp, VectorSelector,
};
use ferula_promql::functions::signatures::{self, ValueType, Variadic};
use serde_json::{Map, Value, json};

/// The tree below `expr`. How deep it is was bounded by the parser.
pub(super) fn tree(expr: &Expr) -> Value {
    match &expr.kind {
        ExprKind::Number(number) => json!({"type": "numberLiteral", "val": plain(number.value)}),
        ExprKind::String(text) => json!({"type": "stringLiteral", "val": text}),
        ExprKind::Selector(selector) => selected("vectorSelector", selector, Map::new()),
        ExprKind::Matrix(matrix) => {
            let mut fields = Map::new();
            duration(&mut fields, "range", "rangeExpr", Some(&matrix.range));
            selected("matrixSelector", &matrix.selector, fields)
        }
        ExprKind::Subquery(query) => subquery(query),
        ExprKind::Unary(unary) => {
            json!({"type": "unaryExpr", "op": sign(unary.op), "expr": tree(&unary.expr)})
        }
        ExprKind::Binary(binary) => self::binary(binary),
        ExprKind::Call(call) => self::call(call),
        ExprKind::Aggregate(aggregate) => self::aggregate(aggregate),
        ExprKind::Paren(inner) => json!({"type": "parenExpr", "expr": tree(inner)}),
        other => unreachable!("the parser made {other:?}, which the API does not know"),
    }
}

fn selected(kind: &str, selector: &VectorSelector, mut fields: Map<String, Value>) -> Value {
    let matcher =
        |m: &Matcher| json!({"name": m.name(), "value": m.value(), "type": m.op().as_str()});
    fields.insert("type".to_owned(), kind.into());
    fields.insert("name".to_owned(), selector.name.as_deref().unwrap_or_default().into());
    let matchers = selector.matchers.iter().map(matcher).collect();
    fields.insert("matchers".to_owned(), Value::Array(matchers));
    let is = |boundary| Value::Bool(selector.boundary == Some(boundary));
    fields.insert("anchored".to_owned(), is(Boundary::Anchored));
    fields.insert("smoothed".to_owned(), is(Boundary::Smoothed));
    modifiers(&mut fields, &selector.modifiers);
    Value::Object(fields)
}

fn subquery(query: &Subquery) -> Value {
    let mut fields = Map::new();
    fields.insert("type".to_owned(), "subquery".into());
    fields.insert("expr".to_owned(), tree(&query.expr));
    duration(&mut fields, "range", "rangeExpr", Some(&query.range));
    duration(&mut fields, "step", "stepExpr", query.step.as_ref());
    modifiers(&mut fields, &query.modifiers);
    Value::Object(fields)
}

fn modifiers(fields: &mut Map<String, Value>, modifiers: &Modifiers) {
    duration(fields, "offset", "offsetExpr", modifiers.offset.as_ref());
    let (timestamp, edge) = match modifiers.at {
        Some(At::Timestamp(timestamp)) => (timestamp.into(), Value::Null),
        Some(At::Start) => (Value::Null, "start".into()),
        Some(At::End) => (Value::Null, "end".into()),
        None => (Value::Null, Value::Null),
    };
    fields.insert("timestamp".to_owned(), timestamp);
    fields.insert("startOrEnd".to_owned(), edge);
}

/// Writes a duration: its milliseconds if it is a number, or else zero and its tree.
fn duration(
    fields: &mut Map<String, Value>,
    name: &str,
    expr_name: &str,
    duration: Option<&DurationExpr>,
) {
    let literal_ms = duration.and_then(literal_seconds).map(|seconds| {
        #[expect(clippy::cast_possible_truncation, reason = "the parser bounds durations")]
        let ms = (seconds * 1000.0).round() as i64;
        ms
    });
    let expr = duration.filter(|_| literal_ms.is_none()).map(duration_tree);
    fields.insert(name.to_owned(), literal_ms.unwrap_or(0).into());
    fields.insert(expr_name.to_owned(), expr.unwrap_or_default());
}

fn literal_seconds(duration: &DurationExpr) -> Option<f64> {
    match &duration.kind {
        DurationKind::Literal(number) => Some(number.value),
        DurationKind::Paren(inner) => literal_seconds(inner),
        DurationKind::Unary { op, expr } => literal_seconds(expr)
            .map(|seconds| if *op == UnaryOp::Minus { -seconds } else { seconds }),
        _ => None,
    }
}

fn duration_tree(duration: &DurationExpr) -> Value {
    let node = |op: &str, left: Value, right: Value| json!({"type": "durationExpr", "op": op, "lhs": left, "rhs": right, "wrapped": false});
    match &duration.kind {
        DurationKind::Literal(NumberLiteral { value, is_duration }) => {
            json!({"type": "numberLiteral", "val": plain(*value), "duration": is_duration})
        }
        DurationKind::Step => node("step", Value::Null, Value::Null),
        DurationKind::Range => node("range", Value::Null, Value::Null),
        DurationKind::Unary { op, expr } => node(sign(*op), Value::Null, duration_tree(expr)),
        DurationKind::Binary { op, left, right } => {
            node(op.as_str(), duration_tree(left), duration_tree(right))
        }
        DurationKind::MinOf(left, right) => {
            node("min_of", duration_tree(left), duration_tree(right))
        }
        DurationKind::MaxOf(left, right) => {
            node("max_of", duration_tree(left), duration_tree(right))
        }
        DurationKind::Paren(inner) => {
            let mut inner = duration_tree(inner);
            if let Some(wrapped) = inner.get_mut("wrapped") {
                *wrapped = true.into();
            }
            inner
        }
        other => unreachable!("the parser made {other:?}, which the API does not know"),
    }
}

fn binary(binary: &BinaryExpr) -> Value {
    let is_vector = |expr: &Expr| expr.value_type() == ValueType::Vector;
    let matching = (is_vector(&binary.left) && is_vector(&binary.right)).then(|| {
        let matching = &binary.matching;
        let (on, labels) = match &matching.labels {
            Some(MatchingLabels::On(labels)) => (true, labels.as_slice()),
            Some(MatchingLabels::Ignoring(labels)) => (false, labels.as_slice()),
            None => (false, &[][..]),
        };
        let is_set = matches!(binary.op, BinaryOp::And | BinaryOp::Or | BinaryOp::Unless);
        let card = match &matching.group {
            _ if is_set => "many-to-many",
            None => "one-to-one",
            Some(group) if group.many == Side::Left => "many-to-one",
            Some(_) => "one-to-many",
        };
        let include = matching.group.as_ref().map_or(&[][..], |group| &group.include);
        json!({
            "card": card,
            "labels": labels,
            "on": on,
            "include": include,
            "fillValues": {"lhs": matching.fill_left, "rhs": matching.fill_right},
        })
    });
    json!({
        "type": "binaryExpr",
        "op": binary.op.as_str(),
        "lhs": tree(&binary.left),
        "rhs": tree(&binary.right),
        "matching": matching,
        "bool": binary.return_bool,
    })
}

fn call(call: &Call) -> Value {
    let function = signatures::find(&call.function).map(|signature| {
        let args: Vec<&str> = signature.args.iter().map(|arg| arg.short_name()).collect();
        let variadic = match signature.variadic {
            Variadic::No => Value::from(0),
            Variadic::UpTo(count) => Value::from(count),
            Variadic::Any => Value::from(-1),
        };
        json!({
            "name": signature.name,
            "argTypes": args,
            "variadic": variadic,
            "returnType": signature.returns.short_name(),
        })
    });
    let args: Vec<Value> = call.args.iter().map(tree).collect();
    json!({"type": "call", "func": function, "args": args})
}

fn aggregate(aggregate: &AggregateExpr) -> Value {
    let (without, grouping) = match &aggregate.grouping {
        Some(AggregateGrouping::By(labels)) => (false, labels.as_slice()),
        Some(AggregateGrouping::Without(labels)) => (true, labels.as_slice()),
        None => (false, &[][..]),
    };
    json!({
        "type": "aggregation",
        "op": aggregate.op.as_str(),
        "expr": tree(&aggregate.expr),
        "param": aggregate.param.as_deref().map(tree),
        "grouping": grouping,
        "without": without,
    })
}

fn sign(op: UnaryOp) -> &'static str {
    match op {
        UnaryOp::Plus => "+",
        UnaryOp::Minus => "-",
    }
}

/// A number without an exponent.
fn plain(value: f64) -> String {
    let mut out = Vec::new();
    crate::number::push_plain(&mut out, value);
    String::from_utf8(out).expect("floats are written in ASCII")
}
