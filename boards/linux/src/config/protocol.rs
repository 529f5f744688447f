//! `protocol`, and the settings that go with it.

use resh_channel::config::{
    COOKIE_NAME_BYTES_MAX, COOKIES_MAX, CookieNames, HEAD_BYTES_MAX, HEAD_BYTES_MIN, Http1,
    Methods, Protocol,
};

use super::reader::{Reader, Table};
use super::sections::choice;
use crate::diagnostic::suggest;

/// How a protocol is spelled in the file.
pub(super) fn name(protocol: &Protocol) -> &'static str {
    match protocol {
        Protocol::Raw => "raw",
        Protocol::Http1(_) => "http1",
        Protocol::Dns => "dns",
        Protocol::Resp => "resp",
        Protocol::Pgwire => "pgwire",
    }
}

pub(super) fn protocol<'a>(reader: &mut Reader<'a>, table: &Table<'a>) -> Option<Protocol> {
    let all = [
        Protocol::Raw,
        Protocol::Http1(Http1::default()),
        Protocol::Dns,
        Protocol::Resp,
        Protocol::Pgwire,
    ];
    let protocol = choice(reader, table, "protocol", &all.map(|one| (name(&one), one)));
    let settings = reader.table(table, "http1");
    let place = settings.as_ref().map(|settings| reader.place_of(settings));
    let settings = settings.map(|settings| http1(reader, &settings));
    let protocol = protocol?;
    if matches!(protocol, Protocol::Http1(_)) {
        return Some(Protocol::Http1(settings.unwrap_or_default()));
    }
    if let Some(place) = place {
        let problem = format!("has no meaning with protocol = \"{}\"", name(&protocol));
        reader.report(&place, problem, "write protocol = \"http1\", or remove this table");
    }
    Some(protocol)
}

fn http1<'a>(reader: &mut Reader<'a>, table: &Table<'a>) -> Http1 {
    reader.only_keys(table, &["methods", "max_head_bytes", "private_cookies"]);
    let default = Http1::default();
    let limits = HEAD_BYTES_MIN..=HEAD_BYTES_MAX;
    let max_head_bytes =
        reader.integer(table, "max_head_bytes", limits, "bytes").unwrap_or(default.max_head_bytes);
    let private_cookies = private_cookies(reader, table);
    let Some(listed) = reader.strings(table, "methods") else {
        return Http1 { max_head_bytes, private_cookies, ..default };
    };
    let mut methods = Methods::NONE;
    if listed.value.is_empty() {
        let hint = "name at least one, or leave the key out for all";
        reader.report(&listed.place, "no request could be made", hint);
    }
    for method in listed.value {
        if methods.insert(method.value) {
            continue;
        }
        let (problem, hint) = if Methods::NAMES.contains(&method.value) {
            (format!("{} is listed twice", method.value), "list it once".to_owned())
        } else {
            (
                format!("there is no method {:?}", method.value),
                suggest(method.value, &Methods::NAMES),
            )
        };
        reader.report(&method.place, problem, hint);
    }
    Http1 { methods, max_head_bytes, private_cookies }
}

fn private_cookies<'a>(reader: &mut Reader<'a>, table: &Table<'a>) -> CookieNames {
    let mut cookies = CookieNames::default();
    for name in reader.strings(table, "private_cookies").map(|list| list.value).unwrap_or_default()
    {
        if !cookies.insert(name.value) {
            let problem = format!("{:?} cannot be added to the private cookies", name.value);
            let hint = format!(
                "list at most {COOKIES_MAX} names, each once, of at most {COOKIE_NAME_BYTES_MAX} \
                 letters, digits and punctuation without separators"
            );
            reader.report(&name.place, problem, hint);
        }
    }
    cookies
}
