//! Configurations as they may be shown.

use serde_yaml_ng::{Mapping, Value};

/// What stands for a secret.
const HIDDEN: &str = "<secret>";

/// Fields whose values are secrets.
const SECRET_FIELDS: [&str; 6] =
    ["password", "credentials", "bearer_token", "client_secret", "key", "client_certificate_key"];

/// Nesting beyond which nothing is looked at; the parser of configurations refuses much less.
const MAX_DEPTH: usize = 64;

/// The text of a file with its secrets hidden. One without secrets stays as it is written; of any other,
/// comments and the way it is written are lost.
pub(super) fn hide(text: &str) -> String {
    let Ok(mut file) = serde_yaml_ng::from_str::<Value>(text) else { return HIDDEN.to_owned() };
    if !hide_in(&mut file, MAX_DEPTH) {
        return text.to_owned();
    }
    serde_yaml_ng::to_string(&file).unwrap_or_else(|_| HIDDEN.to_owned())
}

/// Hides the secrets of a value. Tells whether there were any.
fn hide_in(value: &mut Value, depth: usize) -> bool {
    match value {
        Value::Mapping(fields) if depth > 0 => hide_fields(fields, depth),
        Value::Sequence(list) if depth > 0 => {
            // Each is looked at.
            list.iter_mut().fold(false, |found, item| hide_in(item, depth - 1) | found)
        }
        Value::Mapping(_) | Value::Sequence(_) => {
            *value = HIDDEN.into();
            true
        }
        _ => false,
    }
}

fn hide_fields(fields: &mut Mapping, depth: usize) -> bool {
    let mut found = false;
    for (name, value) in fields {
        let name = name.as_str().unwrap_or_default();
        if SECRET_FIELDS.contains(&name) {
            *value = HIDDEN.into();
            found = true;
        } else if name == "headers" {
            // Keys of services stand there.
            match value {
                Value::Mapping(headers) => headers.values_mut().for_each(|v| *v = HIDDEN.into()),
                other => *other = HIDDEN.into(),
            }
            found = true;
        } else if let ("url" | "token_url", Some(url)) = (name, value.as_str()) {
            if let Some(hidden) = without_password(url) {
                *value = hidden.into();
                found = true;
            }
        } else {
            found |= hide_in(value, depth - 1);
        }
    }
    found
}

/// An address without its password, if it has one.
pub(crate) fn without_password(url: &str) -> Option<String> {
    let mut url = reqwest::Url::parse(url).ok()?;
    url.password()?;
    url.set_password(Some("xxxxx")).ok()?;
    Some(url.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_hidden_and_nothing_else_changes() {
        let plain = "# A comment.\nscrape_configs: [{job_name: a}]\n";
        assert_eq!(hide(plain), plain);
        let text = "scrape_configs:
- job_name: a
  basic_auth: {username: u, password: hunter2}
  authorization: {credentials: hunter3}
  bearer_token: hunter4
  oauth2: {client_id: i, client_secret: hunter5, token_url: 'http://u:hunter6@a/'}
  tls_config: {key: hunter7, key_file: shown}
  http_sd_configs: [{url: 'http://u:hunter8@a/b', basic_auth: {password: [hunter9]}}]
remote_write:
- url: https://u:hunter10@b/c
  headers: {X-Key: hunter11}
  basic_auth: {username: sender, password: hunter12}
  authorization: {credentials: hunter13}
  bearer_token: hunter14
  oauth2: {client_id: i, client_secret: hunter15, token_url: 'http://u:hunter16@a/'}
  tls_config: {key: hunter17}
";
        let hidden = hide(text);
        assert!(!hidden.contains("hunter"), "{hidden}");
        for shown in [
            "username: u",
            "key_file: shown",
            "job_name: a",
            "http://u:xxxxx@a/b",
            "X-Key:",
            "sender",
        ] {
            assert!(hidden.contains(shown), "{shown}: {hidden}");
        }
    }
}
