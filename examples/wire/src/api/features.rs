//! What this server can do: `features`, in the categories and names of Prometheus.

use std::collections::BTreeMap;

use axum::extract::State;
use axum::response::Response;
use ferula_promql::functions::signatures;

use super::{ApiState, json, reply, search};

/// Words of the language that are no operators.
const KEYWORDS: [&str; 11] = [
    "and",
    "bool",
    "by",
    "group_left",
    "group_right",
    "ignoring",
    "offset",
    "on",
    "or",
    "unless",
    "without",
];

const OPERATORS: [&str; 20] = [
    "!=", "!~", "%", "*", "+", "-", "/", "</", "<", "<=", "==", "=~", ">", ">/", ">=", "^", "and",
    "atan2", "or", "unless",
];

const AGGREGATIONS: [&str; 12] = [
    "avg",
    "bottomk",
    "count",
    "count_values",
    "group",
    "max",
    "min",
    "quantile",
    "stddev",
    "stdvar",
    "sum",
    "topk",
];

const EXPERIMENTAL_AGGREGATIONS: [&str; 2] = ["limit_ratio", "limitk"];

type Category = BTreeMap<String, bool>;

pub(super) async fn features(State(state): State<ApiState>) -> Response {
    let categories = all(&state);
    reply::data(|out| {
        out.push(b'{');
        for (i, (category, features)) in categories.iter().enumerate() {
            if i > 0 {
                out.push(b',');
            }
            json::push_string(out, category);
            out.extend_from_slice(b":{");
            for (i, (name, is_enabled)) in features.iter().enumerate() {
                if i > 0 {
                    out.push(b',');
                }
                // Operators are shown as they are written.
                json::push_label(out, name);
                out.extend_from_slice(if *is_enabled { b":true" } else { b":false" });
            }
            out.push(b'}');
        }
        out.push(b'}');
    })
}

fn all(state: &ApiState) -> BTreeMap<&'static str, Category> {
    let shared = &state.shared;
    let mut api: Category = [
        ("admin", shared.enable_admin),
        ("lifecycle", shared.quit.is_some()),
        ("remote_write_receiver", shared.receiver.is_some()),
        ("search", shared.enable_search),
        ("exclude_alerts", true),
        ("label_values_match", true),
        ("openapi_3.1", true),
        ("query_stats", true),
        ("query_warnings", true),
        ("time_range_labels", true),
        ("time_range_series", true),
    ]
    .map(|(name, is_enabled)| (name.to_owned(), is_enabled))
    .into();
    api.extend(search::ALGORITHMS.map(|name| (format!("search_fuzz_alg_{name}"), true)));
    let server = [("server_mode", true), ("agent_mode", false), ("ferula", true)];
    BTreeMap::from([
        ("api", api),
        ("prometheus", server.map(|(name, is_on)| (name.to_owned(), is_on)).into()),
        ("promql", language(state)),
        ("promql_functions", functions(state)),
        ("promql_operators", operators(state)),
        ("tsdb", [("native_histograms".to_owned(), true)].into()),
    ])
}

fn language(state: &ApiState) -> Category {
    let on = state.shared.engine.options().enabled_features();
    let switched = [
        ("anchored", on.extended_range_selectors),
        ("smoothed", on.extended_range_selectors),
        ("fill", on.binop_fill_modifiers),
        ("fill_left", on.binop_fill_modifiers),
        ("fill_right", on.binop_fill_modifiers),
        ("delayed_name_removal", on.delayed_name_removal),
        ("type_and_unit_labels", on.type_and_unit_labels),
        ("per_step_stats", false),
        ("at_modifier", true),
        ("duration_expr", true),
        ("negative_offset", true),
        ("per_query_lookback_delta", true),
        ("subqueries", true),
    ];
    let keywords = KEYWORDS.map(|word| (word, true));
    let all = switched.into_iter().chain(keywords);
    all.map(|(name, is_enabled)| (name.to_owned(), is_enabled)).collect()
}

fn functions(state: &ApiState) -> Category {
    let has_experimental = state.shared.engine.options().enabled_features().experimental_functions;
    let enabled = |function: &signatures::Signature| !function.experimental || has_experimental;
    signatures::all().iter().map(|of| (of.name.to_owned(), enabled(of))).collect()
}

fn operators(state: &ApiState) -> Category {
    let has_experimental = state.shared.engine.options().enabled_features().experimental_functions;
    let stable = OPERATORS.iter().chain(&AGGREGATIONS).map(|name| (*name, true));
    let experimental = EXPERIMENTAL_AGGREGATIONS.map(|name| (name, has_experimental));
    stable.chain(experimental).map(|(name, is_on)| (name.to_owned(), is_on)).collect()
}
